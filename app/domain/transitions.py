"""Every transition of a release, in one place.

    release status      approve   pause   unpause  skip        abort    full roll out  bake ends
    WAITING_FOR_REVIEW  counts *  -       -        next **     ABORTED  COMPLETED **   -
    IN_PROGRESS         -         PAUSED  -        next        ABORTED  COMPLETED **   next
    PAUSED              -         -       resumes  next        ABORTED  COMPLETED **   -
    COMPLETED, ABORTED  -         -       -        -           -  ***   -              -

    next: the following phase gets its turn (review, or release and bake); after the last one the release is COMPLETED
    *     with enough approvals the phase is released and bakes
    **    refused (ReviewRequired) where it would pass a review, unless an ADMIN bypasses it and says why
    ***   aborting an aborted release answers with that release

Every function takes a release and gives a release; a refusal is raised and changes nothing (semantics.md). The bake
timer's truth is `Release.timer.deadline`: whoever acts settles first, so a timer that fires late changes no meaning.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import assert_never

from msgspec import Struct, structs

from app.domain.access import SYSTEM, Actor, Principal
from app.domain.commands import (
    Command,
    check_command,
    check_review,
    check_under_way,
    first_answer,
    in_words,
    named_phase,
    remaining_reviews,
    unblocked,
)
from app.domain.features import Feature
from app.domain.pipelines import Phase, Pipeline
from app.domain.problems import InvalidTransition
from app.domain.releases import (
    Approval,
    PhaseStatus,
    Release,
    ReleaseAction,
    ReleaseEvent,
    ReleaseEventType,
    ReleasePhase,
    ReleaseStatus,
    SpecChange,
    Timer,
    current_answer_to,
)

MAX_EVENTS = 1_500
"""Of all actions only pauses can be repeated without end, and a document of MongoDB holds 16 MiB."""


class Decision(Struct, frozen=True):
    """The release after an action, and the events that answer it: those it caused now, or when it was first sent."""

    release: Release
    events: tuple[ReleaseEvent, ...]


def start(
    id: str,
    number: int,
    feature: Feature,
    change: SpecChange,
    pipeline: Pipeline | None,
    by: Actor,
    now: datetime,
    *,
    description: str | None = None,
    start_key: str | None = None,
) -> Release:
    """A new release, its first phase's turn given. Without a pipeline it has no phases and is completed at once."""
    release = Release(
        id=id,
        number=number,
        feature_key=feature.key,
        feature_kind=feature.kind,
        pipeline_id=pipeline.id if pipeline else None,
        pipeline_name=pipeline.name if pipeline else None,
        description=description,
        status=ReleaseStatus.IN_PROGRESS,
        phases=tuple(_copied(phase, index) for index, phase in enumerate(pipeline.phases if pipeline else ())),
        change=change,
        history=(),
        started_by=by,
        started_at=now,
        changed_at=now,
        start_key=start_key,
    )
    started = ReleaseEvent(
        1, ReleaseEventType.RELEASE_STARTED, now, by, to_status=ReleaseStatus.IN_PROGRESS, reason=description
    )
    return _give_turn(structs.replace(release, history=(started,)), 0, by, now)


def settle(release: Release, now: datetime) -> Release:
    """End the bake that is due, if one is: at most one, and the next phase bakes in full from `now`.

    A phase whose bake time is zero ends in the same turn, so a run of those is passed together.
    """
    if release.timer is None or release.timer.deadline > now:
        return release
    phase = _current(release)
    completed = _end_phase(release, phase, PhaseStatus.COMPLETED, now)
    completed = _append(completed, ReleaseEventType.PHASE_COMPLETED, SYSTEM, now, phase=phase)
    return _give_turn(completed, phase.index + 1, SYSTEM, now)


def act(release: Release, command: Command, by: Principal, now: datetime) -> Decision:
    """Carry an action out on a settled release.

    Raises PermissionDenied, ValidationFailed, NotFound (the phase), StalePhase, InvalidTransition or ReviewRequired.
    The same `idempotency_key` again answers with the events of the first time and changes nothing.
    """
    command = unblocked(command)
    check_command(command, by)
    if command.idempotency_key is not None and (
        events := first_answer(release, command, command.idempotency_key, by.actor)
    ):
        return Decision(release, events)
    if command.action is ReleaseAction.ABORT and release.status is ReleaseStatus.ABORTED:
        return Decision(release, ())
    changed = _decide(release, command, by, now)
    count = len(release.history)
    key = command.idempotency_key
    if key is not None and current_answer_to(release, key):
        key = None  # an abort, whose key is another action's
    caused = tuple(
        structs.replace(event, action=command.action, idempotency_key=key) for event in changed.history[count:]
    )
    return Decision(structs.replace(changed, history=release.history + caused), caused)


# --- the six actions --------------------------------------------------------------------------------------------------


def _decide(release: Release, command: Command, by: Principal, now: datetime) -> Release:
    match command.action:
        case ReleaseAction.APPROVE:
            return _approve(release, named_phase(release, command), by.actor, command.reason, now)
        case ReleaseAction.PAUSE:
            return _pause(release, named_phase(release, command), by.actor, command.reason, now)
        case ReleaseAction.UNPAUSE:
            return _unpause(release, named_phase(release, command), by.actor, command.reason, now)
        case ReleaseAction.SKIP:
            return _skip(release, named_phase(release, command), command, by, now)
        case ReleaseAction.ABORT:
            return _abort(release, by.actor, command.reason, now)
        case ReleaseAction.FULL_ROLL_OUT:
            return _full_roll_out(release, command, by, now)
        case _:
            assert_never(command.action)


def _approve(release: Release, phase: ReleasePhase, by: Actor, reason: str | None, now: datetime) -> Release:
    if phase.status is not PhaseStatus.WAITING_FOR_REVIEW:
        raise InvalidTransition(f"“{phase.name}” does not wait for review: it is {in_words(phase.status)}.", release)
    if release.bars(by, phase):
        raise InvalidTransition(
            f"You started {release.title}, and “{phase.name}” asks for the approval of somebody else.", release
        )
    if phase.is_approved_by(by):
        raise InvalidTransition(
            f"You have approved “{phase.name}” already; it needs {phase.required_approvals} different people.", release
        )
    approvals = (*phase.approvals, Approval(by, now, reason))
    release = _with_phase(release, phase, approvals=approvals)
    release = _append(release, ReleaseEventType.PHASE_APPROVED, by, now, phase=phase, reason=reason)
    if len(approvals) < phase.required_approvals:
        return release
    return _release_phase(release, phase.index, by, now)


def _pause(release: Release, phase: ReleasePhase, by: Actor, reason: str | None, now: datetime) -> Release:
    if release.timer is None:
        what = "is paused already" if phase.status is PhaseStatus.PAUSED else "waits for review"
        raise InvalidTransition(f"No bake timer runs: “{phase.name}” {what}.", release)
    if len(release.history) >= MAX_EVENTS:
        raise InvalidTransition(
            f"R{release.title[1:]} has been paused so often that its record has no room for another pause "
            f"({MAX_EVENTS} events). Skip, roll out fully or abort.",
            release,
        )
    # Clocks of two servers may differ: what remains never exceeds the bake time.
    remaining = min(release.timer.deadline - now, phase.bake_time)
    release = _with_phase(release, phase, status=PhaseStatus.PAUSED, bake_ends_at=None, bake_remaining=remaining)
    release = structs.replace(release, timer=None)
    return _append(release, ReleaseEventType.BAKE_PAUSED, by, now, phase=phase, reason=reason, to=ReleaseStatus.PAUSED)


def _unpause(release: Release, phase: ReleasePhase, by: Actor, reason: str | None, now: datetime) -> Release:
    if phase.bake_remaining is None:
        raise InvalidTransition(f"“{phase.name}” is not paused: it is {in_words(phase.status)}.", release)
    release = _append(
        release, ReleaseEventType.BAKE_UNPAUSED, by, now, phase=phase, reason=reason, to=ReleaseStatus.IN_PROGRESS
    )
    return _start_timer(release, phase, phase.bake_remaining, now)


def _skip(release: Release, phase: ReleasePhase, command: Command, by: Principal, now: datetime) -> Release:
    passed = (phase,) if phase.status is PhaseStatus.WAITING_FOR_REVIEW else ()
    check_review(release, passed, command, by)
    release = _end_phase(release, phase, PhaseStatus.SKIPPED, now, review_bypassed=bool(passed))
    release = _append(
        release,
        ReleaseEventType.PHASE_SKIPPED,
        by.actor,
        now,
        phase=phase,
        reason=command.reason,
        bypassed=passed,
    )
    return _give_turn(release, phase.index + 1, by.actor, now)


def _abort(release: Release, by: Actor, reason: str | None, now: datetime) -> Release:
    check_under_way(release, "To go back, save the spec from before with updateFeature, and roll that out fully.")
    phase = _current(release)
    release = _end_phase(release, phase, PhaseStatus.ABORTED, now)
    return _end_release(
        _append(
            release, ReleaseEventType.RELEASE_ABORTED, by, now, phase=phase, reason=reason, to=ReleaseStatus.ABORTED
        ),
        now,
    )


def _full_roll_out(release: Release, command: Command, by: Principal, now: datetime) -> Release:
    check_under_way(release)
    passed = remaining_reviews(release)
    check_review(release, passed, command, by)
    current = _current(release)
    for phase in release.phases[current.index :]:
        release = _end_phase(release, phase, PhaseStatus.SKIPPED, now, review_bypassed=phase in passed)
    release = _append(
        release,
        ReleaseEventType.FULLY_ROLLED_OUT,
        by.actor,
        now,
        phase=current,
        reason=command.reason,
        bypassed=passed,
    )
    return _complete(release, by.actor, now)


# --- the moves that actions share -------------------------------------------------------------------------------------


def _give_turn(release: Release, index: int, by: Actor, now: datetime) -> Release:
    """The phase at `index` waits for review, or is released and bakes; after the last one the release is complete."""
    if index == len(release.phases):
        return _complete(release, by, now)
    phase = release.phases[index]
    if phase.required_approvals == 0:
        return _release_phase(release, index, by, now)
    release = _with_phase(release, phase, status=PhaseStatus.WAITING_FOR_REVIEW)
    return _append(
        release, ReleaseEventType.REVIEW_REQUESTED, by, now, phase=phase, to=ReleaseStatus.WAITING_FOR_REVIEW
    )


def _release_phase(release: Release, index: int, by: Actor, now: datetime) -> Release:
    release = _with_phase(release, release.phases[index], released_at=now)
    phase = release.phases[index]
    release = _append(release, ReleaseEventType.PHASE_RELEASED, by, now, phase=phase, to=ReleaseStatus.IN_PROGRESS)
    if phase.bake_time > timedelta(0):
        return _start_timer(release, phase, phase.bake_time, now)
    release = _end_phase(release, phase, PhaseStatus.COMPLETED, now)
    release = _append(release, ReleaseEventType.PHASE_COMPLETED, by, now, phase=phase)
    return _give_turn(release, index + 1, by, now)


def _start_timer(release: Release, phase: ReleasePhase, remaining: timedelta, now: datetime) -> Release:
    deadline = now + remaining
    release = _with_phase(release, phase, status=PhaseStatus.IN_PROGRESS, bake_ends_at=deadline, bake_remaining=None)
    # The sequence of the event that started it is unique within the release, and needs no randomness.
    return structs.replace(release, timer=Timer(id=str(len(release.history)), deadline=deadline))


def _end_phase(
    release: Release, phase: ReleasePhase, status: PhaseStatus, now: datetime, *, review_bypassed: bool = False
) -> Release:
    release = _with_phase(
        release,
        phase,
        status=status,
        review_bypassed=review_bypassed,
        bake_ends_at=None,
        bake_remaining=None,
        ended_at=now,
    )
    return structs.replace(release, timer=None)


def _complete(release: Release, by: Actor, now: datetime) -> Release:
    return _end_release(_append(release, ReleaseEventType.RELEASE_COMPLETED, by, now, to=ReleaseStatus.COMPLETED), now)


def _end_release(release: Release, now: datetime) -> Release:
    return structs.replace(release, ended_at=now, timer=None)


def _append(
    release: Release,
    type: ReleaseEventType,
    by: Actor,
    now: datetime,
    *,
    phase: ReleasePhase | None = None,
    to: ReleaseStatus | None = None,
    reason: str | None = None,
    bypassed: Sequence[ReleasePhase] = (),
) -> Release:
    status = to or release.status
    event = ReleaseEvent(
        sequence=len(release.history) + 1,
        type=type,
        at=now,
        actor=by,
        to_status=status,
        from_status=release.status,
        reason=reason,
        phase_id=phase.id if phase else None,
        bypassed_phase_ids=tuple(passed.id for passed in bypassed),
    )
    return structs.replace(release, status=status, history=(*release.history, event), changed_at=now)


def _with_phase(release: Release, phase: ReleasePhase, **changes: object) -> Release:
    changed = structs.replace(release.phases[phase.index], **changes)
    return structs.replace(
        release, phases=(*release.phases[: phase.index], changed, *release.phases[phase.index + 1 :])
    )


def _current(release: Release) -> ReleasePhase:
    phase = release.current_phase
    assert phase is not None, "a release under way has a current phase"
    return phase


def _copied(phase: Phase, index: int) -> ReleasePhase:
    return ReleasePhase(
        id=phase.id,
        index=index,
        name=phase.name,
        rules=phase.rules,
        bake_time=phase.bake_time,
        required_approvals=phase.required_approvals,
        prevent_self_approval=phase.prevent_self_approval,
        remind_every=phase.remind_every,
    )
