"""The one way a release changes: load, settle, decide, save by revision, announce, set the timer."""

import asyncio
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

import structlog
from msgspec import structs
from ulid import ULID

from app.domain.access import Actor, Principal
from app.domain.commands import Command
from app.domain.features import Feature
from app.domain.pipelines import Pipeline
from app.domain.problems import NotFound, Problem
from app.domain.releases import Release, SpecChange
from app.domain.transitions import Decision, act, settle, start
from app.live import Announcer
from app.store.documents import StoreUnavailable
from app.store.repositories import Releases
from app.timers import BakeTimers

log = structlog.get_logger()

ATTEMPTS = 100
_DUE_AT_A_TIME = 100
_SETTLED_IN_PARALLEL = 8


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """This moment, UTC, in whole milliseconds: the resolution of everything stored."""


class SystemClock:
    """The clock of this machine."""

    def now(self) -> datetime:
        """This moment, UTC, in whole milliseconds."""
        return datetime.fromtimestamp(time.time_ns() // 1_000_000 / 1_000, UTC)


class Contention(Exception):
    """So many others changed the release at the same time that this change found no turn. Nothing was changed."""


def new_id(prefix: str, now: datetime) -> str:
    """An id such as `rel_01K...`: a ULID, so that ids sort by the time that they were made."""
    return f"{prefix}_{ULID.from_datetime(now)}"


async def stand_back(attempt: int) -> None:
    """Wait a moment after a lost race, the longer the more have been lost, so that the rivals come one by one."""
    await asyncio.sleep(random.uniform(0, 0.002 * attempt))  # noqa: S311


class Engine:
    """Starts releases and changes them. Nothing else writes one."""

    def __init__(self, releases: Releases, timers: BakeTimers, announcer: Announcer, clock: Clock) -> None:
        self._releases = releases
        self._timers = timers
        self._announcer = announcer
        self._clock = clock

    async def start(
        self,
        feature: Feature,
        latest: Release | None,
        change: SpecChange,
        pipeline: Pipeline | None,
        by: Actor,
        *,
        description: str | None = None,
        start_key: str | None = None,
    ) -> Release:
        """Start the release that follows `latest`, which must be over.

        Raises `DuplicateKey` if another release has been started meanwhile; nothing was changed then.
        """
        now = self._clock.now()
        release = start(
            new_id("rel", now),
            latest.number + 1 if latest else 1,
            feature,
            change,
            pipeline,
            by,
            now,
            description=description,
            start_key=start_key,
        )
        await self._releases.add(release)
        await self._follow_up(release, since=0)
        return release

    async def act(self, release_id: str, command: Command, by: Principal) -> Decision:
        """Carry an operator's action out. Raises the problems of `transitions.act`, and NotFound for the release."""
        return await self._change(release_id, lambda settled, now: act(settled, command, by, now))

    async def end_bake(self, release_id: str, timer_id: str) -> None:
        """Settle the release if that timer is still its timer; a prompt from any other ends silently."""
        release = await self._releases.get(release_id)
        if release is None or release.timer is None or release.timer.id != timer_id:
            log.debug("stale timer", release=release_id, timer=timer_id)
            return
        await self.settle(release)

    async def settle(self, release: Release) -> Release:
        """The release after the bake that is due has ended; itself if none is."""
        decision = await self._change(release.id, lambda settled, now: Decision(settled, ()), release)
        return decision.release

    async def settle_due(self) -> int:
        """End every bake that is due, the earliest deadline first; returns how many were seen to their end."""
        turn = asyncio.Semaphore(_SETTLED_IN_PARALLEL)
        ended, failed = 0, set[str]()
        while due := await self._releases.due(self._clock.now(), _DUE_AT_A_TIME):
            results = await asyncio.gather(*(self._end_due(id, turn) for id in due))
            ended += sum(results)
            failed.update(id for id, is_ended in zip(due, results, strict=True) if not is_ended)
            if len(due) < _DUE_AT_A_TIME or failed.issuperset(due):
                break
        return ended

    async def _end_due(self, release_id: str, turn: asyncio.Semaphore) -> bool:
        """Whether the bake has ended, here or elsewhere. One that cannot be must not keep the others waiting."""
        async with turn:
            try:
                release = await self._releases.get(release_id)
                if release is not None:
                    await self.settle(release)
            except StoreUnavailable:
                raise
            except Exception:
                log.exception("bake not ended", release=release_id)
                return False
        return True

    async def _change(
        self,
        release_id: str,
        decide: Callable[[Release, datetime], Decision],
        release: Release | None = None,
    ) -> Decision:
        """Load, settle, decide and save; on a lost race, once more from load.

        Whoever wins a race makes progress, so a turn is found after as many tries as there are rivals at worst.
        """
        for attempt in range(ATTEMPTS):
            if release is None:
                release = await self._releases.get(release_id)
            if release is None:
                raise NotFound(f"There is no release {release_id!r}.", release_id)
            now = self._clock.now()
            settled = _next_revision(release, settle(release, now))
            refusal: Problem | None = None
            try:
                decision = decide(settled, now)
            except Problem as problem:
                refusal, decision = problem, Decision(settled, ())
            changed = _next_revision(release, decision.release)
            if changed is release or await self._releases.save(changed):
                if changed is not release:
                    await self._follow_up(changed, since=len(release.history))
                if refusal is not None:
                    raise refusal
                return Decision(changed, decision.events)
            release = None
            await stand_back(attempt)
        raise Contention(f"Release {release_id} is being changed by many others at once. Nothing was done; try again.")

    async def _follow_up(self, release: Release, since: int) -> None:
        """What others learn of a change that is on record: from here on nothing may fail it."""
        for event in release.history[since:]:
            log.info(
                event.type.value.lower(),
                feature=release.feature_key,
                release=release.id,
                sequence=event.sequence,
                by=event.actor.id,
            )
        await asyncio.gather(self._announcer.announce(release), self._timers.set(release))


def _next_revision(stored: Release, changed: Release) -> Release:
    """The changed release as the revision after the stored one; the stored one itself if nothing changed."""
    if changed is stored or changed.revision > stored.revision:
        return changed
    return structs.replace(changed, revision=stored.revision + 1)
