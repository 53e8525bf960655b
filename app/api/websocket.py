"""GraphQL over a websocket: Strawberry's graphql-transport-ws, strict about what a frame may hold."""

from typing import Annotated, Any, TypeAlias, cast

import msgspec
from msgspec import Meta, Struct
from strawberry.asgi import ASGIWebSocketAdapter
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler
from strawberry.subscriptions.protocols.graphql_transport_ws.types import Message

from app.api.context import Context

# The most that a close frame holds (RFC 6455, 5.5.1: 125 bytes, two of them for the code).
_MAX_REASON = 123

_Id: TypeAlias = Annotated[str, Meta(min_length=1, max_length=200)]
_Object: TypeAlias = dict[str, Any]


class _ConnectionInit(Struct, tag_field="type", tag="connection_init"):
    payload: _Object | None = None


class _Ping(Struct, tag_field="type", tag="ping"):
    payload: _Object | None = None


class _Pong(Struct, tag_field="type", tag="pong"):
    payload: _Object | None = None


class _Operation(Struct, rename="camel"):
    query: str
    operation_name: str | None = None
    variables: _Object | None = None
    extensions: _Object | None = None


class _Subscribe(Struct, tag_field="type", tag="subscribe"):
    id: _Id
    payload: _Operation


class _Complete(Struct, tag_field="type", tag="complete"):
    id: _Id


_Frame: TypeAlias = _ConnectionInit | _Ping | _Pong | _Subscribe | _Complete


class TransportHandler(BaseGraphQLTransportWSHandler[Context, None]):
    """Strawberry's handler of one socket, behind a check of each message's form."""

    async def handle_message(self, message: Message) -> None:
        """Act on a message of the protocol; close (4400) at anything else, saying what is wrong with it."""
        try:
            msgspec.convert(message, cast(Any, _Frame))
        except msgspec.ValidationError as error:
            await self.handle_invalid_message(f"Not a message of graphql-transport-ws: {error}")
            return
        await super().handle_message(message)


class Socket(ASGIWebSocketAdapter):
    """Strawberry's adapter of one socket."""

    async def close(self, code: int, reason: str) -> None:
        """Close; a reason too long for the frame is cut."""
        await super().close(code, reason.encode()[:_MAX_REASON].decode(errors="ignore"))
