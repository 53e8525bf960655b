"""What browsers are told: which pages may call the API, and how little a page of ours may do."""

from starlette.datastructures import MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from strawberry.http.websocket_origin import normalize_allowed_origins

_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_HEADERS = {
    "content-security-policy": _POLICY,
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}


class SecurityHeaders:
    """Adds headers to every answer that does not set them itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers)


class CrossOrigin:
    """Cross-origin requests from the pages that SLIPWAY_ALLOWED_ORIGINS names; from no others."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._cors: CORSMiddleware | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, through Starlette's middleware once the settings are known."""
        if scope["type"] == "http":
            if self._cors is None:
                allowed = scope["app"].state.services.settings.allowed_origins
                self._cors = CORSMiddleware(
                    self._app,
                    # Written as browsers write them, as the check of websockets does too.
                    allow_origins=sorted(normalize_allowed_origins(allowed)),
                    allow_methods=("GET", "POST"),
                    allow_headers=("authorization", "content-type", "x-api-key", "if-none-match"),
                    expose_headers=("etag", "retry-after"),
                    max_age=600,
                )
            await self._cors(scope, receive, send)
        else:
            await self._app(scope, receive, send)
