"""Receivers on loopback: an HTTP server that checks signatures and misbehaves on demand, and an SMTP server."""

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from email import message_from_bytes
from email.message import Message
from email.policy import default as policy
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from standardwebhooks import Webhook

Json = dict[str, Any]

HANG, RESET, DRIP = "hang", "reset", "drip"


class Hooks:
    """An HTTP server for webhooks, a path for each channel.

    `answers` are what it does next at a path: a status, a whole response as bytes, or HANG, RESET or DRIP; then 200.
    `body` goes with every status.
    `received` is what it has said yes to: the header webhook-id, if any, and the body, once the signature was right.
    """

    def __init__(self) -> None:
        self.secrets: dict[str, list[str]] = {}
        self.answers: dict[str, deque[int | str | bytes]] = defaultdict(deque)
        self.received: dict[str, list[tuple[str, Json]]] = defaultdict(list)
        self.attempts: dict[str, list[str]] = defaultdict(list)
        self.signatures: dict[str, list[int]] = defaultdict(list)
        self.hosts: list[str] = []
        self.failures: list[str] = []
        self.body = b""
        self.connections = 0
        self.serving: set[asyncio.Task[None]] = set()
        self.port = 0

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        """The address of a path."""
        return f"http://{host}:{self.port}{path}"

    def types(self, path: str) -> list[str]:
        """What the events that arrived were about."""
        return [body["type"] for _, body in self.received[path]]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, as the path says, and close."""
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        task.add_done_callback(self.serving.discard)
        with suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError, KeyError):
            try:
                await self._answer(reader, writer)
            finally:
                writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        line, *fields = head.split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields if field)
        }
        body = await reader.readexactly(int(headers["content-length"]))
        path, id = line.split()[1], headers.get("webhook-id", "")
        self.attempts[path].append(id)
        self.hosts.append(headers["host"])
        answer = self.answers[path].popleft() if self.answers[path] else 200
        if answer == HANG:
            await asyncio.wait_for(reader.read(), 30)
        elif answer == RESET:
            writer.transport.abort()
        elif answer == DRIP:
            for byte in b"HTTP/1.1 200 OK\r\nx-slow: " + b"x" * 1_000:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.05)
        else:
            if answer == 200:
                self._take(path, id, headers, body)
            writer.write(answer if isinstance(answer, bytes) else _response(int(answer), body=self.body))
            await writer.drain()

    def _take(self, path: str, id: str, headers: dict[str, str], body: bytes) -> None:
        for secret in self.secrets.get(path, []):
            try:
                Webhook(secret).verify(body, headers)
            except Exception as error:
                self.failures.append(f"{path}: {error!r}")
        self.signatures[path].append(len(headers.get("webhook-signature", "").split()))
        self.received[path].append((id, json.loads(body)))


def _response(status: int, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", "connection: close", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def response(status: int, *headers: str) -> bytes:
    """A whole response."""
    return _response(status, *headers)


@asynccontextmanager
async def hooks() -> AsyncIterator[Hooks]:
    """A server on a free port of this machine, in the test's own event loop."""
    receiver = Hooks()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    async with server:
        yield receiver
        server.close()
        for task in receiver.serving:
            task.cancel()
        await asyncio.gather(*receiver.serving, return_exceptions=True)


class Mailbox:
    """What an SMTP server was given."""

    def __init__(self) -> None:
        self.mails: list[Message] = []
        self.refuse = False
        self.port = 0

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Take a mail, or refuse it."""
        if self.refuse:
            return "451 Not now"
        assert isinstance(envelope.content, bytes)
        self.mails.append(message_from_bytes(envelope.content, policy=policy))
        return "250 OK"


class _Controller(Controller):
    """On a port of the system's choice, which aiosmtpd itself does not tell."""

    def _trigger_server(self) -> None:
        assert self.server is not None
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    """An SMTP server on a free port of this machine, in a thread of its own."""
    box = Mailbox()
    controller = _Controller(box, hostname="127.0.0.1", port=0)
    controller.start()
    box.port = controller.port
    try:
        yield box
    finally:
        controller.stop()
