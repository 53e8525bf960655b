"""What each process serves from memory, on each store: how it hears of changes, and what it does when it cannot."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import permutations

import pytest
from msgspec import structs

from app.announcing import CHANNEL
from app.domain.comparing import Json
from app.domain.evaluation import Evaluation
from app.domain.features import Feature, FeatureKind
from app.domain.releases import Release, ReleaseAction, ReleaseStatus
from app.domain.targeting import Context
from app.engine import new_id
from app.services import Services, open_services
from app.settings import Settings
from app.snapshot import EnvironmentView, Snapshot
from tests.api.test_outages import gone
from tests.conftest import Clock
from tests.domain.builders import ADMIN, HOUR, OFF, ON, SECOND, do, member_of, phase, rule, spec
from tests.scene import act, eventually, make_environments, make_feature, make_pipeline, skip, start_release, stored

ABORT, FULL_ROLL_OUT, PAUSE, SKIP = (
    ReleaseAction.ABORT,
    ReleaseAction.FULL_ROLL_OUT,
    ReleaseAction.PAUSE,
    ReleaseAction.SKIP,
)
ANN: Context = {"targetingKey": "ann"}
PRODUCTION = "production"
ON_SQLITE = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)

# What is not announced is found by the poll, which looks often in these tests.
POLLING = pytest.mark.parametrize("poll_seconds", [0.05])


@pytest.fixture
def poll_seconds() -> float:
    """Seconds between two polls: so many that a test sees announcements alone."""
    return 60


@pytest.fixture
def settings(settings: Settings, poll_seconds: float) -> Settings:
    """As ever, but for how often it polls."""
    return settings.model_copy(update={"poll_seconds": poll_seconds})


def snapshot_of(process: Services) -> Snapshot[Evaluation]:
    """A snapshot that shows evaluations as they are."""

    def show(feature: Feature, found: Evaluation) -> Evaluation:
        return found

    parts = process.hub, process.features, process.releases, process.sdk_key_list
    return Snapshot(*parts, process.settings.poll_seconds, show)


@asynccontextmanager
async def following(process: Services) -> AsyncIterator[Snapshot[Evaluation]]:
    """The snapshot of a process that hears announcements, from the moment that it is loaded."""
    snapshot = snapshot_of(process)
    ((_, before),) = await process.redis.pubsub_numsub(CHANNEL)

    async def hears() -> bool:
        ((_, count),) = await process.redis.pubsub_numsub(CHANNEL)
        return bool(count > before)

    async with process.hub.running(), snapshot.running():
        await eventually(hears)
        await eventually(lambda: snapshot.is_loaded)
        yield snapshot


def gives(snapshot: Snapshot[Evaluation], context: Context = ANN, key: str = "checkout") -> Json:
    """What a context gets in production; None where there is no such feature."""
    served = snapshot.served(key)
    return None if served is None else served.plan(PRODUCTION).decide(context).value


def version(snapshot: Snapshot[Evaluation]) -> str:
    """The version of production."""
    return snapshot.view(PRODUCTION).version


# --- hearing ----------------------------------------------------------------------------------------------------------


async def test_it_is_loaded_at_the_start(services: Services, neighbour: Services) -> None:
    """Every feature with its latest release, and every key, from before it was there: more than fit on one page."""
    release = await start_release(services, phase("canary"), phase("most"))
    await services.features.add(feature_like(services, "spare"))
    for n in range(250):
        await services.features.add(feature_like(services, f"feature-{n}"))
    key, secret = await services.sdk_keys.create("Shop", PRODUCTION, None, ADMIN)
    async with following(neighbour) as snapshot:
        assert gives(snapshot, member_of("canary")) is True
        assert gives(snapshot, member_of("most")) is False
        served = snapshot.served("checkout")
        assert served is not None
        assert served.plan(PRODUCTION).decide(member_of("canary")).release_id == release.id
        assert len(snapshot.view(PRODUCTION).plans) == 252
        assert snapshot.key_of(secret) == key
        assert snapshot.key_of("slk_none") is None


def feature_like(services: Services, key: str) -> Feature:
    """A gate that is not stored yet."""
    now = services.clock.now()
    return Feature(new_id("fea", now), key, FeatureKind.FEATURE_GATE, None, OFF, None, now)


async def test_a_release_of_another_process_is_followed_to_its_end(
    services: Services, neighbour: Services, clock: Clock
) -> None:
    """Each phase that another process releases or a timer ends, and the completion, are served after their news."""
    release = await start_release(services, phase("canary"), phase("most"))
    async with following(neighbour) as snapshot:
        assert [gives(snapshot, member_of(group)) for group in ("canary", "most", "x")] == [True, False, False]
        await act(services, release, SKIP)
        await eventually(lambda: gives(snapshot, member_of("most")) is True)
        assert gives(snapshot, member_of("x")) is False
        assert await skip(services, clock, 2 * HOUR) >= 1
        await eventually(lambda: gives(snapshot, member_of("x")) is True)
    assert (await stored(services, release)).status is ReleaseStatus.COMPLETED


async def test_an_abort_on_another_process_takes_back(services: Services, neighbour: Services) -> None:
    """Everybody gets the spec before, and the version is the one of before the release."""
    await make_environments(services)
    pipeline = await make_pipeline(services, phase("canary"))
    await make_feature(services, pipeline)
    async with following(neighbour) as snapshot:
        before = version(snapshot)
        _, release = await services.catalog.update_feature("checkout", ON, None, None, ADMIN)
        await eventually(lambda: gives(snapshot, member_of("canary")) is True)
        assert version(snapshot) != before
        await act(services, release, ABORT)
        await eventually(lambda: gives(snapshot, member_of("canary")) is False)
        assert version(snapshot) == before


async def test_a_new_feature_is_served(services: Services, neighbour: Services) -> None:
    """On the process that made it and on others, and so is its first release that comes before it was read."""
    async with following(services) as here, following(neighbour) as there:
        await start_release(services, phase("canary"))
        for snapshot in (here, there):
            await eventually(lambda snapshot=snapshot: gives(snapshot, member_of("canary")) is True)
        assert version(here) == version(there)


async def test_keys_are_known_and_unknown_at_once(services: Services, neighbour: Services, clock: Clock) -> None:
    """A key of another process lets in after its news, and no more after the news that it is revoked."""
    await make_environments(services)
    async with following(neighbour) as snapshot:
        key, secret = await services.sdk_keys.create("Shop", PRODUCTION, None, ADMIN)
        await eventually(lambda: snapshot.key_of(secret) == key)
        revoked = await services.sdk_keys.revoke(key.id, ADMIN)
        await eventually(lambda: snapshot.key_of(secret) == revoked)
        assert not revoked.is_valid(clock.now())


# --- what was never announced -----------------------------------------------------------------------------------------


async def write(services: Services, release: Release) -> None:
    """Put the next revision of a release on record, and tell nobody."""
    if release.revision == (await stored(services, release)).revision:
        release = structs.replace(release, revision=release.revision + 1)
    assert await services.releases.save(release)


@POLLING
async def test_a_change_that_nobody_announced_is_found(services: Services, neighbour: Services, clock: Clock) -> None:
    """A process that died between write and announcement, or Redis that lost it: the poll serves phase and abort."""
    release = await start_release(services, phase("canary"), phase("most"))
    async with following(neighbour) as snapshot:
        for action, expected in ((SKIP, True), (ABORT, False)):
            await write(services, do(await stored(services, release), action, now=clock.now()))
            await eventually(lambda expected=expected: gives(snapshot, member_of("most")) is expected)


@POLLING
async def test_features_and_keys_that_nobody_announced_are_found(
    services: Services, neighbour: Services, clock: Clock
) -> None:
    """A new feature, a new key and the end of one are served though no word of them came."""
    await make_environments(services)
    key, secret = await services.sdk_keys.create("Shop", PRODUCTION, None, ADMIN)
    async with following(neighbour) as snapshot:
        await services.features.add(feature_like(services, "quiet"))
        await eventually(lambda: gives(snapshot, key="quiet") is False)
        revoked = key.revoked(clock.now())
        assert await services.sdk_key_list.save(revoked)
        await eventually(lambda: snapshot.key_of(secret) == revoked)


@POLLING
async def test_a_change_that_came_on_record_late_is_found(
    services: Services, neighbour: Services, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that took half a minute bears the moment of its decision; now and then the poll looks so far back."""
    monkeypatch.setattr("app.live._WIDE_EVERY_SECONDS", 0.1)
    release = await start_release(services, phase("canary"), phase("most"))
    async with following(neighbour) as snapshot:
        await write(services, do(release, ABORT, now=clock.now() - 30 * SECOND))
        await eventually(lambda: gives(snapshot, member_of("canary")) is False)


@POLLING
async def test_what_cannot_be_read_hides_nothing_else(services: Services, neighbour: Services, clock: Clock) -> None:
    """A release of a newer version: others are followed, a new process loads, and its feature keeps its value."""
    strange = await start_release(services, phase("canary"))
    _, release = await _another(services)
    async with following(neighbour) as snapshot:
        known = await services.store.collection("releases").get(strange.id)
        assert known is not None
        body = known.body.replace('"status":"IN_PROGRESS"', '"status":"SLEEPING"')
        changed = structs.replace(known, revision=known.revision + 1, body=body)
        assert await services.store.collection("releases").replace(changed, known.revision)
        await neighbour.hub.announce_other(strange.id, changed.revision)
        await act(services, release, ABORT)
        await eventually(lambda: gives(snapshot, member_of("canary"), key="another") is False)
        assert gives(snapshot, member_of("canary")) is True
    async with following(services) as fresh:
        assert gives(fresh, member_of("canary"), key="another") is False
        assert fresh.served("checkout") is None


async def _another(services: Services) -> tuple[Feature, Release]:
    pipeline = await make_pipeline(services, phase("canary"), name="Another")
    await make_feature(services, pipeline, "another")
    return await services.catalog.update_feature("another", ON, None, None, ADMIN)


# --- the store is away ------------------------------------------------------------------------------------------------


@POLLING
@ON_SQLITE
async def test_without_the_store_it_serves_what_it_knew(
    services: Services, neighbour: Services, store_url: str
) -> None:
    """Evaluations go on and change nothing; what happens once the store is back is served."""
    release = await start_release(services, phase("canary"), phase("most"))
    _, secret = await services.sdk_keys.create("Shop", PRODUCTION, None, ADMIN)
    async with following(neighbour) as snapshot:
        before = version(snapshot)
        with gone(store_url):
            await services.hub.announce_other(new_id("fea", services.clock.now()), 1)
            await asyncio.sleep(0.3)  # it polls, and reads what is announced, in vain
            assert gives(snapshot, member_of("canary")) is True
            assert snapshot.key_of(secret) is not None
            assert version(snapshot) == before
        await act(services, release, SKIP)
        await eventually(lambda: gives(snapshot, member_of("most")) is True)
        await services.features.add(feature_like(services, "quiet"))
        await eventually(lambda: gives(snapshot, key="quiet") is False)


@POLLING
@ON_SQLITE
async def test_it_may_start_without_the_store(services: Services, settings: Settings, store_url: str) -> None:
    """Nothing is served rather than nothing known; it loads once the store answers."""
    await start_release(services, phase("canary"))
    async with open_services(settings, services.clock) as late:
        snapshot = snapshot_of(late)
        with gone(store_url):
            running = AsyncExitStack()
            await running.enter_async_context(late.hub.running())
            await running.enter_async_context(snapshot.running())
            await asyncio.sleep(0.2)
            assert not snapshot.is_loaded
            assert gives(snapshot) is None
        async with running:
            await eventually(lambda: snapshot.is_loaded)
            assert gives(snapshot, member_of("canary")) is True


# --- tellings, and versions -------------------------------------------------------------------------------------------


@ON_SQLITE
async def test_tellings_come_in_any_order_and_number(services: Services, neighbour: Services) -> None:
    """Late, twice, of what there is not: the newest is served in the end, as by who has just been started."""
    await make_environments(services)
    pipeline = await make_pipeline(services, phase("canary"), phase("most"))
    await make_feature(services, pipeline)
    async with AsyncExitStack() as running:
        snapshots = [await loaded(services, running) for _ in range(24)]
        _, first = await neighbour.catalog.update_feature("checkout", ON, None, None, ADMIN)
        second = (await act(neighbour, first, SKIP)).release
        third = (await act(neighbour, second, ABORT)).release
        _, fourth = await neighbour.catalog.update_feature("checkout", spec(False, rule(True)), None, None, ADMIN)
        fourth = (await act(neighbour, fourth, FULL_ROLL_OUT)).release
        fresh = await loaded(services, running)
        for snapshot, order in zip(snapshots, permutations((first, second, third, fourth)), strict=True):
            assert version(snapshot) != version(fresh)
            for release in (*order, *order):
                snapshot.release_changed(release)
                snapshot.other_changed(release.id)
            for id in ("fea_none", "sdk_none", "", "x", "rel_none"):
                snapshot.other_changed(id)
            assert gives(snapshot) is True
            assert version(snapshot) == version(fresh)


async def loaded(process: Services, running: AsyncExitStack) -> Snapshot[Evaluation]:
    """A snapshot that has been loaded, and hears only what a test tells it: the hub of its process does not run."""
    snapshot = snapshot_of(process)
    await running.enter_async_context(snapshot.running())
    await eventually(lambda: snapshot.is_loaded)
    assert version(snapshot)  # there from now on, so that it is kept up and not made anew
    return snapshot


@ON_SQLITE
async def test_the_same_state_has_the_same_version_however_it_came(services: Services, neighbour: Services) -> None:
    """Two processes that hear of changes of several features in different order agree in the end."""
    await make_environments(services)
    keys = ("a", "b", "c")
    for key in keys:
        pipeline = await make_pipeline(services, phase("canary"), phase("most"), name=key)
        await make_feature(services, pipeline, key)
    releases = list[Release]()
    async with AsyncExitStack() as running:
        early, late = [await loaded(services, running) for _ in range(2)]
        assert version(early) == version(late)
        for key in keys:
            _, release = await neighbour.catalog.update_feature(key, ON, None, None, ADMIN)
            releases += [release, (await act(neighbour, release, SKIP)).release]
        for at, release in enumerate(releases, 1):
            early.release_changed(release)
            if at < len(releases):
                assert version(early) != version(late)
                late.release_changed(releases[-at])
        late.release_changed(releases[0])
        fresh = await loaded(services, running)
        assert version(early) == version(late) == version(fresh)
        assert version(fresh) != fresh.view("staging").version == late.view("staging").version


async def test_a_pause_changes_no_version(services: Services, neighbour: Services) -> None:
    """Whatever nobody's answer depends on leaves the version as it was, on every process."""
    release = await start_release(services, phase("canary"), phase("most"))
    async with following(services) as here, following(neighbour) as there:
        before = version(here), version(there)
        for action in (PAUSE, ReleaseAction.UNPAUSE, PAUSE):
            release = (await act(services, release, action)).release
        served = there.served("checkout")
        await eventually(lambda: there.served("checkout") is not served)
        assert (version(here), version(there)) == before


async def test_a_change_is_waited_for(services: Services, neighbour: Services) -> None:
    """A refetch that names a change of another process waits for it to be here, and for one that is known does not."""
    release = await start_release(services, phase("canary"), phase("most"))
    async with following(neighbour) as snapshot:
        async with asyncio.timeout(5):
            await snapshot.caught_up(f"{release.id}.{release.revision}", 60)
        changed = (await act(services, release, SKIP)).release
        async with asyncio.timeout(5):
            await snapshot.caught_up(f"{changed.id}.{changed.revision}", 60)
        assert gives(snapshot, member_of("most")) is True
        await snapshot.caught_up(f"{changed.id}.999", 0.01)


async def test_who_is_woken_before_they_sleep_is_woken() -> None:
    """A change in the moment between the making of a task that waits and its first step is not missed."""
    view = EnvironmentView[Evaluation](PRODUCTION, {})
    waiting = asyncio.create_task(view.changed())
    view.wake()
    async with asyncio.timeout(5):
        await waiting
