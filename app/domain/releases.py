"""A release: one change of one feature on its way through one pipeline. Values, and the questions one can ask of them.

How a release changes is in `transitions.py`.
"""

from datetime import datetime, timedelta
from enum import Enum

from msgspec import Struct

from app.domain.access import Actor
from app.domain.features import Feature, FeatureKind, FeatureSpec
from app.domain.pipelines import ReleaseRule


class ReleaseStatus(Enum):
    """Where a release stands (semantics.md, "Status")."""

    WAITING_FOR_REVIEW = "WAITING_FOR_REVIEW"
    IN_PROGRESS = "IN_PROGRESS"
    PAUSED = "PAUSED"
    COMPLETED = "COMPLETED"
    ABORTED = "ABORTED"


class PhaseStatus(Enum):
    """Where a phase of a release stands (semantics.md, "Status")."""

    NOT_RELEASED = "NOT_RELEASED"
    WAITING_FOR_REVIEW = "WAITING_FOR_REVIEW"
    IN_PROGRESS = "IN_PROGRESS"
    PAUSED = "PAUSED"
    COMPLETED = "COMPLETED"
    SKIPPED = "SKIPPED"
    ABORTED = "ABORTED"


CURRENT = (PhaseStatus.WAITING_FOR_REVIEW, PhaseStatus.IN_PROGRESS, PhaseStatus.PAUSED)
OVER = (ReleaseStatus.COMPLETED, ReleaseStatus.ABORTED)


class ReleaseAction(Enum):
    """What an operator can do to a release under way."""

    APPROVE = "APPROVE"
    PAUSE = "PAUSE"
    UNPAUSE = "UNPAUSE"
    SKIP = "SKIP"
    ABORT = "ABORT"
    FULL_ROLL_OUT = "FULL_ROLL_OUT"


class ReleaseEventType(Enum):
    """What happened to a release."""

    RELEASE_STARTED = "RELEASE_STARTED"
    REVIEW_REQUESTED = "REVIEW_REQUESTED"
    PHASE_APPROVED = "PHASE_APPROVED"
    PHASE_RELEASED = "PHASE_RELEASED"
    BAKE_PAUSED = "BAKE_PAUSED"
    BAKE_UNPAUSED = "BAKE_UNPAUSED"
    PHASE_COMPLETED = "PHASE_COMPLETED"
    PHASE_SKIPPED = "PHASE_SKIPPED"
    FULLY_ROLLED_OUT = "FULLY_ROLLED_OUT"
    RELEASE_COMPLETED = "RELEASE_COMPLETED"
    RELEASE_ABORTED = "RELEASE_ABORTED"


class Approval(Struct, frozen=True):
    """One person's consent to a phase."""

    actor: Actor
    at: datetime
    reason: str | None = None


class ReleasePhase(Struct, frozen=True, weakref=True):  # which what is shown of it may be kept by
    """A phase of the pipeline, copied when the release started, and how far it has come.

    `bake_ends_at` is there while the timer runs, `bake_remaining` while it stands still.
    """

    id: str
    index: int
    name: str
    rules: tuple[ReleaseRule, ...]
    bake_time: timedelta
    required_approvals: int
    prevent_self_approval: bool
    remind_every: timedelta | None = None
    status: PhaseStatus = PhaseStatus.NOT_RELEASED
    approvals: tuple[Approval, ...] = ()
    review_bypassed: bool = False
    released_at: datetime | None = None
    bake_ends_at: datetime | None = None
    bake_remaining: timedelta | None = None
    ended_at: datetime | None = None

    def is_approved_by(self, actor: Actor) -> bool:
        """Whether the actor has approved it."""
        return any(approval.actor.id == actor.id for approval in self.approvals)


class ReleaseEvent(Struct, frozen=True):
    """One fact in a release's history. `action` and `idempotency_key` are those of the action that caused it."""

    sequence: int
    type: ReleaseEventType
    at: datetime
    actor: Actor
    to_status: ReleaseStatus
    from_status: ReleaseStatus | None = None
    reason: str | None = None
    phase_id: str | None = None
    bypassed_phase_ids: tuple[str, ...] = ()
    action: ReleaseAction | None = None
    idempotency_key: str | None = None


class Timer(Struct, frozen=True):
    """The running bake timer. Its id is new at each start, so that a prompt made for an earlier one is told apart."""

    id: str
    deadline: datetime


class SpecChange(Struct, frozen=True):
    """What a release changes."""

    before: FeatureSpec
    after: FeatureSpec


class Release(Struct, frozen=True, weakref=True):  # which what is shown of it may be kept by
    """One change of one feature. `number` counts the feature's releases from 1, `revision` the writes of this one."""

    id: str
    number: int
    feature_key: str
    feature_kind: FeatureKind
    pipeline_id: str | None
    pipeline_name: str | None
    description: str | None
    status: ReleaseStatus
    phases: tuple[ReleasePhase, ...]
    change: SpecChange
    history: tuple[ReleaseEvent, ...]
    started_by: Actor
    started_at: datetime
    changed_at: datetime
    ended_at: datetime | None = None
    timer: Timer | None = None
    start_key: str | None = None
    revision: int = 1

    @property
    def is_over(self) -> bool:
        """Whether nothing changes it again."""
        return self.status in OVER

    @property
    def current_phase(self) -> ReleasePhase | None:
        """The phase whose turn it is, or None when the release is over."""
        return next((phase for phase in self.phases if phase.status in CURRENT), None)

    def bars(self, actor: Actor, phase: ReleasePhase) -> bool:
        """Whether a phase asks for the approval of somebody else, since the actor started the release."""
        return phase.prevent_self_approval and actor.id == self.started_by.id

    def phase(self, id: str) -> ReleasePhase | None:
        """The phase of that id."""
        return next((phase for phase in self.phases if phase.id == id), None)

    @property
    def title(self) -> str:
        """How messages and confirmations name it."""
        return f"release #{self.number} of {self.feature_key}"


def spec_in_force(feature: Feature, latest: Release | None) -> FeatureSpec:
    """What everyone gets whom no release under way admits: decided by the feature's latest release alone."""
    if latest is None:
        return feature.created_spec
    return latest.change.after if latest.status is ReleaseStatus.COMPLETED else latest.change.before


def feature_revision(feature: Feature, latest: Release | None) -> int:
    """Counts what was changed of a feature: its own writes, and each start and each end of its releases.

    Both parts only ever grow, so that it is the same only where feature, spec in force and release under way are.
    """
    if latest is None:
        return feature.revision
    return feature.revision + 2 * latest.number - (0 if latest.is_over else 1)


def expected_end(release: Release, now: datetime) -> datetime | None:
    """When the release is completed if nobody acts; None where a review or a pause is in the way, or it is over."""
    current = release.current_phase
    if release.timer is None or current is None:
        return None
    later = release.phases[current.index + 1 :]
    if any(phase.required_approvals for phase in later):
        return None
    return max(release.timer.deadline, now) + sum((phase.bake_time for phase in later), timedelta(0))


def current_answer_to(release: Release, idempotency_key: str) -> tuple[ReleaseEvent, ...]:
    """The events that the action with that idempotency key caused; none if it is new to the release."""
    return tuple(event for event in release.history if event.idempotency_key == idempotency_key)
