"""Peers that send without end or never read: they cost bounded memory, and nobody else is kept from anything."""

import asyncio
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app import protocols
from app.domain.access import Role
from app.domain.features import FeatureKind, FeatureSpec
from app.services import Services, open_services
from app.settings import Settings
from tests.api.serving import PROTOCOL, Api, close_of, heard, say, serving
from tests.conftest import Clock
from tests.domain.builders import ADMIN
from tests.ofrep.calling import application
from tests.scene import make_environments

pytestmark = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)


@pytest.mark.parametrize("head", [b"POST /graphql HTTP/1.1\r\nX-Endless: ", b"GET /graphql?query="])
async def test_a_head_without_end_is_cut_off(api: Api, head: bytes) -> None:
    """The connection is closed after some kilobytes, long before the megabytes that were to come."""
    _, writer = await asyncio.open_connection("127.0.0.1", int(api.url.split(":")[2].split("/")[0]))
    sent = 0
    try:
        writer.write(head)
        async with asyncio.timeout(10):
            while sent < 50_000_000:
                writer.write(b"x" * 65_536)
                sent += 65_536
                await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()
    assert sent < 20_000_000
    assert (await api.post({"query": "{ __typename }"})).status_code == 200


@asynccontextmanager
async def connected(api: Api) -> AsyncIterator[tuple[StreamReader, StreamWriter]]:
    """A connection on which a test sends what it likes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def answer_of(reader: StreamReader, within: float = 5) -> bytes:
    """All that is said until the connection is closed; nothing if it is reset."""
    async with asyncio.timeout(within):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


def chunked(api: Api, query: bytes = b'{"query": "{ __typename }"}') -> bytes:
    """A request whose body comes in chunks, up to where its trailers begin."""
    head = f"POST /graphql HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.token}\r\n"
    head += "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head.encode() + b"%x\r\n%b\r\n0\r\n" % (len(query), query)


@pytest.mark.parametrize("piece", [b"x" * 65_536, b"a: b\r\n" * 10_000])
async def test_trailers_without_end_are_cut_off(api: Api, piece: bytes) -> None:
    """One that never ends, or ever more of them: closed after some kilobytes, long before the megabytes to come."""
    sent = 0
    async with connected(api) as (_, writer):
        writer.write(chunked(api) + b"a: ")
        try:
            async with asyncio.timeout(10):
                while sent < 50_000_000:
                    writer.write(piece)
                    sent += len(piece)
                    await writer.drain()
        except ConnectionError:
            pass
    assert sent < 20_000_000
    assert (await api.post({"query": "{ __typename }"})).status_code == 200


async def test_trailers_are_read_past(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few harm nobody: the request is answered, and so is the next; none becomes a header of either."""
    kept = []
    complete = protocols.BoundedHttp.on_message_complete

    def look(self: protocols.BoundedHttp) -> None:
        kept.extend(self.headers)
        complete(self)

    monkeypatch.setattr(protocols.BoundedHttp, "on_message_complete", look)
    async with connected(api) as (reader, writer):
        writer.write((chunked(api) + b"Digest: x\r\nSecond: y\r\n\r\n") * 2)
        for _ in range(2):
            async with asyncio.timeout(5):
                assert (await reader.readuntil(b'{"__typename":"Query"}}')).startswith(b"HTTP/1.1 200 ")
    assert len(kept) == 8
    assert not {b"digest", b"second"} & {name for name, _ in kept}


async def test_small_chunks_may_be_many(api: Api) -> None:
    """A body whose framing is many times as large as itself, and as a head may be, is a body all the same."""
    body = b'{"query": "{ __typename }"}'.ljust(20_000)
    head, end = chunked(api).split(b"\r\n\r\n")[0], b"0\r\n\r\n"
    async with connected(api) as (reader, writer):
        writer.write(head + b"\r\n\r\n")
        for start in range(0, len(body), 1_000):
            writer.write(b"".join(b"1;why=not\r\n%c\r\n" % byte for byte in body[start : start + 1_000]))
            await asyncio.sleep(0)
        writer.write(end)
        async with asyncio.timeout(5):
            assert (await reader.readuntil(b'{"__typename":"Query"}}')).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(("many", "status"), [(98, b"200"), (99, b"431"), (10_000, b"431")])
async def test_more_than_a_hundred_headers_are_refused(api: Api, many: int, status: bytes) -> None:
    """431, and the connection is closed; a hundred in all are answered."""
    async with connected(api) as (reader, writer):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + b"a:b\r\n" * many + b"\r\n")
        assert (await answer_of(reader)).startswith(b"HTTP/1.1 " + status + b" ")


# By what a peer sends before it falls silent: the deadline that ends it, and what it is told.
UNFINISHED = {
    "nothing": (b"", "SILENT_SECONDS", b""),
    "empty lines": (b"\r\n\r\n", "SILENT_SECONDS", b""),
    "a head": (b"POST /graphql HTTP/1.1\r\nHost: x\r\n", "HEAD_SECONDS", b"HTTP/1.1 408 "),
    "a handshake": (b"GET /graphql HTTP/1.1\r\nUpgrade: websocket\r\n", "HEAD_SECONDS", b"HTTP/1.1 408 "),
    "a body": (b"POST /graphql HTTP/1.1\r\n%b\r\nContent-Length: 9\r\n\r\n{", "BODY_SECONDS", b"HTTP/1.1 408 "),
    "an evaluation": (
        b"POST /ofrep/v1/evaluate/flags HTTP/1.1\r\nContent-Length: 9\r\n\r\n{", "BODY_SECONDS", b"HTTP/1.1 401 ",
    ),
    "a request, and empty lines": (
        b"GET /healthz HTTP/1.1\r\n\r\n", "SILENT_SECONDS", b"HTTP/1.1 200 ",
    ),
    "a request, and a head": (b"GET /healthz HTTP/1.1\r\n\r\nGET", "HEAD_SECONDS", b"HTTP/1.1 200 "),
}  # fmt: skip


@pytest.mark.parametrize("sent", UNFINISHED)
async def test_what_is_never_finished_is_not_held(api: Api, monkeypatch: pytest.MonkeyPatch, sent: str) -> None:
    """Whoever falls silent is let go when the time for that part is over, and told so where an answer is due."""
    begun, deadline, answer = UNFINISHED[sent]
    if b"%b" in begun:
        begun %= f"Content-Type: application/json\r\nAuthorization: Bearer {api.token}".encode()
    monkeypatch.setattr(protocols, deadline, 0.3)
    async with connected(api) as (reader, writer):
        writer.write(begun)
        if sent == "a request, and empty lines":
            await asyncio.sleep(0.1)
            writer.write(b"\r\n")
        started = time.monotonic()
        told = await answer_of(reader)
    assert told.startswith(answer)
    assert bool(told) == bool(answer)
    assert time.monotonic() - started > 0.15


async def test_a_head_that_drips_is_not_held(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then buys no more time."""
    monkeypatch.setattr(protocols, "HEAD_SECONDS", 0.3)
    async with connected(api) as (reader, writer):
        writer.write(b"GET /healthz HTTP/1.1\r\nX-Drip: ")
        answer = asyncio.create_task(answer_of(reader))
        while not answer.done():
            writer.write(b"x")
            await asyncio.sleep(0.02)
        assert (await answer)[:13] in (b"HTTP/1.1 408 ", b"")


async def test_what_goes_on_is_held(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A steady upload, an idle websocket, and a connection that has been answered, outlive what is not theirs."""
    for name in ("HEAD_SECONDS", "SILENT_SECONDS"):
        monkeypatch.setattr(protocols, name, 0.2)
    monkeypatch.setattr(protocols, "BODY_SECONDS", 5)
    body = b'{"query": "{ __typename }"}'.ljust(1_000_000)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 100_000):
            yield body[start : start + 100_000]
            await asyncio.sleep(0.05)

    headers = {"authorization": f"Bearer {api.token}", "content-type": "application/json"}
    async with connected(api) as (reader, writer), api.raw_socket() as socket:
        ask = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        writer.write(ask)
        async with asyncio.timeout(5):
            await reader.readuntil(b'"ok"}')
        assert (await api.http.post("/graphql", content=pieces(), headers=headers)).status_code == 200
        monkeypatch.setattr(protocols, "BODY_SECONDS", 0.2)
        await asyncio.sleep(0.3)
        await say(socket, {"type": "subscribe", "id": "1", "payload": {"query": "{ __typename }"}})
        assert (await heard(socket))["type"] == "next"
        writer.write(ask)
        async with asyncio.timeout(5):
            await reader.readuntil(b'"ok"}')


async def test_an_event_stream_is_held(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is whole may be answered for ever, whatever the deadlines."""
    for name in ("HEAD_SECONDS", "BODY_SECONDS", "SILENT_SECONDS"):
        monkeypatch.setattr(protocols, name, 0.2)
    await make_environments(api.services)
    (stream,) = (await (await application(api)).all()).json()["eventStreams"]
    async with connected(api) as (reader, writer):
        writer.write(f"GET {stream['endpoint']['requestUri']} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        async with asyncio.timeout(5):
            await reader.readuntil(b"retry: 1000\n\n")
        with pytest.raises(TimeoutError):
            await answer_of(reader, within=0.6)


async def test_a_socket_that_reads_nothing_keeps_no_other_token_from_being_revoked(api: Api) -> None:
    """Its holder may do nothing more, and the next token's socket is closed within seconds all the same."""
    big = FeatureSpec((), {"text": "x" * 200_000})
    await api.services.catalog.create_feature("big", FeatureKind.DYNAMIC_CONFIG, None, big, None, ADMIN)
    (deaf, deaf_secret), (other, other_secret) = [
        await api.services.tokens.create(name, Role.OPERATOR, None, ADMIN) for name in ("deaf", "other")
    ]
    aliases = " ".join(f'a{n}: feature(key: "big") {{ spec {{ defaultValue }} }}' for n in range(20))
    async with (
        api.raw_socket(init=False, max_queue=1) as stuck,
        api.raw_socket(init=False) as open_one,
    ):
        for socket, secret in ((stuck, deaf_secret), (open_one, other_secret)):
            await say(socket, {"type": "connection_init", "payload": {"authorization": f"Bearer {secret}"}})
            assert (await heard(socket))["type"] == "connection_ack"
        for n in range(8):
            await say(stuck, {"type": "subscribe", "id": str(n), "payload": {"query": f"{{ {aliases} }}"}})
        await asyncio.sleep(1)  # until nothing more of 32 MB fits between the two
        await api.services.tokens.revoke(deaf.id, ADMIN)
        await asyncio.sleep(3)
        await api.services.tokens.revoke(other.id, ADMIN)
        async with asyncio.timeout(8):
            assert (await close_of(open_one))[0] == 4403
        stuck.transport.abort()


@pytest.fixture
async def limited(settings: Settings, clock: Clock) -> AsyncIterator[Services]:
    """A process where a token may ask five times a minute."""
    async with open_services(settings.model_copy(update={"requests_per_minute": 5}), clock) as services:
        await services.store.prepare()
        yield services


async def test_operations_on_a_socket_count_as_requests(limited: Services) -> None:
    """The sixth within the minute is an `error` that says for how long to wait, whichever way the others came."""
    async with serving(limited) as api, api.raw_socket() as socket:
        for n in range(6):
            await say(socket, {"type": "subscribe", "id": str(n), "payload": {"query": "{ __typename }"}})
            answer = await heard(socket)
            if n < 5:
                assert (answer["type"], (await heard(socket))["type"]) == ("next", "complete")
        assert answer["type"] == "error"
        [extensions] = [error["extensions"] for error in answer["payload"]]
        assert extensions["code"] == "RATE_LIMITED"
        assert 1 <= extensions["retryAfter"] <= 120
        assert (await api.post({"query": "{ __typename }"})).status_code == 429


async def test_one_subscription_too_many_is_refused(settings: Settings, clock: Clock) -> None:
    """The second where one is allowed is an `error` that says so as every limit does."""
    few = settings.model_copy(update={"max_subscriptions": 1})
    async with open_services(few, clock) as services:
        await services.store.prepare()
        async with serving(services) as api, api.raw_socket() as socket:
            for id in "12":
                query = "subscription { releases { id } }"
                await say(socket, {"type": "subscribe", "id": id, "payload": {"query": query}})
            answer = await heard(socket)
            [extensions] = [error["extensions"] for error in answer["payload"]]
    assert (answer["type"], answer["id"]) == ("error", "2")
    assert extensions == {"code": "LIMIT_EXCEEDED", "limit": "max_subscriptions", "value": 2, "allowed": 1}


async def test_who_asks_does_not_say_from_where(api: Api) -> None:
    """X-Forwarded-For is believed of no one who is not named in SLIPWAY_TRUSTED_PROXIES."""
    query = 'mutation { deletePipeline(id: "pip_0") { __typename } }'
    await api.post({"query": query}, **{"x-forwarded-for": "203.0.113.7"})
    log = await api.ask("{ auditLog { edges { node { address } } } }")
    assert [edge["node"]["address"] for edge in log["auditLog"]["edges"]] == ["127.0.0.1"]


async def test_pings_without_end_are_given_up(api: Api) -> None:
    """Whoever pings and reads no pong is cut off before their pongs fill the memory."""
    async with api.raw_socket(init=False, subprotocols=[PROTOCOL]) as socket:
        raw = socket.transport
        raw.pause_reading()
        ping = b"\x89\xfd\0\0\0\0" + b"x" * 125  # masked with zeros
        sent = 0
        async with asyncio.timeout(30):
            while sent < 60_000_000 and not raw.is_closing():
                raw.write(ping * 1_000)
                sent += len(ping) * 1_000
                await asyncio.sleep(0)
                while raw.get_write_buffer_size() > 2_000_000 and not raw.is_closing():  # noqa: ASYNC110 (no event tells)
                    await asyncio.sleep(0.005)
        assert sent < 60_000_000
