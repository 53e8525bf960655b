"""uvicorn's protocols, bounded where they trust their peer: what it sends, how long it takes, and answers to pings."""

from asyncio import BaseTransport, TimerHandle, Transport
from enum import Enum, auto
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request
from websockets.protocol import State

from app.api.members import ABORT, LINE, Line

MAX_HEAD_BYTES = 64 * 1024  # and of what follows a piece of a body without being one: framing, or trailers
MAX_HEADERS = 100
MAX_UNREAD_BYTES = 1024 * 1024

HEAD_SECONDS = 20.0
BODY_SECONDS = 60.0
SILENT_SECONDS = 75.0

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class _Part(Enum):
    """Which part of a request is being read."""

    NONE = auto()
    HEAD = auto()
    BODY = auto()


class _TooManyHeaders(Exception):
    """Ends the parser's reading; nobody else sees it."""


class BoundedHttp(HttpToolsProtocol):
    """HTTP that holds little, and that not for ever, for a peer that goes on without end or does not go on.

    Request line and headers end within 64 KiB: httptools holds them however long they grow. So it would the trailers
    of a chunked body, which nobody here asks for and which are not kept. A request that has begun is whole in time, and
    a connection on which none begins is closed. Answers may take as long as they like.
    """

    _part = _Part.NONE
    _parts = 0  # begun so far
    _bytes = 0  # of this part, or since the last piece of a body
    _is_new = False  # whether what was just read began a part, or held a piece of a body
    _deadline: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Wait for a request, for a while."""
        super().connection_made(transport)
        self._set_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._end_deadline()
        self._unset_keepalive_if_required()  # which uvicorn forgets where a peer is gone without a word
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        """Leave the connection to a websocket, which has deadlines of its own."""
        self._end_deadline()
        super().handle_websocket_upgrade()

    def data_received(self, data: bytes) -> None:
        """Read on, unless a head has grown too large, or what follows a body."""
        before, parts = self._part, self._parts
        self._is_new = False
        super().data_received(data)
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            self._end_deadline()
            return
        # How much belongs to a part that began after another's end is not known; it is one read at the most.
        if not self._is_new or (before is _Part.NONE and self._part is _Part.HEAD):
            self._bytes += len(data)
        if self._part is not _Part.NONE and self._bytes > MAX_HEAD_BYTES:
            self._refuse(_TOO_LARGE)
        elif self._parts != parts or self._deadline is None:
            self._set_deadline()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, or has too many headers."""
        if self._part is _Part.HEAD and len(self.headers) >= MAX_HEADERS:
            self._refuse(_TOO_LARGE)
        elif self._may_answer():
            super().send_400_response(msg)
        else:
            self.transport.abort()

    # --- what the parser finds ---

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._begin(_Part.HEAD)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header, unless it is a trailer. Raises `_TooManyHeaders`."""
        if self._part is _Part.HEAD:
            if len(self.headers) >= MAX_HEADERS:
                raise _TooManyHeaders
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole."""
        super().on_headers_complete()
        self._begin(_Part.BODY)

    def on_body(self, body: bytes) -> None:
        """A piece of the body is there."""
        super().on_body(body)
        self._bytes = 0
        self._is_new = True

    def on_message_complete(self) -> None:
        """The body is whole."""
        super().on_message_complete()
        self._begin(_Part.NONE)

    def _begin(self, part: _Part) -> None:
        self._part = part
        self._parts += 1
        self._bytes = 0
        self._is_new = True

    # --- giving up ---

    def _set_deadline(self) -> None:
        """Wait for the end of this part only so long. (After an answer uvicorn itself waits for the next request.)"""
        self._end_deadline()
        if self._part is not _Part.NONE or self.cycle is None or self.cycle.response_complete:
            seconds = {_Part.NONE: SILENT_SECONDS, _Part.HEAD: HEAD_SECONDS, _Part.BODY: BODY_SECONDS}[self._part]
            self._deadline = self.loop.call_later(seconds, self._give_up)

    def _end_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        if self.flow.read_paused:  # it is ours to read on, not the peer's to send
            self._set_deadline()
        elif self._part is _Part.NONE:
            self.transport.close()
        else:
            self._refuse(_TOO_SLOW)

    def _refuse(self, answer: bytes) -> None:
        """Answer where an answer is due, and close. What the peer has left unread is thrown away."""
        self._end_deadline()
        if not self._may_answer() or self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.write(answer)
            self.transport.close()

    def _may_answer(self) -> bool:
        """Whether the next answer is that to the request being read, and has not begun."""
        if self.cycle is None:
            return True
        if self._part is _Part.BODY:
            return not self.cycle.response_started and not self.pipeline
        return self.cycle.response_complete


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """A websocket that is given up when its peer sends pings and reads no pong, or answers none of ours.

    Pongs know no flow control. And to close politely is to wait until what is unread has been read: for ever.

    Its `Line` lets the application write frames that it has made already: what a thousand sockets are told alike is
    framed once, and needs neither a coroutine nor a message for each. It is taken back before anything that could end
    or hold up what is sent; whoever finds it taken sends as ASGI has it.
    """

    transport: Any
    _line: Line

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin, with nothing to write on yet."""
        super().connection_made(transport)
        self._line = Line()

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer is gone."""
        self._line.write = None
        super().connection_lost(exc)

    def handle_connect(self, event: Request) -> None:
        """Begin, and hand the application what it may do beyond ASGI."""
        super().handle_connect(event)
        if hasattr(self, "scope"):  # not when the handshake is refused
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[LINE] = self._line
            extensions[ABORT] = self._abort

    def data_received(self, data: bytes) -> None:
        """Read on; it may be the end."""
        super().data_received(data)
        self._set_line()

    async def send(self, message: Any) -> None:
        """Send; after a close frame no other follows."""
        if message["type"] == "websocket.close":
            self._line.write = None
            await super().send(message)
        else:
            await super().send(message)
            if message["type"] == "websocket.accept":
                self._set_line()

    def shutdown(self) -> None:
        """Close, since the server does."""
        self._line.write = None
        super().shutdown()

    def pause_writing(self) -> None:
        """The peer does not read."""
        self._line.write = None
        super().pause_writing()

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        self._set_line()

    def handle_ping(self) -> None:
        """Answer a ping, if there is somebody to read it."""
        transport: Transport = self.transport
        if transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
            self._abort()
        else:
            super().handle_ping()

    def keepalive_timeout(self) -> None:
        """Close a socket whose peer did not answer a ping in time; what it has not read is thrown away."""
        self._line.write = None
        super().keepalive_timeout()
        if self.transport.get_write_buffer_size():
            self._abort()

    def _abort(self) -> None:
        self._line.write = None
        self.transport.abort()

    def _set_line(self) -> None:
        may_write = self.conn.state is State.OPEN and self.writable.is_set() and not self.transport.is_closing()
        self._line.write = self.transport.write if may_write else None
