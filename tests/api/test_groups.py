"""Who is told together must not depend on each other: not on a socket that is torn off, nor on an event that fails."""

import asyncio
import socket
import sqlite3
from contextlib import suppress
from typing import Any

import msgspec
import pytest
import uvloop
from msgspec import structs
from starlette.websockets import WebSocket, WebSocketState
from structlog.typing import EventDict
from websockets.frames import Frame, Opcode

from app.api.group import Group
from app.api.members import LINE, Gone, Line, Member
from app.api.sharing import Groups
from app.api.subscriptions import EventsOf, MatchingReleases
from app.api.types import RecordedEvent
from app.domain.releases import Release, ReleaseAction
from app.services import Services, open_services
from app.settings import Settings
from app.store.repositories import ReleaseFilter
from tests.domain.builders import ADMIN, ON, OPERATOR, phase
from tests.scene import act, eventually, make_feature, start_release, stored

pytestmark = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)

PAUSE, UNPAUSE = ReleaseAction.PAUSE, ReleaseAction.UNPAUSE


class Peer:
    """A socket's far end: what it was told. Its messages go through Starlette, as a server's do."""

    def __init__(self, line: Line | None = None) -> None:
        self.told: list[Any] = []
        self.line = line or Line()
        self.websocket = WebSocket({"type": "websocket", "extensions": {LINE: self.line}}, self._receive, self._send)
        self.websocket.application_state = WebSocketState.CONNECTED
        self.member = Member(self.websocket, "1", lambda: None)

    async def _receive(self) -> Any:
        raise AssertionError("nobody reads it here")

    async def _send(self, message: Any) -> None:
        frame = msgspec.json.decode(message["text"])
        self.told.append(frame.get("payload"))

    def leave(self) -> None:
        """Close, so that sending raises."""
        self.websocket.application_state = WebSocketState.DISCONNECTED


async def sequence(event: object) -> str:
    """The answer to a question that asks for the sequence."""
    assert isinstance(event, RecordedEvent)
    return str(event.event.sequence)


async def revision(release: object) -> str:
    """The answer to a question that asks for feature and revision."""
    assert isinstance(release, Release)
    return msgspec.json.encode([release.feature_key, release.revision]).decode()


def frames(*sequences: int) -> bytes:
    """The messages that tell of those events, as they are on the wire."""
    texts = [f'{{"id":"1","type":"next","payload":{each}}}'.encode() for each in sequences]
    return b"".join(Frame(Opcode.TEXT, text).serialize(mask=False) for text in texts)


@pytest.fixture
def groups(services: Services) -> Groups:
    return Groups(services.hub, services.releases)


async def test_a_closed_group_does_not_take_the_next_one_with_it(services: Services, groups: Groups) -> None:
    """Whose socket closes while it joins is let go of later, when others have a new group of the same question."""
    release = await start_release(services, phase("a"))
    source = EventsOf(services.hub, release.id, 0)
    left = Peer()
    left.leave()
    first: Group[EventsOf] = groups.of("question", source, sequence)
    with suppress(Gone):
        await first.join(left.member, source)
    assert len(groups) == 0
    peer = Peer()
    await groups.of("question", source, sequence).join(peer.member, source)

    first.leave(left.member)

    assert len(groups) == 1
    await act(services, release, PAUSE)
    await eventually(lambda: peer.told == [1, 2, 3])


async def test_an_event_that_cannot_be_rendered_now_is_read_from_the_record(
    services: Services, groups: Groups, logs: list[EventDict]
) -> None:
    """The executor fails once: everybody still hears that event, once, and the next."""
    release = await start_release(services, phase("a"))
    failures = [RuntimeError("out of luck")]

    async def render(event: object) -> str:
        if failures and isinstance(event, RecordedEvent) and event.event.sequence == 3:
            raise failures.pop()
        return await sequence(event)

    source = EventsOf(services.hub, release.id, 0)
    peers = [Peer(), Peer()]
    for peer in peers:
        await groups.of("question", source, render).join(peer.member, source)
    await act(services, release, PAUSE)
    await eventually(lambda: [peer.told for peer in peers] == [[1, 2, 3]] * 2)
    assert not failures
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == [
        "change not told, subscribers read the record"
    ]
    logs.clear()
    await act(services, await stored(services, release), UNPAUSE)
    await eventually(lambda: [peer.told for peer in peers] == [[1, 2, 3, 4]] * 2)


async def test_events_that_wait_are_written_together(services: Services, groups: Groups) -> None:
    """What comes while another is told is one write for each socket; who joins or leaves meanwhile has its own."""
    release = await start_release(services, phase("a"))
    source, begun, may_go_on = EventsOf(services.hub, release.id, 0), asyncio.Event(), asyncio.Event()

    async def render(event: object) -> str:
        if isinstance(event, RecordedEvent) and event.event.sequence == 3 and not begun.is_set():
            begun.set()
            await may_go_on.wait()
        return await sequence(event)

    lines: list[list[bytes]] = [[], [], []]
    peers = [Peer(), Peer(), Peer()]
    group: Group[EventsOf] = groups.of("question", source, render)
    for peer, written in zip(peers[:2], lines, strict=False):
        peer.line.write = written.append
        await group.join(peer.member, source)
    await act(services, release, PAUSE)
    await begun.wait()
    for action in (UNPAUSE, PAUSE):
        await act(services, await stored(services, release), action)
    group.leave(peers[1].member)
    peers[2].line.write = lines[2].append
    await group.join(peers[2].member, source)
    may_go_on.set()

    await eventually(lambda: len(lines[0]) == 2)
    assert lines[0] == [frames(3), frames(4, 5)]
    await act(services, await stored(services, release), UNPAUSE)
    await eventually(lambda: len(lines[0]) == 3 and len(lines[2]) == 1)
    assert (lines[0][2], lines[2], lines[1]) == (frames(6), [frames(6)], [])
    assert [peer.told for peer in peers] == [[1, 2], [1, 2], [1, 2, 3, 4, 5]]


async def test_what_was_read_before_it_was_announced_is_not_told_again(services: Services, groups: Groups) -> None:
    """A change is on record and not announced yet when somebody joins: each member hears of each revision once."""
    release = await start_release(services, phase("a"))
    source = MatchingReleases(services.hub, ReleaseFilter())
    before, after = Peer(), Peer()
    await groups.of("question", source, revision).join(before.member, source)
    changed = structs.replace(release, revision=release.revision + 1)
    assert await services.releases.save(changed)
    await groups.of("question", source, revision).join(after.member, source)

    await make_feature(services, None, "other")
    _, other = await services.catalog.update_feature("other", ON, None, None, OPERATOR)
    await eventually(lambda: len(before.told) == 2)  # the group is idle again, and still has to hear of the change
    await services.hub.announce(changed)
    await services.hub.announce(structs.replace(changed, revision=changed.revision + 1))

    told_after = [["checkout", 2], ["other", other.revision], ["checkout", 3]]
    await eventually(lambda: len(before.told) == 4 and len(after.told) == 3)
    assert after.told == told_after
    assert before.told == [["checkout", 1], ["other", other.revision], ["checkout", 2], ["checkout", 3]]


async def test_a_release_that_cannot_be_read_keeps_no_other_from_being_told(
    services: Services, settings: Settings
) -> None:
    """Of a burst beyond what waits in memory one release is spoilt before it is read: the others are told."""
    spoilt = await start_release(services, phase("a"))
    await make_feature(services, None, "other")
    _, good = await services.catalog.update_feature("other", ON, None, None, ADMIN)
    with services.hub.watch_all() as watcher:
        for number in range(2, 50):
            await services.hub.announce(*(structs.replace(each, revision=number) for each in (spoilt, good)))
        with sqlite3.connect(settings.store_url.removeprefix("sqlite:///")) as connection:
            connection.execute("UPDATE releases SET body = '{}' WHERE id = ?", (spoilt.id,))
        async with asyncio.timeout(10):
            assert (await watcher.next()).id == good.id
        assert not watcher.has_waiting


async def test_a_list_leaves_out_what_cannot_be_read(services: Services, settings: Settings, groups: Groups) -> None:
    """The newest releases, more than a page of them, are spoilt: who lists all is told of the one that is not."""
    good = await start_release(services, phase("a"))
    for number in range(3):
        await make_feature(services, None, f"spoilt-{number}")
        await services.catalog.update_feature(f"spoilt-{number}", ON, None, None, ADMIN)
    with sqlite3.connect(settings.store_url.removeprefix("sqlite:///")) as connection:
        connection.execute("UPDATE releases SET body = '{}' WHERE id != ?", (good.id,))

    page = await services.releases.page(ReleaseFilter(), 2, None)
    assert ([release.id for release in page.values], page.has_next) == ([good.id], False)
    source = MatchingReleases(services.hub, ReleaseFilter())
    peer = Peer()
    await groups.of("question", source, revision).join(peer.member, source)
    assert peer.told == [["checkout", 1]]


def test_a_socket_that_is_torn_off_costs_nobody_else_an_event(settings: Settings) -> None:
    """On uvloop, as it is served: the transport in the middle is closed without a word, and both beside it hear all."""

    async def play() -> None:
        async with open_services(settings) as services:
            await services.store.prepare()
            release = await start_release(services, phase("a"))
            source = EventsOf(services.hub, release.id, 2)
            groups = Groups(services.hub, services.releases)
            ends = []
            for _ in range(3):
                near, far = socket.socketpair()
                transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=near)
                line = Line()
                line.write = transport.write
                await groups.of("question", source, sequence).join(Peer(line).member, source)
                ends.append((transport, far))
            ends[1][0].abort()
            await asyncio.sleep(0.05)
            with pytest.raises(RuntimeError):
                ends[1][0].write(b"this is what happens to who is told")

            await act(services, release, PAUSE)
            for _, far in (ends[0], ends[2]):
                far.setblocking(False)
                frame = await asyncio.get_running_loop().sock_recv(far, 1000)
                assert frame.endswith(b'{"id":"1","type":"next","payload":3}')
            for transport, far in ends:
                transport.close()
                far.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(play(), 30))
