"""What a caller could do to a release now: every action, with the reason for a refusal and the words of the dialog."""

from datetime import datetime, timedelta
from typing import assert_never

from msgspec import Struct

from app.domain.access import Principal
from app.domain.commands import Command, remaining_reviews
from app.domain.problems import Problem
from app.domain.releases import PhaseStatus, Release, ReleaseAction, ReleasePhase, ReleaseStatus
from app.domain.transitions import act


class AvailableAction(Struct, frozen=True):
    """One entry of a menu. `bypasses_review_of` names the reviews that it would pass by, which asks for a reason."""

    action: ReleaseAction
    allowed: bool
    reason: str | None
    confirmation: str
    bypasses_review_of: tuple[ReleasePhase, ...]


def available_actions(release: Release, by: Principal, now: datetime) -> tuple[AvailableAction, ...]:
    """All six actions as `by` would find them, judged by carrying each out and dropping the result."""
    return tuple(_available(release, action, by, now) for action in ReleaseAction)


def _available(release: Release, action: ReleaseAction, by: Principal, now: datetime) -> AvailableAction:
    phase = release.current_phase
    passed = _passed_reviews(release, action)
    names_phase = action not in (ReleaseAction.ABORT, ReleaseAction.FULL_ROLL_OUT)
    if (names_phase and phase is None) or release.status is ReleaseStatus.ABORTED:
        return AvailableAction(action, False, _over(release), confirmation(release, action), ())
    command = Command(
        action,
        phase_id=phase.id if phase and names_phase else None,
        reason="to be asked for" if passed else None,
        bypass_review=bool(passed),
    )
    try:
        act(release, command, by, now)
    except Problem as problem:
        return AvailableAction(action, False, problem.message, confirmation(release, action), passed)
    return AvailableAction(action, True, None, confirmation(release, action), passed)


def confirmation(release: Release, action: ReleaseAction) -> str:
    """What the action would do, in the sentence that a confirm dialog shows."""
    phase = release.current_phase
    if phase is None:
        return _over(release)
    match action:
        case ReleaseAction.APPROVE:
            missing = phase.required_approvals - len(phase.approvals)
            if missing > 1:
                return f"Approve “{phase.name}” of {release.title}. It then needs {missing - 1} more."
            return f"Approve “{phase.name}” of {release.title}. It is released at once{_bakes(phase)}."
        case ReleaseAction.PAUSE:
            return (
                f"Pause the bake timer of “{phase.name}” of {release.title}. "
                "The phase stays released; what remains of the bake time is kept."
            )
        case ReleaseAction.UNPAUSE:
            remainder = f" with {_spoken(phase.bake_remaining)} left" if phase.bake_remaining is not None else ""
            return f"Let the bake timer of “{phase.name}” of {release.title} go on{remainder}."
        case ReleaseAction.SKIP:
            if phase.status is not PhaseStatus.WAITING_FOR_REVIEW:
                return f"Skip “{phase.name}” of {release.title}. {_next(release, phase)}"
            return (
                f"Skip “{phase.name}” of {release.title}, without its review and without releasing to it: whoever no "
                f"other phase admits keeps the values from before. {_next(release, phase)}"
            )
        case ReleaseAction.ABORT:
            return f"Abort {release.title}. Everyone gets the values from before it at once. This cannot be undone."
        case ReleaseAction.FULL_ROLL_OUT:
            left = len(release.phases) - phase.index
            reviews = remaining_reviews(release)
            bypassed = f" The review of {_names(reviews)} is bypassed." if reviews else ""
            return (
                f"Roll {release.title} out fully: everyone gets the new values at once and the remaining "
                f"{'phase is' if left == 1 else f'{left} phases are'} skipped.{bypassed} This cannot be undone."
            )
        case _:
            assert_never(action)


def _passed_reviews(release: Release, action: ReleaseAction) -> tuple[ReleasePhase, ...]:
    if action is ReleaseAction.FULL_ROLL_OUT:
        return remaining_reviews(release)
    if action is ReleaseAction.SKIP:
        return tuple(p for p in release.phases if p.status is PhaseStatus.WAITING_FOR_REVIEW)
    return ()


def _next(release: Release, phase: ReleasePhase) -> str:
    if phase.index + 1 == len(release.phases):
        return "It is the last phase: the release is completed and everyone gets the new values."
    following = release.phases[phase.index + 1]
    if following.required_approvals:
        return f"“{following.name}” then waits for review."
    return f"“{following.name}” is released at once{_bakes(following)}."


def _bakes(phase: ReleasePhase) -> str:
    return f" and bakes for {_spoken(phase.bake_time)}" if phase.bake_time else ""


def _over(release: Release) -> str:
    return f"R{release.title[1:]} is {release.status.value.lower()}; nothing changes it again."


def _names(phases: tuple[ReleasePhase, ...]) -> str:
    return ", ".join(f"“{phase.name}”" for phase in phases)


def _spoken(duration: timedelta) -> str:
    """A duration in its two largest units: 1 h 30 min, 45 s."""
    seconds = round(duration.total_seconds())
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    parts = []
    for name, size in units:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {name}")
    return " ".join(parts[:2]) or "less than a second"
