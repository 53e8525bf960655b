"""What a thread may do while a library that knows nothing of our rules sends from it.

Such a library connects by itself. An audit hook of Python sees each connection as it is made, whatever makes it: there
its address is checked, and a second handle on the connection is kept, by which it can be cut when its time is over.
"""

import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from app.notify.targets import TargetRefused, Targets

_guarded = threading.local()
_watched = threading.Lock()


class Guard:
    """What one attempt connects to: allowed addresses only, until it is cut."""

    def __init__(self, targets: Targets) -> None:
        self._targets = targets
        self._connections: list[socket.socket] = []
        self._is_over = False
        self.refused: list[TargetRefused] = []

    @contextmanager
    def here(self) -> Iterator[None]:
        """Guard this thread to the end of the block."""
        if _watched.acquire(blocking=False):  # once: a hook of Python's cannot be taken back
            sys.addaudithook(_on_event)
        _guarded.by = self
        try:
            yield
        finally:
            _guarded.by = None
            for connection in self._connections:
                connection.close()

    def cut(self) -> None:
        """End the attempt, from any thread: its connections end, and it makes no other."""
        self._is_over = True
        for connection in list(self._connections):
            with suppress(OSError):  # it has ended already
                connection.shutdown(socket.SHUT_RDWR)

    def check(self, address: object) -> None:
        """Raise `TargetRefused` unless something may be sent there now."""
        try:
            if self._is_over:
                raise TargetRefused("The time for this attempt is over.")
            self._targets.check(str(address[0]) if isinstance(address, tuple) else str(address))
        except TargetRefused as error:
            self.refused.append(error)
            raise

    def keep(self, connection: socket.socket) -> None:
        """Keep a handle on a connection. (Its own is no longer it once TLS has taken over.)"""
        self._connections.append(socket.socket(fileno=os.dup(connection.fileno())))


def _on_event(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in ("socket.connect", "socket.sendto"):
        return
    guard: Guard | None = getattr(_guarded, "by", None)
    if guard is None:
        return
    if event == "socket.connect":
        guard.keep(arguments[0])
    guard.check(arguments[1])
