"""The web application: routes and lifespan."""

import asyncio
import contextlib
import gc
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import structlog
import uvicorn
from redis.exceptions import RedisError
from starlette.applications import Starlette
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api import graphiql
from app.api.auth import Authenticator
from app.api.browsers import CrossOrigin, SecurityHeaders
from app.api.issuer_keys import IssuerUnavailable
from app.api.oidc import OidcVerifier
from app.api.view import GraphQLView
from app.logs import configure_logs
from app.ofrep.answers import success
from app.ofrep.endpoints import EVENTS_PATH, Ofrep
from app.open_files import allow_open_files, warn_of_few_open_files
from app.protocols import BoundedHttp, BoundedWebSocket
from app.rates import Rates
from app.services import Services, open_services
from app.settings import Settings
from app.snapshot import Snapshot
from app.store.documents import StoreUnavailable
from app.web import serving as web

log = structlog.get_logger()

_READY_WITHIN_SECONDS = 2.0
_PREPARE_AGAIN_SECONDS = 2.0
_ASKED_AGAIN_SECONDS = 1.0


class _AnyText(PathConvertor):
    """The rest of a path. Starlette's `path` has no line breaks, and takes "checkout\\n" for "checkout"."""

    regex = "(?s:.*)"


register_url_convertor("text", _AnyText())


def create_app(services: Services | None = None) -> Starlette:
    """The API on given services, which somebody else closes, or on its own from the environment's settings."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            held = services
            if held is None:
                settings = Settings()
                configure_logs(settings.log_level)
                warn_of_few_open_files(allow_open_files(), settings)
                held = await stack.enter_async_context(open_services(settings))
            app.state.services = held
            authenticator = await stack.enter_async_context(_authenticator(held))
            rates = Rates(held.redis, held.settings.requests_per_minute)
            view = app.state.graphql = GraphQLView(held, authenticator, rates)
            await stack.enter_async_context(held.hub.running())
            ofrep = app.state.ofrep = await stack.enter_async_context(_ofrep(held, authenticator, rates))
            app.state.streams.append(ofrep.streams)
            works = [_prepare(held), view.close_lapsed_sockets()]
            if services is None:
                works.append(_spare_collector(ofrep))
            for work in works:
                stack.callback(asyncio.create_task(work).cancel)
            yield

    endpoint = _Held(lambda state: state.graphql)
    app = Starlette(
        routes=[
            # The ones that are asked most come first.
            Route("/ofrep/v1/evaluate/flags/{key:text}", _Held(lambda state: state.ofrep.evaluate)),
            Route("/ofrep/v1/evaluate/flags", _Held(lambda state: state.ofrep.evaluate_all)),
            Route(EVENTS_PATH, _Held(lambda state: state.ofrep.tell)),
            Route("/graphql", endpoint),
            WebSocketRoute("/graphql", endpoint),
            Route("/graphiql/{path:text}", graphiql.asset, methods=["GET"]),
            Route("/healthz", healthz, methods=["GET"]),
            Route("/readyz", readyz, methods=["GET"]),
            *web.routes(),
        ],
        middleware=[Middleware(SecurityHeaders), Middleware(CrossOrigin)],
        lifespan=lifespan,
    )
    app.state.streams = []
    return app


@asynccontextmanager
async def _authenticator(services: Services) -> AsyncIterator[Authenticator]:
    settings = services.settings
    verifier = None
    if settings.oidc_issuer is not None and settings.oidc_audience is not None:
        verifier = OidcVerifier(
            settings.oidc_issuer, settings.oidc_audience, settings.oidc_role_claim, settings.oidc_roles
        )
    try:
        yield Authenticator(settings.admin_token.get_secret_value(), services.tokens, verifier, services.clock)
    finally:
        if verifier is not None:
            await verifier.aclose()


@asynccontextmanager
async def _ofrep(services: Services, authenticator: Authenticator, rates: Rates) -> AsyncIterator[Ofrep]:
    async def is_caller(secret: str) -> bool:
        try:
            return await authenticator.session(f"Bearer {secret}") is not None
        except (StoreUnavailable, IssuerUnavailable):
            return False

    snapshot = Snapshot(
        services.hub,
        services.features,
        services.releases,
        services.sdk_key_list,
        services.settings.poll_seconds,
        success,
    )
    ofrep = Ofrep(snapshot, services.sdk_keys, rates, is_caller, services.clock, services.settings)
    async with snapshot.running(), ofrep.running():
        yield ofrep


class _Held:
    """An application that the lifespan opens. (A function would be taken for one of requests alone.)"""

    def __init__(self, of: Callable[[Any], ASGIApp]) -> None:
        self._of = of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._of(scope["app"].state)(scope, receive, send)


async def healthz(request: Request) -> JSONResponse:
    """Alive: this process answers."""
    return JSONResponse({"status": "ok"})


async def readyz(request: Request) -> JSONResponse:
    """Ready: store and Redis answer, and the features can be evaluated. Otherwise 503, and what is amiss."""
    services: Services = request.app.state.services
    store, redis = await asyncio.gather(*(_check(ping) for ping in (services.store.ping, services.redis.ping)))
    features = "ok" if request.app.state.ofrep.is_loaded else "being loaded"
    checks = {"store": store, "redis": redis, "features": features}
    ready = all(check == "ok" for check in checks.values())
    return JSONResponse(checks, status_code=200 if ready else 503)


async def _check(ping: Callable[[], Awaitable[object]]) -> str:
    try:
        async with asyncio.timeout(_READY_WITHIN_SECONDS):
            await ping()
    except TimeoutError:
        return f"no answer within {_READY_WITHIN_SECONDS:g} s"
    except (StoreUnavailable, RedisError, OSError) as error:
        log.warning("not ready", error=str(error))
        return "does not answer"
    return "ok"


async def _prepare(services: Services) -> None:
    """Make tables and indexes as soon as the store answers, so that a process may start before its store."""
    while True:
        try:
            await services.store.prepare()
        except StoreUnavailable as error:
            log.warning("store not prepared, trying again", error=str(error))
            await asyncio.sleep(_PREPARE_AGAIN_SECONDS)
        else:
            return


async def _spare_collector(ofrep: Ofrep) -> None:
    """Keep what stays as long as the process does from Python's cyclic garbage collector, once it is there.

    With 1,000 features it looks through 200,000 objects, and all requests wait for that 100 ms and more.
    """
    await ofrep.loaded()
    gc.collect()
    gc.freeze()


def server_config(
    app: Starlette | str, log_level: str, max_message_bytes: int = 256 * 1024, trusted_proxies: str = "", **more: Any
) -> uvicorn.Config:
    """How uvicorn serves Slipway, in development and in production."""
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=BoundedHttp,
        ws=BoundedWebSocket,
        ws_max_size=max_message_bytes,  # a longer message is refused (1009) before it is held
        # Compression costs a socket more memory than all else, and every delivery more time than all else.
        ws_per_message_deflate=False,
        # A peer that is gone without a word is noticed within 40 s, and frees what it held.
        ws_ping_interval=20,
        ws_ping_timeout=20,
        # Longer than proxies and clients hold an idle connection (60 s as a rule): closing is theirs, since a request
        # that met our closing would be lost.
        timeout_keep_alive=75,
        # Whoever sends X-Forwarded-For says who they are: to be believed of our own proxies alone.
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=trusted_proxies or None,
        lifespan="on",
        access_log=False,
        server_header=False,
        log_config=None,
        # At debug its websockets log every frame, and with connection_init the token.
        log_level="info" if log_level == "debug" else log_level,
        timeout_graceful_shutdown=5,
        **more,
    )


class PortTaken(Exception):
    """Somebody else listens there."""


class Server(uvicorn.Server):
    """uvicorn, but the signals are ours: it raises them again once it has shut down, before anything else has ended."""

    _asked_at: float | None = None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGINT and SIGTERM."""
        loop = asyncio.get_running_loop()
        for sign in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(sign, self.stop)
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start. What is loaded by now stays: looking for garbage in it again and again would cost a tenth of the time.

        Each answer is thousands of objects that are no garbage when Python looks for it by default.
        """
        await super().startup(sockets)
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 10, 10)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop; event streams, which have no end of their own, are ended first."""
        for streams in getattr(getattr(self.config.app, "state", None), "streams", ()):
            streams.close()
        await super().shutdown(sockets)

    def stop(self) -> None:
        """Shut down; asked again, at once. A signal often comes twice, from the terminal and from uv: that is once."""
        now = time.monotonic()
        if self._asked_at is None:
            self._asked_at = now
        self.force_exit = now - self._asked_at > _ASKED_AGAIN_SECONDS
        self.should_exit = True

    def stop_if_failed(self, task: asyncio.Task[None]) -> None:
        """Shut down when a part has failed: an API whose bakes never end would be worse than none."""
        if not task.cancelled() and task.exception() is not None:
            self.stop()


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens there. Raises `PortTaken`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen()  # until then another process could take the port too
        except (OSError, OverflowError) as error:
            raise PortTaken(
                f"Cannot listen on {host}:{port}: {error}. Choose another with --host and --port."
            ) from None
        with contextlib.suppress(OSError):
            listener.set_inheritable(False)
        yield listener
