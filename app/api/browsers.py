"""What browsers are told: which pages may call the API, and how little a page of ours may do."""

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from strawberry.http.websocket_origin import normalize_allowed_origins

_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"cache-control", b"no-store"),
    (b"vary", b"Origin"),
)


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
                headers = list(message.get("headers", ()))
                own = dict(headers)
                headers += [header for header in _HEADERS if header[0] not in own]
                message["headers"] = headers
            await send(message)

        await self._app(scope, receive, with_headers)


class CrossOrigin:
    """Cross-origin requests from the pages that SLIPWAY_ALLOWED_ORIGINS names; from no others."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._cors: CORSMiddleware | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; if a browser sends it for a page, through Starlette's middleware."""
        # What is not asked by browsers is asked most, and is not slowed down by what is for them alone.
        if scope["type"] == "http" and b"origin" in dict(scope["headers"]):
            await self._checking(scope)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _checking(self, scope: Scope) -> CORSMiddleware:
        """Starlette's middleware, made once the settings are known."""
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
        return self._cors
