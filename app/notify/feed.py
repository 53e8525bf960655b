"""Notifications as they are made, for those who watch in this process.

Whoever writes one down announces it; a look now and then finds what no announcement told of. Each is read once, however
many watch.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator
from datetime import datetime, timedelta

import structlog

from app.domain.access import Principal
from app.domain.notifications import Notification
from app.domain.releases import Release
from app.engine import Clock
from app.live import Hub
from app.store.documents import StoreUnavailable
from app.store.notifications import Notifications

log = structlog.get_logger()

_CLOCK_SKEW = timedelta(seconds=10)
_AT_ONCE = 500
_SEEN = 5_000
_WAITING = 1_000


class _Reader:
    """What one subscriber has yet to be told: at most 1,000."""

    def __init__(self, principal: Principal) -> None:
        self.principal = principal
        self.waiting: deque[Notification] = deque()
        self.offered = asyncio.Event()
        self.is_behind = False

    def offer(self, notification: Notification) -> None:
        """Queue a notification if it concerns the reader."""
        if not notification.is_for(self.principal):
            return
        self.is_behind |= len(self.waiting) >= _WAITING
        if not self.is_behind:
            self.waiting.append(notification)
        self.offered.set()


class Feed:
    """The readers of one process, and the task that looks for what is new while there are any."""

    def __init__(self, notifications: Notifications, hub: Hub, clock: Clock, poll_seconds: float) -> None:
        self._notifications = notifications
        self._hub = hub
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._readers: set[_Reader] = set()
        self._heard = asyncio.Event()
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._seen_until: datetime | None = None
        self._looking: asyncio.Task[None] | None = None

    async def news(self, principal: Principal) -> AsyncGenerator[Notification, None]:
        """Each notification that concerns a caller from now on. Ends for one who has fallen 1,000 behind.

        Raises `StoreUnavailable` where it cannot be told what is new.
        """
        if not self._readers:
            self._seen_until = None
            await self._look()
        reader = _Reader(principal)
        self._readers.add(reader)
        if self._looking is None:
            self._looking = asyncio.create_task(self._keep_looking())
        try:
            while True:
                await reader.offered.wait()
                reader.offered.clear()
                while reader.waiting:
                    yield reader.waiting.popleft()
                if reader.is_behind:
                    return
        finally:
            self._readers.discard(reader)
            if not self._readers and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    def release_changed(self, release: Release) -> None:
        """Nothing: a change becomes news once it is written down who is to be told."""

    def other_changed(self, id: str) -> None:
        """Look, if it is a notification."""
        if id.startswith("ntf_"):
            self._heard.set()

    async def _keep_looking(self) -> None:
        with self._hub.telling(self):
            while True:
                try:
                    async with asyncio.timeout(self._poll_seconds):
                        await self._heard.wait()
                except TimeoutError:
                    pass
                self._heard.clear()
                try:
                    await self._look()
                except StoreUnavailable as error:
                    log.warning("notifications not read, trying again", error=str(error))

    async def _look(self) -> None:
        begun = self._clock.now()
        since = (self._seen_until or begun) - _CLOCK_SKEW
        while True:
            found = await self._notifications.made_since(since, _AT_ONCE)
            for notification in found:
                if notification.id not in self._seen:
                    self._seen[notification.id] = None
                    for reader in self._readers:
                        reader.offer(notification)
            if len(found) < _AT_ONCE or found[-1].created_at <= since:
                break
            since = found[-1].created_at
        while len(self._seen) > _SEEN:
            self._seen.popitem(last=False)
        self._seen_until = begun
