"""What is told of a release, to whom, and when again."""

from datetime import datetime, timedelta

import pytest

from app.domain.channels import (
    Channel,
    ChannelKind,
    ChannelSecrets,
    channel_problems,
    webhook_address,
    webhook_problems,
)
from app.domain.notifications import (
    REVIEWERS,
    Notice,
    NotificationType,
    Told,
    audience,
    audiences,
    delivery_id,
    is_current,
    notices,
    notification_id,
    told_of,
    untold,
    waits_for,
)
from app.domain.problems import Problem
from app.domain.releases import Release, ReleaseAction
from app.domain.transitions import settle
from tests.domain.builders import (
    ADMIN,
    APPROVER,
    EVERY_ROLE,
    HOUR,
    MINUTE,
    NOW,
    OPERATOR,
    SECOND_APPROVER,
    SUBMITTER,
    VIEWER,
    ZERO,
    do,
    phase,
    review,
    started,
)

Type = NotificationType
NEVER_TOLD = Told("rel_1")


def types(release: Release, after: int = 0) -> list[str]:
    return [each.type.value for each in notices(release, after)]


def tell(release: Release, told: Told, now: datetime) -> tuple[list[tuple[Type, int]], Told]:
    """What is told at that moment, and how far that is."""
    return [(each.type, each.reminder) for each in untold(release, told, now)], told_of(release, told, now)


def test_every_event_that_people_wait_for_is_told() -> None:
    """Each of the eight events is told once, in the order of the record, and what is not asked for is not."""
    release = do(started(phase("a"), phase("b"), review("c")), ReleaseAction.PAUSE)
    release = do(do(release, ReleaseAction.UNPAUSE), ReleaseAction.SKIP)
    release = settle(release, NOW + HOUR)
    rolled_out = do(release, ReleaseAction.FULL_ROLL_OUT, now=NOW + HOUR, bypass=True, reason="now")
    aborted = do(release, ReleaseAction.ABORT, now=NOW + HOUR)

    so_far = ["RELEASE_STARTED", "RELEASE_PAUSED", "PHASE_SKIPPED", "BAKE_ENDED", "REVIEW_REQUESTED"]
    assert types(rolled_out) == [*so_far, "FULLY_ROLLED_OUT", "RELEASE_COMPLETED"]
    assert types(aborted) == [*so_far, "RELEASE_ABORTED"]
    assert types(aborted, after=len(release.history)) == ["RELEASE_ABORTED"]


def test_a_phase_without_bake_time_has_no_bake_that_ends() -> None:
    """Passing such a phase tells nothing of a bake."""
    assert types(started(phase("a", ZERO), phase("b"))) == ["RELEASE_STARTED"]


def test_a_refused_action_tells_nothing() -> None:
    """What was refused is on no record, so there is nothing to tell of it."""
    release = started(review("a"))
    with pytest.raises(Problem):
        do(release, ReleaseAction.PAUSE)
    assert types(release) == ["RELEASE_STARTED", "REVIEW_REQUESTED"]


def test_a_review_is_asked_for_again_until_it_is_given() -> None:
    """After each interval there is one reminder more, told once; an outage is made up for by one, and then it ends."""
    release = started(review("a", remind_every=10 * MINUTE))
    first, told = tell(release, NEVER_TOLD, NOW)
    assert first == [(Type.RELEASE_STARTED, 0), (Type.REVIEW_REQUESTED, 0)]
    assert told.remind_at == NOW + 10 * MINUTE
    assert tell(release, told, NOW + 9 * MINUTE) == ([], told)

    reminded, told = tell(release, told, NOW + 10 * MINUTE)
    assert reminded == [(Type.REVIEW_OVERDUE, 1)]
    assert told.remind_at == NOW + 20 * MINUTE
    assert tell(release, told, NOW + 19 * MINUTE) == ([], told)

    late, told = tell(release, told, NOW + 55 * MINUTE)
    assert late == [(Type.REVIEW_OVERDUE, 5)]
    assert told.remind_at == NOW + 60 * MINUTE

    approved = do(release, ReleaseAction.APPROVE, now=NOW + 59 * MINUTE)
    silent, told = tell(approved, told, NOW + 10 * HOUR)
    assert silent == []
    assert told.remind_at is None


def test_the_reminders_of_one_review_are_not_those_of_the_next() -> None:
    """A second review of the release counts its reminders from one again."""
    every = 10 * MINUTE
    release = started(review("a", remind_every=every), review("b", remind_every=every))
    _, told = tell(release, NEVER_TOLD, NOW + 3 * every)
    skipped = do(release, ReleaseAction.SKIP, now=NOW + 3 * every, bypass=True, reason="known")
    _, told = tell(skipped, told, NOW + 3 * every)
    assert tell(skipped, told, NOW + 4 * every)[0] == [(Type.REVIEW_OVERDUE, 1)]


def test_a_reminder_that_comes_too_late_is_not_current() -> None:
    """Once the review is given, or another one is asked for, its reminders are of no use; events always are."""
    release = started(review("a", remind_every=MINUTE), review("b"))
    (request,) = [each for each in notices(release, 0) if each.type is Type.REVIEW_REQUESTED]
    (late,) = untold(release, told_of(release, NEVER_TOLD, NOW), NOW + HOUR)
    assert is_current(release, late)
    skipped = do(release, ReleaseAction.SKIP, bypass=True, reason="known")
    assert not is_current(skipped, late)
    assert is_current(skipped, request)


def test_ids_are_the_same_for_ever_and_differ_by_event_reminder_and_channel() -> None:
    """They are made of what is told and to whom, and of nothing else."""
    first, again = (Notice(Type.REVIEW_REQUESTED, 2, NOW, number) for number in (0, 1))
    ids = {
        notification_id("rel_A", first),
        notification_id("rel_A", again),
        delivery_id("rel_A", first, "cha_X"),
        delivery_id("rel_A", first, "cha_Y"),
        delivery_id("rel_A", again, "cha_X"),
        delivery_id("rel_B", first, "cha_X"),
    }
    assert len(ids) == 6
    assert delivery_id("rel_A", Notice(Type.REVIEW_REQUESTED, 2, NOW + HOUR), "cha_X") == "dlv_A_2_X"


def test_what_waits_concerns_reviewers_and_the_rest_who_started_it() -> None:
    """Nobody is told what they did themselves; a review request concerns whoever may give it."""
    release = settle(started(phase("a"), review("b")), NOW + HOUR)
    aborted = do(release, ReleaseAction.ABORT, by=OPERATOR, now=NOW + HOUR)
    by_type = {each.type: audience(aborted, each) for each in notices(aborted, 0)}
    assert by_type == {
        Type.RELEASE_STARTED: None,
        Type.BAKE_ENDED: "sam",
        Type.REVIEW_REQUESTED: REVIEWERS,
        Type.RELEASE_ABORTED: "sam",
    }
    assert {by: REVIEWERS in audiences(who) for by, who in EVERY_ROLE.items()} == {
        by: who in (APPROVER, ADMIN) for by, who in EVERY_ROLE.items()
    }


def test_a_review_waits_for_those_who_could_give_it_now() -> None:
    """Not for who may not approve, has approved already, or started a release that asks for somebody else."""
    two = started(review("a", approvals=2, prevent_self_approval=True))
    assert [waits_for(two, who) for who in (VIEWER, OPERATOR, APPROVER, ADMIN, SUBMITTER)] == [
        False,
        False,
        True,
        True,
        False,
    ]
    once = do(two, ReleaseAction.APPROVE, by=APPROVER)
    assert [waits_for(once, who) for who in (APPROVER, SECOND_APPROVER)] == [False, True]
    assert not waits_for(do(once, ReleaseAction.APPROVE, by=SECOND_APPROVER), ADMIN)


def channel(**more: object) -> Channel:
    return Channel("cha_1", "Ops", ChannelKind.WEBHOOK, "https://ops.example", ADMIN.actor, NOW, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({}, True),
        ({"types": (Type.RELEASE_STARTED, Type.BAKE_ENDED)}, True),
        ({"types": (Type.BAKE_ENDED,)}, False),
        ({"features": ("check*",)}, True),
        ({"features": ("other", "checkout")}, True),
        ({"features": ("Checkout", "check")}, False),
        ({"pipeline_ids": ("pip_1",)}, True),
        ({"pipeline_ids": ("pip_2",)}, False),
        ({"features": ("checkout",), "pipeline_ids": ("pip_2",)}, False),
        ({"enabled": False}, False),
    ],
)
def test_a_channel_is_told_what_it_asked_for(asked: dict[str, object], wanted: bool) -> None:
    """Type, feature and pipeline must all fit, where they were asked for, and the channel be enabled."""
    release = started(phase("a"))
    (notice,) = notices(release, 0)
    assert channel(**asked).wants(release, notice) is wanted


def test_a_channel_is_not_told_what_was_before_it() -> None:
    """Who subscribes today does not get the news of yesterday."""
    before = started(phase("a"), now=NOW - MINUTE)
    assert not any(channel().wants(before, each) for each in notices(before, 0))


def test_an_old_secret_signs_until_its_end() -> None:
    """While both are good both sign, the new one first; then the new one alone."""
    secrets = ChannelSecrets("https://x", ("new", "old"), old_until=NOW + HOUR)
    assert secrets.signing_at(NOW) == ("new", "old")
    assert secrets.signing_at(NOW + HOUR) == ("new",)
    assert ChannelSecrets("https://x", ("only",)).signing_at(NOW) == ("only",)


@pytest.mark.parametrize(
    "target",
    [
        "ftp://x/y",
        "https://",
        "nonsense",
        "https://a:b@x/",
        "https://x/#part",
        "http://[::1",
        "https://x:99999/",
        "http://x/\n",
    ],
)
def test_what_is_no_url_of_a_webhook_is_refused(target: str) -> None:
    """The problem names the field."""
    assert [problem.path for problem in webhook_problems(target, ("target",))] == [("target",)]


def test_a_webhooks_address_tells_no_secret() -> None:
    """Of the URL no more than the host is shown."""
    assert list(webhook_problems("https://hooks.example:8443/T0/secret?key=secret", ("target",))) == []
    assert webhook_address("https://hooks.example:8443/T0/secret?key=secret") == "https://hooks.example:8443/…"
    assert webhook_address("https://hooks.example/") == "https://hooks.example"


def test_every_wrong_field_of_a_channel_is_listed() -> None:
    """Name, patterns and pipelines, each by its place."""
    found = channel_problems("", ("ok-*", " "), ("pip_1", "pip_2"), {"pip_1"})
    assert [problem.path for problem in found] == [("name",), ("features", "1"), ("pipelineIds", "1")]


@pytest.mark.parametrize(
    ("every", "approvals", "wrong"), [(MINUTE, 1, 0), (MINUTE, 0, 1), (ZERO, 1, 1), (timedelta(days=31), 1, 1)]
)
def test_reminders_are_for_reviews_and_not_too_frequent(every: timedelta, approvals: int, wrong: int) -> None:
    """An interval out of bounds, or for a phase that asks for no review, is refused by its path."""
    from app.domain.pipelines import pipeline_problems
    from tests.domain.builders import ENVIRONMENTS, pipeline

    given = pipeline(phase("a", approvals=approvals, remind_every=every))
    assert [each.path for each in pipeline_problems(given, ENVIRONMENTS)] == [("phases", "0", "remindEvery")] * wrong
