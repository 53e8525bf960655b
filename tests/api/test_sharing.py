"""Subscriptions that ask the same question are executed once, and everybody still gets exactly their own answer."""

import asyncio
import random
from collections import defaultdict
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection

from app.api.context import Context
from app.api.operations import Prepared
from app.domain.access import Role
from app.domain.features import FeatureKind
from app.domain.releases import Release, ReleaseAction
from app.services import Services
from tests.api.serving import Api, heard, say
from tests.api.test_queries import selection
from tests.domain.builders import ADMIN, ON, phase, review, spec
from tests.scene import act, eventually, make_environments, make_feature, make_pipeline, start_release

ON_SQLITE = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)

EVENTS = "subscription($id: ID!, $after: Int) { releaseEvents(releaseId: $id, after: $after) { sequence type } }"
RELEASES = "subscription { releases { id revision status } }"
MENU = """subscription($id: ID!, $after: Int) { releaseEvents(releaseId: $id, after: $after) {
    sequence release { availableActions { action allowed reason } }
} }"""


async def subscribe(socket: ClientConnection, operation: str, query: str, **variables: object) -> None:
    await say(socket, {"type": "subscribe", "id": operation, "payload": {"query": query, "variables": variables}})


async def told(socket: ClientConnection) -> Any:
    """What the next message tells: the value of its one field."""
    message = await heard(socket)
    assert message["type"] == "next", message
    (value,) = message["payload"]["data"].values()
    return value


@pytest.fixture
def executions(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The events that were executed for many."""
    done: list[object] = []
    execute = Prepared.execute

    async def counted(self: Prepared, root_value: object, context: Context) -> Any:
        if root_value is not None:
            done.append(root_value)
        return await execute(self, root_value, context)

    monkeypatch.setattr(Prepared, "execute", counted)
    return done


async def token(api: Api, role: Role) -> dict[str, object]:
    """connection_init of somebody with a role."""
    _, secret = await api.services.tokens.create(f"Somebody {role.value}", role, timedelta(hours=1), ADMIN)
    return {"type": "connection_init", "payload": {"authorization": f"Bearer {secret}"}}


async def signed_in(stack: AsyncExitStack, api: Api, init: dict[str, object]) -> ClientConnection:
    socket = await stack.enter_async_context(api.raw_socket(init=False))
    await say(socket, init)
    assert (await heard(socket))["type"] == "connection_ack"
    return socket


@ON_SQLITE
@pytest.mark.parametrize("query", [EVENTS, RELEASES], ids=["events", "releases"])
async def test_one_question_of_many_is_executed_once(api: Api, executions: list[object], query: str) -> None:
    """Ten sockets with three operations each: each is told from the record by itself, and a change is executed once."""
    release = await start_release(api.services, phase("a"))
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(api.raw_socket()) for _ in range(10)]
        for number, socket in enumerate(sockets):
            for id in "abc":
                # What is each subscriber's own does not part them.
                own = {"id": release.id, "after": number % 2} if query is EVENTS else {}
                await subscribe(socket, id, query, **own)
        first = [await heard(socket) for socket in sockets for _ in range(3)]
        assert all(message["type"] == "next" for message in first)
        await eventually(lambda: api.services.hub.watchers == 1)
        if query is EVENTS:
            for number, socket in enumerate(sockets):
                for _ in range(3 * (1 - number % 2)):
                    await heard(socket)
        executions.clear()

        await act(api.services, release, ReleaseAction.PAUSE)
        for socket in sockets:
            messages = [await heard(socket) for _ in range(3)]
            assert sorted(message["id"] for message in messages) == ["a", "b", "c"]
            assert len({msgspec.json.encode(message["payload"]) for message in messages}) == 1
        assert len(executions) == 1
    await eventually(lambda: api.services.hub.watchers == 0)


@ON_SQLITE
async def test_an_answer_for_the_caller_is_never_anothers(api: Api) -> None:
    """Two operators, an approver and a viewer with one document: each menu is the one of who asked."""
    release = await start_release(api.services, review("a"))
    async with AsyncExitStack() as stack:
        roles = (Role.VIEWER, Role.OPERATOR, Role.OPERATOR, Role.APPROVER)
        sockets = [await signed_in(stack, api, await token(api, role)) for role in roles]
        for socket in sockets:
            await subscribe(socket, "1", MENU, id=release.id, after=1)
        for live in (False, True):
            if live:
                release = (await act(api.services, release, ReleaseAction.SKIP, bypass=True, reason="late")).release
            for socket, role in zip(sockets, roles, strict=True):
                menu = {each["action"]: each for each in (await told(socket))["release"]["availableActions"]}
                assert menu["APPROVE"]["allowed"] is (role is Role.APPROVER and not live)
                assert ("role OPERATOR" in (menu["ABORT"]["reason"] or "")) is (role is Role.VIEWER)


@ON_SQLITE
async def test_roles_and_variables_part_and_names_of_operations_do_not_confuse(
    api: Api, executions: list[object]
) -> None:
    """Four roles, two filters and two documents are as many questions; two operations of one document are two."""
    release = await start_release(api.services, phase("a"))
    filtered = "subscription($f: ReleaseFilter) { releases(filter: $f) { id } }"
    both = "subscription A { releases { id } } subscription B { releases { status } }"
    async with AsyncExitStack() as stack:
        asked = 0
        for role in Role:
            socket = await signed_in(stack, api, await token(api, role))
            for status in ("IN_PROGRESS", "PAUSED"):
                await subscribe(socket, status, filtered, f={"status": [status]})
                asked += 1
            for name in "AB":
                payload = {"query": both, "operationName": name}
                await say(socket, {"type": "subscribe", "id": name, "payload": payload})
                asked += 1
            answers = {
                message["id"]: message["payload"]["data"]["releases"]
                for message in [await heard(socket) for _ in range(3)]
            }
            assert answers == {
                "IN_PROGRESS": {"id": release.id},
                "A": {"id": release.id},
                "B": {"status": "IN_PROGRESS"},
            }
        await eventually(lambda: api.services.hub.watchers == asked)
        executions.clear()
        await act(api.services, release, ReleaseAction.PAUSE)
        await eventually(lambda: len(executions) == asked)


@ON_SQLITE
async def test_what_is_shared_knows_no_caller(api: Api, executions: list[object]) -> None:
    """Every field that a subscription can reach, but those that are for the caller, answers without one."""
    release = await start_release(api.services, review("a"), phase("b"))
    every = selection("ReleaseEvent", depth=5).replace("availableActions { ", "SPLIT{ ")
    without_menus = _without(every, "SPLIT{")
    query = f"subscription($id: ID!) {{ releaseEvents(releaseId: $id) {without_menus} }}"
    assert "availableActions" not in query
    async with api.raw_socket() as socket:
        await subscribe(socket, "1", query, id=release.id)
        message = await heard(socket)
        assert message["type"] == "next"
        assert "errors" not in message["payload"], message["payload"]["errors"]
    assert executions


def _without(text: str, opening: str) -> str:
    """A selection without those that begin like that."""
    while (start := text.find(opening)) >= 0:
        depth, end = 0, start
        while True:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
            if depth == 0 and text[end - 1] == "}":
                break
        text = text[:start] + text[end:]
    return text


@ON_SQLITE
async def test_a_question_that_fails_fails_for_who_asked(api: Api) -> None:
    """A release that is not there, a variable that is wrong: an answer to each, and their ids can be used again."""
    release = await start_release(api.services, phase("a"))
    async with api.raw_socket() as socket:
        for variables, code in (({"id": "rel_none"}, "NOT_FOUND"), ({"id": release.id, "after": -1}, "BAD_USER_INPUT")):
            await subscribe(socket, "1", EVENTS, **variables)
            message = await heard(socket)
            errors = message["payload"]["errors"] if message["type"] == "next" else message["payload"]
            assert [each["extensions"]["code"] for each in errors] == [code]
            if message["type"] == "next":
                assert await heard(socket) == {"type": "complete", "id": "1"}
        await subscribe(socket, "1", EVENTS, id=release.id, after=1)
        assert (await told(socket))["sequence"] == 2
        await act(api.services, release, ReleaseAction.ABORT)
        assert (await told(socket))["sequence"] == 3
        assert await heard(socket) == {"type": "complete", "id": "1"}
        await subscribe(socket, "1", EVENTS, id=release.id, after=2)
        assert (await told(socket))["sequence"] == 3
        assert await heard(socket) == {"type": "complete", "id": "1"}
    assert api.services.hub.watchers == 0


async def big_release(services: Services) -> Release:
    """A release of a config so large that a few events fill every buffer."""
    await make_environments(services)
    pipeline = await make_pipeline(services, phase("a"))
    sizes = [spec({"text": letter * 100_000}) for letter in "ab"]
    await services.catalog.create_feature("big", FeatureKind.DYNAMIC_CONFIG, None, sizes[0], pipeline.id, ADMIN)
    return (await services.catalog.update_feature("big", sizes[1], None, None, ADMIN))[1]


@ON_SQLITE
@pytest.mark.parametrize("kind", ["events", "releases"])
async def test_a_slow_socket_holds_up_nobody_and_loses_nothing(api: Api, kind: str) -> None:
    """One of two that ask the same does not read: the other hears each change at once, the first all of it later."""
    services = api.services
    release = await big_release(services)
    change = "release { revision change { before { defaultValue } after { defaultValue } } }"
    query = (
        f"subscription($id: ID!) {{ releaseEvents(releaseId: $id, after: 2) {{ sequence {change} }} }}"
        if kind == "events"
        else f"subscription {{ releases {{ id {change[10:-2]} }} }}"
    )
    variables = {"id": release.id} if kind == "events" else {}
    async with api.raw_socket(max_queue=1) as slow, api.raw_socket() as quick:
        for socket in (slow, quick):
            await subscribe(socket, "1", query, **variables)
        if kind == "releases":
            assert (await told(quick))["revision"] == 1
        await eventually(lambda: services.hub.watchers == 1)
        await asyncio.sleep(0.05)
        for number in range(40):
            await act(services, release, (ReleaseAction.PAUSE, ReleaseAction.UNPAUSE)[number % 2])
            news = await told(quick)
            assert (news["sequence"] == number + 3) if kind == "events" else (news["revision"] == number + 2)
        if kind == "events":
            assert [(await told(slow))["sequence"] for _ in range(40)] == list(range(3, 43))
        else:
            revisions = [(await told(slow))["revision"]]
            while revisions[-1] < 41:
                revisions.append((await told(slow))["revision"])
            assert revisions == sorted(set(revisions))  # as it stands, each time that there was room for it

        await act(services, release, ReleaseAction.ABORT)  # it has joined the others again
        for socket in (quick, slow):
            news = await told(socket)
            assert news["sequence"] == 43 if kind == "events" else news["revision"] == 42
    await eventually(lambda: services.hub.watchers == 0)


@ON_SQLITE
async def test_who_leaves_while_behind_leaves_no_trace(api: Api) -> None:
    """A socket is torn off, and an operation completed, while they catch up: no watcher, task or error remains."""
    services = api.services
    release = await big_release(services)
    query = "subscription { releases { id revision change { before { defaultValue } after { defaultValue } } } }"
    async with api.raw_socket(max_queue=1) as torn, api.raw_socket(max_queue=1) as polite:
        for socket in (torn, polite):
            for id in "ab":
                await subscribe(socket, id, query)
        await eventually(lambda: services.hub.watchers == 1)
        for number in range(30):
            await act(services, release, (ReleaseAction.PAUSE, ReleaseAction.UNPAUSE)[number % 2])
        torn.transport.abort()
        for id in "ab":
            await say(polite, {"type": "complete", "id": id})
        await eventually(lambda: services.hub.watchers == 0)


# --- many at once -----------------------------------------------------------------------------------------------------

SOCKETS, OPERATIONS, FEATURES, TRANSITIONS = 100, 20, 25, 20

DOCUMENTS = {
    "plain": (EVENTS, {"sequence", "type"}),
    "actor": (EVENTS.replace("type", "actor { name } toStatus"), {"sequence", "actor", "toStatus"}),
    "menu": (MENU, {"sequence", "release"}),
}


class Subscriber:
    """What one operation asked for, and what it was told."""

    def __init__(self, document: str, release: Release, after: int, role: Role) -> None:
        self.document, self.release, self.after, self.role = document, release, after, role
        self.told: list[dict[str, Any]] = []
        self.left = False

    def check(self, last: int) -> None:
        """Exactly its events, in order, with exactly the fields that it asked for and may see."""
        sequences = [each["sequence"] for each in self.told]
        assert sequences == list(range(self.after + 1, self.after + 1 + len(sequences)))
        assert self.left or sequences[-1:] == [last] or self.after >= last
        for each in self.told:
            assert each.keys() == DOCUMENTS[self.document][1]
            if self.document == "menu":
                denied = any(
                    "You need the role OPERATOR" in (a["reason"] or "") for a in each["release"]["availableActions"]
                )
                assert denied is (self.role is Role.VIEWER)


@ON_SQLITE
async def test_two_thousand_subscribers_each_get_exactly_their_own(api: Api) -> None:
    """Roles, documents and `after` as they come, joining and leaving while 500 transitions happen in 25 releases."""
    services, chance = api.services, random.Random(5)
    await make_environments(services)
    pipeline = await make_pipeline(services, phase("a"))
    releases = []
    for number in range(FEATURES):
        await make_feature(services, pipeline, f"feature-{number}")
        releases.append((await services.catalog.update_feature(f"feature-{number}", ON, None, None, ADMIN))[1])
    inits = {role: await token(api, role) for role in (Role.VIEWER, Role.OPERATOR)}
    everybody: list[Subscriber] = []

    async def attend(stack: AsyncExitStack, number: int) -> None:
        role = chance.choice(list(inits))
        socket = await signed_in(stack, api, inits[role])
        mine: dict[str, Subscriber] = {}
        reading = asyncio.create_task(read(socket, mine))
        stack.callback(reading.cancel)
        for id in range(OPERATIONS):
            await asyncio.sleep(chance.random() * 0.2)
            document, release = chance.choice(list(DOCUMENTS)), chance.choice(releases)
            subscriber = Subscriber(document, release, chance.randrange(4), role)
            mine[str(id)] = subscriber
            everybody.append(subscriber)
            query = DOCUMENTS[document][0]
            await subscribe(socket, str(id), query, id=release.id, after=subscriber.after)
            if chance.random() < 0.2:
                left = chance.choice(list(mine))
                mine[left].left = True
                await say(socket, {"type": "complete", "id": left})

    async def read(socket: ClientConnection, mine: dict[str, Subscriber]) -> None:
        async for message in socket:
            answer = msgspec.json.decode(message)
            assert answer["type"] == "next", answer
            assert "errors" not in answer["payload"], answer
            mine[answer["id"]].told.append(answer["payload"]["data"]["releaseEvents"])

    async def change(release: Release) -> None:
        for number in range(TRANSITIONS):
            await asyncio.sleep(chance.random() * 0.3)
            release = (await act(services, release, (ReleaseAction.PAUSE, ReleaseAction.UNPAUSE)[number % 2])).release

    async with AsyncExitStack() as stack:
        await asyncio.gather(*(attend(stack, number) for number in range(SOCKETS)), *map(change, releases))
        last = 2 + TRANSITIONS

        def all_told() -> bool:
            return all(each.left or (each.told[-1:] and each.told[-1]["sequence"] == last) for each in everybody)

        await eventually(all_told, within=30)
    assert len(everybody) == SOCKETS * OPERATIONS
    counts: dict[str, int] = defaultdict(int)
    for each in everybody:
        each.check(last)
        counts[each.document] += len(each.told)
    assert all(counts[document] > 1_000 for document in DOCUMENTS)
    await eventually(lambda: services.hub.watchers == 0)
