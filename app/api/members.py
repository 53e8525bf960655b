"""One operation of one socket among many that are told the same."""

import asyncio
import sys
import types
from collections.abc import Callable, Coroutine, Generator, Sequence
from typing import Any

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.frames import Frame, Opcode

from app.domain.releases import Release

LINE = "slipway.line"
"""The extension of a websocket's ASGI scope by which whole frames are written at once: a `Line`."""

ABORT = "slipway.abort"
"""The extension that tears its connection off, whatever waits to be sent: `() -> None`."""


class Line:
    """How to write whole frames to a socket at once."""

    __slots__ = ("write",)

    def __init__(self) -> None:
        self.write: Callable[[bytes], None] | None = None
        """None while the peer does not read, and once the socket is closing: then send as ASGI has it."""


class Gone(Exception):
    """The socket is closed."""


class Member:
    """One operation of one socket that shares its question with others."""

    __slots__ = ("_ended", "_head", "_id", "_line", "_socket", "catching_up", "hears", "seen")

    def __init__(self, socket: WebSocket, id: str, ended: Callable[[], None]) -> None:
        self._socket = socket
        self._line: Line = socket.scope["extensions"].get(LINE) or Line()
        self._ended = ended
        self._id = msgspec.json.encode(id).decode()
        self._head = sys.intern(f'{{"id":{self._id},"type":"next","payload":')
        self.seen = 0
        self.hears: Callable[[Release], bool] | None = None
        self.catching_up: asyncio.Task[None] | None = None

    async def tell(self, payload: str) -> None:
        """Send an event, waiting for the socket. Raises `Gone`."""
        await self._send(f"{self._head}{payload}}}")

    def tell_now(self, payloads: Sequence[str], frames: dict[str, bytes]) -> Coroutine[Any, Any, None] | None:
        """Send events if the socket takes them at once; otherwise gives the rest of sending them. Raises `Gone`.

        `frames` keeps what was made for others who are told the same: most operations have the same few ids.
        """
        write = self._line.write
        if write is None:
            return begun(self._tell_each(payloads))
        frame = frames.get(self._head)
        if frame is None:
            frame = b"".join(_text_frame(f"{self._head}{payload}}}") for payload in payloads)
            frames[self._head] = frame
        try:
            write(frame)
        except (RuntimeError, OSError):  # torn off, which its protocol does not know yet
            raise Gone from None
        return None

    async def _tell_each(self, payloads: Sequence[str]) -> None:
        for payload in payloads:
            await self.tell(payload)

    async def complete(self) -> None:
        """Send that no more events come. Raises `Gone`."""
        self._ended()
        await self._send(f'{{"id":{self._id},"type":"complete"}}')

    async def _send(self, text: str) -> None:
        try:
            await self._socket.send({"type": "websocket.send", "text": text})
        except (WebSocketDisconnect, RuntimeError, OSError):
            raise Gone from None


def _text_frame(text: str) -> bytes:
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


def begun(coroutine: Coroutine[Any, Any, None]) -> Coroutine[Any, Any, None] | None:
    """Run a coroutine as far as it goes without waiting: None if that is its end, otherwise the rest of it."""
    try:
        awaited = coroutine.send(None)
    except StopIteration:
        return None
    return _rest(coroutine, awaited)


async def _rest(coroutine: Coroutine[Any, Any, None], awaited: object) -> None:
    await _resumed(coroutine, awaited)


@types.coroutine
def _resumed(coroutine: Coroutine[Any, Any, None], awaited: object) -> Generator[Any, Any, None]:
    """Hand on what the coroutine waits for, and to it what comes of that."""
    try:
        while True:
            try:
                sent = yield awaited
            except BaseException as error:
                awaited = coroutine.throw(error)
            else:
                awaited = coroutine.send(sent)
    except StopIteration:
        return
