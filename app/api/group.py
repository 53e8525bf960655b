"""Those who ask the same question, and the task that tells them."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any, Generic, TypeVar

import structlog

from app.api.members import Gone, Member
from app.api.subscriptions import EventsOf, MatchingReleases
from app.domain.releases import Release
from app.store.documents import StoreUnavailable
from app.store.repositories import Releases
from app.watching import Watcher

log = structlog.get_logger()

Source = TypeVar("Source", EventsOf, MatchingReleases)

Render = Callable[[object], Awaitable[str]]
"""Executes the question for one event and encodes the answer: the payload of `next`."""

# Sockets that are written to before others have their turn. So few, that who makes events gets on meanwhile: what
# has come by the end of a round is told together in the next one, with one write for each socket. With fewer, an event
# that comes alone takes longer.
_AT_A_TIME = 25
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
        self._is_closed = False
        self._watcher = watching.__enter__()
        self._pump = asyncio.create_task(self._run())

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
            try:
                await self.take(await self._watcher.next())
            except Exception:  # whatever it is, the next change must be told
                log.exception("change not told, subscribers read the record")
                for member in list(self._members):
                    self._fall_behind(member, None)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _tell_all(self, payloads: Sequence[str], news: Callable[[Member], int]) -> None:
        """Tell every member as many of the last of these events as are `news` to it. Whose socket does not take them
        now goes on by itself, and so does who has missed more than these.
        """
        members = self._members
        waiting, frames = list(members), dict[str, bytes]()
        for start in range(0, len(waiting), _AT_A_TIME):
            if start:
                await asyncio.sleep(0)
            for member in waiting[start : start + _AT_A_TIME]:
                if member not in members or not (count := news(member)):
                    continue
                try:
                    if count == len(payloads):
                        rest = member.tell_now(payloads, frames)
                    elif count < len(payloads):
                        rest = member.tell_now(payloads[-count:], {})
                    else:
                        self._fall_behind(member, None)
                        continue
                except Gone:
                    members.pop(member, None)
                else:
                    if rest is not None:
                        self._fall_behind(member, rest)

    def _fall_behind(self, member: Member, rest: Coroutine[Any, Any, None] | None) -> None:
        """Let a member go on by itself, with the rest of what it is being told, if there is one."""
        del self._members[member]
        self._elsewhere += 1

        def ended(_: asyncio.Task[None]) -> None:
            if rest is not None:
                rest.close()  # it was never begun if the member left at once
            member.catching_up = None
            self._back()

        member.catching_up = asyncio.create_task(self._go_on(member, rest))
        member.catching_up.add_done_callback(ended)

    async def _go_on(self, member: Member, rest: Coroutine[Any, Any, None] | None) -> None:
        try:
            if rest is not None:
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
        if not self._members and not self._elsewhere and not self._is_closed:
            self._is_closed = True  # once: by the time that the last socket is let go of, others may have a new group
            self._pump.cancel()
            self._watching.__exit__(None, None, None)
            self._emptied()
