"""The store or Redis goes away: what is told meanwhile, what is kept, and that everything goes on by itself."""

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from app import worker
from app.embedded import EmbeddedValkey
from app.services import Services, open_services
from app.settings import Settings
from tests.api.serving import Api, serving
from tests.api.test_subscriptions import EVENTS, RELEASES, take, watch
from tests.conftest import Clock
from tests.domain.builders import phase
from tests.scene import eventually, start_release, stored

ON_SQLITE = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)

# Redis has 2 s to answer; the rest is for a machine that is busy.
QUICKLY = 3.5


@pytest.fixture
async def valkey() -> AsyncIterator[EmbeddedValkey]:
    """A Valkey of the test's own, to be stopped."""
    with tempfile.TemporaryDirectory(prefix="slipway-") as folder:
        async with EmbeddedValkey(Path(folder)) as valkey:
            yield valkey


@pytest.fixture
def redis_url(valkey: EmbeddedValkey) -> str:
    """In this module, that Valkey."""
    return valkey.url


@pytest.fixture
def settings(store_url: str, redis_url: str) -> Settings:
    """As ever, but the hub looks often for what was not announced."""
    return Settings(store_url=store_url, redis_url=redis_url, admin_token=SecretStr("x" * 20), poll_seconds=0.2)


@asynccontextmanager
async def stopped(valkey: EmbeddedValkey) -> AsyncIterator[None]:
    """Redis is gone: connections break, new ones are refused."""
    await valkey.stop()
    try:
        yield
    finally:
        await valkey.start()


@asynccontextmanager
async def hung(valkey: EmbeddedValkey) -> AsyncIterator[None]:
    """Redis is there, and answers nothing."""
    assert valkey.pid is not None
    os.kill(valkey.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(valkey.pid, signal.SIGCONT)


@contextmanager
def gone(store_url: str) -> Iterator[None]:
    """The SQLite file is not where it was."""
    file = Path(store_url.removeprefix("sqlite:///"))
    away = file.rename(file.with_suffix(".away"))
    try:
        yield
    finally:
        away.rename(file)


@pytest.mark.parametrize("away", [stopped, hung])
@ON_SQLITE
async def test_ready_says_that_redis_is_away(api: Api, valkey: EmbeddedValkey, away: type[stopped]) -> None:
    """503 within seconds, naming Redis, while the process stays alive and reads; 200 again when it is back."""
    async with away(valkey):
        started = time.monotonic()
        ready = await api.http.get("/readyz")
        assert time.monotonic() - started < QUICKLY
        assert ready.status_code == 503
        assert ready.json()["store"] == "ok"
        assert ready.json()["redis"] != "ok"
        assert (await api.http.get("/healthz")).status_code == 200
        assert await api.ask("{ releases { edges { cursor } } }") == {"releases": {"edges": []}}

    async def is_ready() -> bool:
        return (await api.http.get("/readyz")).status_code == 200

    await eventually(is_ready)


@pytest.mark.parametrize("away", [stopped, hung])
@ON_SQLITE
async def test_a_change_is_kept_announced_and_timed_though_redis_is_away(
    services: Services, neighbour: Services, clock: Clock, valkey: EmbeddedValkey, away: type[stopped]
) -> None:
    """The mutation commits and answers in time; who watches another process hears of it, and the bake is ended."""
    release = await start_release(services, phase("a"), phase("b"))
    assert release.current_phase is not None
    async with serving(services) as here, serving(neighbour) as there, there.socket() as session:
        told = watch(session, RELEASES)
        assert (await anext(told))["revision"] == 1
        async with away(valkey):
            started = time.monotonic()
            skip = {"releaseId": release.id, "phaseId": release.current_phase.id}
            answer = await here.mutate("skipPhase", input=skip)
            assert time.monotonic() - started < QUICKLY
            assert answer["release"]["currentPhase"]["name"] == "b"
            assert (await anext(told))["currentPhase"] == {"name": "b"}

        clock.advance(timedelta(hours=2))
        working = asyncio.create_task(worker.run(services))
        assert (await anext(told))["status"] == "COMPLETED"
        working.cancel()
        await asyncio.wait([working])

    assert [event.sequence for event in (await stored(services, release)).history] == list(range(1, 7))


@ON_SQLITE
async def test_announcements_are_heard_again_when_redis_is_back(
    services: Services, neighbour: Services, valkey: EmbeddedValkey
) -> None:
    """The hub subscribes again by itself after Redis was restarted."""
    release = await start_release(services, phase("a"))
    assert release.current_phase is not None
    async with serving(services) as here, serving(neighbour):
        async with stopped(valkey):
            await asyncio.sleep(0.3)

        async def hubs_listen() -> bool:
            ((_, count),) = await services.redis.pubsub_numsub("slipway:releases")
            return bool(count == 2)

        await eventually(hubs_listen)
        pause = {"releaseId": release.id, "phaseId": release.current_phase.id}
        assert (await here.mutate("pauseRelease", input=pause))["release"]["status"] == "PAUSED"


@ON_SQLITE
async def test_without_the_store_every_answer_says_so(api: Api, store_url: str) -> None:
    """STORE_UNAVAILABLE for queries, mutations and subscriptions, 503 from /readyz; all go on when it is back."""
    release = await start_release(api.services, phase("a"))
    async with api.socket() as session:
        with gone(store_url):
            ready = await api.http.get("/readyz")
            assert ready.status_code == 503
            assert (ready.json()["store"], ready.json()["redis"]) == ("does not answer", "ok")
            for operation in (
                "{ releases { edges { cursor } } }",
                '{ feature(key: "checkout") { id } }',
                f'mutation {{ abortRelease(input: {{releaseId: "{release.id}"}}) {{ __typename }} }}',
                'mutation { saveEnvironment(input: {name: "qa"}) { __typename } }',
            ):
                error = await api.error(operation)
                assert error["extensions"] == {"code": "STORE_UNAVAILABLE"}
                assert error["message"] == "The store does not answer; try again."
            for subscription, variables in ((EVENTS, {"id": release.id}), (RELEASES, {})):
                with pytest.raises(Exception, match="STORE_UNAVAILABLE"):
                    await take(watch(session, subscription, **variables), 1)
            assert (await api.ask("{ viewer { role } }")) == {"viewer": {"role": "ADMIN"}}

        assert (await api.http.get("/readyz")).status_code == 200
        assert len(await take(watch(session, EVENTS, id=release.id), 2)) == 2
    assert await stored(api.services, release) == release


async def test_a_server_starts_without_its_mongodb(valkey_url: str) -> None:
    """Nobody listens there: /readyz names the store, a query says so in seconds, and the process stays alive."""
    url = "mongodb://127.0.0.1:1/slipway?serverSelectionTimeoutMS=300"
    settings = Settings(store_url=url, redis_url=valkey_url, admin_token=SecretStr("x" * 20))
    async with open_services(settings) as services, serving(services) as api:
        ready = await api.http.get("/readyz")
        away = {"store": "does not answer", "redis": "ok", "features": "being loaded"}
        assert (ready.status_code, ready.json()) == (503, away)
        error = await api.error("{ environments { name } }")
        assert error["extensions"] == {"code": "STORE_UNAVAILABLE"}
        assert (await api.http.get("/healthz")).status_code == 200
