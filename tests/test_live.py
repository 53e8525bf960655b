"""What subscribers hear, across two processes and through everything that can be lost, slow or away."""

import asyncio
import gc
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from structlog.testing import capture_logs

from app.announcing import CHANNEL, RedisAnnouncer
from app.domain.problems import NotFound
from app.domain.releases import Release, ReleaseAction, ReleaseEvent, ReleaseStatus
from app.embedded import EmbeddedValkey
from app.services import Services, open_services
from app.settings import Settings
from app.store.documents import Collection
from app.store.repositories import ReleaseFilter
from tests.conftest import WHERE_REAL, Clock
from tests.domain.builders import HOUR, OFF, ON, OPERATOR, SECOND, phase
from tests.scene import act, eventually, make_environments, make_feature, start_release

T = TypeVar("T")
PAUSE, UNPAUSE, SKIP, ABORT = ReleaseAction.PAUSE, ReleaseAction.UNPAUSE, ReleaseAction.SKIP, ReleaseAction.ABORT
UNDER_WAY = (ReleaseStatus.WAITING_FOR_REVIEW, ReleaseStatus.IN_PROGRESS, ReleaseStatus.PAUSED)
EVERYTHING = ReleaseFilter()
NOWHERE = "unix:///nonexistent/valkey.sock"
DAYS = phase("days", 1000 * HOUR)


@asynccontextmanager
async def heard_by(subscription: AsyncGenerator[T, None]) -> AsyncIterator[list[T]]:
    """What a subscriber has heard that takes everything as soon as it comes."""
    heard: list[T] = []

    async def take() -> None:
        async for each in subscription:
            heard.append(each)  # noqa: PERF401 (others look at it meanwhile)

    taking = asyncio.create_task(take())
    try:
        yield heard
        if taking.done():
            await taking
    finally:
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)


async def heard_to_the_end(subscription: AsyncGenerator[T, None]) -> list[T]:
    """All that a subscription gives that ends."""
    async with asyncio.timeout(10):
        return [each async for each in subscription]


@asynccontextmanager
async def listening(process: Services) -> AsyncIterator[None]:
    """The process's hub runs and hears announcements."""
    before = await subscribers(process)

    async def more() -> bool:
        return await subscribers(process) > before

    async with process.hub.running():
        await eventually(more)
        yield


async def subscribers(process: Services) -> int:
    """How many processes listen on the channel."""
    ((_, count),) = await process.redis.pubsub_numsub(CHANNEL)
    return int(count)


def events(heard: list[tuple[Release, ReleaseEvent]]) -> tuple[ReleaseEvent, ...]:
    """The events alone."""
    return tuple(event for _, event in heard)


async def to_and_fro(process: Services, release: Release, times: int) -> Release:
    """Pause and unpause, so many changes in all."""
    for _ in range(times):
        release = (await act(process, release, UNPAUSE if release.status is ReleaseStatus.PAUSED else PAUSE)).release
    return release


# --- events of one release --------------------------------------------------------------------------------------------


@WHERE_REAL
@pytest.mark.parametrize("after", [0, 1, 3, 5])
async def test_events_come_from_the_record_and_then_live(services: Services, neighbour: Services, after: int) -> None:
    """Beyond `after`, each once and in order, from a change in another process too; they end with the release."""
    release = await start_release(services, phase("one"), phase("two"))
    release = (await act(services, release, PAUSE)).release
    async with listening(neighbour), heard_by(neighbour.hub.release_events(release.id, after)) as heard:
        await eventually(lambda: len(heard) == max(0, 3 - after))
        release = (await act(services, release, UNPAUSE)).release
        release = (await act(services, release, SKIP)).release
        await eventually(lambda: len(heard) == 6 - after)
        ended = (await act(services, release, ABORT)).release
        await eventually(lambda: neighbour.hub.watchers == 0)

    assert events(heard) == ended.history[after:]
    assert heard[-1][0] == ended


@WHERE_REAL
async def test_each_event_comes_with_the_release_at_or_beyond_it(services: Services) -> None:
    """So whoever shows the release beside the event never shows an older one."""
    release = await start_release(services, DAYS)
    async with heard_by(services.hub.release_events(release.id, 0)) as heard:
        await to_and_fro(services, release, 6)
        await eventually(lambda: len(heard) == 8)

    assert all(event in release.history for release, event in heard)


@WHERE_REAL
@pytest.mark.parametrize("after", [0, 2, 100])
async def test_the_events_of_a_release_that_is_over_are_read_and_end(services: Services, after: int) -> None:
    """Nothing is waited for."""
    release = await start_release(services, DAYS)
    ended = (await act(services, release, ABORT)).release

    assert events(await heard_to_the_end(services.hub.release_events(release.id, after))) == ended.history[after:]


@WHERE_REAL
async def test_a_release_unknown_is_not_found(services: Services) -> None:
    """The subscriber is told so, and nobody watches."""
    with pytest.raises(NotFound) as refusal:
        await heard_to_the_end(services.hub.release_events("rel_unknown", 0))

    assert refusal.value.id == "rel_unknown"
    assert services.hub.watchers == 0


@WHERE_REAL
async def test_a_storm_is_heard_whole_in_another_process(services: Services, neighbour: Services) -> None:
    """Eighty changes as fast as they go, and no poll to help: every subscriber hears every event once and in order."""
    release = await start_release(services, DAYS)
    subscriptions = [neighbour.hub.release_events(release.id, after) for after in (0, 1, 2, 10)]
    async with (
        listening(neighbour),
        heard_by(subscriptions[0]) as a,
        heard_by(subscriptions[1]) as b,
        heard_by(subscriptions[2]) as c,
        heard_by(subscriptions[3]) as d,
    ):
        await eventually(lambda: neighbour.hub.watchers == 4)
        for n in range(1, 9):
            release = await to_and_fro(services, release, 10)
            await eventually(lambda heard=2 + 10 * n: len(a) == heard)
        await eventually(lambda: bool(d) and d[-1][1] == release.history[-1])

    assert [events(heard) for heard in (a, b, c, d)] == [release.history[after:] for after in (0, 1, 2, 10)]


class Distant:
    """A collection so far away that what it answers is a moment old."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    def __getattr__(self, name: str) -> Callable[..., Awaitable[object]]:
        async def late(*asked: object) -> object:
            answer = await getattr(self._collection, name)(*asked)
            await asyncio.sleep(0.05)
            return answer

        return late


@WHERE_REAL
async def test_a_change_announced_during_a_read_is_not_lost(services: Services, settings: Settings) -> None:
    """What the hub reads may be overtaken by the next announcement, which is then read too."""
    release = await start_release(services, DAYS)
    async with open_services(settings) as reader:
        distant = Distant(reader.store.collection("releases"))
        reader.releases._collection = distant  # type: ignore[assignment]
        async with listening(reader), heard_by(reader.hub.release_events(release.id, 0)) as heard:
            await eventually(lambda: len(heard) == 2)
            release = await to_and_fro(services, release, 7)
            await eventually(lambda: len(heard) == 9)

    assert events(heard) == release.history


@WHERE_REAL
async def test_announcing_again_is_harmless(services: Services, neighbour: Services) -> None:
    """Subscribers drop what they have seen, and nonsense on the channel stops nobody."""
    release = await start_release(services, DAYS)
    async with listening(neighbour), heard_by(neighbour.hub.release_events(release.id, 0)) as heard:
        await eventually(lambda: len(heard) == 2)
        for _ in range(5):
            await RedisAnnouncer(services.redis).announce(release)
            await services.redis.publish(CHANNEL, b"\xff nonsense")
            await services.redis.publish(CHANNEL, b'{"id": "rel_unknown", "revision": 7}')
        release = (await act(services, release, PAUSE)).release
        await eventually(lambda: len(heard) >= 3)

    assert events(heard) == release.history


# --- slow is never lost -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
async def test_a_slow_subscriber_costs_little_and_misses_nothing(services: Services) -> None:
    """While 500 changes happen it takes nothing, and few of them are kept for it; then it hears all, in order."""
    release = await start_release(services, DAYS)
    async with (
        aclosing(services.hub.release_events(release.id, 0)) as slow,
        aclosing(services.hub.matching_releases(EVERYTHING)) as slow_list,
        heard_by(services.hub.release_events(release.id, 0)) as heard,
    ):
        assert (await anext(slow))[1] == release.history[0]
        assert await anext(slow_list) == release
        release = await to_and_fro(services, release, 500)
        await eventually(lambda: len(heard) == len(release.history))
        heard_events = events(heard)
        heard.clear()
        assert sum(type(each) is Release for each in gc.get_objects()) < 200

        rest = [(await anext(slow))[1] for _ in release.history[1:]]
        assert await anext(slow_list) == release

    assert rest == list(release.history[1:])
    assert heard_events == release.history


@WHERE_REAL
async def test_a_change_during_the_read_that_catches_up_is_not_lost(services: Services) -> None:
    """A slow watcher reads the record in turn; what is offered meanwhile is told after it."""
    release = await start_release(services, DAYS)
    with services.hub.watch(release.id) as watcher:
        for _ in range(100):
            watcher.offer(release)
        reading = asyncio.create_task(watcher.next())
        await asyncio.sleep(0)
        watcher.offer(release)

        async with asyncio.timeout(5):
            assert await reading == release
            assert await watcher.next() == release


@WHERE_REAL
async def test_a_slow_list_hears_of_every_release_that_changed(services: Services) -> None:
    """A hundred releases come while it takes nothing: then it is told each as it stands."""
    await make_environments(services)
    await make_feature(services)
    async with aclosing(services.hub.matching_releases(EVERYTHING)) as slow:
        first = asyncio.create_task(anext(slow))
        await eventually(lambda: services.hub.watchers == 1)
        made = await direct_changes(services, 100)
        async with asyncio.timeout(10):
            told = [await first, *[await anext(slow) for _ in made[1:]]]

    assert sorted(told, key=lambda release: release.number) == made


# --- lists ------------------------------------------------------------------------------------------------------------


async def direct_changes(process: Services, count: int) -> list[Release]:
    """So many releases of `checkout` that are over at once."""
    return [
        (await process.catalog.update_feature("checkout", OFF if n % 2 else ON, None, None, OPERATOR))[1]
        for n in range(count)
    ]


@WHERE_REAL
async def test_a_list_begins_with_what_is_there_the_newest_first(
    services: Services, neighbour: Services, clock: Clock
) -> None:
    """Then it tells of each change, in whatever process, and of new releases."""
    there = []
    for n in range(3):
        there.append(await start_release(services, DAYS, key=f"f{n}"))
        clock.advance(SECOND)
    async with listening(neighbour), heard_by(neighbour.hub.matching_releases(EVERYTHING)) as heard:
        await eventually(lambda: len(heard) == 3)
        assert heard == there[::-1]

        paused = (await act(services, there[0], PAUSE)).release
        await eventually(lambda: len(heard) == 4)
        new = await start_release(neighbour, DAYS, key="new")
        await eventually(lambda: len(heard) == 5)

    assert heard[3:] == [paused, new]


@WHERE_REAL
async def test_a_release_that_stops_matching_is_told_once_more(services: Services, clock: Clock) -> None:
    """So that a list can let go of it; what it does then is none of the list's business until it matches again."""
    release = await start_release(services, phase("one", 1000 * HOUR), phase("two", 1000 * HOUR))
    running = ReleaseFilter(statuses=(ReleaseStatus.IN_PROGRESS,))
    async with heard_by(services.hub.matching_releases(running)) as heard:
        await eventually(lambda: len(heard) == 1)
        paused = (await act(services, release, PAUSE)).release
        unpaused = (await act(services, paused, UNPAUSE)).release
        skipped = (await act(services, unpaused, SKIP)).release
        paused_again = (await act(services, skipped, PAUSE)).release
        aborted = (await act(services, paused_again, ABORT)).release
        marker = await start_release(services, DAYS, key="marker")
        await eventually(lambda: marker in heard)

    assert heard == [release, paused, unpaused, skipped, paused_again, marker]
    assert aborted not in heard


@WHERE_REAL
async def test_a_list_holds_what_its_filter_admits(services: Services, clock: Clock) -> None:
    """By feature, pipeline, status and time of start, for what is there and for what comes."""
    old = await start_release(services, DAYS, key="old")
    clock.advance(SECOND)
    one = await start_release(services, DAYS, key="one")
    clock.advance(SECOND)
    moment = clock.now()
    filters = [
        ReleaseFilter(feature_key="one"),
        ReleaseFilter(pipeline_id=one.pipeline_id, statuses=UNDER_WAY),
        ReleaseFilter(started_after=old.started_at, started_before=moment),
        ReleaseFilter(feature_key="one", statuses=(ReleaseStatus.ABORTED,)),
        ReleaseFilter(statuses=()),
    ]
    subscriptions = [services.hub.matching_releases(filter) for filter in filters]
    async with (
        heard_by(subscriptions[0]) as by_feature,
        heard_by(subscriptions[1]) as by_pipeline,
        heard_by(subscriptions[2]) as by_time,
        heard_by(subscriptions[3]) as by_status,
        heard_by(subscriptions[4]) as by_nothing,
    ):
        await eventually(lambda: [len(by_feature), len(by_pipeline), len(by_time)] == [1, 1, 1])
        await start_release(services, DAYS, key="new")
        await act(services, old, PAUSE)
        aborted = (await act(services, one, ABORT)).release
        await eventually(lambda: [len(by_feature), len(by_pipeline), len(by_time), len(by_status)] == [2, 2, 2, 1])

    assert by_feature == by_pipeline == by_time == [one, aborted]
    assert by_status == [aborted]
    assert by_nothing == []


@WHERE_REAL
async def test_a_long_list_comes_whole_while_it_changes(services: Services, clock: Clock) -> None:
    """More than one page, with changes between the pages: what the subscriber knows at the end is what is on record."""
    releases = [await start_release(services, DAYS, key="careful")]
    clock.advance(SECOND)
    await make_feature(services)
    releases += await direct_changes(services, 130)
    told: list[Release] = []
    async with aclosing(services.hub.matching_releases(EVERYTHING)) as subscription:
        while len(told) < 50:
            told.append(await anext(subscription))
        paused = await to_and_fro(services, releases[0], 1)
        new = (await direct_changes(services, 1))[0]
        async with asyncio.timeout(10):
            while len(told) < 132:
                told.append(await anext(subscription))

    assert len({each.id for each in told}) == 132
    assert {each.id: each for each in told} == {each.id: each for each in (*releases[1:], paused, new)}
    assert told[:50] == sorted(told[:50], key=lambda each: (each.started_at, each.id), reverse=True)


# --- nothing is held for those who have gone --------------------------------------------------------------------------


@WHERE_REAL
async def test_unsubscribing_frees_the_hub(services: Services) -> None:
    """Closed while it waits, cancelled, or never read to the end: nobody watches any more."""
    release = await start_release(services, DAYS)
    async with (
        heard_by(services.hub.release_events(release.id, 0)),
        heard_by(services.hub.matching_releases(EVERYTHING)),
    ):
        await eventually(lambda: services.hub.watchers == 2)
    assert services.hub.watchers == 0

    async with (
        aclosing(services.hub.release_events(release.id, 0)) as some,
        aclosing(services.hub.matching_releases(EVERYTHING)) as list,
    ):
        await anext(some)
        await anext(list)
        assert services.hub.watchers == 2
    assert services.hub.watchers == 0


# --- what was never announced -----------------------------------------------------------------------------------------


@asynccontextmanager
async def polling(settings: Settings, clock: Clock) -> AsyncIterator[Services]:
    """A process that polls often."""
    async with open_services(settings.model_copy(update={"poll_seconds": 0.05}), clock) as process:
        yield process


@WHERE_REAL
async def test_a_change_never_announced_is_found(services: Services, settings: Settings, clock: Clock) -> None:
    """The writer cannot reach Redis at all: subscribers in another process hear of it from the poll."""
    clock.advance(HOUR)  # ahead of the real time, from which the poll looks back
    release = await start_release(services, DAYS)
    deaf = settings.model_copy(update={"redis_url": NOWHERE})
    async with (
        open_services(deaf, clock) as writer,
        polling(settings, clock) as reader,
        listening(reader),
        heard_by(reader.hub.release_events(release.id, 0)) as heard,
        heard_by(reader.hub.matching_releases(EVERYTHING)) as heard_by_list,
    ):
        await eventually(lambda: (len(heard), len(heard_by_list)) == (2, 1))
        release = await to_and_fro(writer, release, 3)
        new = await start_release(writer, DAYS, key="new")
        await eventually(lambda: len(heard) == 5 and new in heard_by_list)

    assert events(heard) == release.history
    assert release in heard_by_list


@WHERE_REAL
async def test_redis_may_go_and_come_back(store_url: str, clock: Clock) -> None:
    """Changes made meanwhile are heard all the same, and afterwards announcements are listened to again."""
    with tempfile.TemporaryDirectory(prefix="slipway-") as folder:
        async with EmbeddedValkey(Path(folder)) as valkey:
            settings = Settings(store_url=store_url, redis_url=valkey.url, admin_token="x" * 20)  # type: ignore[arg-type]
            clock.advance(HOUR)
            async with open_services(settings, clock) as writer, polling(settings, clock) as reader:
                await writer.store.prepare()
                release = await start_release(writer, DAYS)
                async with listening(reader), heard_by(reader.hub.release_events(release.id, 0)) as heard:
                    await eventually(lambda: len(heard) == 2)
                    await valkey.stop()
                    release = await to_and_fro(writer, release, 3)
                    await eventually(lambda: len(heard) == 5)

                    await valkey.start()
                    await eventually(lambda: is_listened_to(writer))
                    release = await to_and_fro(writer, release, 3)
                    await eventually(lambda: len(heard) == 8)

    assert events(heard) == release.history


async def is_listened_to(process: Services) -> bool:
    return await subscribers(process) == 1


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
async def test_the_hub_outlives_its_store(settings: Settings, services: Services, clock: Clock, tmp_path: Path) -> None:
    """What is announced while the record cannot be read is read when it is back."""
    clock.advance(HOUR)
    release = await start_release(services, DAYS)
    async with open_services(settings.model_copy(update={"redis_url": NOWHERE}), clock) as deaf:
        release = await to_and_fro(deaf, release, 1)
    database, elsewhere = tmp_path / "slipway.db", tmp_path / "elsewhere.db"
    async with polling(settings, clock) as reader:
        with reader.hub.watch(release.id) as watcher, capture_logs() as logs:
            database.rename(elsewhere)
            async with listening(reader):
                await RedisAnnouncer(services.redis).announce(release)
                await eventually(lambda: "changed releases not read, trying again" in [log["event"] for log in logs])
                await eventually(lambda: "changes not polled" in [log["event"] for log in logs])
                elsewhere.rename(database)

                async with asyncio.timeout(5):
                    assert await watcher.next() == release
