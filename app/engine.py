"""The one way a release changes: load, settle, decide, save by revision, announce, set the timer."""

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Protocol, TypeAlias

import structlog
from msgspec import structs
from ulid import ULID

from app.announcing import Announcer
from app.claims import Claims
from app.domain.access import Actor, Principal
from app.domain.commands import Command
from app.domain.features import Feature
from app.domain.pipelines import Pipeline
from app.domain.problems import NotFound, Problem
from app.domain.releases import Release, SpecChange
from app.domain.transitions import Decision, act, settle, start
from app.store.documents import StoreUnavailable
from app.store.repositories import Releases
from app.timers import BakeTimers, NotifyPrompts

log = structlog.get_logger()

ATTEMPTS = 100
_DUE_AT_A_TIME = 512
_SETTLED_TOGETHER = 64
_BATCHES_IN_PARALLEL = 2
_SETTLED_WITHOUT_PAUSE = 8
_OTHERS_AT_WORK_SECONDS = 0.05

Due: TypeAlias = tuple[str, int]


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

    def __init__(
        self,
        releases: Releases,
        timers: BakeTimers,
        prompts: NotifyPrompts,
        announcer: Announcer,
        claims: Claims,
        clock: Clock,
    ) -> None:
        self._releases = releases
        self._timers = timers
        self._prompts = prompts
        self._announcer = announcer
        self._claims = claims
        self._clock = clock
        self._draining = False
        self._look_again = False

    @property
    def is_draining(self) -> bool:
        """Whether what is due is being settled in this process now."""
        return self._draining

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
        await self._follow_up((release, 0))
        return release

    async def act(self, release_id: str, command: Command, by: Principal) -> Decision:
        """Carry an operator's action out. Raises the problems of `transitions.act`, and NotFound for the release."""
        return await self._change(release_id, lambda settled, now: act(settled, command, by, now))

    async def end_bake(self, release_id: str, timer_id: str) -> None:
        """Settle the release if that timer is still its timer, then all that is due; any other prompt ends silently.

        Of thousands of bakes that end together one prompt settles all; the others find that under way, or done.
        """
        if not self._draining:
            release = await self._releases.get(release_id)
            if release is None or release.timer is None or release.timer.id != timer_id:
                log.debug("stale timer", release=release_id, timer=timer_id)
                return
            await self.settle(release)  # first: where nothing else is due, it is not later for the look at what is
        await self.settle_due()

    async def settle(self, release: Release) -> Release:
        """The release after the bake that is due has ended; itself if none is."""
        decision = await self._change(release.id, lambda settled, now: Decision(settled, ()), release)
        return decision.release

    async def settle_due(self) -> int:
        """End every bake that is due, the earliest deadline first; returns how many were seen to their end here.

        While that is under way in this process, another call returns at once, and the one under way looks once more.
        """
        self._look_again = True
        if self._draining:
            return 0
        self._draining, ended = True, 0
        try:
            while self._look_again:
                self._look_again = False
                ended += await self._drain()
        finally:
            self._draining = False
        return ended

    async def _drain(self) -> int:
        """Settle what is due until nothing is, sharing the work with the processes that do the same."""
        taken, left, failed = 0, set[Due](), set[Due]()
        while True:
            # A longer look than what was seen here and is still due: what cannot be read must not hide the rest.
            found = await self._releases.due(self._clock.now(), _DUE_AT_A_TIME + len(left))
            due = [each for each in found if each not in left]
            if not due:
                return taken - len(failed)
            batches = (due[start : start + _SETTLED_TOGETHER] for start in range(0, len(due), _SETTLED_TOGETHER))
            lanes = [self._settle_batches(batches, left, failed) for _ in range(_BATCHES_IN_PARALLEL)]
            results = await asyncio.gather(*lanes, return_exceptions=True)
            for error in results:
                if isinstance(error, BaseException):
                    raise error
            if not any(results):
                await asyncio.sleep(_OTHERS_AT_WORK_SECONDS)
            taken += sum(results)  # type: ignore[arg-type]

    async def _settle_batches(self, batches: Iterator[list[Due]], left: set[Due], failed: set[Due]) -> int:
        """Settle what nobody else does of each batch that no other lane has begun; returns how many those were."""
        taken = 0
        for batch in batches:
            ours = await self._claims.take(batch)
            if not ours:
                continue
            taken += len(ours)
            try:
                await self._settle_batch(ours, left, failed)
            except StoreUnavailable:
                await self._claims.give_back(ours)
                raise
            if not failed.isdisjoint(ours):
                await self._claims.give_back([each for each in ours if each in failed])
        return taken

    async def _settle_batch(self, due: Sequence[Due], left: set[Due], failed: set[Due]) -> None:
        """Settle releases together, or one by one if one of them cannot be: it must not keep the others waiting."""
        try:
            left |= await self._settle_together(due)
        except StoreUnavailable:
            raise
        except Exception:
            if len(due) > 1:
                for each in due:
                    await self._settle_batch([each], left, failed)
                return
            log.exception("bake not ended", release=due[0][0])
            left.update(due)
            failed.update(due)

    async def _settle_together(self, due: Sequence[Due]) -> set[Due]:
        """Read, settle, save, announce and time releases, each step for all; returns those that somebody else changed.

        A race that is lost was won by somebody who settled the release first.
        """
        found = await self._releases.get_many([id for id, _ in due])
        changes: list[tuple[Release, Release]] = []
        for number, (id, revision) in enumerate(due):
            before = found.get(id)
            if before is not None and before.revision == revision:
                after = _next_revision(before, settle(before, self._clock.now()))
                if after is not before:
                    changes.append((before, after))
            if number % _SETTLED_WITHOUT_PAUSE == 0:
                await asyncio.sleep(0)  # whoever else this process serves has a turn
        answers = await asyncio.gather(*(self._releases.save(after) for _, after in changes), return_exceptions=True)
        saved = [change for change, answer in zip(changes, answers, strict=True) if answer is True]
        if saved:
            told = [(after, len(before.history)) for before, after in saved]
            await self._follow_up(*told, instead_of=[before for before, _ in saved])
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return set(due) - {(before.id, before.revision) for before, _ in saved}

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
                    await self._follow_up((changed, len(release.history)))
                if refusal is not None:
                    raise refusal
                return Decision(changed, decision.events)
            release = None
            await stand_back(attempt)
        raise Contention(f"Release {release_id} is being changed by many others at once. Nothing was done; try again.")

    async def _follow_up(self, *changes: tuple[Release, int], instead_of: Sequence[Release] = ()) -> None:
        """What others learn of changes that are on record, each with the sequence that was the last before it.

        From here on nothing may fail them. Jobs of the releases `instead_of` which these are have nothing left to do.
        """
        for release, since in changes:
            for event in release.history[since:]:
                log.info(
                    event.type.value.lower(),
                    feature=release.feature_key,
                    release=release.id,
                    sequence=event.sequence,
                    by=event.actor.id,
                )
        changed = [release for release, _ in changes]
        await asyncio.gather(
            self._announcer.announce(*changed),
            self._timers.set(*changed, instead_of=instead_of),
            self._prompts.tell(),
        )


def _next_revision(stored: Release, changed: Release) -> Release:
    """The changed release as the revision after the stored one; the stored one itself if nothing changed."""
    if changed is stored or changed.revision > stored.revision:
        return changed
    return structs.replace(changed, revision=stored.revision + 1)
