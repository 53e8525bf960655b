"""The live path: announcements on a Redis channel -> one hub per process -> its watchers.

An announcement says which release changed and to which revision, nothing more. The hub reads each changed release
once and offers it to the watchers of that release and to those of all. A light poll of recently changed releases finds
what was never announced (a writer killed between write and publish, Redis away); hearing of it twice is harmless.

A release carries its whole history, so a watcher that is slow misses nothing: it reads the record and goes on.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Protocol

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.announcing import CHANNEL, Announcement, RedisAnnouncer
from app.domain.problems import NotFound
from app.domain.releases import Release, ReleaseEvent
from app.store.repositories import ReleaseFilter, Releases
from app.watching import Listed, Watcher

log = structlog.get_logger()

_LISTEN_SECONDS = 10.0
_PAGE = 100
_REMEMBERED = 10_000
# How far the clocks of two servers may differ before the poll could overlook a change.
_CLOCK_SKEW = timedelta(seconds=10)
# A change bears the moment at which it was decided; that it may be on record much later, the wider look allows for.
_WIDE = timedelta(minutes=2)
_WIDE_EVERY_SECONDS = 15


class Lookback:
    """Since when a poll must look: a little before the last look that succeeded, now and then much earlier."""

    def __init__(self, poll_seconds: float) -> None:
        self._every = max(1, round(_WIDE_EVERY_SECONDS / poll_seconds))
        self._looks = 0
        self._seen_until = datetime.now(UTC)

    @property
    def since(self) -> datetime:
        """The moment to look back to."""
        return self._seen_until - (_CLOCK_SKEW if self._looks % self._every else _WIDE)

    def begin(self) -> datetime:
        """When a look begins."""
        self._looks += 1
        return datetime.now(UTC)

    def done(self, begun: datetime) -> None:
        """Note that a look which began then has succeeded."""
        self._seen_until = begun


class Told(Protocol):
    """Is told of changes at once, and must not wait nor fail."""

    def release_changed(self, release: Release) -> None:
        """A release stands like this now."""

    def other_changed(self, id: str) -> None:
        """A feature or an SDK key is new, or another."""


class Hub:
    """The watchers of one process, and the tasks that feed them."""

    def __init__(self, releases: Releases, redis: Redis, poll_seconds: float) -> None:
        self._releases = releases
        self._redis = redis
        self._poll_seconds = poll_seconds
        self._by_release: dict[str, set[Watcher]] = {}
        self._of_all: set[Watcher] = set()
        self._told: set[Told] = set()
        self._known: OrderedDict[str, int] = OrderedDict()
        self._wanted: dict[str, None] = {}
        self._wanted_some = asyncio.Event()
        self._ahead = RedisAnnouncer(redis)

    @property
    def watchers(self) -> int:
        """How many watch now."""
        return len(self._of_all) + sum(len(watchers) for watchers in self._by_release.values())

    async def announce(self, *releases: Release) -> None:
        """Offer changes to the watchers of this process, then announce them to the others."""
        for release in releases:
            self._offer(release)
        await self._ahead.announce(*releases)

    async def announce_other(self, id: str, revision: int) -> None:
        """Tell this process of a changed feature or SDK key, then announce it to the others."""
        self._tell(id)
        await self._ahead.announce_other(id, revision)

    @contextmanager
    def telling(self, told: Told) -> Iterator[None]:
        """Tell of every changed release, and of each feature and SDK key that is announced, to the end of the block."""
        self._told.add(told)
        try:
            yield
        finally:
            self._told.discard(told)

    @contextmanager
    def watch(self, release_id: str) -> Iterator[Watcher]:
        """Watch one release, from now to the end of the block."""
        watcher = Watcher(self._releases)
        self._by_release.setdefault(release_id, set()).add(watcher)
        try:
            yield watcher
        finally:
            watchers = self._by_release[release_id]
            watchers.discard(watcher)
            if not watchers:
                del self._by_release[release_id]

    @contextmanager
    def watch_all(self) -> Iterator[Watcher]:
        """Watch every release, from now to the end of the block."""
        watcher = Watcher(self._releases)
        self._of_all.add(watcher)
        try:
            yield watcher
        finally:
            self._of_all.discard(watcher)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen, read and poll to the end of the block."""
        tasks = [asyncio.create_task(work()) for work in (self._listen, self._read, self._poll)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # --- hearing of changes ---

    async def _listen(self) -> None:
        """Hear announcements; subscribe again, for ever, when Redis goes away."""
        heard = True
        while True:
            try:
                async with self._redis.pubsub() as channel:
                    await channel.subscribe(CHANNEL)
                    if not heard:
                        log.info("announcements are heard again")
                    heard = True
                    while True:
                        message = await channel.get_message(ignore_subscribe_messages=True, timeout=_LISTEN_SECONDS)
                        if message is not None:
                            self._hear(message["data"])
            except (RedisError, OSError) as error:
                if heard:
                    log.warning(
                        "announcements not heard, polling until they are", error=str(error) or type(error).__name__
                    )
                heard = False
                await asyncio.sleep(self._poll_seconds)

    def _hear(self, data: bytes) -> None:
        try:
            announcement = msgspec.json.decode(data, type=Announcement)
        except msgspec.MsgspecError:
            log.warning("announcement not understood", size=len(data))
            return
        if announcement.id.startswith("rel_"):
            self._want(announcement.id, announcement.revision)
        else:
            self._tell(announcement.id)

    def _tell(self, id: str) -> None:
        for told in tuple(self._told):
            told.other_changed(id)

    async def _poll(self) -> None:
        """Look for changes that no announcement told of."""
        look = Lookback(self._poll_seconds)
        while True:
            await asyncio.sleep(self._poll_seconds)
            if not self._of_all and not self._told and not self._by_release:
                look.done(look.begin())
                continue
            begun = look.begin()
            try:
                changed = await self._releases.changed_since(look.since, _REMEMBERED)
            except Exception as error:  # whatever it is, the next look must come
                log.warning("changes not polled", error=str(error) or type(error).__name__)
                continue
            for id, revision in changed:
                self._want(id, revision)
            look.done(begun)

    def _want(self, id: str, revision: int) -> None:
        watched = self._of_all or self._told or id in self._by_release
        if watched and self._known.get(id, 0) < revision:
            self._wanted[id] = None
            self._wanted_some.set()

    async def _read(self) -> None:
        """Read what is wanted, each release once however many watch it or announced it."""
        while True:
            await self._wanted_some.wait()
            ids = list(self._wanted)[:_PAGE]
            for id in ids:
                del self._wanted[id]  # before the read: what is announced during it is wanted anew
            if not self._wanted:
                self._wanted_some.clear()
            try:
                found = await self._releases.readable(ids)
            except Exception as error:  # whatever it is, the next reading must come
                log.warning("changed releases not read, trying again", error=str(error) or type(error).__name__)
                self._wanted.update(dict.fromkeys(ids))
                self._wanted_some.set()
                await asyncio.sleep(self._poll_seconds)
                continue
            for release in found.values():
                self._offer(release)

    def _offer(self, release: Release) -> None:
        if self._known.get(release.id, 0) >= release.revision:
            return
        self._known[release.id] = release.revision
        self._known.move_to_end(release.id)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        for told in tuple(self._told):
            told.release_changed(release)
        for watcher in (*self._by_release.get(release.id, ()), *self._of_all):
            watcher.offer(release)

    # --- what subscribers see ---

    async def release_events(self, release_id: str, after: int) -> AsyncGenerator[tuple[Release, ReleaseEvent], None]:
        """Events beyond the sequence `after`, each once and in order, from the record and then live.

        Ends with the release. Raises NotFound, and `StoreUnavailable` when the record cannot be read.
        """
        with self.watch(release_id) as watcher:
            release = await self._releases.get(release_id)
            if release is None:
                raise NotFound(f"There is no release {release_id!r}.", release_id)
            while True:
                for event in release.history[after:]:
                    yield release, event
                    after = event.sequence
                if release.is_over:
                    return
                release = await watcher.next()

    async def matching_releases(self, filter: ReleaseFilter) -> AsyncGenerator[Release, None]:
        """Each matching release as it stands, the newest first, then each again whenever it changes.

        A change by which a release stops matching is told once, so that a list can let go of it.
        """
        listed = Listed(filter)
        with self.watch_all() as watcher:
            async for release in self.listing(listed, watcher):
                yield release
            while True:
                release = await watcher.next()
                if listed.takes(release):
                    yield release

    async def listing(self, listed: Listed, watcher: Watcher) -> AsyncGenerator[Release, None]:
        """Each matching release as it stands, the newest first, and what changed while they were read.

        The watcher must have watched since before. Raises `StoreUnavailable`.
        """
        after: str | None = None
        while True:
            page = await self._releases.page(listed.filter, _PAGE, after)
            for release in page.values:
                if listed.takes(release):
                    yield release
            while watcher.has_waiting:
                release = await watcher.next()
                if listed.takes(release):
                    yield release
            if not page.has_next:
                return
            after = Releases.cursor(page.values[-1])
