"""uvicorn's protocols, bounded where they trust their peer: the head of a request, and answers to pings."""

from asyncio import Transport
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request
from websockets.protocol import State

from app.api.sharing import ABORT, WRITE_FRAME

MAX_HEAD_BYTES = 64 * 1024
MAX_UNREAD_BYTES = 1024 * 1024

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class BoundedHttp(HttpToolsProtocol):
    """HTTP whose request line and headers end within 64 KiB: httptools holds them however long they grow."""

    _head_bytes: int | None = None  # while a head is read

    def data_received(self, data: bytes) -> None:
        """Read on, unless the head has grown too large."""
        super().data_received(data)
        if self._head_bytes is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.transport.write(_TOO_LARGE)
                self.transport.close()

    def on_message_begin(self) -> None:
        """A head begins."""
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._head_bytes = None
        super().on_headers_complete()


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """A websocket that is given up when its peer sends pings and reads no pong, or answers none of ours.

    Pongs know no flow control. And to close politely is to wait until what is unread has been read: for ever.
    """

    transport: Any

    def handle_connect(self, event: Request) -> None:
        """Begin, and let the application write frames that it has made already (see `write_frame`)."""
        super().handle_connect(event)
        if hasattr(self, "scope"):  # not when the handshake is refused
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[WRITE_FRAME] = self.write_frame
            extensions[ABORT] = self.transport.abort

    def write_frame(self, frame: bytes) -> bool:
        """Write a whole frame at once; False if the peer does not read, or is gone: then send as ASGI has it.

        What a thousand sockets are told alike is framed once, and needs neither a coroutine nor a message for each.
        """
        if not self.writable.is_set() or self.conn.state is not State.OPEN or self.transport.is_closing():
            return False
        self.transport.write(frame)
        return True

    def handle_ping(self) -> None:
        """Answer a ping, if there is somebody to read it."""
        transport: Transport = self.transport
        if transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
            transport.abort()
        else:
            super().handle_ping()

    def keepalive_timeout(self) -> None:
        """Close a socket whose peer did not answer a ping in time; what it has not read is thrown away."""
        super().keepalive_timeout()
        if self.transport.get_write_buffer_size():
            self.transport.abort()
