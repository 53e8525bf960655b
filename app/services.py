"""Everything that one process holds, opened and closed together."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from redis.asyncio import Redis

from app.announcing import connect as connect_live
from app.audit import Auditor
from app.catalog import Catalog
from app.claims import Claims
from app.engine import Clock, Engine, SystemClock
from app.live import Hub
from app.notify.channels import ChannelRegister
from app.notify.courier import Courier, open_courier
from app.notify.feed import Feed
from app.notify.telling import Teller
from app.sdk_keys import SdkKeyRegister
from app.settings import Settings
from app.store import open_store
from app.store.access import AuditLog, SdkKeys, Tokens
from app.store.documents import Store
from app.store.notifications import (
    Channels,
    Deliveries,
    Notifications,
    ReadMarks,
    Secrets,
    ToldReleases,
    Watermarks,
)
from app.store.repositories import Environments, Features, Pipelines, Releases
from app.store.sealing import Sealer
from app.timers import BakeTimers, NotifyPrompts
from app.timers import connect as connect_timers
from app.tokens import TokenRegister


@dataclass(frozen=True)
class Services:
    """The parts of a process. API and worker hold the same ones."""

    settings: Settings
    clock: Clock
    store: Store
    redis: Redis
    environments: Environments
    pipelines: Pipelines
    features: Features
    releases: Releases
    hub: Hub
    engine: Engine
    catalog: Catalog
    tokens: TokenRegister
    token_list: Tokens
    sdk_keys: SdkKeyRegister
    sdk_key_list: SdkKeys
    auditor: Auditor
    audit_log: AuditLog
    prompts: NotifyPrompts
    teller: Teller
    courier: Courier
    channels: ChannelRegister
    channel_list: Channels
    deliveries: Deliveries
    notifications: Notifications
    read_marks: ReadMarks
    feed: Feed


@asynccontextmanager
async def open_services(settings: Settings, clock: Clock | None = None) -> AsyncIterator[Services]:
    """Connect everything, and let go of it at the end. Neither store nor Redis need answer yet: both are reconnected.

    Raises ValueError for a URL that names no known store.
    """
    clock = clock or SystemClock()
    async with AsyncExitStack() as stack:
        store = open_store(settings.store_url)
        stack.push_async_callback(store.close)
        timers_redis = connect_timers(settings.redis_url)
        stack.push_async_callback(timers_redis.aclose, close_connection_pool=True)
        redis = connect_live(settings.redis_url)
        stack.push_async_callback(redis.aclose)
        environments, pipelines = Environments(store), Pipelines(store)
        features, releases = Features(store), Releases(store)
        hub = Hub(releases, redis, settings.poll_seconds)
        prompts = NotifyPrompts(timers_redis)
        engine = Engine(releases, BakeTimers(timers_redis), prompts, hub, Claims(redis), clock)
        catalog = Catalog(environments, pipelines, features, releases, engine, hub, clock)
        token_list, sdk_key_list, audit_log = Tokens(store), SdkKeys(store), AuditLog(store)
        channel_list, deliveries = Channels(store), Deliveries(store)
        notifications, read_marks = Notifications(store), ReadMarks(store)
        secrets = Secrets(store, Sealer(settings.sealing_keys))
        teller = Teller(
            releases,
            channel_list,
            deliveries,
            notifications,
            ToldReleases(store),
            Watermarks(store),
            hub,
            clock,
            settings.public_url,
            lambda: engine.is_draining,
        )
        courier = await stack.enter_async_context(
            open_courier(channel_list, secrets, deliveries, releases, clock, settings)
        )
        yield Services(
            settings=settings,
            clock=clock,
            store=store,
            redis=redis,
            environments=environments,
            pipelines=pipelines,
            features=features,
            releases=releases,
            hub=hub,
            engine=engine,
            catalog=catalog,
            tokens=TokenRegister(token_list, clock),
            token_list=token_list,
            sdk_keys=SdkKeyRegister(sdk_key_list, environments, hub, clock),
            sdk_key_list=sdk_key_list,
            auditor=Auditor(audit_log, clock),
            audit_log=audit_log,
            prompts=prompts,
            teller=teller,
            courier=courier,
            channels=ChannelRegister(channel_list, secrets, deliveries, pipelines, courier, prompts, clock),
            channel_list=channel_list,
            deliveries=deliveries,
            notifications=notifications,
            read_marks=read_marks,
            feed=Feed(notifications, hub, clock, settings.poll_seconds),
        )
