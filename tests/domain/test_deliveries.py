"""A delivery from its first attempt to its end."""

from datetime import timedelta

import pytest

from app.domain.deliveries import (
    GIVE_UP_AFTER,
    LONGEST_BACKOFF,
    Delivery,
    DeliveryStatus,
    backoff,
    begun,
    dead,
    dropped,
    failed,
    new_delivery,
    resent,
    sent,
)
from app.domain.notifications import Notice, NotificationType
from tests.domain.builders import HOUR, MINUTE, NOW, SECOND

LEASE = 15 * SECOND


def delivery() -> Delivery:
    return new_delivery("dlv_1", "cha_1", "rel_1", "checkout", Notice(NotificationType.BAKE_ENDED, 3, NOW), NOW)


def test_an_attempt_is_leased_and_then_sent() -> None:
    """It is due at once; while an attempt is made, only after the lease; and never again once it is sent."""
    first = delivery()
    assert (first.due_at, first.is_open) == (NOW, True)
    under_way = begun(first, NOW, LEASE)
    assert (under_way.due_at, under_way.attempts, under_way.last_attempt_at) == (NOW + LEASE, 1, NOW)
    done = sent(under_way, NOW + SECOND)
    assert (done.status, done.due_at, done.sent_at, done.is_open) == (DeliveryStatus.SENT, None, NOW + SECOND, False)
    assert [each.revision for each in (first, under_way, done)] == [1, 2, 3]
    assert {each.id for each in (first, under_way, done)} == {"dlv_1"}


@pytest.mark.parametrize("jitter", [0.0, 0.5, 0.999])
def test_it_is_tried_for_a_day_and_then_dead(jitter: float) -> None:
    """The waits grow to hours, no attempt comes after a day, and then it is a dead letter with the last error."""
    current, now, waits = delivery(), NOW, list[timedelta]()
    while current.is_open:
        current = failed(begun(current, now, LEASE), f"error {current.attempts}", now, jitter)
        if current.due_at is not None:
            waits.append(current.due_at - now)
            now = current.due_at
    assert current.status is DeliveryStatus.DEAD
    assert current.last_error == f"error {current.attempts - 1}"
    assert now <= NOW + GIVE_UP_AFTER
    assert NOW + GIVE_UP_AFTER - now < LONGEST_BACKOFF
    assert waits == sorted(waits)
    assert 10 <= len(waits) <= 30


def test_jitter_takes_up_to_a_half() -> None:
    """Of those that failed together not all come again together."""
    assert [backoff(1, jitter) for jitter in (0, 0.5, 1)] == [5 * SECOND, 3.75 * SECOND, 2.5 * SECOND]
    assert backoff(4, 0) == 40 * SECOND
    assert backoff(10_000, 0) == LONGEST_BACKOFF


def test_it_waits_as_long_as_the_receiver_asks() -> None:
    """Retry-After counts where it is longer than ours; beyond the day there is no attempt to wait for."""
    under_way = begun(delivery(), NOW, LEASE)
    assert failed(under_way, "429", NOW, 0, MINUTE).due_at == NOW + MINUTE
    assert failed(under_way, "429", NOW, 0, SECOND).due_at == NOW + 5 * SECOND
    assert failed(under_way, "429", NOW, 0, 2 * GIVE_UP_AFTER).status is DeliveryStatus.DEAD


def test_a_dead_letter_can_be_sent_again_and_nothing_else() -> None:
    """It is due at once and for another day, under its old id; what was sent or is on its way stays as it is."""
    lost = dead(begun(delivery(), NOW, LEASE), "gone")
    again = resent(lost, NOW + 48 * HOUR)
    assert (again.status, again.due_at, again.id) == (DeliveryStatus.PENDING, NOW + 48 * HOUR, lost.id)
    assert (again.attempts, again.attempts_since) == (1, 0)
    assert failed(begun(again, NOW + 48 * HOUR, LEASE), "x", NOW + 48 * HOUR, 0).due_at == NOW + 48 * HOUR + 5 * SECOND
    for other in (delivery(), sent(lost, NOW), dropped(delivery(), "not needed")):
        assert resent(other, NOW) is other


def test_errors_are_kept_short() -> None:
    """A receiver that answers with a page is not kept whole."""
    assert len(failed(begun(delivery(), NOW, LEASE), "x" * 10_000, NOW, 0).last_error or "") == 300
