"""The endpoints of OFREP: one feature, all features, and the stream that tells of changes.

They speak ASGI without a framework's request and response between: an application may ask for every request of its own.
Nothing is read from a store, and nothing awaited but the body.
"""

import asyncio
import hashlib
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TypeAlias, TypeVar

import msgspec
from limits import RateLimitItemPerMinute, RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import FixedWindowRateLimiter
from starlette.types import Receive, Scope, Send

from app.domain.evaluation import Plan
from app.domain.sdk_keys import PREFIX, SdkKey
from app.domain.targeting import Context
from app.engine import Clock
from app.ofrep import events
from app.ofrep.answers import JSON, ErrorCode, Refusal
from app.ofrep.requests import Headers, change_of, headers_of, matches, read_context
from app.rates import Rates
from app.sdk_keys import SdkKeyRegister
from app.settings import Settings
from app.snapshot import Snapshot

T = TypeVar("T")
IsCaller: TypeAlias = Callable[[str], Awaitable[bool]]

EVENTS_PATH = "/ofrep/v1/events"

_CATCH_UP_SECONDS = 1.0
_NOTE_SECONDS = 60.0
_LOADED_WITHIN_SECONDS = 2.0
_STREAM_WITHIN_SECONDS = 10.0
_LOOKED_FOR = RateLimitItemPerSecond(20)
_INACTIVITY_SECONDS = 120
_HELD_SECONDS = 0.01
_SLICE = 16  # features: the clock is not looked at for each, which would cost as much as to decide it


class Ofrep:
    """OFREP on the snapshot of this process."""

    def __init__(
        self,
        snapshot: Snapshot[bytes],
        keys: SdkKeyRegister,
        rates: Rates,
        is_caller: IsCaller,
        clock: Clock,
        settings: Settings,
    ) -> None:
        self._snapshot = snapshot
        self._keys = keys
        self._rates = rates
        self._is_caller = is_caller
        self._clock = clock
        self._max_bytes = settings.max_context_bytes
        per_minute = settings.evaluations_per_minute
        self._limit = RateLimitItemPerMinute(per_minute) if per_minute else None
        self._counted = FixedWindowRateLimiter(MemoryStorage())
        self._used: dict[str, datetime] = {}
        self.streams = events.Streams(snapshot, clock, settings.max_event_streams, settings.max_event_streams_per_key)

    @property
    def is_loaded(self) -> bool:
        """Whether features can be evaluated."""
        return self._snapshot.is_loaded

    async def loaded(self) -> None:
        """Return when they can."""
        await self._snapshot.loaded()

    # --- endpoints ---

    async def evaluate(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST /ofrep/v1/evaluate/flags/{key}`: one feature."""
        feature_key: str = scope["path_params"]["key"]
        try:
            key, headers = await self._let_in(scope)
            context = await read_context(receive, headers.content_length, self._max_bytes)
            served = self._snapshot.served(feature_key)
            if served is None:
                raise Refusal(404, f"There is no feature {feature_key[:200]!r}.", ErrorCode.FLAG_NOT_FOUND)
            body = served.plan(key.environment).decide(context)
        except Refusal as refusal:
            await answer(send, refusal.status, refusal.body(feature_key), refusal.headers)
        else:
            await answer(send, 200, body)

    async def evaluate_all(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST /ofrep/v1/evaluate/flags`: all features, or 304 where nothing is different for the context."""
        try:
            key, headers = await self._let_in(scope)
            change = change_of(scope)
            context = await read_context(receive, headers.content_length, self._max_bytes)
            if change is not None:
                # Another process may have told of the change, before this one has heard of it.
                await self._snapshot.caught_up(change, _CATCH_UP_SECONDS)
        except Refusal as refusal:
            await answer(send, refusal.status, refusal.body(None), refusal.headers)
            return
        view = self._snapshot.view(key.environment)
        version, plans = view.version, view.plans  # of one moment: while this waits either may become another
        etag = _etag(key, version, context)
        if matches(headers.if_none_match, etag):
            await answer(send, 304, b"", [(b"etag", etag.encode())])
        else:
            flags = await decided(plans, context)
            body = _body(key, version, flags, scope.get("root_path", ""))
            await answer(send, 200, body, [(b"etag", etag.encode())])

    async def tell(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`GET /ofrep/v1/events`: tell of changes as server-sent events, at the address that a bulk answer gave."""
        try:
            require_method(scope, "GET")
            # To a browser's EventSource any answer but 200 is final.
            await self._wait_until_loaded(_STREAM_WITHIN_SECONDS)
            subscriber = self.streams.subscriber(scope["query_string"], headers_of(scope).last_event_id)
        except Refusal as refusal:
            await answer(send, refusal.status, refusal.body(None), refusal.headers)
        else:
            self._used[subscriber.key_id] = self._clock.now()
            await self.streams.serve(subscriber, receive, send)

    # --- what they share ---

    async def _let_in(self, scope: Scope) -> tuple[SdkKey, Headers]:
        """The SDK key that asks, and the request's headers. Raises `Refusal` (401, 403, 405, 429 or 503)."""
        require_method(scope, "POST")
        headers = headers_of(scope)
        if not self._snapshot.is_loaded:
            await self._wait_until_loaded(_LOADED_WITHIN_SECONDS)
        secret = headers.secret
        key = None if secret is None else self._snapshot.key_of(secret) or await self._new_key(secret)
        now = self._clock.now()
        if key is None or not key.is_valid(now):
            raise await self._refusal(scope, secret, key)
        if self._limit is not None and not await self._counted.hit(self._limit, key.id):
            window = await self._counted.get_window_stats(self._limit, key.id)
            wait = max(1, math.ceil(window.reset_time - time.time()))
            raise Refusal(429, f"Too many evaluations; wait {wait} s.", retry_after=str(wait))
        self._used[key.id] = now
        return key, headers

    async def _wait_until_loaded(self, seconds: float) -> None:
        """Let who asks a process that has just started wait for a moment. Raises `Refusal` (503)."""
        try:
            async with asyncio.timeout(seconds):
                await self._snapshot.loaded()
        except TimeoutError:
            raise Refusal(503, "The features are being loaded; try again.", retry_after="1") from None

    async def _new_key(self, secret: str) -> SdkKey | None:
        """A key that has been made so lately that nobody has told of it. Few are looked for: guesses cost the store."""
        if not secret.startswith(PREFIX) or not await self._counted.hit(_LOOKED_FOR, "unknown keys"):
            return None
        return await self._snapshot.find_key(secret)

    async def _refusal(self, scope: Scope, secret: str | None, key: SdkKey | None) -> Refusal:
        """What who brings no valid SDK key is told. Guesses are counted by address."""
        client = scope.get("client")
        wait = await self._rates.wait_seconds(f"address:{client[0] if client else 'unknown'}")
        if wait:
            return Refusal(429, f"Too many requests; wait {wait} s.", retry_after=str(wait))
        if secret is not None and await self._is_caller(secret):
            return Refusal(403, "An API token does not evaluate here: send an SDK key, which names the environment.")
        if key is not None:
            what = "This SDK key was revoked" if key.revoked_at is not None else "This SDK key has expired"
        else:
            what = "There is no such SDK key" if secret else "There is no SDK key in the request"
        return Refusal(
            401,
            f"{what}: send a valid one, as `Authorization: Bearer slk_...` or `X-API-Key: slk_...`.",
            www_authenticate="Bearer",
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write down which keys are used, to the end of the block."""
        task = asyncio.create_task(self._note_uses())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _note_uses(self) -> None:
        while True:
            await asyncio.sleep(_NOTE_SECONDS)
            used, self._used = self._used, {}
            if used:
                await self._keys.note_use(used)


def _etag(key: SdkKey, version: str, context: Context) -> str:
    """Names all that the answer depends on, so that it is known before anything is evaluated."""
    state = f"{key.id} {version} ".encode()
    return f'"{hashlib.sha256(state + msgspec.json.encode(context, order="deterministic")).hexdigest()[:32]}"'


def _body(key: SdkKey, version: str, flags: list[bytes], root_path: str) -> bytes:
    """The answer that has all flags, and the stream that tells of another version than theirs."""
    stream = {
        "type": "sse",
        "endpoint": {"requestUri": f"{root_path}{EVENTS_PATH}?{events.query(key, version)}"},
        "inactivityDelaySec": _INACTIVITY_SECONDS,
    }
    rest = msgspec.json.encode({"eventStreams": [stream], "metadata": {"environment": key.environment}})
    return b'{"flags":[' + b",".join(flags) + b"]," + rest[1:]


async def decided(plans: list[Plan[T]], context: Context) -> list[T]:
    """What each plan gives the context. Whenever that has taken long, others have their turn."""
    found: list[T] = []
    began = time.thread_time()
    for at in range(0, len(plans), _SLICE):
        found += [plan.decide(context) for plan in plans[at : at + _SLICE]]
        if time.thread_time() - began > _HELD_SECONDS:
            await asyncio.sleep(0)
            began = time.thread_time()
    return found


def require_method(scope: Scope, method: str) -> None:
    """Refuse another method (405)."""
    if scope["method"] != method:
        raise Refusal(405, f"Use {method}.", allow=method)


async def answer(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    """Send a whole answer."""
    own = [] if status == 304 else [(b"content-type", JSON), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": own + (headers or [])})
    await send({"type": "http.response.body", "body": body})
