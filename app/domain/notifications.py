"""Who is told what, and when: a pure function of a release's record.

    on record           told as
    RELEASE_STARTED     RELEASE_STARTED
    REVIEW_REQUESTED    REVIEW_REQUESTED, and REVIEW_OVERDUE after each `remind_every` while the phase waits
    BAKE_PAUSED         RELEASE_PAUSED
    PHASE_COMPLETED     BAKE_ENDED, unless the phase has no bake time
    PHASE_SKIPPED       PHASE_SKIPPED
    FULLY_ROLLED_OUT    FULLY_ROLLED_OUT
    RELEASE_COMPLETED   RELEASE_COMPLETED
    RELEASE_ABORTED     RELEASE_ABORTED

Only what is on record is told, so a refused action and a stale timer tell nothing. Each notice has a place (sequence of
its event, number of the reminder), which orders the notices of a release and makes their ids the same for ever.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from enum import Enum

from msgspec import Struct, structs

from app.domain.access import Principal, Role
from app.domain.releases import PhaseStatus, Release, ReleaseEvent, ReleaseEventType, ReleasePhase

REVIEWERS = "reviewers"
"""The audience of what asks for a review; any other audience is one actor's."""


class NotificationType(Enum):
    """What people are told of."""

    RELEASE_STARTED = "RELEASE_STARTED"
    REVIEW_REQUESTED = "REVIEW_REQUESTED"
    REVIEW_OVERDUE = "REVIEW_OVERDUE"
    RELEASE_PAUSED = "RELEASE_PAUSED"
    BAKE_ENDED = "BAKE_ENDED"
    PHASE_SKIPPED = "PHASE_SKIPPED"
    FULLY_ROLLED_OUT = "FULLY_ROLLED_OUT"
    RELEASE_COMPLETED = "RELEASE_COMPLETED"
    RELEASE_ABORTED = "RELEASE_ABORTED"


_TOLD_AS = {
    ReleaseEventType.RELEASE_STARTED: NotificationType.RELEASE_STARTED,
    ReleaseEventType.REVIEW_REQUESTED: NotificationType.REVIEW_REQUESTED,
    ReleaseEventType.BAKE_PAUSED: NotificationType.RELEASE_PAUSED,
    ReleaseEventType.PHASE_COMPLETED: NotificationType.BAKE_ENDED,
    ReleaseEventType.PHASE_SKIPPED: NotificationType.PHASE_SKIPPED,
    ReleaseEventType.FULLY_ROLLED_OUT: NotificationType.FULLY_ROLLED_OUT,
    ReleaseEventType.RELEASE_COMPLETED: NotificationType.RELEASE_COMPLETED,
    ReleaseEventType.RELEASE_ABORTED: NotificationType.RELEASE_ABORTED,
}


class Notice(Struct, frozen=True):
    """One thing to tell: an event of a release, or the reminder of that number of a review that it asked for."""

    type: NotificationType
    sequence: int
    at: datetime
    reminder: int = 0

    @property
    def place(self) -> str:
        """Where it stands among the notices of its release, as text that sorts."""
        return f"{self.sequence:06d}-{self.reminder:06d}"


class Told(Struct, frozen=True):
    """How far a release has been told of: to which event, and to which reminder of which review request."""

    release_id: str
    sequence: int = 0
    review: int = 0
    reminder: int = 0
    remind_at: datetime | None = None
    revision: int = 0


class Watermark(Struct, frozen=True):
    """How far in time the changes of all releases have been told. Of what was before `since` people find no
    notification; channels have a beginning of their own.
    """

    id: str
    since: datetime
    until: datetime
    revision: int = 1


class Notification(Struct, frozen=True):
    """A notice as it is kept for the people whom it concerns. `not_for` is the actor who may not give the review."""

    id: str
    type: NotificationType
    audience: str
    release_id: str
    feature_key: str
    sequence: int
    reminder: int
    title: str
    text: str
    at: datetime
    created_at: datetime
    phase_id: str | None = None
    not_for: str | None = None
    revision: int = 1

    def is_for(self, principal: Principal) -> bool:
        """Whether it concerns a caller."""
        return self.audience in audiences(principal) and principal.actor.id != self.not_for


class ReadMark(Struct, frozen=True):
    """That somebody has read a notification."""

    actor_id: str
    notification_id: str
    at: datetime
    revision: int = 1

    @staticmethod
    def id_of(actor_id: str, notification_id: str) -> str:
        """The mark's id: there is one for each reader and notification."""
        return f"{notification_id}:{actor_id}"


def notices(release: Release, after: int) -> Iterator[Notice]:
    """What the events of a release beyond the sequence `after` are told as, in order."""
    for event in release.history[after:]:
        type = _TOLD_AS.get(event.type)
        if type is not None and not (type is NotificationType.BAKE_ENDED and not _baked(release, event)):
            yield Notice(type, event.sequence, event.at)


def _baked(release: Release, event: ReleaseEvent) -> bool:
    phase = phase_of(release, event)
    return phase is not None and phase.bake_time > timedelta(0)


def review_request(release: Release) -> ReleaseEvent | None:
    """The event that asked for the review which a release waits for now; None if it waits for none."""
    current = release.current_phase
    if current is None or current.status is not PhaseStatus.WAITING_FOR_REVIEW:
        return None
    asked = (event for event in reversed(release.history) if event.type is ReleaseEventType.REVIEW_REQUESTED)
    return next((event for event in asked if event.phase_id == current.id), None)


def reminder(release: Release, told: Told, now: datetime) -> Notice | None:
    """The reminder that is due now and not told yet. After an outage that is one, not each that was missed."""
    request, phase = review_request(release), release.current_phase
    if request is None or phase is None or phase.remind_every is None:
        return None
    number = (now - request.at) // phase.remind_every
    if number < 1 or (told.review == request.sequence and told.reminder >= number):
        return None
    return Notice(
        NotificationType.REVIEW_OVERDUE, request.sequence, request.at + number * phase.remind_every, reminder=number
    )


def untold(release: Release, told: Told, now: datetime) -> list[Notice]:
    """Everything to tell of a release that has not been told, in order."""
    due = reminder(release, told, now)
    return [*notices(release, told.sequence), *([due] if due else [])]


def told_of(release: Release, told: Told, now: datetime) -> Told:
    """How far a release has been told of once all that is untold now is; itself if that changes nothing."""
    request, due = review_request(release), reminder(release, told, now)
    number = due.reminder if due else (told.reminder if request and told.review == request.sequence else 0)
    every = release.current_phase.remind_every if request and release.current_phase else None
    after = structs.replace(
        told,
        sequence=max(told.sequence, len(release.history)),  # a release that was read before may be behind
        review=request.sequence if request and number else 0,
        reminder=number,
        remind_at=request.at + (number + 1) * every if request and every else None,
    )
    return told if after == told else structs.replace(after, revision=told.revision + 1)


def is_current(release: Release, notice: Notice) -> bool:
    """Whether it is still worth telling: of a reminder, whether the review that it asks for is still to be given."""
    return not notice.reminder or is_asked(release, notice.sequence)


def is_asked(release: Release, sequence: int) -> bool:
    """Whether the review that the event of that sequence asked for is still to be given."""
    request = review_request(release)
    return request is not None and request.sequence == sequence


def phase_of(release: Release, event: ReleaseEvent) -> ReleasePhase | None:
    """The phase that an event is about."""
    return None if event.phase_id is None else release.phase(event.phase_id)


def notification_id(release_id: str, notice: Notice) -> str:
    """The id of a notice, the same whoever tells it and however often."""
    return f"ntf_{_place_of(release_id, notice.sequence, notice.reminder)}"


def delivery_id(release_id: str, notice: Notice, channel_id: str) -> str:
    """The id of what a channel is sent of a notice, the same at every attempt."""
    return f"dlv_{_place_of(release_id, notice.sequence, notice.reminder)}_{channel_id.partition('_')[2]}"


def _place_of(release_id: str, sequence: int, reminder: int) -> str:
    return f"{release_id.partition('_')[2]}_{sequence}" + (f"_{reminder}" if reminder else "")


def audience(release: Release, notice: Notice) -> str | None:
    """Whom a notice concerns: reviewers of what waits for them, or else who started the release.

    None where that is who did it themselves.
    """
    if notice.type in (NotificationType.REVIEW_REQUESTED, NotificationType.REVIEW_OVERDUE):
        return REVIEWERS
    if release.history[notice.sequence - 1].actor.id == release.started_by.id:
        return None
    return release.started_by.id


def audiences(principal: Principal) -> tuple[str, ...]:
    """The audiences that a caller belongs to."""
    own = (principal.actor.id,)
    return (REVIEWERS, *own) if principal.role.includes(Role.APPROVER) else own


def waits_for(release: Release, principal: Principal) -> bool:
    """Whether a release waits for a review that this caller could give now."""
    phase = release.current_phase
    if phase is None or phase.status is not PhaseStatus.WAITING_FOR_REVIEW:
        return False
    actor = principal.actor
    return principal.role.includes(Role.APPROVER) and not release.bars(actor, phase) and not phase.is_approved_by(actor)
