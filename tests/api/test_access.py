"""Without the token: no data, over HTTP and over websockets, and no word of the token itself."""

from typing import Any

import pytest
from gql import Client, gql
from gql.transport.exceptions import TransportConnectionFailed, TransportQueryError
from gql.transport.httpx import HTTPXAsyncTransport
from websockets.exceptions import ConnectionClosedError

from tests.api.serving import PROTOCOL, Api, close_of, heard, say

pytestmark = pytest.mark.asyncio(loop_scope="module")

INTROSPECTION = "{ __schema { queryType { name } } }"
SUBSCRIBE = {"type": "subscribe", "id": "1", "payload": {"query": INTROSPECTION}}
TOKEN = "shared-" * 4


@pytest.mark.parametrize(
    "authorization",
    [
        *(None, "", "Bearer", "Bearer wrong", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", TOKEN),
        *(f"Basic {TOKEN}", f"Bearer{TOKEN}", f"Bearer {TOKEN.upper()}", f"Bearer {TOKEN},{TOKEN}", "Bearer é"),
    ],
)
async def test_http_without_the_token_is_unauthorized(shared_api: Api, authorization: str | None) -> None:
    """401 that says what to send, whatever is asked and however; nothing is executed, not even introspection."""
    headers = {} if authorization is None else {"authorization": authorization.encode("latin-1")}
    json = {"content-type": "application/json"}
    for response in (
        await shared_api.http.post("/graphql", json={"query": INTROSPECTION}, headers=headers),
        await shared_api.http.post("/graphql", json={"query": "{ __typename }"}, headers=headers),
        await shared_api.http.post("/graphql", json={"query": "{ nope }"}, headers=headers),
        await shared_api.http.post("/graphql", content=b"not JSON", headers=headers | json),
        await shared_api.http.get("/graphql", params={"query": INTROSPECTION}, headers=headers),
    ):
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        (error,) = response.json()["errors"]
        assert error["extensions"] == {"code": "UNAUTHENTICATED"}
        assert "Authorization: Bearer <token>" in error["message"]
        assert response.json().get("data") is None
        assert TOKEN not in response.text


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
async def test_http_with_the_token_is_let_in(shared_api: Api, scheme: str) -> None:
    """The scheme's letter case does not matter (RFC 9110), over POST and GET."""
    headers = {"authorization": f"{scheme} {TOKEN}", "accept": "application/json"}
    for response in (
        await shared_api.http.post("/graphql", json={"query": "{ __typename }"}, headers=headers),
        await shared_api.http.get("/graphql", params={"query": "{ __typename }"}, headers=headers),
    ):
        assert response.status_code == 200
        assert response.json() == {"data": {"__typename": "Query"}}


async def test_a_client_library_is_told_that_it_is_not_let_in(shared_api: Api) -> None:
    """gql raises what the answer says, and at a socket that is closed."""
    transport = HTTPXAsyncTransport(shared_api.url, trust_env=False, verify=False)
    async with Client(transport=transport) as session:
        with pytest.raises(TransportQueryError, match="Send a token"):
            await session.execute(gql(INTROSPECTION))
    with pytest.raises((TransportConnectionFailed, ConnectionClosedError)):
        async with shared_api.socket({"authorization": "Bearer wrong"}):
            pass


@pytest.mark.parametrize(
    "payload",
    [
        None,
        {},
        {"authorization": None},
        {"authorization": ""},
        {"authorization": "Bearer wrong"},
        {"authorization": TOKEN},
        {"authorization": ["Bearer " + TOKEN]},
        {"authorization": {"Bearer": TOKEN}},
        {"headers": {"authorization": f"Bearer {TOKEN}"}},
        {"token": f"Bearer {TOKEN}"},
    ],
)
async def test_a_socket_without_the_token_is_closed(shared_api: Api, payload: Any) -> None:
    """4403 at connection_init, before anything is executed; the reason does not repeat what was sent."""
    message = {"type": "connection_init"} | ({} if payload is None else {"payload": payload})
    async with shared_api.raw_socket(init=False) as socket:
        await say(socket, message)
        await say(socket, SUBSCRIBE)
        assert await close_of(socket) == (4403, "Forbidden")


@pytest.mark.parametrize("key", ["authorization", "Authorization", "AUTHORIZATION", "aUtHoRiZaTiOn"])
async def test_a_socket_with_the_token_is_let_in_whatever_the_case_of_the_key(shared_api: Api, key: str) -> None:
    """{"authorization": "Bearer ..."} in connection_init is acknowledged, and then operations are answered."""
    async with shared_api.raw_socket(init=False) as socket:
        await say(socket, {"type": "connection_init", "payload": {key: f"Bearer {TOKEN}"}})
        assert await heard(socket) == {"type": "connection_ack"}
        await say(socket, SUBSCRIBE)
        assert (await heard(socket))["payload"] == {"data": {"__schema": {"queryType": {"name": "Query"}}}}


async def test_a_client_that_can_set_headers_may_send_the_token_in_the_handshake(shared_api: Api) -> None:
    """Then connection_init needs no payload; one that has a wrong token is refused all the same."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with shared_api.raw_socket(init=False, additional_headers=headers) as socket:
        await say(socket, {"type": "connection_init"})
        assert await heard(socket) == {"type": "connection_ack"}
    async with shared_api.raw_socket(init=False, additional_headers=headers) as socket:
        await say(socket, {"type": "connection_init", "payload": {"authorization": "Bearer wrong"}})
        assert (await close_of(socket))[0] == 4403


async def test_nothing_is_executed_before_connection_init(shared_api: Api) -> None:
    """A subscribe that comes first closes the socket, 4401, even where the handshake carried the token."""
    for headers in ({}, {"Authorization": f"Bearer {TOKEN}"}):
        async with shared_api.raw_socket(init=False, additional_headers=headers) as socket:
            await say(socket, SUBSCRIBE)
            assert await close_of(socket) == (4401, "Unauthorized")


@pytest.mark.parametrize("protocols", [["graphql-ws"], ["soap"], None])
async def test_other_subprotocols_are_not_spoken(shared_api: Api, protocols: list[str] | None) -> None:
    """The old protocol of Apollo, an invented one and none at all: 4406, told in a handshake that any client takes."""
    async with shared_api.raw_socket(init=False, subprotocols=protocols) as socket:
        assert await close_of(socket) == (4406, "Subprotocol not acceptable")
        assert socket.subprotocol == (protocols[0] if protocols else None)


async def test_the_protocol_is_chosen_among_several(shared_api: Api) -> None:
    """A client that offers more gets the one that is spoken."""
    async with shared_api.raw_socket(subprotocols=["soap", PROTOCOL, "graphql-ws"]) as socket:
        assert socket.subprotocol == PROTOCOL


async def test_a_page_elsewhere_cannot_open_a_socket(shared_api: Api) -> None:
    """A handshake that a browser sends for another origin's page is refused; one for our own page is not."""
    with pytest.raises(Exception, match="403"):
        async with shared_api.raw_socket(init=False, origin="https://elsewhere.example"):
            pass
    async with shared_api.raw_socket(origin=shared_api.url.removesuffix("/graphql")):
        pass


async def test_no_answer_repeats_the_token(shared_api: Api) -> None:
    """Not in data, not in errors, not in headers, wherever a client puts it."""
    for body in (
        {"query": "{ viewer { actor { id name } role } }"},
        {"query": '{ feature(key: "x") { id } nope }', "operationName": "x"},
        {"query": "{ nope }"},
        {"query": 5},
        b"not JSON",
    ):
        response = await shared_api.post(body)
        assert TOKEN not in response.text
        assert TOKEN not in str(response.headers)
