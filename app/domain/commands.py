"""What an operator asks for, and what refuses it before anything moves."""

from msgspec import Struct, structs

from app.domain.access import Actor, Principal, Role, require_role
from app.domain.features import MAX_DESCRIPTION, description_problems
from app.domain.problems import FieldProblem, InvalidTransition, NotFound, ReviewRequired, StalePhase, ValidationFailed
from app.domain.releases import (
    PhaseStatus,
    Release,
    ReleaseAction,
    ReleaseEvent,
    ReleasePhase,
    ReleaseStatus,
    current_answer_to,
)

MAX_KEY = 200


class Command(Struct, frozen=True):
    """An action as asked for. `phase_id` is the phase that the operator saw; abort and full roll out name none."""

    action: ReleaseAction
    phase_id: str | None = None
    reason: str | None = None
    bypass_review: bool = False
    idempotency_key: str | None = None


ROLE_FOR = dict.fromkeys(ReleaseAction, Role.OPERATOR) | {ReleaseAction.APPROVE: Role.APPROVER}


def remaining_reviews(release: Release) -> tuple[ReleasePhase, ...]:
    """The phases that have not been approved yet and ask for it."""
    return tuple(
        phase
        for phase in release.phases
        if phase.status is PhaseStatus.WAITING_FOR_REVIEW
        or (phase.status is PhaseStatus.NOT_RELEASED and phase.required_approvals > 0)
    )


def unblocked(command: Command) -> Command:
    """An abort whose reason or key is too long all the same: nothing ever blocks one. Any other command as it is."""
    if command.action is not ReleaseAction.ABORT:
        return command
    reason, key = command.reason, command.idempotency_key
    if reason is not None and len(reason) > MAX_DESCRIPTION:
        reason = reason[: MAX_DESCRIPTION - 1] + "…"
    if key is not None and not 0 < len(key) <= MAX_KEY:
        key = None
    return structs.replace(command, reason=reason, idempotency_key=key)


def check_command(command: Command, by: Principal) -> None:
    """Refuse a command that its sender may not give or that is malformed: PermissionDenied, ValidationFailed."""
    require_role(by, ROLE_FOR[command.action], _VERB[command.action])
    problems = list(description_problems(command.reason, ("reason",)))
    if command.idempotency_key is not None and not 0 < len(command.idempotency_key) <= MAX_KEY:
        problems.append(FieldProblem(("idempotencyKey",), f"Use 1 to {MAX_KEY} characters."))
    if problems:
        raise ValidationFailed(problems)


def first_answer(release: Release, command: Command, key: str, by: Actor) -> tuple[ReleaseEvent, ...]:
    """What the command caused when it was first sent with that idempotency key; nothing if it is new.

    Raises ValidationFailed if the key was used for another action, or by somebody else; an abort is new then.
    """
    events = current_answer_to(release, key)
    if events:
        first = events[0]
        same_phase = command.phase_id is None or command.phase_id == first.phase_id
        if first.action is not command.action or first.actor.id != by.id or not same_phase:
            if command.action is ReleaseAction.ABORT:
                return ()
            raise ValidationFailed(
                [FieldProblem(("idempotencyKey",), "It was used for another action; make a new key for each action.")]
            )
    return events


def named_phase(release: Release, command: Command) -> ReleasePhase:
    """The current phase, if it is the one that was named: else NotFound or StalePhase."""
    phase_id = command.phase_id or ""
    phase = release.phase(phase_id)
    if phase is None:
        raise NotFound(f"There is no phase {phase_id!r} in {release.title}.", phase_id)
    current = release.current_phase
    if current is None:
        raise StalePhase(
            f"“{phase.name}” is not the current phase: {release.title} is {in_words(release.status)}.", release
        )
    if current.id != phase.id:
        raise StalePhase(
            f"“{phase.name}” is not the current phase of {release.title}: it is {in_words(phase.status)}, "
            f"and “{current.name}” is {in_words(current.status)}.",
            release,
        )
    return phase


def check_under_way(release: Release, advice: str = "") -> None:
    """Refuse what needs a release that is not over: InvalidTransition."""
    if release.is_over:
        raise InvalidTransition(
            f"{_capital(release.title)} is {in_words(release.status)}; nothing changes it again. {advice}".rstrip(),
            release,
        )


def check_review(release: Release, passed: tuple[ReleasePhase, ...], command: Command, by: Principal) -> None:
    """Refuse to pass reviews by, unless an ADMIN bypasses them and says why."""
    if not passed:
        return
    names = ", ".join(f"“{phase.name}”" for phase in passed)
    if not command.bypass_review:
        raise ReviewRequired(
            f"{names} {'asks' if len(passed) == 1 else 'ask'} for review, which this would pass by. "
            f"Have it approved, or let an administrator bypass it, with bypassReview: true and a reason.",
            release,
            passed,
        )
    require_role(by, Role.ADMIN, f"bypass the review of {names}")
    if not (command.reason or "").strip():
        raise ValidationFailed([FieldProblem(("reason",), f"Say why the review of {names} is bypassed.")])


# --- words ------------------------------------------------------------------------------------------------------------

_VERB = {
    ReleaseAction.APPROVE: "approve a phase",
    ReleaseAction.PAUSE: "pause a release",
    ReleaseAction.UNPAUSE: "unpause a release",
    ReleaseAction.SKIP: "skip a phase",
    ReleaseAction.ABORT: "abort a release",
    ReleaseAction.FULL_ROLL_OUT: "roll a release out fully",
}


def in_words(status: PhaseStatus | ReleaseStatus) -> str:
    """A status as a sentence has it."""
    return str(status.value).lower().replace("_", " ")


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
