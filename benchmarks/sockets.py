"""Thousands of websockets read as cheaply as Python can: graphql-transport-ws by hand, on epoll, without tasks.

Frames are counted by their headers; those of a few sockets are kept to be looked at. No compression is offered.
"""

import base64
import json
import os
import select
import socket
import time
from collections.abc import Sequence
from typing import Any

_CONNECTING = 64  # at a time, well within a listener's backlog
_READ_BYTES = 64 * 1024
_KEPT = 3
_IS_NEXT = b'"next"'  # `"type": "next"`, however it is spaced

_SWITCHED = b"HTTP/1.1 101 "
_HANDSHAKE = (
    "GET /graphql HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
)


class _Socket:
    __slots__ = ("is_open", "kept", "of", "received", "recv_into", "rest", "socket")

    def __init__(self, of: "Sockets", port: int, keep: bool) -> None:
        self.of = of
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.send(_HANDSHAKE.format(port=port, key=key).encode())
        self.recv_into = self.socket.recv_into
        self.rest: bytes | bytearray = b""
        self.received = 0
        self.is_open = False
        self.kept: list[bytes] | None = [] if keep else None


class Client:
    """Reads the sockets of all servers, so that none of their pings waits for an answer."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._sockets: dict[int, _Socket] = {}
        self._buffer = bytearray(_READ_BYTES)

    def add(self, opened: _Socket) -> None:
        """Read this one too."""
        self._sockets[opened.socket.fileno()] = opened
        self._epoll.register(opened.socket, select.EPOLLIN)

    def read(self, seconds: float) -> None:
        """Read for so long."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.take(left)

    def close(self) -> None:
        """Close all sockets."""
        for each in self._sockets.values():
            each.socket.close()
        self._epoll.close()

    def take(self, seconds: float) -> None:
        """Read what has come, or comes within so many seconds."""
        sockets, buffer = self._sockets, self._buffer
        for number, _ in self._epoll.poll(seconds, 1_024):
            each = sockets[number]
            end = each.recv_into(buffer)
            if not end:
                raise RuntimeError(f"the server closed a socket, after {each.received} deliveries")
            data = buffer
            if each.rest:
                data = each.rest + buffer[:end]
                end = len(data)
            at = 0 if each.is_open else each.of.opened(each, data[:end])
            while each.is_open and end - at >= 2:
                start, length = at + 2, data[at + 1]
                if length == 126:
                    start, length = at + 4, data[at + 2] << 8 | data[at + 3]
                elif length == 127:
                    start, length = at + 10, int.from_bytes(data[at + 2 : at + 10])
                stop = start + length
                if stop > end:
                    break
                if data[at] == 0x81 and data.find(_IS_NEXT, start, stop) >= 0:
                    each.received += 1
                    each.of.received += 1
                    if each.kept is not None:
                        each.kept.append(bytes(data[start:stop]))
                else:
                    each.of.other(each, data[at], bytes(data[start:stop]))
                at = stop
            each.rest = data[at:end] if at < end else b""


class Sockets:
    """The sockets to one server, each with the same subscriptions."""

    def __init__(
        self, client: Client, port: int, token: str | None, query: str, variables: dict[str, Any], subscriptions: int
    ) -> None:
        self._client = client
        self._port = port
        authorization = {"authorization": f"Bearer {token}"} if token else {}
        self._init = _frame(json.dumps({"type": "connection_init", "payload": authorization}).encode())
        payload = {"query": query, "variables": variables}
        self._subscribe = b"".join(
            _frame(json.dumps({"id": str(number), "type": "subscribe", "payload": payload}).encode())
            for number in range(subscriptions)
        )
        self._subscriptions = subscriptions
        self._sockets: list[_Socket] = []
        self._subscribed = 0
        self.received = 0  # deliveries, over all sockets

    def __len__(self) -> int:
        return len(self._sockets)

    def open(self, count: int) -> None:
        """Open more sockets, and subscribe on each."""
        wanted = len(self) + count
        while len(self) < wanted:
            for _ in range(min(_CONNECTING, wanted - len(self))):
                opened = _Socket(self, self._port, len(self) < _KEPT)
                self._sockets.append(opened)
                self._client.add(opened)
            until = time.monotonic() + 60
            while self._subscribed < len(self):
                if time.monotonic() > until:
                    raise RuntimeError(f"{len(self) - self._subscribed} of {len(self)} sockets are not let in")
                self._client.take(1)

    def read_until(self, received: int, seconds: float) -> float:
        """Read until so many deliveries have come; the moment of the last one."""
        until = time.monotonic() + seconds
        while self.received < received:
            if time.monotonic() > until:
                raise RuntimeError(f"{received - self.received} of {received} deliveries did not come in {seconds} s")
            self._client.take(1)
        return time.monotonic()

    def check(self, events: int, before: int) -> int:
        """Whether each socket has each event once and in order; how many bytes the last delivery has.

        The events are those after the sequence `before`, as far as those sockets are concerned whose frames are kept.
        """
        for each in self._sockets:
            if each.received != events * self._subscriptions:
                raise RuntimeError(f"a socket got {each.received} deliveries, not {events * self._subscriptions}")
        for each in self._sockets:
            if each.kept is not None:
                self._check_kept([json.loads(payload) for payload in each.kept], range(before + 1, before + events + 1))
        return len(self._sockets[0].kept[-1])  # type: ignore[index]

    def _check_kept(self, messages: Sequence[dict[str, Any]], sequences: range) -> None:
        for number in range(self._subscriptions):
            payloads = [message["payload"] for message in messages if message["id"] == str(number)]
            for payload in payloads:
                event = payload["data"]["releaseEvents"]
                assert payload.keys() <= {"data", "extensions"}, payload
                assert event.keys() == _EVENT, event
                assert event["phase"].keys() == {"id", "name", "status"}, event
            got = [payload["data"]["releaseEvents"]["sequence"] for payload in payloads]
            if got != list(sequences):
                raise RuntimeError(f"a subscription got the events {got}, not {sequences}")

    # --- what the client tells ---

    def opened(self, each: _Socket, data: bytes | bytearray) -> int:
        """How much of what has come is the handshake's answer: 0 until it is whole."""
        if not data.startswith(_SWITCHED[: len(data)]):
            raise RuntimeError(f"the server refused a socket: {data.decode(errors='replace')}")
        end = data.find(b"\r\n\r\n") + 4
        if end < 4:
            return 0
        each.is_open = True
        each.socket.send(self._init)
        return end

    def other(self, each: _Socket, first: int, payload: bytes) -> None:
        """Answer what is no delivery."""
        if first == 0x89:  # a ping
            each.socket.send(_frame(payload, 0x8A))
        elif first == 0x81 and b"connection_ack" in payload:
            each.socket.send(self._subscribe)
            self._subscribed += 1
        elif first == 0x81 and json.loads(payload)["type"] == "ping":
            each.socket.send(_frame(b'{"type":"pong"}'))
        elif first != 0x81 or json.loads(payload)["type"] != "pong":
            raise RuntimeError(f"the server sent what nobody asked for: {payload[:500]!r}")


_EVENT = {"sequence", "type", "at", "reason", "actor", "toStatus", "phase", "release"}


def _frame(payload: bytes, first: int = 0x81) -> bytes:
    """A frame as a client sends it: masked, with the mask that changes nothing."""
    length = len(payload)
    size = bytes([0x80 | length]) if length < 126 else bytes([0xFE]) + length.to_bytes(2)
    return bytes([first]) + size + bytes(4) + payload
