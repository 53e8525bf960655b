"""Subscribers of the releases that match a filter who ask the same question."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from typing import Any

from app.api.group import Group, Render
from app.api.members import Member
from app.api.subscriptions import MatchingReleases
from app.domain.releases import Release
from app.live import Hub
from app.store.documents import StoreUnavailable
from app.store.repositories import Releases
from app.watching import Listed


class ReleasesGroup(Group[MatchingReleases]):
    """Subscribers of the releases that match a filter."""

    def __init__(self, hub: Hub, releases: Releases, render: Render, emptied: Callable[[], None]) -> None:
        super().__init__(hub.watch_all(), releases, render, emptied)
        self._hub = hub
        self._listed: Listed | None = None
        self._begun = asyncio.Event()
        self._is_idle = True
        self._telling = ""  # the id of the release
        # Those who must not be told again what they have read, each with the revisions that the others have yet to hear
        # of: the record may be ahead of what is offered here.
        self._ahead: dict[Member, dict[str, int]] = {}
        self._missed: dict[Member, dict[str, None]] = {}

    async def begin(self, member: Member, source: MatchingReleases) -> None:
        """See `Group.begin`."""
        listed = Listed(source.filter)
        with self._hub.watch_all() as watcher:
            async with aclosing(self._hub.listing(listed, watcher)) as listing:
                async for release in listing:
                    await member.tell(await self._render(release))
                    await asyncio.sleep(0)  # a thousand of them hold up nobody
            while watcher.has_waiting:
                release = await watcher.next()
                if listed.takes(release):
                    await member.tell(await self._render(release))
        if self._listed is None:
            self._listed = listed.copy()
            self._begun.set()
        self._add(member, listed.takes, listed.ahead_of(self._listed))

    def leave(self, member: Member) -> None:
        """See `Group.leave`."""
        self._ahead.pop(member, None)
        super().leave(member)

    async def take(self, release: Release) -> None:
        """See `Group.take`."""
        self._is_idle = False
        self._telling = release.id
        await self._begun.wait()  # until then nobody has been told anything that could stop matching
        assert self._listed is not None, "it has begun"
        if self._listed.takes(release):
            for missed in self._missed.values():
                missed[release.id] = None
            if self._members:
                payload = await self._render(release)
                await self._tell_all([payload], lambda member: member.hears is None or member.hears(release))
        for ahead in self._ahead.values():
            if ahead.get(release.id, 0) <= release.revision:
                ahead.pop(release.id, None)
        if not self._watcher.has_waiting:
            self._is_idle = True
            for member in [member for member, ahead in self._ahead.items() if not ahead]:
                member.hears = None
                del self._ahead[member]

    async def catch_up(self, member: Member) -> None:
        """See `Group.catch_up`."""
        missed = self._missed[member]
        told: dict[str, int] = {}
        while missed:
            id = next(iter(missed))
            del missed[id]  # before the read: a change that comes during it is missed anew
            try:
                release = (await self._releases.readable([id])).get(id)
            except StoreUnavailable:
                missed[id] = None
                raise
            if release is not None and told.get(id, 0) < release.revision:
                told[id] = release.revision
                await member.tell(await self._render(release))
        assert self._listed is not None, "it has begun"
        listed = self._listed
        ahead = {id: revision for id, revision in told.items() if listed.revision_of(id) < revision}
        self._add(member, lambda release: told.get(release.id, 0) < release.revision, ahead)

    def _add(self, member: Member, hears: Callable[[Release], bool], ahead: dict[str, int]) -> None:
        """Make it one of the members, who hears of what the others have yet to hear only if it was not told already."""
        if ahead or not self._is_idle or self._watcher.has_waiting:
            member.hears = hears
            self._ahead[member] = ahead
        self._members[member] = None

    def _fall_behind(self, member: Member, rest: Coroutine[Any, Any, None] | None) -> None:
        self._missed[member] = {} if rest is not None else {self._telling: None}
        super()._fall_behind(member, rest)
        assert member.catching_up is not None, "it is behind"
        member.catching_up.add_done_callback(lambda _: self._missed.pop(member, None))
