"""What can be watched: every event once and in order, every release as it changes, and nothing left behind."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from gql import gql
from gql.client import AsyncClientSession
from gql.transport.exceptions import TransportQueryError

from app.domain.features import FeatureKind
from app.domain.releases import ReleaseAction
from app.services import Services
from tests.api.serving import Api, close_of, heard, say, serving
from tests.conftest import Clock
from tests.domain.builders import ADMIN, OFF, ON, phase, review, spec
from tests.scene import act, eventually, make_environments, make_feature, make_pipeline, start_release

ON_SQLITE = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)

EVENTS = """subscription($id: ID!, $after: Int) {
    releaseEvents(releaseId: $id, after: $after) { sequence type fromStatus toStatus release { revision } }
}"""
RELEASES = """subscription($filter: ReleaseFilter) {
    releases(filter: $filter) { id status revision feature { key } currentPhase { name } }
}"""


async def watch(session: AsyncClientSession, subscription: str, **variables: object) -> AsyncIterator[dict[str, Any]]:
    """What a subscription tells, for as long as it does; five seconds of silence fail."""
    request = gql(subscription)
    request.variable_values = variables
    told = session.subscribe(request)
    try:
        while True:
            async with asyncio.timeout(5):
                answer = await anext(told, None)
            if answer is None:
                return
            (value,) = answer.values()
            yield value
    finally:
        await told.aclose()


async def take(told: AsyncIterator[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """The next few things that a subscription tells."""
    return [await anext(told) for _ in range(count)]


async def no_watchers(services: Services) -> None:
    """Fails unless the hub soon watches for nobody."""
    await eventually(lambda: services.hub.watchers == 0)


# --- the events of one release ----------------------------------------------------------------------------------------


async def test_events_come_from_the_record_and_then_live_until_the_release_is_over(api: Api) -> None:
    """Each once and in order, 1, 2, 3, ...; the subscription completes by itself after the last one."""
    services = api.services
    release = await start_release(services, phase("a"), review("b"))
    async with api.socket() as session:
        told = watch(session, EVENTS, id=release.id)
        events = await take(told, 2)
        release = (await act(services, release, ReleaseAction.PAUSE)).release
        events += await take(told, 1)
        release = (await act(services, release, ReleaseAction.SKIP)).release
        release = (await act(services, release, ReleaseAction.APPROVE)).release
        await act(services, release, ReleaseAction.FULL_ROLL_OUT)
        events += [event async for event in told]

    assert [event["sequence"] for event in events] == list(range(1, 10))
    assert [(event["type"], event["toStatus"]) for event in events] == [
        ("RELEASE_STARTED", "IN_PROGRESS"),
        ("PHASE_RELEASED", "IN_PROGRESS"),
        ("BAKE_PAUSED", "PAUSED"),
        ("PHASE_SKIPPED", "PAUSED"),
        ("REVIEW_REQUESTED", "WAITING_FOR_REVIEW"),
        ("PHASE_APPROVED", "WAITING_FOR_REVIEW"),
        ("PHASE_RELEASED", "IN_PROGRESS"),
        ("FULLY_ROLLED_OUT", "IN_PROGRESS"),
        ("RELEASE_COMPLETED", "COMPLETED"),
    ]
    assert [event["fromStatus"] for event in events] == [None, *(event["toStatus"] for event in events[:-1])]
    await no_watchers(services)


@ON_SQLITE
async def test_after_says_what_has_been_seen(api: Api) -> None:
    """`after: N` goes on with N+1; null is 0; beyond the record it waits for what is still to come."""
    release = await start_release(api.services, phase("a"))
    async with api.socket() as session:
        assert [event["sequence"] for event in await take(watch(session, EVENTS, id=release.id, after=1), 1)] == [2]
        assert [e["sequence"] for e in await take(watch(session, EVENTS, id=release.id, after=None), 2)] == [1, 2]
        told = watch(session, EVENTS, id=release.id, after=3)
        waiting = asyncio.create_task(anext(told))
        await eventually(lambda: api.services.hub.watchers == 1)
        release = (await act(api.services, release, ReleaseAction.PAUSE)).release  # event 3 has been seen
        await act(api.services, release, ReleaseAction.ABORT)
        assert (await waiting)["sequence"] == 4
        assert [event async for event in told] == []
        assert [event async for event in watch(session, EVENTS, id=release.id, after=4)] == []
        assert [event async for event in watch(session, EVENTS, id=release.id, after=2**31 - 1)] == []
    await no_watchers(api.services)


@ON_SQLITE
async def test_events_of_nothing_are_an_error_that_leaves_the_socket_open(api: Api) -> None:
    """An unknown release is NOT_FOUND, a negative `after` BAD_USER_INPUT; the socket carries the next operation."""
    release = await start_release(api.services, phase("a"))
    async with api.socket() as session:
        for variables, extensions in (
            ({"id": "rel_0"}, {"code": "NOT_FOUND"}),
            ({"id": ""}, {"code": "NOT_FOUND"}),
            ({"id": release.id, "after": -1}, {"code": "BAD_USER_INPUT", "argument": "after"}),
        ):
            with pytest.raises(TransportQueryError) as refused:
                await take(watch(session, EVENTS, **variables), 1)
            assert refused.value.errors is not None
            assert refused.value.errors[0]["extensions"] == extensions
        assert len(await take(watch(session, EVENTS, id=release.id), 2)) == 2
    await no_watchers(api.services)


# --- releases as they change ------------------------------------------------------------------------------------------


async def test_a_dashboard_gets_what_stands_and_then_each_change(api: Api, clock: Clock) -> None:
    """First each release as it is now, the newest first; then each again whenever it changes, new ones included."""
    services = api.services
    first = await start_release(services, phase("a"), phase("b"))
    pipeline = await services.pipelines.get(first.pipeline_id or "")
    clock.advance(timedelta(seconds=1))
    await make_feature(services, pipeline, "second")
    _, second = await services.catalog.update_feature("second", ON, None, None, ADMIN)

    async with api.socket() as session:
        told = watch(session, RELEASES)
        assert [shown["id"] for shown in await take(told, 2)] == [second.id, first.id]
        await act(services, first, ReleaseAction.SKIP)
        await act(services, second, ReleaseAction.ABORT)
        await make_feature(services, pipeline, "third")
        _, third = await services.catalog.update_feature("third", ON, None, None, ADMIN)
        assert await take(told, 3) == [
            {
                "id": first.id,
                "status": "IN_PROGRESS",
                "revision": 2,
                "feature": {"key": "checkout"},
                "currentPhase": {"name": "b"},
            },
            {
                "id": second.id,
                "status": "ABORTED",
                "revision": 2,
                "feature": {"key": "second"},
                "currentPhase": None,
            },
            {
                "id": third.id,
                "status": "IN_PROGRESS",
                "revision": 1,
                "feature": {"key": "third"},
                "currentPhase": {"name": "a"},
            },
        ]


@ON_SQLITE
async def test_a_filter_lets_in_and_lets_go(api: Api) -> None:
    """Only what matches is told; a change by which a release stops matching is told once."""
    services = api.services
    release = await start_release(services, phase("a"))
    other = await make_pipeline(services, phase("a"), name="Other")
    await make_feature(services, other, "elsewhere")
    _, elsewhere = await services.catalog.update_feature("elsewhere", ON, None, None, ADMIN)

    filters = {
        "paused": {"status": ["PAUSED"]},
        "mine": {"featureKey": "checkout"},
        "other": {"pipelineId": other.id},
    }
    async with api.socket() as session:
        told = {name: watch(session, RELEASES, filter=filter) for name, filter in filters.items()}
        assert (await anext(told["mine"]))["id"] == release.id
        assert (await anext(told["other"]))["id"] == elsewhere.id
        news = asyncio.create_task(anext(told["paused"]))
        await eventually(lambda: services.hub.watchers == 3)
        for action in (ReleaseAction.PAUSE, ReleaseAction.UNPAUSE, ReleaseAction.ABORT):
            await act(services, release, action)
        await act(services, elsewhere, ReleaseAction.PAUSE)

        paused = [await news, *await take(told["paused"], 2)]
        assert [(each["id"], each["status"]) for each in paused] == [
            (release.id, "PAUSED"),
            (release.id, "IN_PROGRESS"),
            (elsewhere.id, "PAUSED"),
        ]
        assert [each["status"] for each in await take(told["mine"], 3)] == ["PAUSED", "IN_PROGRESS", "ABORTED"]
        assert [each["status"] for each in await take(told["other"], 1)] == ["PAUSED"]


# --- sockets ----------------------------------------------------------------------------------------------------------


@ON_SQLITE
async def test_queries_mutations_and_subscriptions_share_one_socket(api: Api) -> None:
    """Any number of operations run side by side, each under its own id; a mutation's effect is told to the others."""
    services = api.services
    release = await start_release(services, phase("a"))
    assert release.current_phase is not None
    pause = f'mutation {{ pauseRelease(input: {{releaseId: "{release.id}", phaseId: "{release.current_phase.id}"}}) {{'
    async with api.socket() as session:
        told = [watch(session, RELEASES), watch(session, RELEASES), watch(session, EVENTS, id=release.id, after=2)]
        assert [(await anext(each))["revision"] for each in told[:2]] == [1, 1]
        news = asyncio.create_task(anext(told[2]))
        await eventually(lambda: services.hub.watchers == 2)  # two ask the same

        answer = await session.execute(gql(pause + " ... on ReleaseActionPayload { release { status } } } }"))

        assert answer == {"pauseRelease": {"release": {"status": "PAUSED"}}}
        assert [(await anext(each))["revision"] for each in told[:2]] == [2, 2]
        assert (await news)["type"] == "BAKE_PAUSED"
        assert (await session.execute(gql("{ viewer { role } }")))["viewer"]["role"] == "ADMIN"
    await no_watchers(services)


@ON_SQLITE
async def test_unsubscribing_frees_one_and_closing_frees_all(api: Api) -> None:
    """`complete` ends its own operation only; a socket that closes, or is torn off, leaves nothing watched."""
    services = api.services
    release = await start_release(services, phase("a"))
    async with api.raw_socket() as socket, api.raw_socket() as torn:
        for each, ids in ((socket, "abc"), (torn, "ab")):
            for id in ids:
                variables = {"id": release.id, "after": 1}
                await say(each, {"type": "subscribe", "id": id, "payload": {"query": EVENTS, "variables": variables}})
            assert {(await heard(each))["id"] for _ in ids} == set(ids)
        assert services.hub.watchers == 1  # they all ask the same

        await say(socket, {"type": "complete", "id": "b"})
        await say(socket, {"type": "ping"})
        assert (await heard(socket))["type"] == "pong"
        release = (await act(services, release, ReleaseAction.PAUSE)).release
        assert {(await heard(socket))["id"] for _ in "ac"} == {"a", "c"}

        torn.transport.abort()
        for id in "ac":
            assert services.hub.watchers == 1
            await say(socket, {"type": "complete", "id": id})
        await no_watchers(services)


@ON_SQLITE
async def test_clients_that_leave_in_the_middle_of_everything_leave_no_trace(api: Api) -> None:
    """Twelve sockets are torn off or closed for nonsense while changes pour in: no watcher and no error remains."""
    services = api.services
    release = await start_release(services, phase("a"))

    async def come_and_go(number: int) -> None:
        async with api.raw_socket(max_queue=None) as socket:  # or unread news would hide the close
            for id in range(3):
                await say(socket, {"type": "subscribe", "id": str(id), "payload": {"query": RELEASES}})
            await asyncio.sleep(0.02 * number)
            if number % 2:
                socket.transport.abort()
            else:
                await socket.send("nonsense")
                await close_of(socket)

    async def change() -> None:
        for number in range(60):
            await act(services, release, (ReleaseAction.PAUSE, ReleaseAction.UNPAUSE)[number % 2])

    await asyncio.gather(change(), *map(come_and_go, range(12)))

    await no_watchers(services)


@ON_SQLITE
async def test_a_client_that_does_not_read_holds_up_nobody_and_leaves_no_trace(api: Api) -> None:
    """While megabytes wait for one socket another hears every change; the slow one is torn off without an error."""
    services = api.services
    await make_environments(services)
    pipeline = await make_pipeline(services, phase("a"))
    sizes = [spec({"text": letter * 200_000}) for letter in "ab"]
    await services.catalog.create_feature("big", FeatureKind.DYNAMIC_CONFIG, None, sizes[0], pipeline.id, ADMIN)
    _, release = await services.catalog.update_feature("big", sizes[1], None, None, ADMIN)
    large = "subscription { releases { change { before { defaultValue } after { defaultValue } } } }"
    async with api.raw_socket(max_queue=1) as slow, api.socket() as session:
        for id in range(4):
            await say(slow, {"type": "subscribe", "id": str(id), "payload": {"query": large}})
        told = watch(session, EVENTS, id=release.id)
        assert len(await take(told, 2)) == 2
        for number in range(20):
            done = await act(services, release, (ReleaseAction.PAUSE, ReleaseAction.UNPAUSE)[number % 2])
            assert (await anext(told))["sequence"] == done.events[0].sequence
        slow.transport.abort()
    await no_watchers(services)


async def test_a_change_through_one_server_is_told_by_the_other(services: Services, neighbour: Services) -> None:
    """Two processes on one store and one Redis: whoever watches one of them misses nothing of what the other does."""
    async with serving(services) as here, serving(neighbour) as there:
        release = await start_release(services, phase("a"))
        assert release.current_phase is not None
        async with here.socket() as near, there.socket() as far:
            told = [watch(session, EVENTS, id=release.id, after=2) for session in (near, far)]
            lists = [watch(session, RELEASES, filter={"featureKey": "checkout"}) for session in (near, far)]
            assert [(await anext(each))["revision"] for each in lists] == [1, 1]
            phase_input = {"releaseId": release.id, "phaseId": release.current_phase.id}
            await here.mutate("pauseRelease", input=phase_input)
            await there.mutate("unpauseRelease", input=phase_input)
            await here.mutate("abortRelease", input={"releaseId": release.id})

            for each in told:
                events = [(event["sequence"], event["type"]) async for event in each]
                assert events == [(3, "BAKE_PAUSED"), (4, "BAKE_UNPAUSED"), (5, "RELEASE_ABORTED")]
            for each in lists:
                revisions = [1]
                while revisions[-1] < 4:  # a list may leave out a state that was over before it was read
                    revisions.append((await anext(each))["revision"])
                assert revisions == sorted(set(revisions))
        await no_watchers(services)
        await no_watchers(neighbour)


@ON_SQLITE
async def test_a_feature_that_is_turned_back_and_forth_is_told_each_time(api: Api) -> None:
    """Releases without phases are over when they start: a dashboard hears of each of them."""
    services = api.services
    await start_release(services)
    async with api.socket() as session:
        told = watch(session, RELEASES)
        assert (await anext(told))["status"] == "COMPLETED"
        for number in range(3):
            await services.catalog.update_feature("checkout", (OFF, ON)[number % 2], None, None, ADMIN)
        assert [each["status"] for each in await take(told, 3)] == ["COMPLETED"] * 3
