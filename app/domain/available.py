"""What a caller could do to a release now: every action, with the reason for a refusal and the words of the dialog."""

from datetime import datetime
from itertools import takewhile
from typing import assert_never

from msgspec import Struct

from app.domain.access import Principal
from app.domain.commands import Command, remaining_reviews
from app.domain.problems import Problem
from app.domain.releases import PhaseStatus, Release, ReleaseAction, ReleasePhase, ReleaseStatus
from app.domain.transitions import act
from app.domain.wording import duration_in_words, named


class AvailableAction(Struct, frozen=True):
    """One entry of a menu. `bypasses_review_of` names the reviews that it would pass by, which asks for a reason."""

    action: ReleaseAction
    allowed: bool
    reason: str | None
    confirmation: str
    bypasses_review_of: tuple[ReleasePhase, ...]


def available_actions(release: Release, by: Principal, now: datetime) -> tuple[AvailableAction, ...]:
    """All six actions as `by` would find them."""
    return tuple(available_action(release, action, by, now) for action in ReleaseAction)


def available_action(release: Release, action: ReleaseAction, by: Principal, now: datetime) -> AvailableAction:
    """An action as `by` would find it, judged by carrying it out and dropping the result."""
    command = command_for(release, action)
    if command is None:
        return AvailableAction(action, False, _over(release), confirmation(release, action), ())
    passed = passed_reviews(release, action)
    try:
        act(release, command, by, now)
    except Problem as problem:
        return AvailableAction(action, False, problem.message, confirmation(release, action), passed)
    return AvailableAction(action, True, None, confirmation(release, action), passed)


def command_for(release: Release, action: ReleaseAction) -> Command | None:
    """The command that asks for an action on the release as it stands, reviews bypassed; None if there is none."""
    phase = release.current_phase
    names_phase = action not in (ReleaseAction.ABORT, ReleaseAction.FULL_ROLL_OUT)
    if (names_phase and phase is None) or release.status is ReleaseStatus.ABORTED:
        return None
    passed = passed_reviews(release, action)
    return Command(
        action,
        phase_id=phase.id if phase and names_phase else None,
        reason="to be asked for" if passed else None,
        bypass_review=bool(passed),
    )


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
            if phase.bake_time:
                return (
                    f"Approve “{phase.name}” of {release.title}. "
                    f"It is released at once and bakes for {duration_in_words(phase.bake_time)}."
                )
            return (
                f"Approve “{phase.name}” of {release.title}. It is released at once, with no bake time. "
                f"{_turn_of(release, phase.index + 1)}"
            )
        case ReleaseAction.PAUSE:
            return (
                f"Pause the bake timer of “{phase.name}” of {release.title}. "
                "The phase stays released; what remains of the bake time is kept."
            )
        case ReleaseAction.UNPAUSE:
            remainder = (
                f" with {duration_in_words(phase.bake_remaining)} left" if phase.bake_remaining is not None else ""
            )
            return f"Let the bake timer of “{phase.name}” of {release.title} go on{remainder}."
        case ReleaseAction.SKIP:
            if phase.status is not PhaseStatus.WAITING_FOR_REVIEW:
                return f"Skip “{phase.name}” of {release.title}. {_turn_of(release, phase.index + 1)}"
            kept = "" if _completes(release, phase.index + 1) else _KEPT
            return (
                f"Skip “{phase.name}” of {release.title}, without its review and without releasing to it{kept}. "
                f"{_turn_of(release, phase.index + 1)}"
            )
        case ReleaseAction.ABORT:
            return f"Abort {release.title}. Everyone gets the values from before it at once. This cannot be undone."
        case ReleaseAction.FULL_ROLL_OUT:
            left = len(release.phases) - phase.index
            reviews = remaining_reviews(release)
            bypassed = f" The review of {named(phase.name for phase in reviews)} is bypassed." if reviews else ""
            return (
                f"Roll {release.title} out fully: everyone gets the new values at once and the remaining "
                f"{'phase is' if left == 1 else f'{left} phases are'} skipped.{bypassed} This cannot be undone."
            )
        case _:
            assert_never(action)


def passed_reviews(release: Release, action: ReleaseAction) -> tuple[ReleasePhase, ...]:
    """The phases whose review an action would pass by."""
    if action is ReleaseAction.FULL_ROLL_OUT:
        return remaining_reviews(release)
    if action is ReleaseAction.SKIP:
        return tuple(p for p in release.phases if p.status is PhaseStatus.WAITING_FOR_REVIEW)
    return ()


def _turn_of(release: Release, index: int) -> str:
    """What happens when the phase at an index gets its turn: phases without bake time are passed together."""
    rest = release.phases[index:]
    if not rest:
        return "It is the last phase: the release is completed and everyone gets the new values."
    passed = list(takewhile(_ends_at_once, rest))
    at_once = f"{named(phase.name for phase in passed)} {'is' if len(passed) == 1 else 'are'} released at once"
    if _completes(release, index):
        return f"{at_once}, with no bake time: the release is completed and everyone gets the new values."
    following = rest[len(passed)]
    if following.required_approvals:
        then = f"“{following.name}” then waits for review."
    else:
        then = f"“{following.name}” is released at once and bakes for {duration_in_words(following.bake_time)}."
    return f"{at_once}, with no bake time. {then}" if passed else then


def _completes(release: Release, index: int) -> bool:
    return all(_ends_at_once(phase) for phase in release.phases[index:])


def _ends_at_once(phase: ReleasePhase) -> bool:
    return not phase.required_approvals and not phase.bake_time


_KEPT = ": whoever no other phase admits keeps the values from before"


def _over(release: Release) -> str:
    return f"R{release.title[1:]} is {release.status.value.lower()}; nothing changes it again."
