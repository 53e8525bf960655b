"""GraphQL over a websocket: Strawberry's graphql-transport-ws, strict about what a frame may hold."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, cast

import msgspec
from graphql import GraphQLError
from msgspec import Meta, Struct
from starlette.websockets import WebSocketDisconnect, WebSocketDisconnected
from strawberry.asgi import ASGIWebSocketAdapter
from strawberry.http.exceptions import WebSocketDisconnected as PeerGone
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler, Operation
from strawberry.subscriptions.protocols.graphql_transport_ws.types import (
    ConnectionInitMessage,
    Message,
    PingMessage,
    SubscribeMessage,
)

from app.api.context import Context
from app.api.group import Group
from app.api.issuer_keys import IssuerUnavailable
from app.api.limits import exceeded
from app.api.members import ABORT, Gone, Member
from app.api.questions import failure, question_of
from app.store.documents import StoreUnavailable

if TYPE_CHECKING:
    from app.api.view import GraphQLView

# The most that a close frame holds (RFC 6455, 5.5.1: 125 bytes, two of them for the code).
_MAX_REASON = 123

_CLOSE_SECONDS = 1.0

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
    """Strawberry's handler of one socket, behind a check of each message's form and number.

    Close codes: 4400, 4401, 4403, 4406, 4408, 4409 and 4429 as the protocol says; 1008 for too many messages, 1009 for
    too long a one, 1013 when there are too many sockets or it cannot be told now whether the token is valid.
    """

    view: "GraphQLView"
    websocket: "Socket"
    _counted_as: str | None = None

    async def handle(self) -> None:
        """Serve the socket to its end."""
        self._shared: dict[str, tuple[Group[Any], Member]] = {}
        self._allowance, self._counted_at = float(self._burst), time.monotonic()
        if len(self.view.sockets) >= self.view.settings.max_sockets:
            await self.websocket.close(1013, "Too many websockets are open here; try again later")
            return
        self.view.sockets.add(self)
        try:
            await super().handle()
        finally:
            self.view.sockets.discard(self)
            if self._counted_as is not None:
                self.view.sockets_of[self._counted_as] -= 1
                if not self.view.sockets_of[self._counted_as]:
                    del self.view.sockets_of[self._counted_as]

    async def handle_message(self, message: Message) -> None:
        """Act on a message of the protocol; close (4400) at anything else, saying what is wrong with it."""
        if not self._counts():
            await self.websocket.close(1008, "Too many messages a second")
            return
        if isinstance(message, dict) and not isinstance(message.get("type"), str):
            # msgspec would say so in the words of Python.
            await self.handle_invalid_message("Not a message of graphql-transport-ws: give `type` as a string")
            return
        try:
            msgspec.convert(message, cast(Any, _Frame))
        except msgspec.ValidationError as error:
            await self.handle_invalid_message(f"Not a message of graphql-transport-ws: {error}")
            return
        await super().handle_message(message)

    async def handle_connection_init(self, message: ConnectionInitMessage) -> None:
        """Let the caller in. A payload of null is none."""
        if message.get("payload") is None:
            message = {"type": "connection_init"}
        if self.connection_init_received:
            await self.websocket.close(4429, "Too many initialisation requests")
            return
        try:
            await super().handle_connection_init(message)
        except (StoreUnavailable, IssuerUnavailable):
            await self.websocket.close(1013, "It cannot be told now whether the token is valid; try again")
            return
        if self._is_one_too_many():
            self.connection_acknowledged = False
            await self.websocket.close(1013, "Too many websockets are open with this token")

    async def handle_subscribe(self, message: SubscribeMessage) -> None:
        """Begin an operation, which counts as a request of the token does."""
        most = self.view.settings.max_subscriptions
        if self.connection_acknowledged and message["id"] not in self.operations and len(self.operations) >= most:
            error = exceeded("subscriptions", most + 1, most)
            await self.send_message({"id": message["id"], "type": "error", "payload": [error.formatted]})
            return
        if (
            self.connection_acknowledged
            and message["id"] not in self.operations
            and (wait := await self.view.wait_seconds(self.context))
        ):
            text = f"Too many requests; wait {wait} s."
            error = GraphQLError(text, extensions={"code": "RATE_LIMITED", "retryAfter": wait})
            await self.send_message({"id": message["id"], "type": "error", "payload": [error.formatted]})
            return
        await super().handle_subscribe(message)

    async def handle_ping(self, message: PingMessage) -> None:
        """Answer with the payload that came."""
        payload = message.get("payload")
        await self.send_message({"type": "pong"} if payload is None else {"type": "pong", "payload": payload})

    async def run_operation(self, operation: Operation[Context, None]) -> None:
        """Answer an operation; a subscription together with all those that ask the same question."""
        question = await question_of(operation.query, operation.variables, operation.operation_name, self.context)
        if question is None:
            await super().run_operation(operation)
            return

        def ended() -> None:
            operation.completed = True
            self.forget_id(operation.id)
            self._shared.pop(operation.id, None)

        member = Member(self.websocket.ws, operation.id, ended)
        group = self.view.groups.of(question.key, question.source, question.render)
        self._shared[operation.id] = (group, member)
        with suppress(Gone):
            try:
                await group.join(member, question.source)
            except Gone:
                raise
            except Exception as error:
                await member.tell(failure(error))
                await member.complete()

    async def cleanup_operation(self, operation_id: str) -> None:
        """End an operation, and tell it nothing more."""
        await super().cleanup_operation(operation_id)
        group, member = self._shared.pop(operation_id, (None, None))
        if group is not None and member is not None:
            group.leave(member)

    def forget_id(self, id: str) -> None:
        """Let an id be used again. It is when the client completed the operation while its last message was sent."""
        operation = self.operations.get(id)
        if operation is not None and operation.completed:  # or else a new one has the id already
            del self.operations[id]

    async def forbid(self) -> None:
        """Let a caller who would not be let in any more do nothing more, and close the socket.

        A peer that does not read keeps the close from being sent: after a second it is not waited for.
        """
        self.context.session, self.connection_acknowledged = None, False
        for id in list(self.operations):
            await self.cleanup_operation(id)
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self.websocket.close(4403, "Forbidden: the token has expired or was revoked")
        except (TimeoutError, RuntimeError, PeerGone):
            self.websocket.abort()

    @staticmethod
    def _get_pre_execution_close_reason(error: GraphQLError) -> None:
        """A document that is wrong is an `error` message of its operation; the other operations go on."""
        return

    @property
    def _burst(self) -> int:
        return 2 * self.view.settings.messages_per_second

    def _counts(self) -> bool:
        """Whether one more message is within the rate (a token bucket)."""
        now = time.monotonic()
        refilled = self._allowance + (now - self._counted_at) * self.view.settings.messages_per_second
        self._allowance, self._counted_at = min(refilled, float(self._burst)) - 1, now
        return self._allowance >= 0

    def _is_one_too_many(self) -> bool:
        """Count the socket as its token's; whether that is more than a token may have."""
        session = self.context.session
        if session is None:
            return False
        self._counted_as = session.credential
        self.view.sockets_of[session.credential] += 1
        return self.view.sockets_of[session.credential] > self.view.settings.max_sockets_per_token


class Socket(ASGIWebSocketAdapter):
    """Strawberry's adapter of one socket."""

    def abort(self) -> None:
        """Tear the connection off, whatever waits to be sent."""
        abort = self.ws.scope["extensions"].get(ABORT)
        if abort is not None:
            abort()

    async def send_json(self, message: Mapping[str, object]) -> None:
        """Send; once either side has closed, it is for nobody."""
        with suppress(WebSocketDisconnected, PeerGone):
            await super().send_json(message)

    async def close(self, code: int, reason: str) -> None:
        """Close; a reason too long for the frame is cut."""
        with suppress(WebSocketDisconnected, WebSocketDisconnect):
            await super().close(code, reason.encode()[:_MAX_REASON].decode(errors="ignore"))
