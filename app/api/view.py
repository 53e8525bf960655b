"""The endpoint of the schema: HTTP by `http.py`, websockets by Strawberry's view with the handler of `websocket.py`."""

import asyncio
import json
from collections import Counter
from datetime import timedelta
from typing import Any

import msgspec
import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.exceptions import ConnectionRejectionError
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.types.unset import UnsetType

from app.api import http
from app.api.auth import Authenticator, Session, authorization_of, is_sdk_key
from app.api.context import NOT_LET_IN, ONLY_EVALUATES, UNAUTHENTICATED, Context
from app.api.graphiql import page, wants_page
from app.api.http import HttpError, RateLimited
from app.api.issuer_keys import IssuerUnavailable
from app.api.limits import Limits
from app.api.schema import schema
from app.api.sharing import Groups
from app.api.websocket import Socket, TransportHandler
from app.rates import Rates
from app.services import Services
from app.store.documents import StoreUnavailable

log = structlog.get_logger()

# With what is remembered of a token this stays below the 5 s within which a revoked one loses its sockets.
_LOOK_SECONDS = 2.0


class GraphQLView(GraphQL[Context, None]):
    """The endpoint. Without a token no document is executed, not even introspection."""

    websocket_adapter_class = Socket
    graphql_transport_ws_handler_class = TransportHandler

    def __init__(self, services: Services, authenticator: Authenticator, rates: Rates) -> None:
        settings = services.settings
        super().__init__(
            schema,
            subscription_protocols=(GRAPHQL_TRANSPORT_WS_PROTOCOL,),
            connection_init_wait_timeout=timedelta(seconds=settings.init_seconds),
            max_subscriptions_per_connection=settings.max_subscriptions,
            allowed_origins=settings.allowed_origins,
        )
        self.settings = settings
        self.sockets: set[TransportHandler] = set()
        self.sockets_of: Counter[str] = Counter()
        self.groups = Groups(services.hub, services.releases)
        self._services = services
        self._authenticator = authenticator
        self._rates = rates
        self._limits = Limits(**{name: getattr(settings, name) for name in Limits.__struct_fields__})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or serve a socket to its end."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        request = Request(scope, receive)
        response = page(self.settings.graphiql_dir) if wants_page(request) else await self._answer(request)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        media_type = http.JSON
        try:
            media_type = http.response_type(request.headers)
            session = await self._session(request)
            params = await http.read_params(request, self.settings.max_body_bytes)
            context = Context(self._services, request, self._limits, session)
            result = await http.execute(params, context, request.method, self.settings.operation_seconds)
        except HttpError as error:
            return http.error_response(error, media_type)
        return http.result_response(result, media_type)

    async def _session(self, request: Request) -> Session:
        """Who asks. Raises 401, 403, 429 or 503. Guesses are counted by address, requests by token."""
        authorization = request.headers.get("authorization")
        try:
            session = await self._authenticator.session(authorization)
        except (StoreUnavailable, IssuerUnavailable) as error:
            log.warning("caller not told", error=str(error))
            raise HttpError(
                503, "It cannot be told now whether the token is valid; try again.", "UNAVAILABLE"
            ) from None
        wait = await self._rates.wait_seconds(_counted_as(request, session))
        if wait:
            raise RateLimited(wait)
        if session is None:
            if is_sdk_key(authorization):
                raise HttpError(403, ONLY_EVALUATES, "FORBIDDEN")
            message = UNAUTHENTICATED if authorization is None else NOT_LET_IN
            raise HttpError(401, message, "UNAUTHENTICATED", www_authenticate="Bearer")
        return session

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> Context:
        """The context of a socket, which has no caller before connection_init."""
        return Context(self._services, request, self._limits)

    async def create_websocket_response(self, request: WebSocket, subprotocol: str | None) -> WebSocket:
        """Accept the handshake, only to close it (4406) where the protocol that we speak was not offered.

        Then the first that was is echoed: browsers, and `ws` of npm, take an answer that names none of those they
        offered for a broken connection, and never see why it was closed.
        """
        return await super().create_websocket_response(
            request, subprotocol or next(iter(request["subprotocols"]), None)
        )

    def is_websocket_origin_allowed(self, request: WebSocket, origin: str) -> bool:
        """Whether a page of that origin may open a websocket; the log says how to let it, if not."""
        allowed = super().is_websocket_origin_allowed(request, origin)
        if not allowed:
            log.warning("websocket refused: its origin is not in SLIPWAY_ALLOWED_ORIGINS", origin=origin[:200])
        return allowed

    async def on_ws_connect(self, context: Context) -> UnsetType | dict[str, object] | None:
        """Let in who sends a token in connection_init, or in the handshake's header where a client can set one.

        Raises `StoreUnavailable` or `IssuerUnavailable` when it cannot be told.
        """
        given = authorization_of(context.connection_params or {})
        if given is None:
            given = _request_of(context).headers.get("authorization")
        context.session = await self._authenticator.session(given)
        if context.session is None:
            await self.wait_seconds(context)  # a guess counts
            raise ConnectionRejectionError
        return await super().on_ws_connect(context)

    async def wait_seconds(self, context: Context) -> int:
        """0 if the caller of a socket may ask now, which is counted; else for how many seconds to wait."""
        return await self._rates.wait_seconds(_counted_as(_request_of(context), context.session))

    async def close_lapsed_sockets(self) -> None:
        """Close, for ever, the sockets whose token was revoked or has expired."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            held = [(socket, session) for socket in self.sockets if (session := socket.context.session) is not None]
            try:
                is_lapsed = await self._authenticator.lapsed({session.credential for _, session in held})
            except StoreUnavailable as error:
                log.warning("tokens of open sockets not looked at", error=str(error))
                continue
            except Exception:  # a look that fails must not be the last
                log.exception("tokens of open sockets not looked at")
                continue
            closing = [socket for socket, session in held if is_lapsed(session)]
            await asyncio.gather(*(socket.forbid() for socket in closing), return_exceptions=True)

    def decode_json(self, data: str | bytes) -> Any:
        """JSON as RFC 8259 has it: no NaN, no half surrogates, no nesting that overflows the stack."""
        try:
            return msgspec.json.decode(data)
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            raise json.JSONDecodeError(str(error), "", 0) from None

    def encode_json(self, data: object) -> bytes | str:
        """Text for a socket's frame, bytes would make it a binary one."""
        return msgspec.json.encode(data).decode()


def _request_of(context: Context) -> Request | WebSocket:
    assert context.request is not None, "it is the context of one caller"
    return context.request


def _counted_as(request: Request | WebSocket, session: Session | None) -> str:
    """Requests are counted by token, guesses by address."""
    if session is not None:
        return session.credential
    return f"address:{request.client.host if request.client else 'unknown'}"
