"""What the menu offers is what the actions do, in words that say it."""

from datetime import timedelta
from itertools import product

import pytest
from msgspec import structs

from app.domain.access import Principal, Role
from app.domain.available import AvailableAction, available_actions, confirmation
from app.domain.commands import Command
from app.domain.problems import Problem, ReviewRequired
from app.domain.releases import Release, ReleaseAction
from app.domain.transitions import act
from tests.domain.builders import (
    ADMIN,
    APPROVER,
    EVERY_ROLE,
    HOUR,
    MINUTE,
    NOW,
    OPERATOR,
    SITUATIONS,
    SUBMITTER,
    VIEWER,
    ZERO,
    do,
    on_current,
    phase,
    review,
    started,
)

APPROVE, PAUSE, UNPAUSE = ReleaseAction.APPROVE, ReleaseAction.PAUSE, ReleaseAction.UNPAUSE
SKIP, ABORT, FULL = ReleaseAction.SKIP, ReleaseAction.ABORT, ReleaseAction.FULL_ROLL_OUT

RELEASES = SITUATIONS | {
    "waiting, one of two approved": lambda: do(started(review("review", 2)), APPROVE, APPROVER),
    "waiting, submitter may not": lambda: started(review("review", prevent_self_approval=True)),
    "in progress, two reviews ahead": lambda: started(phase("plain"), review("one"), review("two")),
}
EVERYBODY = [*EVERY_ROLE.values(), SUBMITTER]


def offered(release: Release, by: Principal) -> dict[ReleaseAction, AvailableAction]:
    return {each.action: each for each in available_actions(release, by, NOW)}


def answer(release: Release, command: Command, by: Principal) -> Problem | None:
    """Why the action is refused, or None if it is carried out."""
    try:
        act(release, command, by, NOW)
    except Problem as problem:
        return problem
    return None


@pytest.mark.parametrize("by", EVERYBODY, ids=lambda by: by.actor.name)
@pytest.mark.parametrize("name", RELEASES)
def test_offered_is_what_would_be_accepted(name: str, by: Principal) -> None:
    """All six are listed in order; each is allowed exactly if `act` accepts it, and carries `act`'s own refusal."""
    release = RELEASES[name]()
    entries = available_actions(release, by, NOW)
    assert [entry.action for entry in entries] == list(ReleaseAction)
    for entry in entries:
        passes = bool(entry.bypasses_review_of)
        asked = on_current(release, entry.action, bypass_review=passes, reason="incident" if passes else None)
        problem = answer(release, asked, by)
        if name == "aborted" and entry.action is ABORT:
            assert not entry.allowed  # it would be answered, but there is nothing left to offer
            assert "nothing changes it again" in (entry.reason or "")
        elif release.is_over:
            assert problem is not None
            assert not entry.allowed
            assert "nothing changes it again" in (entry.reason or "") or entry.reason == problem.message
        else:
            assert (entry.allowed, entry.reason) == (problem is None, problem.message if problem else None)


@pytest.mark.parametrize("by", EVERYBODY, ids=lambda by: by.actor.name)
@pytest.mark.parametrize("name", RELEASES)
def test_bypassed_reviews_are_those_that_act_would_ask_for(name: str, by: Principal) -> None:
    """Whoever looks sees the very phases that `ReviewRequired` lists, and none where no review stands in the way."""
    release = RELEASES[name]()
    for action, entry in offered(release, by).items():
        problem = answer(release, on_current(release, action), ADMIN)
        assert entry.bypasses_review_of == (problem.phases if isinstance(problem, ReviewRequired) else ())


def test_looking_changes_nothing() -> None:
    """Asking what could be done does none of it."""
    release = started(phase("plain"))
    before = structs.asdict(release)
    available_actions(release, ADMIN, NOW)
    assert structs.asdict(release) == before


@pytest.mark.parametrize(
    ("name", "by", "action", "reason"),
    [
        ("in progress", VIEWER, PAUSE, "You need the role OPERATOR to pause a release; yours is VIEWER."),
        (
            "waiting, first phase",
            OPERATOR,
            APPROVE,
            "You need the role APPROVER to approve a phase; yours is OPERATOR.",
        ),
        (
            "waiting, first phase",
            APPROVER,
            SKIP,
            "You need the role ADMIN to bypass the review of “review”; yours is APPROVER.",
        ),
        (
            "in progress, two reviews ahead",
            OPERATOR,
            FULL,
            "You need the role ADMIN to bypass the review of “one”, “two”; yours is OPERATOR.",
        ),
        ("waiting, first phase", ADMIN, PAUSE, "No bake timer runs: “review” waits for review."),
        ("paused", ADMIN, PAUSE, "No bake timer runs: “plain” is paused already."),
        ("in progress", ADMIN, UNPAUSE, "“plain” is not paused: it is in progress."),
        ("in progress", ADMIN, APPROVE, "“plain” does not wait for review: it is in progress."),
        (
            "waiting, submitter may not",
            SUBMITTER,
            APPROVE,
            "You started release #1 of checkout, and “review” asks for the approval of somebody else.",
        ),
        (
            "waiting, one of two approved",
            APPROVER,
            APPROVE,
            "You have approved “review” already; it needs 2 different people.",
        ),
        ("completed", ADMIN, SKIP, "Release #1 of checkout is completed; nothing changes it again."),
        ("completed", ADMIN, FULL, "Release #1 of checkout is completed; nothing changes it again."),
        ("aborted", ADMIN, ABORT, "Release #1 of checkout is aborted; nothing changes it again."),
        ("direct", ADMIN, APPROVE, "Release #1 of checkout is completed; nothing changes it again."),
    ],
)
def test_reason_says_why_not(name: str, by: Principal, action: ReleaseAction, reason: str) -> None:
    """An entry that is not allowed says why in a sentence for the person who looks."""
    entry = offered(RELEASES[name](), by)[action]
    assert (entry.allowed, entry.reason) == (False, reason)


@pytest.mark.parametrize(
    ("release", "action", "sentence"),
    [
        (
            started(review("review"), phase("last")),
            APPROVE,
            "Approve “review” of release #1 of checkout. It is released at once and bakes for 1 h.",
        ),
        (
            started(review("review", bake=timedelta(0))),
            APPROVE,
            "Approve “review” of release #1 of checkout. It is released at once, with no bake time. "
            "It is the last phase: the release is completed and everyone gets the new values.",
        ),
        (
            do(started(review("review", 3)), APPROVE, APPROVER),
            APPROVE,
            "Approve “review” of release #1 of checkout. It then needs 1 more.",
        ),
        (
            started(phase("plain")),
            PAUSE,
            "Pause the bake timer of “plain” of release #1 of checkout. "
            "The phase stays released; what remains of the bake time is kept.",
        ),
        (
            do(started(phase("plain")), PAUSE, now=NOW + 20 * MINUTE),
            UNPAUSE,
            "Let the bake timer of “plain” of release #1 of checkout go on with 40 min left.",
        ),
        (
            started(phase("plain"), phase("last", 2 * HOUR)),
            SKIP,
            "Skip “plain” of release #1 of checkout. “last” is released at once and bakes for 2 h.",
        ),
        (
            started(phase("plain"), review("review")),
            SKIP,
            "Skip “plain” of release #1 of checkout. “review” then waits for review.",
        ),
        (
            started(review("review"), phase("last", HOUR)),
            SKIP,
            "Skip “review” of release #1 of checkout, without its review and without releasing to it: whoever no other "
            "phase admits keeps the values from before. “last” is released at once and bakes for 1 h.",
        ),
        (
            started(review("review"), phase("last", timedelta(0))),
            SKIP,
            "Skip “review” of release #1 of checkout, without its review and without releasing to it. “last” is "
            "released at once, with no bake time: the release is completed and everyone gets the new values.",
        ),
        (
            started(phase("plain"), phase("first", ZERO), phase("second", ZERO), review("review")),
            SKIP,
            "Skip “plain” of release #1 of checkout. “first”, “second” are released at once, with no bake time. "
            "“review” then waits for review.",
        ),
        (
            do(started(phase("plain"), phase("second"), phase("last", MINUTE)), SKIP),
            SKIP,
            "Skip “second” of release #1 of checkout. “last” is released at once and bakes for 1 min.",
        ),
        (
            started(phase("plain")),
            SKIP,
            "Skip “plain” of release #1 of checkout. "
            "It is the last phase: the release is completed and everyone gets the new values.",
        ),
        (
            started(phase("plain"), phase("last")),
            ABORT,
            "Abort release #1 of checkout. Everyone gets the values from before it at once. This cannot be undone.",
        ),
        (
            started(phase("plain")),
            FULL,
            "Roll release #1 of checkout out fully: everyone gets the new values at once and the remaining "
            "phase is skipped. This cannot be undone.",
        ),
        (
            do(started(phase("plain"), phase("second"), phase("last")), SKIP),
            FULL,
            "Roll release #1 of checkout out fully: everyone gets the new values at once and the remaining "
            "2 phases are skipped. This cannot be undone.",
        ),
        (
            started(phase("plain"), review("one"), review("two")),
            FULL,
            "Roll release #1 of checkout out fully: everyone gets the new values at once and the remaining "
            "3 phases are skipped. The review of “one”, “two” is bypassed. This cannot be undone.",
        ),
    ],
)
def test_confirmation_says_what_would_happen(release: Release, action: ReleaseAction, sentence: str) -> None:
    """A dialog names the phase, the release and what follows, so nobody confirms the wrong thing."""
    assert confirmation(release, action) == sentence
    assert offered(release, ADMIN)[action].confirmation == sentence


@pytest.mark.parametrize(("name", "role"), list(product(RELEASES, Role)))
def test_every_confirmation_is_specific(name: str, role: Role) -> None:
    """In every situation each sentence names the release; while it is under way no two actions share one."""
    release = RELEASES[name]()
    sentences = {action: entry.confirmation for action, entry in offered(release, EVERY_ROLE[role]).items()}
    assert all("elease #1 of checkout" in sentence and sentence.endswith(".") for sentence in sentences.values())
    if release.current_phase:
        assert len(set(sentences.values())) == len(ReleaseAction)
        for action in (APPROVE, PAUSE, UNPAUSE, SKIP):
            assert f"“{release.current_phase.name}”" in sentences[action]


@pytest.mark.parametrize(
    ("remaining", "spoken"),
    [
        (timedelta(milliseconds=200), "less than a second"),
        (timedelta(seconds=45), "45 s"),
        (timedelta(seconds=59.6), "1 min"),
        (timedelta(minutes=90), "1 h 30 min"),
        (timedelta(days=2, hours=3, minutes=4, seconds=5), "2 d 3 h"),
        (timedelta(days=90), "90 d"),
    ],
)
def test_durations_are_spoken_in_their_two_largest_units(remaining: timedelta, spoken: str) -> None:
    """What remains is told as precisely as an operator needs it."""
    release = do(started(phase("plain", remaining)), PAUSE)
    assert confirmation(release, UNPAUSE).endswith(f"go on with {spoken} left.")
