"""Server-sent events that tell clients to fetch again (OFREP, ADR 8, "SSE for bulk evaluation changes").

An event says that something has changed, never what a feature gives. Its id is the version of the environment's state,
so a client that comes back is told at once if it has missed anything, and of nothing else.

A browser's EventSource sends no headers. So the address that a bulk answer gives carries a ticket, made of the SDK key:
it lets its holder hear of changes, no more, and ends with the key.
"""

import asyncio
import hmac
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlencode

import msgspec
from msgspec import Struct
from starlette.types import Receive, Send

from app.domain.sdk_keys import SdkKey
from app.engine import Clock
from app.ofrep.answers import Refusal
from app.snapshot import EnvironmentView, Snapshot

_HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
_HEARTBEAT_SECONDS = 15.0
# Between two events of one stream, so that many changes in a moment are one to fetch for.
_REST_SECONDS = 0.1


class Subscriber(Struct, frozen=True):
    """Who listens, and the version of which they know."""

    key_id: str
    environment: str
    seen: str


def query(key: SdkKey, version: str) -> str:
    """The query of a stream's address, for a client that knows of that version."""
    return urlencode({"key": key.id, "ticket": _ticket(key), "since": version})


def _ticket(key: SdkKey) -> str:
    return hmac.digest(key.secret_hash.encode(), b"event stream", "sha256").hex()


class Streams:
    """The event streams of this process."""

    def __init__(self, snapshot: Snapshot[bytes], clock: Clock, most: int, most_of_key: int) -> None:
        self._snapshot = snapshot
        self._clock = clock
        self._most = most
        self._most_of_key = most_of_key
        self._open: Counter[str] = Counter()
        self._closing = False

    def subscriber(self, query_string: bytes, last_event_id: str | None) -> Subscriber:
        """Who asks for a stream. Raises `Refusal` (401 or 503)."""
        given = parse_qs(query_string.decode("latin-1"))
        id, ticket, since = (given.get(name, [""])[-1] for name in ("key", "ticket", "since"))
        key = self._snapshot.key(id)
        if key is None or not self._is_valid(key) or not hmac.compare_digest(ticket.encode(), _ticket(key).encode()):
            raise Refusal(401, "This address is not valid any more: evaluate all features again to get another.")
        if self._open[id] >= self._most_of_key:
            raise Refusal(503, f"At most {self._most_of_key} streams of one key are open here.", retry_after="5")
        if self._closing or self._open.total() >= self._most:
            raise Refusal(503, "No stream can be opened now; try again.", retry_after="1")
        return Subscriber(key.id, key.environment, last_event_id or since)

    async def serve(self, subscriber: Subscriber, receive: Receive, send: Send) -> None:
        """Tell of changes until the client goes, its key ends or the server stops."""
        with self._counted(subscriber.key_id):
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            gone = asyncio.create_task(_until_gone(receive))
            try:
                await self._tell(subscriber, gone, send)
            finally:
                gone.cancel()
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _tell(self, subscriber: Subscriber, gone: asyncio.Task[None], send: Send) -> None:
        view = self._snapshot.view(subscriber.environment)
        seen = subscriber.seen or view.version
        said = b"retry: 1000\n\n"
        while self._may_hear(subscriber):
            if seen != view.version:
                seen = view.version
                said += _event(view)
            if said:
                await send({"type": "http.response.body", "body": said, "more_body": True})
            if await _is_done(gone, _REST_SECONDS):
                return
            said = b""
            # Looked at again: who wakes nobody, since nobody waits yet, would not be heard before the next heartbeat.
            idle = seen == view.version and self._may_hear(subscriber)
            if idle and not await self._woken(view, gone):
                said = b": still here\n\n"
            if gone.done():
                return

    async def _woken(self, view: EnvironmentView[bytes], gone: asyncio.Task[None]) -> bool:
        """Wait for a reason to look; False if there was none for a while."""
        changed = asyncio.create_task(view.changed())
        try:
            done, _ = await asyncio.wait(
                (changed, gone), timeout=_HEARTBEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            changed.cancel()
        return bool(done)

    def close(self) -> None:
        """End all streams: a server that stops would wait for them."""
        self._closing = True
        self._snapshot.wake()

    def _may_hear(self, subscriber: Subscriber) -> bool:
        return not self._closing and self._is_valid(self._snapshot.key(subscriber.key_id))

    def _is_valid(self, key: SdkKey | None) -> bool:
        return key is not None and key.is_valid(self._clock.now())

    @contextmanager
    def _counted(self, key_id: str) -> Iterator[None]:
        self._open[key_id] += 1
        try:
            yield
        finally:
            self._open[key_id] -= 1
            if not self._open[key_id]:
                del self._open[key_id]


def _event(view: EnvironmentView[bytes]) -> bytes:
    told = {"type": "refetchEvaluation", "lastModified": int(time.time())}
    if view.last_change:
        told["etag"] = view.last_change
    return f"id: {view.version}\nevent: message\ndata: {msgspec.json.encode(told).decode()}\n\n".encode()


async def _is_done(task: asyncio.Task[None], within: float) -> bool:
    done, _ = await asyncio.wait((task,), timeout=within)
    return bool(done)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
