"""What one subscriber has yet to hear, and what it has been told."""

import asyncio
from collections import deque

from msgspec import Struct

from app.domain.releases import Release
from app.store.documents import StoreUnavailable
from app.store.repositories import ReleaseFilter, Releases

_RETRY_SECONDS = 1.0
_PENDING = 64
_REMEMBERED = 10_000


class Watcher:
    """Changed releases for one subscriber, in bounded memory.

    Up to 64 wait as they were offered; beyond that only their ids are kept and each is read from the record in turn.
    """

    def __init__(self, releases: Releases) -> None:
        self._releases = releases
        self._pending: deque[Release] = deque()
        self._overflow: dict[str, None] = {}
        self._offered = asyncio.Event()

    def offer(self, release: Release) -> None:
        """Queue a changed release."""
        if self._overflow or len(self._pending) == _PENDING:
            self._overflow.update(dict.fromkeys(waiting.id for waiting in self._pending))
            self._overflow[release.id] = None
            self._pending.clear()
        else:
            self._pending.append(release)
        self._offered.set()

    async def next(self) -> Release:
        """The next changed release; waits for one, and for the store where it must be read.

        One that cannot be read is left out: it must not keep the others from being told.
        """
        while True:
            if self._pending:
                return self._pending.popleft()
            if self._overflow:
                id = next(iter(self._overflow))
                del self._overflow[id]  # before the read: a change that comes during it is queued anew
                try:
                    release = (await self._releases.readable([id])).get(id)
                except StoreUnavailable:
                    self._overflow[id] = None
                    await asyncio.sleep(_RETRY_SECONDS)
                    continue
                if release is not None:
                    return release
                continue
            self._offered.clear()
            await self._offered.wait()

    def take_waiting(self) -> Release | None:
        """The next changed release if one waits in memory."""
        return self._pending.popleft() if self._pending else None

    @property
    def has_waiting(self) -> bool:
        """Whether something waits, in memory or on record."""
        return bool(self._pending or self._overflow)


class _Delivered(Struct, frozen=True):
    """What a subscriber last saw of a release."""

    revision: int
    matched: bool
    is_over: bool


class Listed:
    """What a list of releases holds: which changes are news to it."""

    def __init__(self, filter: ReleaseFilter) -> None:
        self.filter = filter
        self._delivered: dict[str, _Delivered] = {}

    def copy(self) -> "Listed":
        """Another that holds the same."""
        other = Listed(self.filter)
        other._delivered = dict(self._delivered)
        return other

    def revision_of(self, id: str) -> int:
        """The revision of a release that was last delivered; 0 if none was."""
        seen = self._delivered.get(id)
        return 0 if seen is None else seen.revision

    def ahead_of(self, other: "Listed") -> dict[str, int]:
        """The revisions, by id, that this list has and the other does not yet.

        What is over and not in the other at all it has forgotten; nothing changes that again.
        """
        return {
            id: seen.revision
            for id, seen in self._delivered.items()
            if (known := other.revision_of(id)) < seen.revision and (known or not seen.is_over)
        }

    def takes(self, release: Release) -> bool:
        """Whether to deliver a release: it is newer than what was, and it matches, or did until now."""
        before = self._delivered.get(release.id)
        matches = self.filter.admits(release)
        if before is not None and before.revision >= release.revision:
            return False
        if not matches and not (before is not None and before.matched):
            return False
        self._delivered.pop(release.id, None)  # the dict keeps the order of delivery
        self._delivered[release.id] = _Delivered(release.revision, matches, release.is_over)
        if len(self._delivered) > 2 * _REMEMBERED:
            self._forget()
        return True

    def _forget(self) -> None:
        """Let go of releases that are over, the oldest first: nothing changes those again."""
        over = [id for id, seen in self._delivered.items() if seen.is_over]
        for id in over[:_REMEMBERED]:
            del self._delivered[id]
