"""Everything that Apprise speaks, by its URL: chats, e-mail and more. Apprise blocks, so it runs in threads of its own.

A thread cannot be stopped. One that hangs is left to itself (it holds up neither the event loop nor the end of the
process), and a channel has a few of them at most.

Apprise connects by itself, so addresses are checked by an audit hook of Python, which sees each connection of these
threads as it is made, whatever library makes it.
"""

import asyncio
import logging
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from app.domain.messages import Message
from app.notify.targets import NotDelivered, TargetRefused, Targets

T = TypeVar("T")

MAX_THREADS = 8
# They speak to the desktop or the log of the machine that Slipway runs on.
_LOCAL = {"dbus", "kde", "qt", "glib", "gnome", "macosx", "windows", "syslog"}

_guarded = threading.local()


class NotUnderstood(ValueError):
    """Apprise does not know such a URL, or it is one that must not be used here."""


async def described(url: str) -> str:
    """What may be shown of a URL: the service, and its scheme. Raises `NotUnderstood`."""
    return await _in_thread(lambda: _described(url))


class Chats:
    """Sends messages through Apprise, each attempt within so many seconds."""

    def __init__(self, targets: Targets, seconds: float) -> None:
        self._targets = targets
        self._seconds = seconds
        self._threads: Counter[str] = Counter()

    async def send(self, channel_id: str, url: str, message: Message) -> None:
        """Send a message. Raises `NotDelivered`."""
        if self._threads[channel_id] >= MAX_THREADS:
            raise NotDelivered("Earlier attempts still hang; no more are begun beside them.")
        self._threads[channel_id] += 1
        loop = asyncio.get_running_loop()

        def send() -> None:
            try:
                _send(url, message, self._targets)
            finally:
                loop.call_soon_threadsafe(self._ended, channel_id)

        try:
            async with asyncio.timeout(self._seconds):
                await _in_thread(send)
        except TimeoutError:
            raise NotDelivered(f"It did not answer within {self._seconds:g} s.") from None

    def _ended(self, channel_id: str) -> None:
        self._threads[channel_id] -= 1


async def _in_thread(function: Callable[[], T]) -> T:
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def bring(result: T | None, error: Exception | None) -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(result)  # type: ignore[arg-type]
        else:
            answer.set_exception(error)

    def run() -> None:
        try:
            result, failure = function(), None
        except Exception as error:  # it is for whoever waits
            result, failure = None, error
        try:
            loop.call_soon_threadsafe(bring, result, failure)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

    threading.Thread(target=run, name="apprise", daemon=True).start()
    return await answer


# --- in the threads ---------------------------------------------------------------------------------------------------


def _described(url: str) -> str:
    scheme = url.partition("://")[0].lower()
    if scheme in _LOCAL:
        raise NotUnderstood(f"{scheme}:// speaks to the machine that Slipway runs on, not to people.")
    server = _instance(url)
    if server is None:
        raise NotUnderstood("Apprise does not understand this URL. See https://github.com/caronc/apprise/wiki.")
    return f"{server.service_name} ({scheme}://…)"


def _instance(url: str) -> Any:
    import apprise  # which takes a while

    logger = logging.getLogger("apprise")
    logger.propagate = False
    if _noted not in logger.handlers:
        logger.addHandler(_noted)
    # Without these it would send in threads of its own, whose connections nobody looks at.
    asset = apprise.AppriseAsset(async_mode=False, service_timeout=0)
    return apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)


def _send(url: str, message: Message, targets: Targets) -> None:
    import apprise

    server = _instance(url)
    if server is None:
        raise NotDelivered("Apprise does not understand this channel's URL any more.", is_final=True)
    one = apprise.Apprise()
    one.add(server)
    with _noting() as notes, _guarding(targets) as refused:
        is_sent = one.notify(
            title=message.title,
            body=f"{message.text}\n{message.link}",
            notify_type=apprise.NotifyType(message.urgency.value),
            body_format=apprise.NotifyFormat.TEXT,
        )
    if is_sent:
        return
    if refused:
        raise refused[0]
    raise NotDelivered(" ".join(notes) or "Apprise could not send it and does not say why.")


class _Notes(logging.Handler):
    """What Apprise says of a failure, for the thread that it says it in."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.local = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        notes: list[str] | None = getattr(self.local, "notes", None)
        if notes is not None and len(notes) < 3:
            notes.append(record.getMessage()[:200])


_noted = _Notes()


@contextmanager
def _noting() -> Iterator[list[str]]:
    notes: list[str] = []
    _noted.local.notes = notes
    try:
        yield notes
    finally:
        _noted.local.notes = None


@contextmanager
def _guarding(targets: Targets) -> Iterator[list[TargetRefused]]:
    """Let this thread connect to allowed addresses only; what was refused stays in the list."""
    _watch_connections()
    refused: list[TargetRefused] = []
    _guarded.by = targets, refused
    try:
        yield refused
    finally:
        _guarded.by = None


_watched = threading.Lock()


def _watch_connections() -> None:
    if _watched.acquire(blocking=False):  # once: a hook of Python's cannot be taken back
        sys.addaudithook(_on_event)


def _on_event(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in ("socket.connect", "socket.sendto"):
        return
    by: tuple[Targets, list[TargetRefused]] | None = getattr(_guarded, "by", None)
    if by is None:
        return
    targets, refused = by
    address = arguments[1]
    try:
        targets.check(str(address[0]) if isinstance(address, tuple) else str(address))
    except TargetRefused as error:
        refused.append(error)
        raise
