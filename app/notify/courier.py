"""Deliveries on their way: at least once, under one id, in order of a release and channel, each channel by itself.

Of the deliveries of one release to one channel only the first that has not ended is attempted; the others wait behind
it. A channel's releases go side by side, a few at a time, and channels have nothing in common but the store.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import structlog

from app.domain.access import Actor
from app.domain.channels import Channel, ChannelKind, ChannelSecrets
from app.domain.deliveries import Delivery, begun, dead, dropped, failed, postponed, sent
from app.domain.messages import message, test_message
from app.domain.notifications import is_current
from app.engine import Clock, new_id
from app.notify.chats import Chats
from app.notify.payloads import notice_body, test_body
from app.notify.targets import NotDelivered, Targets
from app.notify.webhooks import Webhooks
from app.settings import ChannelSettings
from app.store.documents import StoreUnavailable
from app.store.notifications import Channels, Deliveries, Secrets
from app.store.repositories import Releases
from app.store.sealing import NoKey, NotOpened

log = structlog.get_logger()

_LANES = 8
_FOUND = 64
_ROUND = timedelta(seconds=40)
_LEASE_BEYOND = timedelta(seconds=5)
_LONGEST_SILENCE = timedelta(hours=1)


@asynccontextmanager
async def open_courier(
    channels: Channels,
    secrets: Secrets,
    deliveries: Deliveries,
    releases: Releases,
    clock: Clock,
    settings: ChannelSettings,
) -> AsyncIterator["Courier"]:
    """A courier with connections of its own, to the end of the block."""
    targets, seconds = Targets(settings.allowed_targets), settings.delivery_seconds
    webhooks, chats = Webhooks(targets, seconds), Chats(targets, seconds)
    try:
        yield Courier(channels, secrets, deliveries, releases, webhooks, chats, clock, settings.public_url, seconds)
    finally:
        await webhooks.aclose()


class Courier:
    """Delivers what is due."""

    def __init__(
        self,
        channels: Channels,
        secrets: Secrets,
        deliveries: Deliveries,
        releases: Releases,
        webhooks: Webhooks,
        chats: Chats,
        clock: Clock,
        base_url: str,
        seconds: float,
    ) -> None:
        """An attempt takes so many seconds at most."""
        self._channels = channels
        self._secrets = secrets
        self._deliveries = deliveries
        self._releases = releases
        self._webhooks = webhooks
        self._chats = chats
        self._clock = clock
        self._base_url = base_url
        self._lease = timedelta(seconds=seconds) + _LEASE_BEYOND
        self._at_work: set[str] = set()
        self._silent_until: dict[str, datetime] = {}

    async def due_channels(self) -> list[str]:
        """Ids of channels that something is due to. Raises `StoreUnavailable`."""
        now = self._clock.now()
        if not await self._deliveries.is_any_due(now):
            return []
        ids = [channel.id for channel in await self._channels.all()]
        due = await asyncio.gather(*(self._deliveries.is_due_to(id, now) for id in ids))
        found = [id for id, is_due in zip(ids, due, strict=True) if is_due and not self._is_silent(id)]
        return found or await self._deliveries.channels_due(now, ids)

    async def deliver(self, channel_id: str) -> None:
        """Attempt all that is due to a channel, for 40 seconds at most. Raises `StoreUnavailable`.

        While that is under way in this process, another call returns at once.
        """
        if channel_id in self._at_work or self._is_silent(channel_id):
            return
        self._at_work.add(channel_id)
        loop = asyncio.get_running_loop()
        until = loop.time() + _ROUND.total_seconds()
        try:
            while loop.time() < until and not self._is_silent(channel_id):
                channel = await self._channels.get(channel_id)
                due = await self._deliveries.due_to(channel_id, self._clock.now(), _FOUND)
                if not due or not await self._deliver_each(channel, due):
                    return
        finally:
            self._at_work.discard(channel_id)

    async def test(self, channel: Channel, by: Actor) -> None:
        """Send a message that asks for nothing, now. Raises `NotDelivered`, and what reading the store raises."""
        now, said = self._clock.now(), test_message(channel.name, self._base_url, by.name)
        secrets = await self._opened(channel.id)
        if channel.kind is ChannelKind.WEBHOOK:
            id = new_id("tst", now)
            await self._webhooks.send(secrets.target, secrets.signing_at(now), id, test_body(id, said, now), now)
        else:
            await self._chats.send(channel.id, secrets.target, said)

    async def _deliver_each(self, channel: Channel | None, due: Sequence[Delivery]) -> bool:
        """Attempt what is due, release by release; whether anything came of it."""
        if channel is None or not channel.enabled:
            why = "The channel was deleted." if channel is None else "The channel is disabled."
            return any(await asyncio.gather(*(self._deliveries.save(dropped(each, why)) for each in due)))
        free = asyncio.Semaphore(_LANES)

        async def follow(release_id: str) -> bool:
            async with free:
                return await self._deliver_release(channel, release_id, [e for e in due if e.release_id == release_id])

        return any(await asyncio.gather(*(follow(id) for id in dict.fromkeys(each.release_id for each in due))))

    async def _deliver_release(self, channel: Channel, release_id: str, due: Sequence[Delivery]) -> bool:
        """Attempt the deliveries of a release to a channel in order, until one fails; whether anything came of it."""
        is_moved = False
        while (first := await self._deliveries.first_of(channel.id, release_id)) is not None:
            if self._is_silent(channel.id):
                return is_moved
            now = self._clock.now()
            # One that was never attempted has waited behind another, which has ended.
            if first.attempts_since and first.due_at is not None and first.due_at > now:
                return await self._postpone(due, first) or is_moved
            after = await self._attempt(channel, first)
            if after is None:
                return is_moved
            is_moved = True
            if after.is_open:
                return await self._postpone(due, after) or is_moved
        return is_moved

    async def _postpone(self, due: Sequence[Delivery], first: Delivery) -> bool:
        """Let what waits behind a delivery not be found before that one is due again."""
        assert first.due_at is not None
        waiting = [postponed(each, first.due_at) for each in due if each.id != first.id]
        return any(await asyncio.gather(*(self._deliveries.save(each) for each in waiting)))

    async def _attempt(self, channel: Channel, delivery: Delivery) -> Delivery | None:
        """The delivery after one attempt; None if somebody else makes it."""
        under_way = begun(delivery, self._clock.now(), self._lease)
        if not await self._deliveries.save(under_way):
            return None
        after = await self._outcome(channel, under_way)
        log.info(
            "notification " + after.status.value.lower(),
            channel=channel.id,
            release=delivery.release_id,
            delivery=delivery.id,
            attempt=after.attempts,
            error=after.last_error,
        )
        return after if await self._deliveries.save(after) else None

    async def _outcome(self, channel: Channel, delivery: Delivery) -> Delivery:
        release = await self._releases.get(delivery.release_id)
        if release is None or not is_current(release, delivery.notice):
            return dropped(delivery, "It is of no use any more: the review was given, or the release is over.")
        now = self._clock.now()
        said = message(release, delivery.notice, self._base_url, now)
        try:
            secrets = await self._opened(channel.id)
            if channel.kind is ChannelKind.WEBHOOK:
                body = notice_body(delivery.id, release, delivery.notice, said)
                await self._webhooks.send(secrets.target, secrets.signing_at(now), delivery.id, body, now)
            else:
                await self._chats.send(channel.id, secrets.target, said)
        except NotDelivered as error:
            now = self._clock.now()
            if error.is_final:
                return dead(delivery, str(error))
            if error.retry_after:
                self._silent_until[channel.id] = now + min(error.retry_after, _LONGEST_SILENCE)
            return failed(delivery, str(error), now, random.random(), error.retry_after)  # noqa: S311
        except StoreUnavailable:
            raise
        except Exception as error:  # it must not be attempted again and again without a pause
            log.exception("notification not sent", channel=channel.id, delivery=delivery.id)
            return failed(delivery, f"A fault of Slipway's: {type(error).__name__}", now, random.random())  # noqa: S311
        return sent(delivery, self._clock.now())

    async def _opened(self, channel_id: str) -> ChannelSecrets:
        try:
            secrets = await self._secrets.of(channel_id)
        except (NotOpened, NoKey) as error:
            raise NotDelivered(str(error)) from None
        if secrets is None:
            raise NotDelivered("The channel's secrets are gone: create it anew.")
        return secrets

    def _is_silent(self, channel_id: str) -> bool:
        """Whether the receiver has asked to be left alone."""
        until = self._silent_until.get(channel_id)
        if until is not None and until <= self._clock.now():
            del self._silent_until[channel_id]
            until = None
        return until is not None
