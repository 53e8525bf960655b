"""A real server in the test's own event loop, clients for it that we did not write, and what many tests ask it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import uvicorn
from gql import Client, GraphQLRequest, gql
from gql.client import AsyncClientSession
from gql.transport.exceptions import TransportQueryError
from gql.transport.httpx import HTTPXAsyncTransport
from gql.transport.websockets import WebsocketsTransport
from graphql import DocumentNode, build_schema, get_named_type
from websockets.asyncio.client import ClientConnection, connect

from app.server import Server, create_app, server_config
from app.services import Services

PROTOCOL = "graphql-transport-ws"

SDL = (Path(__file__).parents[2] / "schema.graphql").read_text(encoding="utf-8")
SCHEMA = build_schema(SDL)

PHASE = "id index name status bakeTime bakeRemaining bakeEndsAt releasedAt endedAt reviewBypassed approvals { reason }"
RELEASE = f"""
    id number status revision pipelineId pipelineName description startedAt endedAt
    currentPhase {{ id name status }}
    phases {{ {PHASE} }}
"""
_RELEASE = "release { ...R }"
_PIPELINE = "id name description phases { id name bakeTime requiredApprovals preventSelfApproval }"
_MEMBERS = {
    "EnvironmentPayload": "environment { name pipelineRequired }",
    "PipelinePayload": f"pipeline {{ {_PIPELINE} }}",
    "DeletePipelinePayload": "id",
    "FeaturePayload": "feature { id key kind description pipeline { id } spec { defaultValue rules { name } } }",
    "UpdateFeaturePayload": f"feature {{ key }} {_RELEASE}",
    "ReleaseActionPayload": f"{_RELEASE} events {{ sequence type reason phase {{ name }} }}",
    "CreateTokenPayload": "secret token { id name role expiresAt }",
    "RevokeTokenPayload": "token { id revokedAt }",
    "CreateSdkKeyPayload": "secret sdkKey { id name environment expiresAt }",
    "RevokeSdkKeyPayload": "sdkKey { id revokedAt }",
    "CreateChannelPayload": "secret channel { id name kind address types features pipelineIds enabled }",
    "ChannelPayload": "channel { id name address types features pipelineIds enabled }",
    "DeleteChannelPayload": "id",
    "RotateChannelSecretPayload": "secret channel { id secretRotatedAt }",
    "TestChannelPayload": "delivered error channel { id }",
    "ResendDeliveryPayload": "delivery { id status attempts lastError }",
    "MarkNotificationReadPayload": "notification { id isRead }",
    "NotFound": "id",
    "ValidationFailed": "fields { path message }",
    "PermissionDenied": "requiredRole",
    "AlreadyExists": "message",
    "PipelineInUse": "releases { id }",
    "ReleaseInProgress": _RELEASE,
    "StalePhase": _RELEASE,
    "InvalidTransition": _RELEASE,
    "ReviewRequired": f"{_RELEASE} phases {{ id name }}",
}


def _mutations() -> dict[str, str]:
    """Each mutation, asking for all of whichever member of its union answers."""
    mutations = {}
    for name, field in SCHEMA.mutation_type.fields.items():
        members = get_named_type(field.type).types
        shown = " ".join(f"... on {member.name} {{ {_MEMBERS[member.name]} }}" for member in members)
        declared = ", ".join(f"${argument}: {given.type}" for argument, given in field.args.items())
        passed = ", ".join(f"{argument}: ${argument}" for argument in field.args)
        mutation = f"mutation({declared}) {{ {name}({passed}) {{ __typename ... on Problem {{ message }} {shown} }} }}"
        mutations[name] = mutation + (f" fragment R on Release {{ {RELEASE} }}" if "...R" in shown else "")
    return mutations


MUTATIONS = _mutations()


@lru_cache
def _parsed(operation: str) -> DocumentNode:
    return gql(operation).document


class Api:
    """A server that runs, as a client sees it: the administrator's, unless a test says otherwise."""

    def __init__(self, services: Services, port: int, http: httpx.AsyncClient, session: AsyncClientSession) -> None:
        self.services = services
        self.port = port
        self.url = f"http://127.0.0.1:{port}/graphql"
        self.websocket_url = f"ws://127.0.0.1:{port}/graphql"
        self.http = http
        self._session = session

    @property
    def base_url(self) -> str:
        """The address that clients of OFREP are given."""
        return self.url.removesuffix("/graphql")

    @property
    def token(self) -> str:
        """The administrator's token."""
        return self.services.settings.admin_token.get_secret_value()

    async def ask(self, operation: str, /, **variables: object) -> Any:
        """The data that an operation answers with; an answer with errors fails."""
        return await self._session.execute(GraphQLRequest(_parsed(operation), variable_values=variables))

    async def error(self, operation: str, /, **variables: object) -> dict[str, Any]:
        """The one error that an operation answers with."""
        with pytest.raises(TransportQueryError) as refused:
            await self.ask(operation, **variables)
        (error,) = refused.value.errors or ()
        assert set(error) <= {"message", "locations", "path", "extensions"}
        return dict(error)

    async def mutate(self, mutation: str, /, **arguments: object) -> Any:
        """What a mutation answers, whichever member of its union that is."""
        return (await self.ask(MUTATIONS[mutation], **arguments))[mutation]

    async def post(self, body: object, **headers: str) -> httpx.Response:
        """The response to a body: as it is if it is bytes, as JSON if it is not. Headers of None are not sent."""
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        return await self.http.post(
            "/graphql",
            content=content,
            headers={"authorization": f"Bearer {self.token}", "content-type": "application/json"} | headers,
        )

    @asynccontextmanager
    async def socket(self, init_payload: dict[str, Any] | None = None) -> AsyncIterator[AsyncClientSession]:
        """A session of gql over a websocket."""
        payload = {"authorization": f"Bearer {self.token}"} if init_payload is None else init_payload
        transport = WebsocketsTransport(
            self.websocket_url,
            init_payload=payload,
            subprotocols=[PROTOCOL],
            close_timeout=0.05,  # how long it waits for subscriptions that a test has left open
        )
        async with Client(transport=transport) as session:
            yield session

    @asynccontextmanager
    async def raw_socket(self, *, init: bool = True, **options: Any) -> AsyncIterator[ClientConnection]:
        """A websocket on which a test says what it likes, by default after connection_init."""
        options = {"subprotocols": [PROTOCOL], "proxy": None, "max_size": None} | options
        async with connect(self.websocket_url, **options) as socket:
            if init:
                await say(socket, {"type": "connection_init", "payload": {"Authorization": f"Bearer {self.token}"}})
                assert await heard(socket) == {"type": "connection_ack"}
            yield socket


async def say(socket: ClientConnection, message: object) -> None:
    """Send a message as JSON."""
    await socket.send(msgspec.json.encode(message).decode())


async def heard(socket: ClientConnection) -> Any:
    """The next message."""
    async with asyncio.timeout(5):
        return msgspec.json.decode(await socket.recv())


async def close_of(socket: ClientConnection) -> tuple[int | None, str | None]:
    """The code and the reason with which the server closes, whatever it says before."""
    async with asyncio.timeout(5):
        await socket.wait_closed()
    return socket.close_code, socket.close_reason


@asynccontextmanager
async def serving(services: Services, port: int = 0) -> AsyncIterator[Api]:
    """Serve services, on a free port unless one is named, and stop at the end."""
    most = services.settings.max_message_bytes
    server = _Server(server_config(create_app(services), "warning", most, host="127.0.0.1", port=port))
    task = asyncio.create_task(server.serve())
    try:
        while not server.started:
            assert not task.done(), "the server did not start"
            await asyncio.sleep(0.002)
        port = server.servers[0].sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        headers = {"authorization": f"Bearer {services.settings.admin_token.get_secret_value()}"}
        # To plain http, and without `verify=False` each client would read all certificates of the system, for 50 ms.
        transport = HTTPXAsyncTransport(f"{url}/graphql", headers=headers, timeout=20, trust_env=False, verify=False)
        async with (
            httpx.AsyncClient(base_url=url, timeout=20, trust_env=False, verify=False) as http,
            Client(transport=transport, execute_timeout=20) as session,
        ):
            yield Api(services, port, http, session)
    finally:
        server.should_exit = True
        await task


class _Server(Server):
    """Ours without its signal handlers: signals are for pytest."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await uvicorn.Server.startup(self, sockets)  # what is loaded does not stay: there is a server for each test

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
