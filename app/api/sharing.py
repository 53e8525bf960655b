"""Subscriptions that are the same question are executed once for each event, whoever asks.

The same question: the same document, operation and variables, asked with the same role, and by the same caller where a
field depends on who asks. `after` is left out of it: each subscriber first reads what it has missed from the record, by
itself, and then joins the others. An event is executed once, encoded once and written to every socket; only the
operation's id differs.

A socket that does not take what is sent is not waited for. It leaves the others, catches up from the record in a task
of its own, and joins them again: slow never means lost, and holds up nobody.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Sequence
from contextlib import AbstractContextManager, aclosing, suppress
from typing import Any, Generic, TypeVar

import structlog

from app.api.context import not_found
from app.api.members import Gone, Member, begun
from app.api.subscriptions import EventsOf, MatchingReleases
from app.api.types import RecordedEvent
from app.domain.releases import Release
from app.live import Hub
from app.store.documents import StoreUnavailable
from app.store.repositories import Releases
from app.watching import Listed, Watcher

log = structlog.get_logger()

Source = TypeVar("Source", EventsOf, MatchingReleases)

Render = Callable[[object], Awaitable[str]]
"""Executes the question for one event and encodes the answer: the payload of `next`."""

# Sockets that are written to before others have their turn.
_AT_A_TIME = 100
# Events of one release that are written to a socket together.
_TOGETHER = 16
_RETRY_SECONDS = 1.0


class Group(ABC, Generic[Source]):
    """The members of one question, and the task that tells them."""

    def __init__(
        self,
        watching: AbstractContextManager[Watcher],
        releases: Releases,
        render: Render,
        emptied: Callable[[], None],
    ) -> None:
        self._watching = watching
        self._releases = releases
        self._render = render
        self._emptied = emptied
        self._members: dict[Member, None] = {}
        self._elsewhere = 0  # members that are about to join, or to join again
        self._watcher = watching.__enter__()
        self._pump = asyncio.create_task(self._run())

    def close(self) -> None:
        """End the task, and stop watching."""
        self._pump.cancel()
        self._watching.__exit__(None, None, None)

    async def join(self, member: Member, source: Source) -> None:
        """Tell a new member what it has missed, and let it join. Raises what reading the record does, and `Gone`."""
        self._elsewhere += 1
        try:
            await self.begin(member, source)
        finally:
            self._back()

    def leave(self, member: Member) -> None:
        """Tell a member nothing more."""
        if member.catching_up is not None:
            member.catching_up.cancel()
        self._members.pop(member, None)
        self._close_if_empty()

    @abstractmethod
    async def begin(self, member: Member, source: Source) -> None:
        """Tell a new member what it has missed, and make it one of the members."""

    @abstractmethod
    async def take(self, release: Release) -> None:
        """Tell the members of a changed release."""

    @abstractmethod
    async def catch_up(self, member: Member) -> None:
        """Tell a member that was slow what it has missed, and make it one of the members again. Raises `Gone`."""

    async def _run(self) -> None:
        while True:
            release = await self._watcher.next()
            try:
                await self.take(release)
            except Exception:  # whatever it is, the next change must be told
                log.exception("change not told", release=release.id)

    async def _tell_all(self, payloads: Sequence[str], news: Callable[[Member], int]) -> None:
        """Tell every member as many of the last of these events as are `news` to it; whose socket does not take them
        now goes on by itself.
        """
        members = self._members
        waiting, frames = list(members), dict[str, bytes]()
        for start in range(0, len(waiting), _AT_A_TIME):
            if start:
                await asyncio.sleep(0)
            for member in waiting[start : start + _AT_A_TIME]:
                if member in members and (count := news(member)):
                    try:
                        if count == len(payloads):
                            rest = member.tell_now(payloads, frames)
                        else:
                            rest = member.tell_now(payloads[-count:], {})
                    except Gone:
                        members.pop(member, None)
                    else:
                        if rest is not None:
                            self._fall_behind(member, rest)

    def _fall_behind(self, member: Member, rest: Coroutine[Any, Any, None]) -> None:
        del self._members[member]
        self._elsewhere += 1

        def ended(_: asyncio.Task[None]) -> None:
            rest.close()  # it was never begun if the member left at once
            member.catching_up = None
            self._back()

        member.catching_up = asyncio.create_task(self._go_on(member, rest))
        member.catching_up.add_done_callback(ended)

    async def _go_on(self, member: Member, rest: Coroutine[Any, Any, None]) -> None:
        try:
            await rest
            while True:
                try:
                    return await self.catch_up(member)
                except StoreUnavailable:
                    await asyncio.sleep(_RETRY_SECONDS)
        except Gone:
            return None
        except Exception:  # who is told no more must know
            log.exception("subscriber could not catch up")
            with suppress(Gone):
                await member.complete()

    def _back(self) -> None:
        self._elsewhere -= 1
        self._close_if_empty()

    def _close_if_empty(self) -> None:
        if not self._members and not self._elsewhere:
            self._emptied()


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
            self._told_until = events[-1].sequence
            if self._members:
                payloads = [await self._render(RecordedEvent(newest, event)) for event in events]
                await self._tell_all(payloads, _news(self._told_until, len(events)))
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


class ReleasesGroup(Group[MatchingReleases]):
    """Subscribers of the releases that match a filter."""

    def __init__(self, hub: Hub, releases: Releases, render: Render, emptied: Callable[[], None]) -> None:
        super().__init__(hub.watch_all(), releases, render, emptied)
        self._hub = hub
        self._listed: Listed | None = None
        self._begun = asyncio.Event()
        self._is_idle = True
        self._particular: list[Member] = []
        self._missed: dict[Member, dict[str, None]] = {}

    async def begin(self, member: Member, source: MatchingReleases) -> None:
        """See `Group.begin`."""
        listed = Listed(source.filter)
        with self._hub.watch_all() as watcher:
            async with aclosing(self._hub.listing(listed, watcher)) as listing:
                async for release in listing:
                    await member.tell(await self._render(release))
            while watcher.has_waiting:
                release = await watcher.next()
                if listed.takes(release):
                    await member.tell(await self._render(release))
        if self._listed is None:
            self._listed = listed.copy()
            self._begun.set()
        self._add(member, listed.takes)

    async def take(self, release: Release) -> None:
        """See `Group.take`."""
        self._is_idle = False
        await self._begun.wait()  # until then nobody has been told anything that could stop matching
        assert self._listed is not None, "it has begun"
        if self._listed.takes(release):
            for missed in self._missed.values():
                missed[release.id] = None
            if self._members:
                payload = await self._render(release)
                await self._tell_all([payload], lambda member: member.hears is None or member.hears(release))
        if not self._watcher.has_waiting:
            self._is_idle = True
            for member in self._particular:
                member.hears = None
            self._particular.clear()

    async def catch_up(self, member: Member) -> None:
        """See `Group.catch_up`."""
        missed = self._missed[member]
        told: dict[str, int] = {}
        while missed:
            id = next(iter(missed))
            del missed[id]  # before the read: a change that comes during it is missed anew
            try:
                release = await self._releases.get(id)
            except StoreUnavailable:
                missed[id] = None
                raise
            if release is not None and told.get(id, 0) < release.revision:
                told[id] = release.revision
                await member.tell(await self._render(release))
        self._add(member, lambda release: told.get(release.id, 0) < release.revision)

    def _add(self, member: Member, hears: Callable[[Release], bool]) -> None:
        """Make it one of the members, who hears of what waits for the others only if it has not been told already."""
        if not self._is_idle or self._watcher.has_waiting:
            member.hears = hears
            self._particular.append(member)
        self._members[member] = None

    def _fall_behind(self, member: Member, rest: Coroutine[Any, Any, None]) -> None:
        self._missed[member] = {}
        super()._fall_behind(member, rest)
        assert member.catching_up is not None, "it is behind"
        member.catching_up.add_done_callback(lambda _: self._missed.pop(member, None))


class Groups:
    """The groups of one process."""

    def __init__(self, hub: Hub, releases: Releases) -> None:
        self._hub = hub
        self._releases = releases
        self._groups: dict[Hashable, Group[Any]] = {}

    def __len__(self) -> int:
        """How many questions are asked now."""
        return len(self._groups)

    def of(self, question: Hashable, source: EventsOf | MatchingReleases, render: Render) -> Group[Any]:
        """The group of a question, a new one if nobody asks it yet. It ends when its last member has left."""
        group = self._groups.get(question)
        if group is None:

            def emptied() -> None:
                ended = self._groups.pop(question, None)
                if ended is not None:
                    ended.close()

            if isinstance(source, EventsOf):
                group = EventGroup(self._hub, self._releases, render, emptied, source.release_id)
            else:
                group = ReleasesGroup(self._hub, self._releases, render, emptied)
            self._groups[question] = group
        return group


def _news(until: int, most: int) -> Callable[[Member], int]:
    """Says how many of the last events up to a sequence a member has not seen, which then has."""

    def news(member: Member) -> int:
        count = until - member.seen
        if count <= 0:
            return 0
        member.seen = until
        return min(count, most)

    return news


async def _until_gone(sending: Coroutine[Any, Any, None]) -> None:
    with suppress(Gone):
        await sending
