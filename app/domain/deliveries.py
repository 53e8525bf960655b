"""The delivery of one notice to one channel.

                 begun            sent
    PENDING  ----------> (leased) ----> SENT
    RETRYING ----------> (leased) ----> SENT
                            | failed: RETRYING with exponential backoff, up to a day after the notice was first due;
                            |         then DEAD, which `resent` makes PENDING again
                            | not needed any more: DROPPED

An attempt is written down before it is made, and is another's to make again once its lease is over: a sender that is
killed in between costs a second delivery with the same id, never a lost one.
"""

from datetime import datetime, timedelta
from enum import Enum

from msgspec import Struct, structs

from app.domain.notifications import Notice, NotificationType
from app.domain.wording import cut

GIVE_UP_AFTER = timedelta(days=1)
FIRST_BACKOFF = timedelta(seconds=5)
LONGEST_BACKOFF = timedelta(hours=4)
_LONGEST_ERROR = 300


class DeliveryStatus(Enum):
    """Where a delivery stands."""

    PENDING = "PENDING"
    RETRYING = "RETRYING"
    SENT = "SENT"
    DEAD = "DEAD"
    DROPPED = "DROPPED"


OPEN = (DeliveryStatus.PENDING, DeliveryStatus.RETRYING)


class Delivery(Struct, frozen=True):
    """One notice on its way to one channel. `due_at` is when its next attempt may begin; None when none is to come."""

    id: str
    channel_id: str
    release_id: str
    feature_key: str
    type: NotificationType
    sequence: int
    reminder: int
    at: datetime
    created_at: datetime
    due_at: datetime | None
    give_up_at: datetime
    status: DeliveryStatus = DeliveryStatus.PENDING
    attempts: int = 0
    attempts_since: int = 0
    last_attempt_at: datetime | None = None
    last_error: str | None = None
    sent_at: datetime | None = None
    revision: int = 1

    @property
    def notice(self) -> Notice:
        """What it tells."""
        return Notice(self.type, self.sequence, self.at, self.reminder)

    @property
    def is_open(self) -> bool:
        """Whether it is still to be sent."""
        return self.status in OPEN


def new_delivery(
    id: str, channel_id: str, release_id: str, feature_key: str, notice: Notice, now: datetime
) -> Delivery:
    """A delivery that is due at once."""
    return Delivery(
        id=id,
        channel_id=channel_id,
        release_id=release_id,
        feature_key=feature_key,
        type=notice.type,
        sequence=notice.sequence,
        reminder=notice.reminder,
        at=notice.at,
        created_at=now,
        due_at=now,
        give_up_at=now + GIVE_UP_AFTER,
    )


def begun(delivery: Delivery, now: datetime, lease: timedelta) -> Delivery:
    """As it is while an attempt is made: nobody else makes one before the lease is over."""
    return _next(
        delivery,
        attempts=delivery.attempts + 1,
        attempts_since=delivery.attempts_since + 1,
        last_attempt_at=now,
        due_at=now + lease,
    )


def sent(delivery: Delivery, now: datetime) -> Delivery:
    """As it is once the receiver has said that it has it."""
    return _next(delivery, status=DeliveryStatus.SENT, sent_at=now, due_at=None, last_error=None)


def failed(
    delivery: Delivery, error: str, now: datetime, jitter: float, retry_after: timedelta | None = None
) -> Delivery:
    """As it is after an attempt that failed. `jitter` is a random number from 0 to 1.

    The next attempt comes no earlier than the receiver asked for; one that would come after a day does not come.
    """
    wait = max(backoff(delivery.attempts_since, jitter), retry_after or timedelta(0))
    if now + wait > delivery.give_up_at:
        return dead(delivery, error)
    return _next(delivery, status=DeliveryStatus.RETRYING, due_at=now + wait, last_error=cut(error, _LONGEST_ERROR))


def dead(delivery: Delivery, error: str) -> Delivery:
    """As it is when no attempt is to come unless somebody asks for one."""
    return _next(delivery, status=DeliveryStatus.DEAD, due_at=None, last_error=cut(error, _LONGEST_ERROR))


def dropped(delivery: Delivery, why: str) -> Delivery:
    """As it is when nobody needs it any more."""
    return _next(delivery, status=DeliveryStatus.DROPPED, due_at=None, last_error=cut(why, _LONGEST_ERROR))


def postponed(delivery: Delivery, until: datetime) -> Delivery:
    """As it is when one before it, which must arrive first, is not tried before then."""
    return _next(delivery, due_at=until)


def resent(delivery: Delivery, now: datetime) -> Delivery:
    """A dead letter that is due again, for a day; any other as it is. Its id stays."""
    if delivery.status is not DeliveryStatus.DEAD:
        return delivery
    return _next(delivery, status=DeliveryStatus.PENDING, due_at=now, give_up_at=now + GIVE_UP_AFTER, attempts_since=0)


def backoff(attempts: int, jitter: float) -> timedelta:
    """How long to wait after so many attempts: twice as long each time, up to 4 hours, less up to a half at random."""
    doublings = min(max(attempts - 1, 0), 20)
    longest = min(FIRST_BACKOFF * (1 << doublings), LONGEST_BACKOFF)
    return longest * (1 - jitter / 2)


def _next(delivery: Delivery, **changes: object) -> Delivery:
    return structs.replace(delivery, revision=delivery.revision + 1, **changes)
