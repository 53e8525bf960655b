"""Bake timers and the worker on a real queue: prompts, lost prompts, a Redis that goes away, and one real bake."""

import asyncio
import gc
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec import structs
from pydantic import SecretStr
from structlog.testing import capture_logs

from app import worker
from app.domain.access import SYSTEM
from app.domain.releases import Release, ReleaseAction, ReleaseStatus, SpecChange
from app.embedded import EmbeddedValkey
from app.services import Services, open_services
from app.settings import Settings
from app.store.documents import Document
from app.store.repositories import ReleaseFilter, milliseconds
from app.timers import QUEUE
from app.worker_health import HEALTH_KEY, is_healthy
from tests.conftest import Clock
from tests.domain.builders import HOUR, MINUTE, OFF, ON, OPERATOR, SECOND, event_names, feature, phase, pipeline, review
from tests.domain.builders import statuses as phases_of
from tests.scene import act, eventually, skip, start_release, stored

PAUSE, UNPAUSE, SKIP = ReleaseAction.PAUSE, ReleaseAction.UNPAUSE, ReleaseAction.SKIP
COMPLETED = ReleaseStatus.COMPLETED


async def queued(services: Services) -> dict[str, int]:
    """The ids of the queued bake jobs, and the millisecond of each."""
    jobs = await services.redis.zrange(QUEUE, 0, -1, withscores=True)
    return {id.decode(): int(at) for id, at in jobs if id.startswith(b"bake:")}


@asynccontextmanager
async def working(*processes: Services) -> AsyncIterator[None]:
    """Workers run, one in each process; they end when they are cancelled."""
    workers = [asyncio.create_task(worker.run(process)) for process in processes]
    try:
        yield
        for each in workers:
            assert not each.done()
    finally:
        for each in workers:
            each.cancel()
        async with asyncio.timeout(5):
            await asyncio.gather(*workers, return_exceptions=True)


@asynccontextmanager
async def own_valkey(store_url: str, clock: Clock | None) -> AsyncIterator[tuple[EmbeddedValkey, Services]]:
    """A Valkey that the test may do things to, and a process on it."""
    with tempfile.TemporaryDirectory(prefix="slipway-") as folder:
        async with EmbeddedValkey(Path(folder)) as valkey:
            settings = Settings(store_url=store_url, redis_url=valkey.url, admin_token=SecretStr("x" * 20))
            async with open_services(settings, clock) as services:
                await services.store.prepare()
                yield valkey, services


async def is_over(services: Services, release: Release) -> bool:
    return (await stored(services, release)).is_over


# --- prompts ----------------------------------------------------------------------------------------------------------


async def test_each_timer_has_a_job_at_its_deadline(services: Services, clock: Clock) -> None:
    """Its id names release and timer; earlier ones stay queued, since they do no harm."""
    release = await start_release(services, phase("one"), phase("two"))
    assert release.timer is not None
    first = {f"bake:{release.id}:{release.timer.id}": milliseconds(clock.now() + HOUR)}
    assert await queued(services) == first

    clock.advance(MINUTE)
    paused = (await act(services, release, PAUSE)).release
    assert await queued(services) == first

    clock.advance(HOUR)
    unpaused = (await act(services, paused, UNPAUSE)).release
    assert unpaused.timer is not None
    second = {f"bake:{release.id}:{unpaused.timer.id}": milliseconds(clock.now() + HOUR - MINUTE)}
    assert await queued(services) == first | second


async def test_jobs_lead_a_release_to_its_end(services: Services, clock: Clock) -> None:
    """One bake after the other, in full, by the system; then nothing is queued any more."""
    release = await start_release(services, phase("one"), phase("two", 2 * HOUR))

    assert await skip(services, clock, HOUR - SECOND) == 0
    assert await stored(services, release) == release
    assert await skip(services, clock, SECOND) == 1
    assert phases_of(await stored(services, release)) == ["COMPLETED", "IN_PROGRESS"]
    assert await skip(services, clock, 2 * HOUR - SECOND) == 0
    assert await skip(services, clock, SECOND) == 1

    ended = await stored(services, release)
    assert phases_of(ended) == ["COMPLETED", "COMPLETED"]
    assert ended.status is COMPLETED
    assert {event.actor for event in ended.history[2:]} == {SYSTEM}
    assert await services.redis.zcard(QUEUE) == 0


async def test_a_review_has_no_timer(services: Services, clock: Clock) -> None:
    """Nothing is queued while a release waits; the bake time begins in full with the last approval."""
    release = await start_release(services, review("one"))
    assert await queued(services) == {}

    clock.advance(10 * HOUR)
    await act(services, release, ReleaseAction.APPROVE)

    assert list((await queued(services)).values()) == [milliseconds(clock.now() + HOUR)]


async def test_the_job_of_a_paused_release_ends_silently(services: Services, clock: Clock) -> None:
    """It changes nothing, is gone from the queue, and logs nothing above debug."""
    release = await start_release(services, phase("one"))
    paused = (await act(services, release, PAUSE)).release

    with capture_logs() as logs:
        assert await skip(services, clock, 2 * HOUR) == 1

    assert await stored(services, release) == paused
    assert await queued(services) == {}
    assert {log["log_level"] for log in logs} <= {"debug"}


async def test_a_job_that_comes_early_changes_nothing(services: Services, clock: Clock) -> None:
    """The deadline on record decides, not the queue; the sweep ends the bake in its time."""
    release = await start_release(services, phase("one"))
    (job,) = await queued(services)
    await services.redis.zadd(QUEUE, {job: 1})

    assert await skip(services, clock, MINUTE) == 1
    assert await stored(services, release) == release

    clock.advance(HOUR)
    await worker.sweep({"services": services})
    assert await is_over(services, release)


# --- without a prompt -------------------------------------------------------------------------------------------------


async def test_with_every_job_lost_the_sweep_ends_the_bakes(services: Services, clock: Clock) -> None:
    """An emptied Redis costs no transition: a worker that runs finds what is due, phase after phase."""
    release = await start_release(services, phase("one"), phase("two"))
    await services.redis.flushdb()
    clock.advance(HOUR)

    async with working(services):
        await eventually(lambda: advanced_to(services, release, ["COMPLETED", "IN_PROGRESS"]))
        await services.redis.flushdb()
        clock.advance(HOUR)
        await eventually(lambda: is_over(services, release))

    assert event_names((await stored(services, release)).history).count("PHASE_COMPLETED") == 2


async def advanced_to(services: Services, release: Release, phases: list[str]) -> bool:
    return phases_of(await stored(services, release)) == phases


async def test_workers_end_three_hundred_bakes_once_each(services: Services, neighbour: Services, clock: Clock) -> None:
    """Two workers with their sweeps, and the jobs of all: each release gains one completion, no more."""
    releases = await many_releases(services, 300)
    clock.advance(HOUR)
    due = await queued(services)
    assert len(due) == 300
    await services.redis.zadd(QUEUE, dict.fromkeys(due, 1))

    async def none_is_due() -> bool:
        return await services.releases.due(clock.now(), 1) == []

    async with working(services, neighbour):
        await eventually(none_is_due)

    found = (await services.releases.page(ReleaseFilter(statuses=(COMPLETED,)), 500, None)).values
    assert {each.id for each in found} == {each.id for each in releases}
    assert {each.revision for each in found} == {2}
    assert {tuple(event_names(each.history)) for each in found} == {
        ("RELEASE_STARTED", "PHASE_RELEASED", "PHASE_COMPLETED", "RELEASE_COMPLETED")
    }


async def test_sweeps_at_once_end_each_bake_once(services: Services, neighbour: Services, clock: Clock) -> None:
    """More due releases than one look finds, in two processes: none is left, none gains two phases."""
    releases = await many_releases(services, 120, phases=2)
    clock.advance(5 * HOUR)

    await asyncio.gather(*(process.engine.settle_due() for process in (services, neighbour)))

    found = await services.releases.get_many([each.id for each in releases])
    assert {tuple(phases_of(each)) for each in found.values()} == {("COMPLETED", "IN_PROGRESS")}
    assert {each.revision for each in found.values()} == {2}


async def many_releases(services: Services, number: int, phases: int = 1) -> list[Release]:
    """So many features with a release that bakes for an hour."""
    through = pipeline(*(phase(f"phase {n}") for n in range(phases)))
    turn = asyncio.Semaphore(10)

    async def start(n: int) -> Release:
        of = structs.replace(feature(), id=f"fea_{n}", key=f"f{n}")
        async with turn:
            return await services.engine.start(of, None, SpecChange(OFF, ON), through, OPERATOR.actor)

    return list(await asyncio.gather(*map(start, range(number))))


# --- Redis or the store away ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
async def test_bakes_end_while_redis_is_away(store_url: str, clock: Clock) -> None:
    """The worker goes on without its queue, and takes jobs again when Redis is back."""
    async with own_valkey(store_url, clock) as (valkey, services):
        release = await start_release(services, phase("one"), phase("two"))
        async with working(services):
            await eventually(lambda: is_healthy(valkey.url))
            await valkey.stop()
            clock.advance(HOUR)
            await eventually(lambda: advanced_to(services, release, ["COMPLETED", "IN_PROGRESS"]))

            await valkey.start()
            await eventually(lambda: is_healthy(valkey.url))
            clock.advance(HOUR)
            await eventually(lambda: is_over(services, release))


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
async def test_a_worker_outlives_a_killed_redis(store_url: str, clock: Clock) -> None:
    """Killed with -9 and started again: the worker is back by itself, with the jobs that were queued."""
    async with own_valkey(store_url, clock) as (valkey, services):
        release = await start_release(services, phase("one"))
        await services.redis.bgrewriteaof()
        async with working(services):
            await eventually(lambda: is_healthy(valkey.url))
            await services.redis.delete(HEALTH_KEY)
            assert valkey.pid is not None
            os.kill(valkey.pid, signal.SIGKILL)
            await eventually(lambda: is_healthy(valkey.url))
            clock.advance(HOUR)
            await eventually(lambda: is_over(services, release))


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
async def test_a_redis_that_hangs_holds_up_neither_actions_nor_bakes(store_url: str, clock: Clock) -> None:
    """It accepts connections and answers nothing: an action takes seconds and stands, a bake still ends."""
    async with own_valkey(store_url, clock) as (valkey, services):
        release = await start_release(services, phase("one"), phase("two"))
        async with working(services):
            await eventually(lambda: is_healthy(valkey.url))
            assert valkey.pid is not None
            os.kill(valkey.pid, signal.SIGSTOP)
            try:
                began = time.monotonic()
                await act(services, release, SKIP)
                assert time.monotonic() - began < 6
                clock.advance(HOUR)
                await eventually(lambda: is_over(services, release))
            finally:
                os.kill(valkey.pid, signal.SIGCONT)


# redis-py warns of pipelines that were cancelled while they waited, though their sockets are closed.
@pytest.mark.filterwarnings("ignore:Unclosed client session:ResourceWarning")
@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
async def test_a_worker_ends_when_cancelled_whatever_redis_does(store_url: str, clock: Clock) -> None:
    """While it waits for a Redis that hangs, closes the connection to it or tries anew: a cancelled worker ends."""
    async with own_valkey(store_url, clock) as (valkey, services):
        delays = (0.0, 0.5, 1.0, 1.8, 2.2, 3.0)
        workers = [asyncio.create_task(worker.run(services)) for _ in delays]
        await eventually(lambda: is_healthy(valkey.url))

        async def cancelled_after(seconds: float, working: asyncio.Task[None]) -> bool:
            await asyncio.wait([working], timeout=seconds)
            working.cancel()
            await asyncio.wait([working], timeout=6)
            return working.done() and working.cancelled()

        assert valkey.pid is not None
        os.kill(valkey.pid, signal.SIGSTOP)
        try:
            ended = await asyncio.gather(*map(cancelled_after, delays, workers))
        finally:
            os.kill(valkey.pid, signal.SIGCONT)
        assert ended == [True] * len(delays)
    del workers
    gc.collect()  # of those pipelines


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
async def test_a_store_that_is_away_puts_bakes_off(
    services: Services, clock: Clock, settings: Settings, tmp_path: Path
) -> None:
    """Neither the job nor the sweep fails; when the store is back, the sweep ends the bake."""
    release = await start_release(services, phase("one"))
    assert release.timer is not None
    database, elsewhere = tmp_path / "slipway.db", tmp_path / "elsewhere.db"
    async with working(services):
        await eventually(lambda: is_healthy(settings.redis_url))
        database.rename(elsewhere)
        try:
            with capture_logs() as logs:
                clock.advance(HOUR)
                await worker.end_bake({"services": services}, release.id, release.timer.id)
                await worker.sweep({"services": services})
        finally:
            elsewhere.rename(database)
        await eventually(lambda: is_over(services, release))

    assert {"bake not ended, the sweep will end it", "sweep put off"} <= {log["event"] for log in logs}


# --- health and real time ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
async def test_a_worker_shows_that_it_lives(services: Services, settings: Settings) -> None:
    """From its start to its end, and not without one, nor where there is no Redis."""
    assert not await is_healthy(settings.redis_url)
    async with working(services):
        await eventually(lambda: is_healthy(settings.redis_url))
    assert not await is_healthy(settings.redis_url)
    assert not await is_healthy("unix:///nonexistent/valkey.sock")


async def test_a_real_bake_ends_within_a_second_of_its_deadline(services: Services, settings: Settings) -> None:
    """Three tenths of a second by the real clock, ended by its job."""
    async with open_services(settings) as real, working(real):
        await eventually(lambda: is_healthy(settings.redis_url))
        release = await start_release(real, phase("one", 0.3 * SECOND))
        assert release.timer is not None
        await eventually(lambda: is_over(real, release))

    ended = (await stored(services, release)).ended_at
    assert ended is not None
    assert 0 * SECOND <= ended - release.timer.deadline < SECOND


async def test_a_release_that_cannot_be_read_keeps_no_other_waiting(services: Services, clock: Clock) -> None:
    """A body that this version does not understand is logged, and every other bake ends."""
    broken, sound = [await start_release(services, phase("only"), key=key) for key in ("broken", "sound")]
    documents = services.store.collection("releases")
    found = await documents.get(broken.id)
    assert found is not None
    assert await documents.replace(Document(found.id, 2, found.keys, '{"of": "another version"}'), 1)
    clock.advance(HOUR)

    with capture_logs() as logs:
        assert await services.engine.settle_due() == 1

    assert (await stored(services, sound)).status is ReleaseStatus.COMPLETED
    assert [entry["release"] for entry in logs if entry["event"] == "bake not ended"] == [broken.id]
