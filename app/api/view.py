"""GraphQL over HTTP and websocket: Strawberry's view, with our callers, our JSON and our answers to errors."""

import json
from typing import Any

import msgspec
from cross_web import AsyncHTTPRequestAdapter, HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.exceptions import ConnectionRejectionError
from strawberry.http import GraphQLRequestData
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.types.unset import UnsetType

from app.api.auth import Authenticator, authorization_of
from app.api.context import UNAUTHENTICATED, Context
from app.api.schema import schema
from app.api.websocket import Socket, TransportHandler
from app.services import Services


class GraphQLView(GraphQL[Context, None]):
    """The endpoint of the schema. Without a token no document is executed, not even introspection."""

    websocket_adapter_class = Socket
    graphql_transport_ws_handler_class = TransportHandler

    def __init__(self, services: Services) -> None:
        super().__init__(schema, subscription_protocols=(GRAPHQL_TRANSPORT_WS_PROTOCOL,))
        self._services = services
        self._authenticator = Authenticator(services.settings.admin_token.get_secret_value())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As Strawberry's, but an HTTP error is JSON like every other answer."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        try:
            response = await self.run(Request(scope, receive))
        except HTTPException as error:
            response = _errors(error.reason, error.status_code)
        await response(scope, receive, send)

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> Context:
        """The context of one request, or of one socket, which has no caller before connection_init."""
        return Context(
            self._services, request, principal=self._authenticator.principal(request.headers.get("authorization"))
        )

    async def on_ws_connect(self, context: Context) -> UnsetType | dict[str, object] | None:
        """Let in who sends a token in connection_init, or in the handshake's header where a client can set one."""
        given = authorization_of(context.connection_params or {})
        if given is not None:
            context.principal = self._authenticator.principal(given)
        if context.principal is None:
            raise ConnectionRejectionError
        return await super().on_ws_connect(context)

    async def parse_http_body(self, request: AsyncHTTPRequestAdapter) -> GraphQLRequestData | list[GraphQLRequestData]:
        """As Strawberry's, for callers that are known."""
        if self._authenticator.principal(request.headers.get("authorization")) is None:
            raise HTTPException(401, UNAUTHENTICATED)
        if request.method == "POST" and "application/json" not in (request.content_type or ""):
            raise HTTPException(415, "Send the operation as JSON, with the header `Content-Type: application/json`.")
        return await super().parse_http_body(request)

    def parse_json(self, data: str | bytes) -> Any:
        """JSON that came over HTTP: a body, which must be an object, or as text a parameter of a GET."""
        try:
            value = self.decode_json(data)
        except json.JSONDecodeError as error:
            raise HTTPException(400, f"This is not JSON: {error.msg}.") from None
        if isinstance(data, bytes) and not isinstance(value, dict | list):
            raise HTTPException(400, 'Send a JSON object: {"query": "...", "variables": {...}}.')
        return value

    def decode_json(self, data: str | bytes) -> Any:
        """JSON as RFC 8259 has it: no NaN, no half surrogates, no nesting that overflows the stack."""
        try:
            return msgspec.json.decode(data)
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            raise json.JSONDecodeError(str(error), "", 0) from None

    def encode_json(self, data: object) -> bytes | str:
        """Text for a socket's frame, bytes would make it a binary one."""
        return msgspec.json.encode(data).decode()


def _errors(message: str, status_code: int) -> Response:
    code = "UNAUTHENTICATED" if status_code == 401 else "BAD_REQUEST"
    return Response(
        msgspec.json.encode({"errors": [{"message": message, "extensions": {"code": code}}]}),
        status_code,
        {"www-authenticate": "Bearer"} if status_code == 401 else None,
        media_type="application/json",
    )
