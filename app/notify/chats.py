"""Everything that Apprise speaks, by its URL: chats, e-mail and more. Apprise blocks, so it runs in threads of its own.

A thread cannot be stopped. One whose time is over has its connections cut (see `guarding`); one that hangs elsewhere is
left to itself (it holds up neither the event loop nor the end of the process), and a channel has a few of them at most.
"""

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from app.domain.messages import Message, in_markdown
from app.notify.guarding import Guard
from app.notify.targets import NotDelivered, Targets

T = TypeVar("T")

MAX_THREADS = 8
_SHORTEST_SECRET = 4
# They speak to the desktop or the log of the machine that Slipway runs on.
_LOCAL = {"dbus", "kde", "qt", "glib", "gnome", "macosx", "windows", "syslog", "blink1"}
# Parameters by which a URL names a file of that machine, to be sent or to sign with.
_FILES = {"template", "keyfile", "pgpkey", "subfile"}


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
        loop, guard = asyncio.get_running_loop(), Guard(self._targets)

        def send() -> None:
            try:
                _send(url, message, guard)
            finally:
                loop.call_soon_threadsafe(self._ended, channel_id)

        try:
            async with asyncio.timeout(self._seconds):
                await _in_thread(send)
        except TimeoutError:
            guard.cut()
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
    if _FILES.intersection(name.lstrip("+-:").lower() for name in parse_qs(url.partition("?")[2], True)):
        raise NotUnderstood(
            f"None of the parameters {', '.join(sorted(_FILES))}: files of the server are not for sending."
        )
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
    asset = apprise.AppriseAsset(
        async_mode=False,
        service_timeout=0,
        app_id="Slipway",
        app_desc="Slipway",
        app_url="",
        image_url_mask="",
        image_url_logo="",
    )
    server = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    if server is not None:
        server.redirects = False  # whatever the URL says
    return server


def _send(url: str, message: Message, guard: Guard) -> None:
    import apprise

    server = _instance(url)
    if server is None:
        raise NotDelivered("Apprise does not understand this channel's URL any more.", is_final=True)
    one = apprise.Apprise()
    one.add(server)
    is_markdown = server.notify_format is apprise.NotifyFormat.MARKDOWN
    with _noting() as notes, guard.here():
        is_sent = one.notify(
            title=message.title,
            body=in_markdown(message) if is_markdown else f"{message.text}\n{message.link}",
            notify_type=apprise.NotifyType(message.urgency.value),
            body_format=apprise.NotifyFormat.MARKDOWN if is_markdown else apprise.NotifyFormat.TEXT,
        )
    if is_sent:
        return
    if guard.refused:
        raise guard.refused[0]
    raise NotDelivered(masked(" ".join(notes), url) or "Apprise could not send it and does not say why.")


def masked(text: str, url: str) -> str:
    """A text without what may be secret of a URL: user, password, path, query, and a host that is none."""
    location, _, query = url.partition("://")[2].partition("?")
    parts = urlsplit(f"//{location}")
    names = [*parts.netloc.rpartition("@")[0].split(":"), *parts.path.split("/"), parts.fragment]
    host = parts.netloc.rpartition("@")[2].partition(":")[0]
    values = [pair.partition("=")[2] for pair in query.split("&")]
    given = [*names, *values, *([] if "." in host else parts.netloc.rpartition("@")[2].split(":"))]
    secrets = {spelling for each in given for spelling in (each, unquote(each)) if len(spelling) >= _SHORTEST_SECRET}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "…")
    return text


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
