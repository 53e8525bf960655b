"""What people read."""

import pytest
from msgspec import structs

from app.domain.access import Actor
from app.domain.messages import Urgency, message
from app.domain.notifications import Notice, NotificationType, notices
from app.domain.releases import Release, ReleaseAction
from tests.domain.builders import APPROVER, HOUR, MINUTE, NOW, OPERATOR, do, phase, review, started

URL = "https://slipway.example/"


def last(release: Release, **more: object) -> tuple[str, str]:
    """Title and text of the newest notice, five minutes later."""
    notice = list(notices(release, 0))[-1]
    said = message(release, structs.replace(notice, **more), URL, NOW + 5 * MINUTE)
    assert said.link == "https://slipway.example/releases/rel_1"
    return said.title, said.text


def test_a_review_request_says_what_is_asked() -> None:
    """Feature, phase, what to do, who started it, how long it has waited, and how many have agreed."""
    release = do(started(phase("canary"), review("US west", approvals=2)), ReleaseAction.SKIP)
    release = structs.replace(release, description="Faster checkout", started_at=NOW - HOUR)
    asked, agreed = release, do(release, ReleaseAction.APPROVE, by=APPROVER)
    assert last(asked) == (
        "Review needed: checkout, “US west”",
        "Release #1 “Faster checkout” waits for your review of “US west”, phase 2 of 2: approve or abort it.\n"
        "Started by Sam 1 h 5 min ago. Waiting for 5 min, 0 of 2 approvals.",
    )
    assert last(agreed)[1].endswith("Waiting for 5 min, 1 of 2 approvals.")


@pytest.mark.parametrize(
    ("number", "title", "urgency"),
    [
        (1, "Review still needed: checkout, “a” (5 min)", Urgency.WARNING),
        (2, "Review still needed: checkout, “a” (5 min)", Urgency.WARNING),
        (3, "Review OVERDUE: checkout, “a” (5 min)", Urgency.FAILURE),
    ],
)
def test_reminders_grow_louder(number: int, title: str, urgency: Urgency) -> None:
    """The third one is as loud as a failure, and each says how long it has waited."""
    notice = Notice(NotificationType.REVIEW_OVERDUE, 2, NOW, number)
    said = message(started(review("a")), notice, URL, NOW + 5 * MINUTE)
    assert (said.title, said.urgency) == (title, urgency)


def test_a_request_that_comes_late_asks_for_nothing() -> None:
    """Who reads it after the review was given is not sent to give it."""
    release = do(started(review("a")), ReleaseAction.APPROVE)
    (request,) = [each for each in notices(release, 0) if each.type is NotificationType.REVIEW_REQUESTED]
    text = message(release, request, URL, NOW).text
    assert text.startswith("Release #1 asked for a review of “a”, phase 1 of 1; it waits no longer.")


def test_what_somebody_did_is_said_with_who_and_why() -> None:
    """Pause, skip, full roll out and abort name the actor, and give the reason."""
    release = started(phase("a"), phase("b"))
    done = {
        action: last(do(release, action, by=OPERATOR, reason="errors up"))
        for action in (ReleaseAction.PAUSE, ReleaseAction.SKIP, ReleaseAction.ABORT)
    }
    end = "Started by Sam 5 min ago.\nReason: errors up"
    assert done == {
        ReleaseAction.PAUSE: (
            "Release paused: checkout, “a”",
            f"Olga paused release #1 in “a”, phase 1 of 2: it goes on when somebody unpauses it.\n{end}",
        ),
        ReleaseAction.SKIP: ("Phase skipped: checkout, “a”", f"Olga skipped “a”, phase 1 of 2 of release #1.\n{end}"),
        ReleaseAction.ABORT: (
            "Release ABORTED: checkout",
            f"Olga aborted release #1 in “a”, phase 1 of 2: everyone has the values from before.\n{end}",
        ),
    }


@pytest.mark.parametrize("hostile", ["a\r\nBcc: all@example.com", "<!channel>", "@everyone", "\u202ereversed"])
def test_names_are_only_names(hostile: str) -> None:
    """No name breaks a line, calls everybody, or makes a link of its own."""
    release = structs.replace(started(phase("a")), feature_key=hostile, started_by=Actor("x", hostile))
    said = message(release, next(notices(release, 0)), URL, NOW)
    assert len(said.title.splitlines()) == 1
    assert len(said.text.splitlines()) == 2
    assert not any(bad in said.title + said.text for bad in ("<", ">", "@everyone", "@example", "\u202e"))


def test_every_kind_of_notice_is_read_in_one_glance() -> None:
    """Whatever is told, with the longest names: a title below 200 characters and no more than three lines."""
    release = do(started(review("p" * 100, bake=HOUR)), ReleaseAction.APPROVE)
    release = structs.replace(release, feature_key="f" * 100, description="d" * 5_000)
    for type in NotificationType:
        sequence = 1 if type in (NotificationType.RELEASE_STARTED, NotificationType.RELEASE_COMPLETED) else 2
        said = message(release, Notice(type, sequence, NOW), URL, NOW)
        assert len(said.title) < 200
        assert len(said.text.splitlines()) <= 3
        assert len(said.text) < 700
