"""Subscribers of one release's events who ask the same question."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from app.api.context import not_found
from app.api.group import Group, Render
from app.api.members import Gone, Member, begun
from app.api.subscriptions import EventsOf
from app.api.types import RecordedEvent
from app.domain.releases import Release
from app.live import Hub
from app.store.repositories import Releases

# Events of one release that are written to a socket together.
_TOGETHER = 16


class EventGroup(Group[EventsOf]):
    """Subscribers of one release's events. A release carries its whole history, so nothing is kept for them."""

    def __init__(
        self, hub: Hub, releases: Releases, render: Render, emptied: Callable[[], None], release_id: str
    ) -> None:
        super().__init__(hub.watch(release_id), releases, render, emptied)
        self._id = release_id
        self._newest: Release | None = None
        self._told_until = 0
        self._endings: set[asyncio.Task[None]] = set()

    async def begin(self, member: Member, source: EventsOf) -> None:
        """See `Group.begin`."""
        release = await self._releases.get(self._id)
        if release is None:
            raise not_found(f"There is no release {self._id!r}.")
        member.seen = source.after
        self._note(release)
        await self.catch_up(member)

    async def catch_up(self, member: Member) -> None:
        """See `Group.catch_up`."""
        while True:
            release = self._newest
            assert release is not None, "a member has begun, and so has read it"
            for event in release.history[member.seen :]:
                await member.tell(await self._render(RecordedEvent(release, event)))
                member.seen = event.sequence
            if release is self._newest:
                break
        if release.is_over:
            await member.complete()
            return
        if not self._members:
            self._told_until = max(self._told_until, len(release.history))
        self._members[member] = None

    async def take(self, release: Release) -> None:
        """See `Group.take`."""
        self._note(release)
        # Later ones that wait already have all that this one has: what comes fast is told together.
        while (following := self._watcher.take_waiting()) is not None:
            self._note(following)
        newest = self._newest
        assert newest is not None, "it has just been noted"
        while events := newest.history[self._told_until : self._told_until + _TOGETHER]:
            until = events[-1].sequence
            if self._members:
                payloads = [await self._render(RecordedEvent(newest, event)) for event in events]
                await self._tell_all(payloads, _news(until, len(events)))
            self._told_until = max(self._told_until, until)
        if newest.is_over:
            for member in list(self._members):
                self._end(member)
            self._close_if_empty()

    def _end(self, member: Member) -> None:
        if self._members.pop(member, member) is None:
            try:
                rest = begun(member.complete())
            except Gone:
                return
            if rest is not None:
                ending = asyncio.create_task(_until_gone(rest))
                self._endings.add(ending)
                ending.add_done_callback(self._endings.discard)

    def _note(self, release: Release) -> None:
        if self._newest is None or self._newest.revision < release.revision:
            self._newest = release


def _news(until: int, told: int) -> Callable[[Member], int]:
    """Says how many events up to a sequence a member has not seen; once the last ones are told, it has."""

    def news(member: Member) -> int:
        count = until - member.seen
        if count <= 0:
            return 0
        if count <= told:
            member.seen = until
        return count

    return news


async def _until_gone(sending: Coroutine[Any, Any, None]) -> None:
    with suppress(Gone):
        await sending
