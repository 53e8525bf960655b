"""GraphQL over HTTP and websocket: Strawberry's view, with our callers, our JSON and our answers to errors."""

import json
from typing import Any

import msgspec
from cross_web import AsyncHTTPRequestAdapter, HTTPException
from graphql import GraphQLError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.exceptions import ConnectionRejectionError
from strawberry.http import GraphQLRequestData
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.types import ExecutionResult, SubscriptionExecutionResult
from strawberry.types.unset import UnsetType

from app.api.auth import Authenticator, authorization_of
from app.api.context import UNAUTHENTICATED, Context
from app.api.schema import schema
from app.services import Services


class GraphQLView(GraphQL[Context, None]):
    """The endpoint of the schema. Without a token no document is executed, not even introspection."""

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

    async def execute_operation(
        self,
        request: Request,
        request_adapter: AsyncHTTPRequestAdapter,
        request_data: GraphQLRequestData | list[GraphQLRequestData],
        context: Context,
        root_value: None,
        sub_response: Response,
    ) -> ExecutionResult | list[ExecutionResult] | SubscriptionExecutionResult:
        """Execute for callers that are known."""
        if context.principal is None:
            sub_response.status_code = 401
            sub_response.headers["www-authenticate"] = "Bearer"
            error = GraphQLError(UNAUTHENTICATED, extensions={"code": "UNAUTHENTICATED"})
            return ExecutionResult(data=None, errors=[error])
        return await super().execute_operation(
            request, request_adapter, request_data, context, root_value, sub_response
        )

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
    return Response(
        msgspec.json.encode({"errors": [{"message": message, "extensions": {"code": "BAD_REQUEST"}}]}),
        status_code,
        media_type="application/json",
    )
