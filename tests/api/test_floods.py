"""Peers that send without end or never read: they cost bounded memory, and nobody else is kept from anything."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from app.domain.access import Role
from app.domain.features import FeatureKind, FeatureSpec
from app.services import Services, open_services
from app.settings import Settings
from tests.api.serving import PROTOCOL, Api, close_of, heard, say, serving
from tests.conftest import Clock
from tests.domain.builders import ADMIN

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
    """The sixth within the minute is an `error` with RATE_LIMITED, whichever way the others came."""
    async with serving(limited) as api, api.raw_socket() as socket:
        for n in range(6):
            await say(socket, {"type": "subscribe", "id": str(n), "payload": {"query": "{ __typename }"}})
            answer = await heard(socket)
            if n < 5:
                assert (answer["type"], (await heard(socket))["type"]) == ("next", "complete")
        assert answer["type"] == "error"
        assert [error["extensions"]["code"] for error in answer["payload"]] == ["RATE_LIMITED"]
        assert (await api.post({"query": "{ __typename }"})).status_code == 429


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
