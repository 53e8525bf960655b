"""Many bakes that end together: one prompt settles them all, workers share them, and nobody else waits for it."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from msgspec import structs
from structlog.testing import capture_logs

from app import claims, worker
from app.announcing import CHANNEL, Announcement
from app.claims import Claims
from app.domain.releases import Release, SpecChange
from app.domain.transitions import start
from app.services import Services, open_services
from app.settings import Settings
from app.store.documents import Document
from app.timers import QUEUE, BakeTimers, connect
from tests import killed_drain
from tests.api.serving import serving
from tests.conftest import Clock
from tests.domain.builders import (
    HOUR,
    MINUTE,
    OFF,
    ON,
    OPERATOR,
    SECOND,
    ZERO,
    event_names,
    feature,
    phase,
    pipeline,
    review,
)
from tests.domain.builders import statuses as phases_of
from tests.scene import eventually

ROOT = Path(__file__).parents[1]
ON_SQLITE = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
TWO_PHASES = pipeline(phase("one"), phase("two"))
SETTLED_ONCE = ("RELEASE_STARTED", "PHASE_RELEASED", "PHASE_COMPLETED", "PHASE_RELEASED")


async def baking(
    services: Services, number: int, step: timedelta = ZERO, *, first: int = 0, after: timedelta = ZERO
) -> list[Release]:
    """So many releases in the first of two phases, whose bakes end in an hour and `after` that, each with its job.

    Each deadline is a `step` before the one before, so that the order of ids is not that of deadlines.
    """
    began = services.clock.now() + after
    releases = [
        start(
            f"rel_{n:05d}",
            1,
            structs.replace(feature(), id=f"fea_{n}", key=f"f{n}"),
            SpecChange(OFF, ON),
            TWO_PHASES,
            OPERATOR.actor,
            began - (n - first) * step,
        )
        for n in range(first, first + number)
    ]
    for begin in range(0, number, 50):
        await asyncio.gather(*map(services.releases.add, releases[begin : begin + 50]))
    redis = connect(services.settings.redis_url)
    await BakeTimers(redis).set(*releases)
    await redis.aclose(close_connection_pool=True)
    return releases


async def make_unreadable(services: Services, release: Release) -> None:
    """Let its body be one that this version does not understand."""
    documents = services.store.collection("releases")
    found = await documents.get(release.id)
    assert found is not None
    assert await documents.replace(Document(found.id, 2, found.keys, '{"of": "another version"}'), 1)


@asynccontextmanager
async def announced(services: Services) -> AsyncIterator[list[Announcement]]:
    """What is announced to the end of the block."""
    heard: list[Announcement] = []
    async with services.redis.pubsub() as channel:
        await channel.subscribe(CHANNEL)

        async def listen() -> None:
            async for message in channel.listen():
                if message["type"] == "message":
                    heard.append(msgspec.json.decode(message["data"], type=Announcement))  # noqa: PERF401 (seen at once)

        listening = asyncio.create_task(listen())
        yield heard
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def assert_settled_once(services: Services, releases: list[Release]) -> None:
    """Each has gained the end of its first bake and the start of the next, in one write, and no more."""
    found = await services.releases.get_many([release.id for release in releases])
    assert len(found) == len(releases)
    assert {tuple(event_names(each.history)) for each in found.values()} == {SETTLED_ONCE}
    assert {tuple(event.sequence for event in each.history) for each in found.values()} == {(1, 2, 3, 4)}
    assert {each.revision for each in found.values()} == {2}


async def test_one_job_settles_all_that_is_due(services: Services, clock: Clock) -> None:
    """Each is announced and has its next timer; the jobs of the others leave the queue, and none of them has failed."""
    releases = await baking(services, 150)
    later = await baking(services, 1, first=150, after=MINUTE)
    clock.advance(HOUR)

    async with announced(services) as heard:
        await worker.end_bake({"services": services}, releases[7].id, "2")
        await eventually(lambda: len(heard) >= 150)

    await assert_settled_once(services, releases)
    assert Counter((each.id, each.revision) for each in heard) == Counter((each.id, 2) for each in releases)
    queued = {id.decode() for id in await services.redis.zrange(QUEUE, 0, -1)}
    its_own = "bake:rel_00007:2"  # which arq takes out when it has ended
    assert queued - {its_own} == {f"bake:{each.id}:4" for each in releases} | {f"bake:{each.id}:2" for each in later}
    await worker.end_bake({"services": services}, releases[8].id, "2")
    await assert_settled_once(services, releases)


async def test_a_worker_that_drains_leaves_no_job_behind(services: Services, clock: Clock) -> None:
    """Jobs that were taken just then find nothing to do and end well; the worker takes jobs again afterwards."""
    releases = await baking(services, 150)
    clock.advance(HOUR)
    jobs = await services.redis.zrange(QUEUE, 0, -1)
    await services.redis.zadd(QUEUE, dict.fromkeys(jobs, 1))
    at_work = worker.make_worker(services)
    working = asyncio.create_task(at_work.async_run())

    async def no_first_timer() -> bool:
        return await services.redis.zcount(QUEUE, 0, 1) == 0 and not services.engine.is_draining

    try:
        await eventually(no_first_timer)
        await assert_settled_once(services, releases)
        assert at_work.jobs_failed == 0
        await eventually(lambda: at_work.allow_pick_jobs)
    finally:
        await worker.close(at_work, working)


async def test_bakes_end_in_the_order_of_their_deadlines(services: Services, clock: Clock) -> None:
    """Within the two batches that are under way at a time, what was due first is announced first."""
    releases = await baking(services, 400, SECOND)
    clock.advance(HOUR)

    async with announced(services) as heard:
        assert await services.engine.settle_due() == 400
        await eventually(lambda: len(heard) >= 400)

    places = {each.id: place for place, each in enumerate(heard)}
    assert len(places) == len(heard) == 400
    for place, release in enumerate(reversed(releases)):
        assert abs(places[release.id] - place) < 128


async def test_workers_share_what_is_due(services: Services, neighbour: Services, clock: Clock) -> None:
    """Two at once, one release among many unreadable: the others are each written once, and both did some of them."""
    releases = await baking(services, 400)
    broken = releases.pop(100)
    await make_unreadable(services, broken)
    clock.advance(5 * HOUR)

    async with announced(services) as heard:
        with capture_logs() as logs:
            ended = await asyncio.gather(*(process.engine.settle_due() for process in (services, neighbour)))
        await eventually(lambda: len(heard) >= 399)

    await assert_settled_once(services, releases)
    assert Counter(each.id for each in heard) == Counter(each.id for each in releases)
    assert min(ended) > 0
    assert {entry["release"] for entry in logs if entry["event"] == "bake not ended"} == {broken.id}


@ON_SQLITE
async def test_more_unreadable_releases_than_one_look_finds_hide_no_other(
    services: Services, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those with the earliest deadlines cannot be read; the one behind them ends all the same."""
    monkeypatch.setattr("app.engine._DUE_AT_A_TIME", 5)
    releases = await baking(services, 13, -SECOND)
    for release in releases[:12]:
        await make_unreadable(services, release)
    clock.advance(2 * HOUR)

    with capture_logs():
        assert await services.engine.settle_due() == 1

    await assert_settled_once(services, releases[12:])


async def test_a_drain_passes_no_review_and_no_second_phase(services: Services, clock: Clock) -> None:
    """However late it comes: one phase for each release, and review is waited for."""
    releases = await baking(services, 70)
    through = pipeline(phase("one"), review("two"))
    of = structs.replace(feature(), id="fea_r", key="r")
    reviewed = await services.engine.start(of, None, SpecChange(OFF, ON), through, OPERATOR.actor)
    clock.advance(100 * HOUR)

    assert await services.engine.settle_due() == 71
    assert await services.engine.settle_due() == 0

    await assert_settled_once(services, releases)
    found = await services.releases.get(reviewed.id)
    assert found is not None
    assert phases_of(found) == ["COMPLETED", "WAITING_FOR_REVIEW"]


async def test_what_falls_due_during_a_drain_is_not_left_behind(services: Services, clock: Clock) -> None:
    """Its job returns at once, since a drain is under way, and that one looks again before it ends."""
    early = await baking(services, 200)
    late = await baking(services, 1, first=200, after=MINUTE)
    clock.advance(HOUR)

    draining = asyncio.create_task(services.engine.settle_due())
    await asyncio.sleep(0)
    assert services.engine.is_draining
    clock.advance(HOUR)  # before any of them is settled, or its next bake would be due at once
    await services.engine.end_bake(late[0].id, "2")
    assert not draining.done()
    await draining

    await assert_settled_once(services, early + late)


@ON_SQLITE
async def test_the_api_answers_while_a_thousand_bakes_end(services: Services, clock: Clock) -> None:
    """In the process that drains, as in `slipway dev`: queries and actions are answered long before it is done."""
    releases = await baking(services, 1_000)
    (other,) = await baking(services, 1, first=1_000, after=HOUR)
    clock.advance(HOUR)
    on_other = {"input": {"releaseId": other.id, "phaseId": other.phases[0].id}}
    answered = {"query": 0, "pauseRelease": 0, "unpauseRelease": 0}

    async with serving(services) as api:
        draining = asyncio.create_task(services.engine.settle_due())
        try:
            while not draining.done():
                answer = await api.ask("query ($id: ID!) { release(id: $id) { status } }", id=other.id)
                assert answer["release"]["status"] == "IN_PROGRESS"
                answered["query"] += not draining.done()
                for mutation in ("pauseRelease", "unpauseRelease"):
                    assert (await api.mutate(mutation, **on_other))["__typename"] == "ReleaseActionPayload"
                    answered[mutation] += not draining.done()
        finally:
            assert await draining == 1_000

    await assert_settled_once(services, releases)
    assert min(answered.values()) >= 1, answered


async def test_what_a_killed_worker_had_begun_the_next_one_ends(
    services: Services, settings: Settings, clock: Clock
) -> None:
    """Killed with -9 in the middle: each is settled once, those that it had claimed and not begun too."""
    clock.advance(-2 * HOUR)  # they are due by the real clock
    releases = await baking(services, 500)
    environment = os.environ | {
        "SLIPWAY_STORE_URL": settings.store_url,
        "SLIPWAY_REDIS_URL": settings.redis_url,
        "SLIPWAY_ADMIN_TOKEN": "x" * 20,
        "SLIPWAY_LOG_LEVEL": "error",
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", killed_drain.__name__),
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    assert await process.wait() == -signal.SIGKILL
    assert 0 < len(await services.releases.due(clock.now() + HOUR, 1_000)) < 500

    async with open_services(settings) as next:
        await next.engine.settle_due()

    await assert_settled_once(services, releases)


# --- claims -----------------------------------------------------------------------------------------------------------


@ON_SQLITE
async def test_a_claim_is_given_once_until_it_lapses_or_is_given_back(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two processes one has a release at a revision, the order is kept, and another revision is another claim."""
    one, other = Claims(services.redis), Claims(services.redis)
    due = [(f"rel_{n}", 1) for n in range(10)]

    assert await one.take(due[2:5]) == due[2:5]
    assert await other.take(due) == due[:2] + due[5:]
    assert await one.take(due) == []
    assert await one.take([("rel_0", 2)]) == [("rel_0", 2)]
    await one.give_back(due[3:4])
    assert await other.take(due) == due[3:4]

    monkeypatch.setattr(claims, "LAPSE_SECONDS", 0.01)
    assert await one.take([("rel_x", 1)]) == [("rel_x", 1)]

    async def has_lapsed() -> bool:
        return await other.take([("rel_x", 1)]) == [("rel_x", 1)]

    await eventually(has_lapsed)


@ON_SQLITE
async def test_without_redis_every_claim_is_granted(settings: Settings) -> None:
    """Nothing is left undone for want of a claim. (One that hangs is not asked with every batch: test_patience.)"""
    nowhere = settings.model_copy(update={"redis_url": "unix:///nonexistent/valkey.sock"})
    async with open_services(nowhere) as alone:
        with capture_logs() as logs:
            taking = Claims(alone.redis)
            assert await taking.take([("rel_1", 1)]) == [("rel_1", 1)]
            assert await taking.take([("rel_1", 1)]) == [("rel_1", 1)]
            await taking.give_back([("rel_1", 1)])
    assert [entry["event"] for entry in logs].count("due bakes not shared with other workers") == 2
