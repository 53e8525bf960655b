"""Every action in every situation of a release, the rules of review and time, and what stays on record."""

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise, product
from typing import TypeVar

import pytest
from msgspec import structs

from app.domain.access import SYSTEM, Principal, Role
from app.domain.commands import MAX_KEY, Command, remaining_reviews
from app.domain.features import MAX_DESCRIPTION
from app.domain.problems import (
    InvalidTransition,
    NotFound,
    PermissionDenied,
    Problem,
    ReviewRequired,
    StalePhase,
    ValidationFailed,
)
from app.domain.releases import Approval, Release, ReleaseAction, ReleaseStatus, SpecChange
from app.domain.transitions import MAX_EVENTS, act, settle, start
from tests.domain.builders import (
    ADMIN,
    APPROVER,
    EVERY_ROLE,
    HOUR,
    MINUTE,
    NOW,
    OFF,
    ON,
    OPERATOR,
    SECOND_APPROVER,
    SITUATIONS,
    SUBMITTER,
    UNNAMED,
    VIEWER,
    ZERO,
    command,
    current,
    do,
    event_names,
    feature,
    on_current,
    person,
    phase,
    pipeline,
    review,
    started,
    statuses,
)

APPROVE, PAUSE, UNPAUSE = ReleaseAction.APPROVE, ReleaseAction.PAUSE, ReleaseAction.UNPAUSE
SKIP, ABORT, FULL = ReleaseAction.SKIP, ReleaseAction.ABORT, ReleaseAction.FULL_ROLL_OUT
PLAIN, LAST, REVIEW = phase("plain"), phase("last"), review("review")
DAY, MS = timedelta(days=1), timedelta(milliseconds=1)

P = TypeVar("P", bound=Problem)


def refusal(kind: type[P], release: Release, asked: Command, by: Principal = ADMIN) -> P:
    """The problem that the action is refused with, having shown that it carries the release and changes nothing."""
    before = repr(release)
    with pytest.raises(Problem) as caught:
        act(release, asked, by, NOW)
    assert type(caught.value) is kind
    if kind in (StalePhase, InvalidTransition, ReviewRequired):
        assert caught.value.release is release
    assert caught.value.message
    assert repr(release) == before
    return caught.value


def outcome(release: Release) -> str:
    return " ".join([f"{release.status.value}:", *statuses(release)])


# --- the table --------------------------------------------------------------------------------------------------------

INVALID, STALE, ASKS, NOBODY = InvalidTransition, StalePhase, ReviewRequired, NotFound
ACTIONS = (APPROVE, PAUSE, UNPAUSE, SKIP, ABORT, FULL)

# For each situation the outcome of each action by an administrator who bypasses nothing: the release's status and its
# phases', or the refusal.
TABLE: dict[str, tuple[str | type[Problem], ...]] = {
    "waiting, first phase": (
        "IN_PROGRESS: IN_PROGRESS NOT_RELEASED",
        INVALID,
        INVALID,
        ASKS,
        "ABORTED: ABORTED NOT_RELEASED",
        ASKS,
    ),
    "waiting, later phase": (
        "IN_PROGRESS: SKIPPED IN_PROGRESS NOT_RELEASED",
        INVALID,
        INVALID,
        ASKS,
        "ABORTED: SKIPPED ABORTED NOT_RELEASED",
        ASKS,
    ),
    "waiting, last phase": (
        "IN_PROGRESS: SKIPPED IN_PROGRESS",
        INVALID,
        INVALID,
        ASKS,
        "ABORTED: SKIPPED ABORTED",
        ASKS,
    ),
    "in progress": (
        INVALID,
        "PAUSED: PAUSED NOT_RELEASED",
        INVALID,
        "IN_PROGRESS: SKIPPED IN_PROGRESS",
        "ABORTED: ABORTED NOT_RELEASED",
        "COMPLETED: SKIPPED SKIPPED",
    ),
    "in progress, review next": (
        INVALID,
        "PAUSED: PAUSED NOT_RELEASED",
        INVALID,
        "WAITING_FOR_REVIEW: SKIPPED WAITING_FOR_REVIEW",
        "ABORTED: ABORTED NOT_RELEASED",
        ASKS,
    ),
    "in progress, approved": (
        INVALID,
        "PAUSED: PAUSED NOT_RELEASED",
        INVALID,
        "IN_PROGRESS: SKIPPED IN_PROGRESS",
        "ABORTED: ABORTED NOT_RELEASED",
        "COMPLETED: SKIPPED SKIPPED",
    ),
    "in progress, last phase": (
        INVALID,
        "PAUSED: SKIPPED PAUSED",
        INVALID,
        "COMPLETED: SKIPPED SKIPPED",
        "ABORTED: SKIPPED ABORTED",
        "COMPLETED: SKIPPED SKIPPED",
    ),
    "paused": (
        INVALID,
        INVALID,
        "IN_PROGRESS: IN_PROGRESS NOT_RELEASED",
        "IN_PROGRESS: SKIPPED IN_PROGRESS",
        "ABORTED: ABORTED NOT_RELEASED",
        "COMPLETED: SKIPPED SKIPPED",
    ),
    "paused, review next": (
        INVALID,
        INVALID,
        "IN_PROGRESS: IN_PROGRESS NOT_RELEASED",
        "WAITING_FOR_REVIEW: SKIPPED WAITING_FOR_REVIEW",
        "ABORTED: ABORTED NOT_RELEASED",
        ASKS,
    ),
    "completed": (STALE, STALE, STALE, STALE, INVALID, INVALID),
    "aborted": (STALE, STALE, STALE, STALE, "ABORTED: ABORTED NOT_RELEASED", INVALID),
    "direct": (NOBODY, NOBODY, NOBODY, NOBODY, INVALID, INVALID),
}
CELLS = {(name, action): cell for name, row in TABLE.items() for action, cell in zip(ACTIONS, row, strict=True)}


def asked_of(release: Release, action: ReleaseAction) -> Command:
    """The action on the current phase, or on the last one when the release is over."""
    if release.current_phase or action in UNNAMED:
        return on_current(release, action)
    return Command(action, release.phases[-1].id if release.phases else "pha_none")


@pytest.mark.parametrize(("situation", "action"), list(product(SITUATIONS, ReleaseAction)))
def test_every_action_in_every_situation(situation: str, action: ReleaseAction) -> None:
    """An action leads where the table says or is refused with the class it names; no cell may be missing."""
    release, cell = SITUATIONS[situation](), CELLS[situation, action]
    if not isinstance(cell, str):
        refusal(cell, release, asked_of(release, action))
        return
    decision = act(release, asked_of(release, action), ADMIN, NOW)
    assert outcome(decision.release) == cell
    assert (decision.release.timer is not None) is (decision.release.status is ReleaseStatus.IN_PROGRESS)
    assert (decision.release.ended_at == NOW) is decision.release.is_over
    assert decision.release.history == release.history + decision.events
    assert bool(decision.events) is (situation != "aborted")


def test_table_has_no_cell_too_many() -> None:
    """The table is about the situations that are built, each of a status that a release can have."""
    assert set(CELLS) == set(product(SITUATIONS, ReleaseAction))
    assert {made().status for made in SITUATIONS.values()} == set(ReleaseStatus)


BYPASSED = {
    ("waiting, first phase", SKIP): "IN_PROGRESS: SKIPPED IN_PROGRESS",
    ("waiting, first phase", FULL): "COMPLETED: SKIPPED SKIPPED",
    ("waiting, later phase", SKIP): "IN_PROGRESS: SKIPPED SKIPPED IN_PROGRESS",
    ("waiting, later phase", FULL): "COMPLETED: SKIPPED SKIPPED SKIPPED",
    ("waiting, last phase", SKIP): "COMPLETED: SKIPPED SKIPPED",
    ("waiting, last phase", FULL): "COMPLETED: SKIPPED SKIPPED",
    ("in progress, review next", FULL): "COMPLETED: SKIPPED SKIPPED",
    ("paused, review next", FULL): "COMPLETED: SKIPPED SKIPPED",
}


@pytest.mark.parametrize(("situation", "action"), [cell for cell, found in CELLS.items() if found is ASKS])
class TestReview:
    """Wherever an action would walk around a review."""

    def test_refusal_lists_the_phases(self, situation: str, action: ReleaseAction) -> None:
        """`ReviewRequired` names exactly the phases that still ask for review."""
        release = SITUATIONS[situation]()
        problem = refusal(ReviewRequired, release, on_current(release, action))
        assert [each.name for each in problem.phases] == ["review"]
        assert problem.message.startswith("“review” asks for review")

    @pytest.mark.parametrize("by", [OPERATOR, APPROVER])
    def test_bypass_needs_an_admin(self, situation: str, action: ReleaseAction, by: Principal) -> None:
        """A reason alone does not open it: the role is ADMIN."""
        release = SITUATIONS[situation]()
        asked = on_current(release, action, bypass_review=True, reason="incident")
        assert refusal(PermissionDenied, release, asked, by).required_role is Role.ADMIN

    @pytest.mark.parametrize("reason", [None, "", " \n"])
    def test_bypass_needs_a_reason(self, situation: str, action: ReleaseAction, reason: str | None) -> None:
        """A role alone does not open it: the reason goes on record."""
        release = SITUATIONS[situation]()
        problem = refusal(ValidationFailed, release, on_current(release, action, bypass_review=True, reason=reason))
        assert [field.path for field in problem.fields] == [("reason",)]

    def test_bypass_is_recorded_as_bypassed(self, situation: str, action: ReleaseAction) -> None:
        """With both it goes on, the phase is marked, the event names it, and nobody has approved anything."""
        release = SITUATIONS[situation]()
        asked = on_current(release, action, bypass_review=True, reason="incident")
        decision = act(release, asked, ADMIN, NOW)
        assert outcome(decision.release) == BYPASSED[situation, action]
        assert [each.name for each in decision.release.phases if each.review_bypassed] == ["review"]
        assert all(each.approvals == () for each in decision.release.phases)
        assert [event.bypassed_phase_ids for event in decision.events if event.bypassed_phase_ids] == [("pha_review",)]
        assert decision.events[0].bypassed_phase_ids == ("pha_review",)
        assert decision.events[0].reason == "incident"


def test_full_roll_out_lists_every_review_that_remains() -> None:
    """Waiting and coming reviews are listed in order, partly approved ones too; given and skipped ones are not."""
    phases = (review("given"), review("half", 2), PLAIN, review("coming"))
    release = do(do(started(*phases), APPROVE), SKIP)
    release = do(release, APPROVE, APPROVER)
    problem = refusal(ReviewRequired, release, command(FULL))
    assert [each.name for each in problem.phases] == ["half", "coming"]
    assert problem.message.startswith("“half”, “coming” ask for review")
    done = do(release, FULL, reason="incident", bypass=True)
    assert [each.name for each in done.phases if each.review_bypassed] == ["half", "coming"]
    assert [len(each.approvals) for each in done.phases] == [1, 1, 0, 0]
    assert remaining_reviews(done) == ()


@pytest.mark.parametrize("action", [SKIP, FULL])
def test_bypass_where_nothing_asks_for_review_records_none(action: ReleaseAction) -> None:
    """`bypassReview` on an action that passes no review needs no role and leaves no trace of a bypass."""
    release = do(started(PLAIN, LAST), action, OPERATOR, bypass=True)
    assert not any(each.review_bypassed for each in release.phases)
    assert not any(event.bypassed_phase_ids for event in release.history)


# --- which phase ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", [APPROVE, PAUSE, UNPAUSE, SKIP])
@pytest.mark.parametrize("name", ["past", "future"])
def test_phase_that_is_not_current_is_stale(action: ReleaseAction, name: str) -> None:
    """An action on a phase that is over, or whose turn has not come, is refused whatever the current phase allows."""
    for now_current in (PLAIN, REVIEW):
        release = do(started(phase("past"), now_current, review("future")), SKIP)
        message = refusal(StalePhase, release, command(action, name)).message
        assert f"“{name}”" in message
        assert f"“{current(release)}”" in message


@pytest.mark.parametrize("action", [APPROVE, PAUSE, UNPAUSE, SKIP])
@pytest.mark.parametrize("ending", [ABORT, FULL])
def test_every_phase_is_stale_after_the_end(action: ReleaseAction, ending: ReleaseAction) -> None:
    """When the release is over, an action on any of its phases is stale and the message says how it ended."""
    release = do(started(PLAIN, LAST), ending)
    for name in ("plain", "last"):
        assert release.status.value.lower() in refusal(StalePhase, release, command(action, name)).message


@pytest.mark.parametrize("action", [APPROVE, PAUSE, UNPAUSE, SKIP])
@pytest.mark.parametrize("situation", SITUATIONS)
def test_unknown_phase_is_not_found(action: ReleaseAction, situation: str) -> None:
    """A phase that the release does not have, or none named at all, is `NotFound` in every situation."""
    release = SITUATIONS[situation]()
    assert refusal(NotFound, release, command(action, "mars")).id == "pha_mars"
    assert refusal(NotFound, release, command(action)).id == ""


def test_two_skips_of_one_phase_advance_one() -> None:
    """Two operators who press Skip at the same moment advance one phase, and the second learns where it stands."""
    release = started(phase("one"), phase("two"), phase("three"))
    asked = command(SKIP, "one")
    once = act(release, asked, OPERATOR, NOW).release
    refusal(StalePhase, once, asked, ADMIN)
    assert outcome(once) == "IN_PROGRESS: SKIPPED IN_PROGRESS NOT_RELEASED"


# --- approvals --------------------------------------------------------------------------------------------------------


def test_last_of_several_approvals_releases_the_phase() -> None:
    """Three people approve at three times; only the last starts the bake, in full, and each stays on record."""
    people = [APPROVER, SECOND_APPROVER, ADMIN]
    release = started(review("review", 3, HOUR), LAST)
    for count, by in enumerate(people):
        assert outcome(release) == "WAITING_FOR_REVIEW: WAITING_FOR_REVIEW NOT_RELEASED"
        assert release.timer is None
        assert release.phases[0].released_at is None
        release = do(release, APPROVE, by, NOW + count * MINUTE, reason=f"looked {count}")
    assert outcome(release) == "IN_PROGRESS: IN_PROGRESS NOT_RELEASED"
    assert release.phases[0].released_at == NOW + 2 * MINUTE
    assert release.timer is not None
    assert release.timer.deadline == release.phases[0].bake_ends_at == NOW + 2 * MINUTE + HOUR
    assert release.phases[0].approvals == tuple(
        Approval(by.actor, NOW + count * MINUTE, f"looked {count}") for count, by in enumerate(people)
    )
    assert event_names(release.history[2:]) == ["PHASE_APPROVED"] * 3 + ["PHASE_RELEASED"]


def test_same_person_counts_once() -> None:
    """A second approval by the same person is refused, under any name or role."""
    release = do(started(review("review", 2)), APPROVE, APPROVER)
    renamed = Principal(structs.replace(APPROVER.actor, name="Abraham"), Role.ADMIN)
    for again in (APPROVER, renamed):
        assert "already" in refusal(InvalidTransition, release, command(APPROVE, "review"), again).message


def test_approving_one_phase_approves_no_other() -> None:
    """The same person may approve two phases, and each needs its own approval."""
    release = do(started(review("one"), review("two")), APPROVE, APPROVER)
    release = do(release, SKIP)
    assert outcome(release) == "WAITING_FOR_REVIEW: SKIPPED WAITING_FOR_REVIEW"
    assert outcome(do(release, APPROVE, APPROVER)) == "IN_PROGRESS: SKIPPED IN_PROGRESS"


def test_submitter_may_approve_unless_the_phase_forbids_it() -> None:
    """Self-approval is a choice of the phase; others may approve either way."""
    allowing, forbidding = started(review("review")), started(review("review", prevent_self_approval=True))
    assert outcome(do(allowing, APPROVE, SUBMITTER)) == "IN_PROGRESS: IN_PROGRESS"
    refusal(InvalidTransition, forbidding, command(APPROVE, "review"), SUBMITTER)
    assert outcome(do(forbidding, APPROVE, APPROVER)) == "IN_PROGRESS: IN_PROGRESS"


# --- time -------------------------------------------------------------------------------------------------------------

Z1, Z2, ZR = phase("z1", ZERO), phase("z2", ZERO), review("zr", bake=ZERO)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (lambda: started(Z1), "COMPLETED: COMPLETED"),
        (lambda: started(Z1, Z2), "COMPLETED: COMPLETED COMPLETED"),
        (lambda: started(Z1, Z2, LAST), "IN_PROGRESS: COMPLETED COMPLETED IN_PROGRESS"),
        (lambda: started(Z1, ZR, LAST), "WAITING_FOR_REVIEW: COMPLETED WAITING_FOR_REVIEW NOT_RELEASED"),
        (lambda: do(started(ZR), APPROVE), "COMPLETED: COMPLETED"),
        (lambda: do(started(ZR, Z1, LAST), APPROVE), "IN_PROGRESS: COMPLETED COMPLETED IN_PROGRESS"),
        (lambda: do(started(ZR, REVIEW), APPROVE), "WAITING_FOR_REVIEW: COMPLETED WAITING_FOR_REVIEW"),
        (lambda: do(started(PLAIN, Z1, Z2, LAST), SKIP), "IN_PROGRESS: SKIPPED COMPLETED COMPLETED IN_PROGRESS"),
        (lambda: settle(started(PLAIN, Z1, Z2), NOW + HOUR), "COMPLETED: COMPLETED COMPLETED COMPLETED"),
        (lambda: settle(started(PLAIN, Z1, LAST), NOW + DAY), "IN_PROGRESS: COMPLETED COMPLETED IN_PROGRESS"),
    ],
)
def test_bake_time_of_zero_ends_in_the_same_write(made: Callable[[], Release], expected: str) -> None:
    """At the start, after an approval, a skip or a bake: phases that do not bake are passed at once, reviews never."""
    release = made()
    assert outcome(release) == expected
    for each in release.phases:
        if each.bake_time == ZERO and each.status.value == "COMPLETED":
            assert each.released_at == each.ended_at is not None


def test_bake_ends_at_its_deadline_and_not_before() -> None:
    """A millisecond early nothing happens; at the deadline the phase is completed and the next bakes in full."""
    release = started(PLAIN, LAST)
    assert settle(release, NOW + HOUR - MS) is release
    settled = settle(release, NOW + HOUR)
    assert outcome(settled) == "IN_PROGRESS: COMPLETED IN_PROGRESS"
    assert settled.phases[0].ended_at == settled.phases[1].released_at == NOW + HOUR
    assert settled.timer is not None
    assert settled.timer.deadline == NOW + 2 * HOUR


def test_settle_catches_up_by_one_phase_and_bakes_the_next_in_full() -> None:
    """A day late, one phase is completed and the next bakes from now; settling again at once changes nothing."""
    late = settle(started(phase("one"), phase("two"), phase("three")), NOW + DAY)
    assert outcome(late) == "IN_PROGRESS: COMPLETED IN_PROGRESS NOT_RELEASED"
    assert late.phases[1].bake_ends_at == NOW + DAY + HOUR
    assert settle(late, NOW + DAY) is late
    assert settle(late, NOW + DAY + HOUR - MS) is late
    assert outcome(settle(late, NOW + DAY + HOUR)) == "IN_PROGRESS: COMPLETED COMPLETED IN_PROGRESS"


def test_settle_never_passes_a_review() -> None:
    """However late, a phase that asks for review waits for it, and bakes in full once it is approved."""
    waiting = settle(started(PLAIN, REVIEW), NOW + DAY)
    assert outcome(waiting) == "WAITING_FOR_REVIEW: COMPLETED WAITING_FOR_REVIEW"
    assert settle(waiting, NOW + 9 * DAY) is waiting
    approved = do(waiting, APPROVE, APPROVER, NOW + 9 * DAY)
    assert approved.phases[1].bake_ends_at == NOW + 9 * DAY + HOUR


@pytest.mark.parametrize("situation", [name for name in SITUATIONS if not name.startswith("in progress")])
def test_settle_changes_nothing_where_no_timer_runs(situation: str) -> None:
    """Waiting, paused and over: time alone moves none of them."""
    release = SITUATIONS[situation]()
    assert settle(release, NOW + 90 * DAY) is release


def test_pausing_keeps_the_exact_remainder() -> None:
    """Three pauses of very different lengths take nothing from the bake time and add nothing to it."""
    release, now, baked = started(PLAIN), NOW, ZERO
    for stretch, break_ in ((20 * MINUTE + MS, DAY), (MS, 400 * DAY), (39 * MINUTE, MS)):
        now, baked = now + stretch, baked + stretch
        release = do(release, PAUSE, OPERATOR, now)
        assert release.phases[0].bake_remaining == HOUR - baked
        assert release.phases[0].bake_ends_at is None
        assert release.phases[0].released_at == NOW
        assert release.timer is None
        now += break_
        release = do(release, UNPAUSE, OPERATOR, now)
        assert release.phases[0].bake_remaining is None
        assert release.timer is not None
        assert release.timer.deadline == release.phases[0].bake_ends_at == now + HOUR - baked
    assert settle(release, now + HOUR - baked - MS) is release
    assert outcome(settle(release, now + HOUR - baked)) == "COMPLETED: COMPLETED"


def test_clock_behind_the_one_that_started_adds_no_bake_time() -> None:
    """A pause by a server whose clock is a minute slow keeps the bake time, not more."""
    assert do(started(PLAIN), PAUSE, now=NOW - MINUTE).phases[0].bake_remaining == HOUR


def test_every_start_of_a_timer_has_its_own_id() -> None:
    """A prompt made for an earlier run of a timer can always be told apart, even at the same instant."""
    running = [started(PLAIN, REVIEW, LAST)]
    for action in (PAUSE, UNPAUSE, PAUSE, UNPAUSE, SKIP, APPROVE, PAUSE, UNPAUSE, SKIP):
        running.append(do(running[-1], action))
    ids = [release.timer.id for release in running if release.timer]
    assert len(ids) == 6
    assert len(set(ids)) == len(ids)


# --- ending -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("situation", [name for name, made in SITUATIONS.items() if not made().is_over])
def test_any_operator_aborts_from_anywhere(situation: str) -> None:
    """Nothing blocks an abort: the current phase is aborted, the others stay as they were, no timer is left."""
    release = SITUATIONS[situation]()
    aborted = do(release, ABORT, OPERATOR, NOW + MINUTE)
    was, index = release.current_phase, release.current_phase.index
    assert (aborted.status, aborted.timer, aborted.ended_at) == (ReleaseStatus.ABORTED, None, NOW + MINUTE)
    assert aborted.phases[index] == structs.replace(
        was,
        status=aborted.phases[index].status,
        bake_ends_at=None,
        bake_remaining=None,
        ended_at=NOW + MINUTE,
    )
    assert statuses(aborted)[index] == "ABORTED"
    assert aborted.phases[:index] + aborted.phases[index + 1 :] == release.phases[:index] + release.phases[index + 1 :]
    assert aborted.change == release.change


@pytest.mark.parametrize("by", [OPERATOR, ADMIN])
@pytest.mark.parametrize("key", [None, "new"])
def test_aborting_an_aborted_release_answers_with_it(by: Principal, key: str | None) -> None:
    """Whoever comes second gets the release as it is, with no new event."""
    release = do(started(PLAIN), ABORT, OPERATOR)
    decision = act(release, command(ABORT, reason="me too", key=key), by, NOW + DAY)
    assert decision.release is release
    assert decision.events == ()


def test_full_roll_out_skips_what_remains_and_keeps_what_was() -> None:
    """Phases that are over keep their status, the rest is skipped, unreleased ones stay on record as such."""
    release = settle(started(PLAIN, phase("two"), LAST), NOW + HOUR)
    done = do(release, FULL, OPERATOR, NOW + HOUR)
    assert outcome(done) == "COMPLETED: COMPLETED SKIPPED SKIPPED"
    assert done.phases[0] == release.phases[0]
    assert [each.released_at is not None for each in done.phases] == [True, True, False]
    assert {each.ended_at for each in done.phases} == {NOW + HOUR}
    assert event_names(done.history)[-2:] == ["FULLY_ROLLED_OUT", "RELEASE_COMPLETED"]


# --- roles ------------------------------------------------------------------------------------------------------------

LEAST_ROLE = {
    APPROVE: Role.APPROVER,
    PAUSE: Role.OPERATOR,
    UNPAUSE: Role.OPERATOR,
    SKIP: Role.OPERATOR,
    ABORT: Role.OPERATOR,
    FULL: Role.OPERATOR,
}
ALLOWING = {APPROVE: "waiting, first phase", UNPAUSE: "paused"}


@pytest.mark.parametrize(("action", "role"), list(product(ReleaseAction, Role)))
def test_roles(action: ReleaseAction, role: Role) -> None:
    """Each action needs its role or one that includes it, and the refusal says which."""
    release = SITUATIONS[ALLOWING.get(action, "in progress")]()
    order = list(Role)
    if order.index(role) >= order.index(LEAST_ROLE[action]):
        assert act(release, on_current(release, action), EVERY_ROLE[role], NOW).events
    else:
        problem = refusal(PermissionDenied, release, on_current(release, action), EVERY_ROLE[role])
        assert problem.required_role is LEAST_ROLE[action]
        assert role.value in problem.message


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("action", ReleaseAction)
def test_viewer_is_refused_before_anything_else(action: ReleaseAction, situation: str) -> None:
    """Who may not act learns that, in every situation, and nothing about phases that do not exist."""
    refusal(PermissionDenied, SITUATIONS[situation](), command(action, "mars"), VIEWER)


# --- twice is once ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ReleaseAction)
def test_same_key_answers_as_the_first_time(action: ReleaseAction) -> None:
    """An action sent again answers with the events of the first time and changes nothing, however late it comes."""
    release = SITUATIONS[ALLOWING.get(action, "in progress")]()
    asked = on_current(release, action, idempotency_key="k", reason="because")
    first = act(release, asked, ADMIN, NOW)
    assert first.events
    at_once = act(first.release, asked, ADMIN, NOW + MINUTE)
    assert at_once.release is first.release
    assert at_once.events == first.events
    later = first.release if first.release.is_over else do(first.release, ABORT, OPERATOR)
    assert act(later, asked, ADMIN, NOW + DAY).release is later
    assert act(later, asked, ADMIN, NOW + DAY).events == first.events


@pytest.mark.parametrize(
    ("asked", "by"),
    [
        (command(PAUSE, "last", key="k"), ADMIN),
        (command(SKIP, "last", key="k"), ADMIN),
        (command(SKIP, "mars", key="k"), ADMIN),
        (command(SKIP, "plain", key="k"), OPERATOR),
    ],
    ids=["action", "phase", "unknown-phase", "actor"],
)
def test_key_of_another_action_is_refused(asked: Command, by: Principal) -> None:
    """A key used for another action, phase or person answers for none of them."""
    release = act(started(PLAIN, LAST), command(SKIP, "plain", key="k"), ADMIN, NOW).release
    problem = refusal(ValidationFailed, release, asked, by)
    assert [field.path for field in problem.fields] == [("idempotencyKey",)]


@pytest.mark.parametrize("key", ["k", "", "x" * (MAX_KEY + 1)], ids=["of-another-action", "empty", "too-long"])
def test_nothing_about_its_reason_or_key_blocks_an_abort(key: str) -> None:
    """Who pulls the brake in a hurry is not told to shorten the reason: it is cut, and such a key is as none."""
    release = act(started(PLAIN, LAST), command(SKIP, "plain", key="k"), ADMIN, NOW).release
    aborted = act(release, command(ABORT, reason="x" * 5_000, key=key), OPERATOR, NOW)
    assert aborted.release.status is ReleaseStatus.ABORTED
    (event,) = aborted.events
    assert (event.reason, event.idempotency_key) == ("x" * (MAX_DESCRIPTION - 1) + "…", None)
    assert act(aborted.release, command(SKIP, "plain", key="k"), ADMIN, NOW).events[0].action is SKIP


def test_pausing_ends_before_the_record_is_full() -> None:
    """Of all actions only pauses can be repeated without end; beyond the limit the release can still be ended."""
    release = started(PLAIN, LAST)
    while len(release.history) < MAX_EVENTS:
        release = do(do(release, PAUSE), UNPAUSE)
    refusal(InvalidTransition, release, command(PAUSE, "plain"))
    assert do(release, ABORT).status is ReleaseStatus.ABORTED
    assert do(release, SKIP).current_phase


def test_refused_action_does_not_use_its_key_up() -> None:
    """A key belongs to the action that happened, so a corrected attempt may carry it."""
    release = started(PLAIN, LAST)
    refusal(InvalidTransition, release, command(UNPAUSE, "plain", key="k"))
    assert act(release, command(PAUSE, "plain", key="k"), ADMIN, NOW).events


def test_other_keys_are_other_actions() -> None:
    """Two pauses with two keys are two attempts: the second is judged by itself."""
    release = act(started(PLAIN), command(PAUSE, "plain", key="k"), ADMIN, NOW).release
    refusal(InvalidTransition, release, command(PAUSE, "plain", key="l"))
    refusal(InvalidTransition, release, command(PAUSE, "plain"))


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        (command(PAUSE, "plain", key=""), ("idempotencyKey",)),
        (command(PAUSE, "plain", key="k" * (MAX_KEY + 1)), ("idempotencyKey",)),
        (command(PAUSE, "plain", reason="x" * 2_001), ("reason",)),
    ],
)
def test_command_is_validated(asked: Command, path: tuple[str, ...]) -> None:
    """Keys and reasons have a length, and the limit itself is allowed."""
    assert [field.path for field in refusal(ValidationFailed, started(PLAIN), asked).fields] == [path]
    assert act(started(PLAIN), command(PAUSE, "plain", key="k" * MAX_KEY, reason="x" * 2_000), ADMIN, NOW).events


# --- events -----------------------------------------------------------------------------------------------------------


def test_a_whole_story_is_on_record() -> None:
    """Every change is an event with its kind, statuses, person or system, phase and time, in one gapless chain."""
    release = started(PLAIN, review("review", 2), Z1, LAST)
    release = do(release, PAUSE, OPERATOR, NOW + MINUTE)
    release = do(release, UNPAUSE, OPERATOR, NOW + 2 * MINUTE)
    release = settle(release, NOW + HOUR + MINUTE)
    release = do(release, APPROVE, APPROVER, NOW + 2 * HOUR)
    release = do(release, APPROVE, ADMIN, NOW + 3 * HOUR)
    release = do(release, SKIP, OPERATOR, NOW + 3 * HOUR + MINUTE)
    release = settle(release, NOW + 9 * HOUR)
    told = [
        (
            event.type.value,
            event.from_status.value if event.from_status else None,
            event.to_status.value,
            event.actor.id,
            event.phase_id,
            (event.at - NOW) // MINUTE,
        )
        for event in release.history
    ]
    assert told == [
        ("RELEASE_STARTED", None, "IN_PROGRESS", "sam", None, 0),
        ("PHASE_RELEASED", "IN_PROGRESS", "IN_PROGRESS", "sam", "pha_plain", 0),
        ("BAKE_PAUSED", "IN_PROGRESS", "PAUSED", "olga", "pha_plain", 1),
        ("BAKE_UNPAUSED", "PAUSED", "IN_PROGRESS", "olga", "pha_plain", 2),
        ("PHASE_COMPLETED", "IN_PROGRESS", "IN_PROGRESS", "system", "pha_plain", 61),
        ("REVIEW_REQUESTED", "IN_PROGRESS", "WAITING_FOR_REVIEW", "system", "pha_review", 61),
        ("PHASE_APPROVED", "WAITING_FOR_REVIEW", "WAITING_FOR_REVIEW", "abe", "pha_review", 120),
        ("PHASE_APPROVED", "WAITING_FOR_REVIEW", "WAITING_FOR_REVIEW", "ada", "pha_review", 180),
        ("PHASE_RELEASED", "WAITING_FOR_REVIEW", "IN_PROGRESS", "ada", "pha_review", 180),
        ("PHASE_SKIPPED", "IN_PROGRESS", "IN_PROGRESS", "olga", "pha_review", 181),
        ("PHASE_RELEASED", "IN_PROGRESS", "IN_PROGRESS", "olga", "pha_z1", 181),
        ("PHASE_COMPLETED", "IN_PROGRESS", "IN_PROGRESS", "olga", "pha_z1", 181),
        ("PHASE_RELEASED", "IN_PROGRESS", "IN_PROGRESS", "olga", "pha_last", 181),
        ("PHASE_COMPLETED", "IN_PROGRESS", "IN_PROGRESS", "system", "pha_last", 540),
        ("RELEASE_COMPLETED", "IN_PROGRESS", "COMPLETED", "system", None, 540),
    ]
    assert [event.sequence for event in release.history] == list(range(1, 16))


@pytest.mark.parametrize(("situation", "action"), [cell for cell, found in CELLS.items() if isinstance(found, str)])
def test_events_of_an_action(situation: str, action: ReleaseAction) -> None:
    """An action's events continue the chain, are all its actor's, carry its key; the first alone has its reason."""
    release = SITUATIONS[situation]()
    asked = on_current(release, action, reason="because", idempotency_key="k")
    decision = act(release, asked, ADMIN, NOW + MINUTE)
    history = decision.release.history
    assert [event.sequence for event in history] == list(range(1, len(history) + 1))
    assert all(later.from_status is earlier.to_status for earlier, later in pairwise(history))
    assert history[-1].to_status is decision.release.status
    assert history[: len(release.history)] == release.history
    for event in decision.events:
        assert (event.actor, event.at) == (ADMIN.actor, NOW + MINUTE)
        assert (event.action, event.idempotency_key) == (action, "k")
    expected_reasons = ["because"] + [None] * (len(decision.events) - 1) if decision.events else []
    assert [event.reason for event in decision.events] == expected_reasons
    assert decision.release.changed_at == (NOW + MINUTE if decision.events else NOW)


PRIMARY = {
    APPROVE: "PHASE_APPROVED",
    PAUSE: "BAKE_PAUSED",
    UNPAUSE: "BAKE_UNPAUSED",
    SKIP: "PHASE_SKIPPED",
    ABORT: "RELEASE_ABORTED",
    FULL: "FULLY_ROLLED_OUT",
}


@pytest.mark.parametrize("action", ReleaseAction)
def test_first_event_says_what_was_done(action: ReleaseAction) -> None:
    """The event that a subscriber sees first is the one named after the action, about the phase it was done to."""
    release = SITUATIONS[ALLOWING.get(action, "in progress")]()
    first = act(release, on_current(release, action), ADMIN, NOW).events[0]
    assert first.type.value == PRIMARY[action]
    assert first.phase_id == release.phases[0].id


def test_the_system_ends_bakes() -> None:
    """What follows from a deadline is done by the system: no person, no action, no key, no reason."""
    release = act(started(PLAIN, Z1, LAST), command(PAUSE, "plain", key="k", reason="wait"), ADMIN, NOW).release
    release = do(release, UNPAUSE)
    settled = settle(release, NOW + HOUR)
    new = settled.history[len(release.history) :]
    assert event_names(new) == ["PHASE_COMPLETED", "PHASE_RELEASED", "PHASE_COMPLETED", "PHASE_RELEASED"]
    assert {event.actor for event in new} == {SYSTEM}
    assert {(event.action, event.idempotency_key, event.reason) for event in new} == {(None, None, None)}


# --- starting ---------------------------------------------------------------------------------------------------------


def test_start_copies_the_pipeline_and_the_change() -> None:
    """A release carries what it needs: the phases in order, the specs before and after, who, when and why."""
    given = pipeline(PLAIN, review("review", 2, prevent_self_approval=True))
    by = person("Nora").actor
    release = start("rel_7", 7, feature(), SpecChange(OFF, ON), given, by, NOW, description="new flow", start_key="s")
    assert (release.id, release.number, release.feature_key) == ("rel_7", 7, "checkout")
    assert (release.pipeline_id, release.pipeline_name) == (given.id, given.name)
    assert (release.change, release.started_by, release.started_at) == (SpecChange(OFF, ON), by, NOW)
    assert (release.description, release.start_key, release.revision) == ("new flow", "s", 1)
    for index, (original, copy) in enumerate(zip(given.phases, release.phases, strict=True)):
        assert copy.index == index
        assert {name: getattr(copy, name) for name in original.__struct_fields__} == structs.asdict(original)
    assert release.history[0].reason == "new flow"
    assert release.timer is not None
    assert release.timer.deadline == NOW + HOUR


def test_release_without_a_pipeline_is_completed_by_its_first_write() -> None:
    """A change that needs no pipeline is a release like any other, over as soon as it is started."""
    release = started()
    assert (release.status, release.ended_at, release.timer) == (ReleaseStatus.COMPLETED, NOW, None)
    assert (release.pipeline_id, release.pipeline_name, release.phases) == (None, None, ())
    assert event_names(release.history) == ["RELEASE_STARTED", "RELEASE_COMPLETED"]


def test_first_phase_that_asks_for_review_waits_from_the_start() -> None:
    """The release starts, its first phase waits, and nobody is exposed."""
    release = started(REVIEW)
    assert outcome(release) == "WAITING_FOR_REVIEW: WAITING_FOR_REVIEW"
    assert event_names(release.history) == ["RELEASE_STARTED", "REVIEW_REQUESTED"]
    assert release.phases[0].released_at is None
    assert release.timer is None
