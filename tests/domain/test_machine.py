"""Random pipelines, people, actions and times, played against what must hold whatever happens.

`ReleaseMachine` reaches the release through five operations only: `begin`, `load`, `perform`, `settle` and `evaluate`.
Here they are the pure functions; a subclass that overrides them runs the same machine on an engine and real stores:

    class EngineMachine(ReleaseMachine): ...
    TestEngineMachine = EngineMachine.TestCase

`self.now` is the clock. It only moves forward, and nothing settles a release but `settle` and `perform`, so a timer may
be late by days or lost for good.
"""

from collections.abc import Callable
from datetime import timedelta
from functools import lru_cache
from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import structs

from app.domain import transitions
from app.domain.access import SYSTEM, Actor, Principal, Role
from app.domain.available import available_actions
from app.domain.commands import Command
from app.domain.evaluation import Evaluation, Plan, evaluate_feature
from app.domain.features import Feature, FeatureKind
from app.domain.matching import all_of
from app.domain.pipelines import Phase, Pipeline, ReleaseRule
from app.domain.problems import Problem, StalePhase
from app.domain.releases import (
    CURRENT,
    PhaseStatus,
    Release,
    ReleaseAction,
    ReleaseEvent,
    ReleaseEventType,
    ReleasePhase,
    ReleaseStatus,
    SpecChange,
    spec_in_force,
)
from app.domain.targeting import Context
from tests.domain.builders import (
    ADMIN,
    APPROVER,
    HOUR,
    MINUTE,
    NOW,
    OPERATOR,
    SECOND_APPROVER,
    UNNAMED,
    VIEWER,
    ZERO,
    condition,
    feature,
    person,
    pipeline,
    spec,
)
from tests.domain.builders import rule as targeting_rule

MS = timedelta(milliseconds=1)
ROOT = person("Root", Role.ADMIN)
PEOPLE = [VIEWER, OPERATOR, APPROVER, SECOND_APPROVER, ADMIN, ROOT]
ROLE_OF = {each.actor.id: each.role for each in PEOPLE}

GROUPS = ("a", "b", "c")
PLACES = ("staging", "production")
PROBES: list[tuple[str, Context]] = [
    (place, {"targetingKey": f"user-{group}", "group": group}) for place in PLACES for group in (*GROUPS, "nobody")
]
OLD_RULE = targeting_rule({"v": "old, a"}, condition("group", "EQUALS", "a"), percentage=50.0, name="old")
NEW_RULE = targeting_rule({"v": "new, b"}, condition("group", "EQUALS", "b"), name="new")
CHANGE = SpecChange(before=spec({"v": "old"}, OLD_RULE), after=spec({"v": "new"}, NEW_RULE))

release_rules = st.builds(
    lambda places, groups: ReleaseRule(tuple(places), (condition("group", "ANY_OF", *groups),) if groups else ()),
    st.lists(st.sampled_from(PLACES), min_size=1, unique=True),
    st.lists(st.sampled_from(GROUPS), unique=True),
)
phases = st.builds(
    Phase,
    id=st.none(),
    name=st.none(),
    rules=st.lists(release_rules, min_size=1, max_size=2).map(tuple),
    bake_time=st.sampled_from([ZERO, MINUTE, HOUR, HOUR]),
    required_approvals=st.sampled_from([0, 0, 0, 1, 2]),
    prevent_self_approval=st.booleans(),
)
pipelines = st.lists(phases, min_size=2, max_size=5).map(
    lambda some: pipeline(*(structs.replace(each, id=f"pha_{i}", name=f"phase {i}") for i, each in enumerate(some)))
)
people = st.sampled_from(PEOPLE)
reasons = st.sampled_from([None, " ", "because", "because"])
keys = st.sampled_from([None, None, None, None, "k", "l", "m"])
# Nearly always the phase that is current, as somebody sends it who has just looked.
which_phase = st.sampled_from(["current"] * 6 + ["pha_0", "pha_1", "pha_2", "pha_unknown"])


def content(release: Release) -> Release:
    """The release but for the number of its writes, which a store counts."""
    return structs.replace(release, revision=0)


def is_due(release: Release, machine: "ReleaseMachine") -> bool:
    return release.timer is not None and release.timer.deadline <= machine.now


def baked(release: Release, phase: ReleasePhase, machine: "ReleaseMachine") -> timedelta:
    """How long the phase's timer has run, by the events alone."""
    total, since = ZERO, None
    for event in release.history:
        if event.phase_id != phase.id:
            continue
        if event.type in (ReleaseEventType.PHASE_RELEASED, ReleaseEventType.BAKE_UNPAUSED):
            since = event.at
        elif since is not None:
            total, since = total + (event.at - since), None
    return total + (machine.now - since if since else ZERO)


_all_of = lru_cache(maxsize=1_000)(all_of)


@lru_cache(maxsize=1_000)
def _given(feature_key: str, is_after: bool, number: int) -> Evaluation:
    """What a probe gets where the spec after, or before, is in force."""
    place, context = PROBES[number]
    asked = feature(CHANGE.after if is_after else CHANGE.before, FeatureKind.DYNAMIC_CONFIG)
    return evaluate_feature(structs.replace(asked, key=feature_key), None, place, context)


class ReleaseMachine(RuleBasedStateMachine):
    """One release of one feature, several people, and time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.feature: Feature = feature(CHANGE.before, FeatureKind.DYNAMIC_CONFIG)
        self.seen: Release | None = None
        self.exposed: set[int] = set()
        self.probed: Release | None = None
        self.planned: Release | None = None
        self.plans: dict[str, Plan[Evaluation]] = {}
        self.timers: dict[str, object] = {}
        self.answered: dict[str, tuple[Command, Principal, tuple[ReleaseEvent, ...]]] = {}

    # --- the operations: override these to play against something else

    def begin(self, through: Pipeline, by: Actor) -> None:
        """Start the release of CHANGE through a pipeline."""
        self.release = transitions.start("rel_1", 1, self.feature, CHANGE, through, by, self.now)

    def load(self) -> Release:
        """The release as it is stored now."""
        return self.release

    def perform(self, command: Command, by: Principal) -> tuple[ReleaseEvent, ...]:
        """Settle, then carry the action out and give its events, or raise its problem."""
        self.settle()
        decision = transitions.act(self.release, command, by, self.now)
        self.release = decision.release
        return decision.events

    def settle(self) -> None:
        """End the bake that is due, as a worker or a sweep does."""
        self.release = transitions.settle(self.release, self.now)

    def evaluate(self, environment: str, context: Context) -> Evaluation:
        """What a context gets from the feature now."""
        if self.planned is not self.release:
            self.planned, self.plans = self.release, {}
        if environment not in self.plans:
            self.plans[environment] = Plan(self.feature, self.release, environment, lambda found: found)
        return self.plans[environment].decide(context)

    # --- the moves

    @initialize(through=pipelines, by=st.sampled_from([OPERATOR, APPROVER, ADMIN]))
    def start(self, through: Pipeline, by: Principal) -> None:
        """Somebody starts the release."""
        self.begin(through, by.actor)

    @rule(by=people, phase=which_phase, reason=reasons, key=keys)
    def approve(self, by: Principal, phase: str, reason: str | None, key: str | None) -> None:
        """Somebody approves."""
        self.attempt(ReleaseAction.APPROVE, by, phase, reason, key)

    @rule(by=people, phase=which_phase, reason=reasons, key=keys)
    def pause(self, by: Principal, phase: str, reason: str | None, key: str | None) -> None:
        """Somebody pauses."""
        self.attempt(ReleaseAction.PAUSE, by, phase, reason, key)

    @rule(by=people, phase=which_phase, reason=reasons, key=keys)
    def unpause(self, by: Principal, phase: str, reason: str | None, key: str | None) -> None:
        """Somebody unpauses."""
        self.attempt(ReleaseAction.UNPAUSE, by, phase, reason, key)

    @rule(by=people, phase=which_phase, reason=reasons, key=keys, bypass=st.booleans())
    def skip(self, by: Principal, phase: str, reason: str | None, key: str | None, bypass: bool) -> None:
        """Somebody skips."""
        self.attempt(ReleaseAction.SKIP, by, phase, reason, key, bypass)

    @rule(
        really=st.sampled_from([False, False, True]),
        by=people,
        action=st.sampled_from([ReleaseAction.ABORT, ReleaseAction.FULL_ROLL_OUT, ReleaseAction.FULL_ROLL_OUT]),
        reason=reasons,
        key=keys,
        bypass=st.booleans(),
    )
    def end(
        self, really: bool, by: Principal, action: ReleaseAction, reason: str | None, key: str | None, bypass: bool
    ) -> None:
        """Somebody aborts or rolls out fully, seldom enough for releases to grow old."""
        if really:
            self.attempt(action, by, "current", reason, key, bypass)

    @rule(by=st.sampled_from([OPERATOR, APPROVER, SECOND_APPROVER, ADMIN, ROOT]), place=st.integers(0, 2), key=keys)
    def press(self, by: Principal, place: int, key: str | None) -> None:
        """Somebody takes what the menu offers, short of ending the release: that is never refused."""
        menu = available_actions(self.stands(), by, self.now)
        offers = [entry for entry in menu if entry.allowed and entry.action not in UNNAMED]
        if offers and key not in self.answered:
            self.settle()
            entry = offers[place % len(offers)]
            bypass = bool(entry.bypasses_review_of)
            assert self.attempt(entry.action, by, "current", "because" if bypass else None, key, bypass)

    @rule(first=people, second=people, action=st.sampled_from([ReleaseAction.SKIP, ReleaseAction.PAUSE]))
    def two_at_once(self, first: Principal, second: Principal, action: ReleaseAction) -> None:
        """Two people who saw the same phase do the same to it: at most one of them does it."""
        self.settle()
        phase = self.load().current_phase
        if phase is not None:
            done = [bool(self.attempt(action, by, phase.id, "because", None)) for by in (first, second)]
            assert sum(done) <= 1

    @precondition(lambda self: self.answered)
    @rule(key=st.sampled_from(["k", "l", "m"]))
    def again(self, key: str) -> None:
        """An action that was carried out is sent once more with its key: it answers as it did, and changes nothing."""
        if key in self.answered:
            command, by, events = self.answered[key]
            stood = self.stands()
            assert self.perform(command, by) == events
            assert content(self.load()) == stood

    @rule(by=st.sampled_from([MS, MINUTE, HOUR / 3, HOUR, timedelta(days=3)]))
    def wait(self, by: timedelta) -> None:
        """Time passes, and nobody settles."""
        self.now += by

    @precondition(lambda self: self.load().timer is not None)
    @rule(around=st.sampled_from([-MS, ZERO, MS]))
    def wait_for_the_deadline(self, around: timedelta) -> None:
        """Time passes until just before, at, or just after the deadline, if it is not past already."""
        timer = self.load().timer
        assert timer is not None
        self.now = max(self.now, timer.deadline + around)

    @rule()
    def let_a_worker_settle(self) -> None:
        """A prompt, or the sweep, settles: at most one bake ends, by the system, and only if it was due."""
        before = self.load()
        self.settle()
        after = self.load()
        if not is_due(before, self):
            assert content(after) == content(before)
            return
        new = after.history[len(before.history) :]
        bakes = {phase.id: phase.bake_time for phase in after.phases}
        ended = [event.phase_id for event in new if event.type is ReleaseEventType.PHASE_COMPLETED]
        assert sum(bool(bakes[id]) for id in ended) == 1
        assert {(event.actor, event.action, event.idempotency_key) for event in new} == {(SYSTEM, None, None)}
        assert after.timer is None or after.timer.deadline > self.now

    # --- an action, and what must be true of its answer

    def stands(self) -> Release:
        """What an action will be judged on: a bake that is already due is settled first."""
        return content(transitions.settle(self.load(), self.now))

    def answer(self, command: Command, by: Principal) -> tuple[tuple[ReleaseEvent, ...], Problem | None]:
        """The events of an action, or the problem that it was refused with."""
        try:
            return self.perform(command, by), None
        except Problem as problem:
            return (), problem

    def attempt(
        self,
        action: ReleaseAction,
        by: Principal,
        phase: str,
        reason: str | None,
        key: str | None,
        bypass: bool = False,
    ) -> tuple[ReleaseEvent, ...]:
        """Perform an action; give its events, or none where it was refused and, as shown, changed nothing."""
        before, stood = self.load(), self.stands()
        current = before.current_phase or before.phases[-1]
        named = current.id if phase == "current" else phase
        command = Command(action, None if action in UNNAMED else named, reason, bypass, key)
        events, problem = self.answer(command, by)
        if problem is not None:
            assert content(self.load()) in (content(before), stood)
            assert content(getattr(problem, "release", stood)) == stood
            saw_it = stood.current_phase is not None and command.phase_id == stood.current_phase.id
            assert not (isinstance(problem, StalePhase) and saw_it)
            return ()
        after = self.load()
        if key in self.answered and self.is_sent_again(command, by, key):
            assert events == self.answered[key][2]
            assert content(after) == stood
            return events
        assert after.history == stood.history + events
        assert {event.actor for event in events} <= {by.actor}
        assert [event.reason for event in events[1:]] == [None] * len(events[1:])
        _SHOWN[action](self, stood, after, events)
        if key is not None and key not in self.answered and events:
            self.answered[key] = (command, by, events)
        return events

    def is_sent_again(self, command: Command, by: Principal, key: str) -> bool:
        """Whether that was carried out with the key before; an abort with the key of something else is new."""
        first, first_by, _ = self.answered[key]
        return command.action is not ReleaseAction.ABORT or (first.action, first_by) == (command.action, by)

    def shown_approve(self, stood: Release, after: Release, events: tuple[ReleaseEvent, ...]) -> None:
        """One more person has approved the phase that waited."""
        phase = stood.current_phase
        assert phase is not None
        assert phase.status is PhaseStatus.WAITING_FOR_REVIEW
        assert len(after.phases[phase.index].approvals) == len(phase.approvals) + 1

    def shown_pause(self, stood: Release, after: Release, events: tuple[ReleaseEvent, ...]) -> None:
        """The phase stays released and keeps exactly what remained."""
        phase = after.current_phase
        assert phase is not None
        assert stood.timer is not None
        assert phase.status is PhaseStatus.PAUSED
        assert phase.bake_remaining == stood.timer.deadline - self.now
        assert phase.released_at == stood.phases[phase.index].released_at is not None
        assert len(events) == 1

    def shown_unpause(self, stood: Release, after: Release, events: tuple[ReleaseEvent, ...]) -> None:
        """The timer goes on with what remained."""
        phase = stood.current_phase
        assert phase is not None
        assert after.timer is not None
        assert after.timer.deadline - self.now == phase.bake_remaining
        assert len(events) == 1

    def shown_skip(self, stood: Release, after: Release, events: tuple[ReleaseEvent, ...]) -> None:
        """The phase is skipped and the next one that bakes or asks for review has its turn."""
        phase = stood.current_phase
        assert phase is not None
        assert after.phases[phase.index].status is PhaseStatus.SKIPPED
        turn = next(
            (each for each in stood.phases[phase.index + 1 :] if each.bake_time or each.required_approvals), None
        )
        assert (after.current_phase and after.current_phase.id) == (turn and turn.id)

    def shown_abort(self, stood: Release, after: Release, events: tuple[ReleaseEvent, ...]) -> None:
        """It is aborted; only the first time that is an event."""
        assert after.status is ReleaseStatus.ABORTED
        assert len(events) == (0 if stood.status is ReleaseStatus.ABORTED else 1)

    def shown_full_roll_out(self, stood: Release, after: Release, events: tuple[ReleaseEvent, ...]) -> None:
        """It is completed, and what had not been baked is skipped."""
        phase = stood.current_phase
        assert phase is not None
        assert after.status is ReleaseStatus.COMPLETED
        assert {each.status for each in after.phases[phase.index :]} == {PhaseStatus.SKIPPED}
        assert after.phases[: phase.index] == stood.phases[: phase.index]

    # --- what always holds

    @invariant()
    def history_has_no_gap_and_only_grows(self) -> None:
        """Events count 1, 2, 3, ..., hand the status on, never go back in time, and the past stays as it was."""
        release = self.load()
        assert [event.sequence for event in release.history] == list(range(1, len(release.history) + 1))
        assert all(a.to_status is b.from_status and a.at <= b.at for a, b in pairwise(release.history))
        assert release.history[-1].to_status is release.status
        assert release.history[-1].at == release.changed_at
        if self.seen is not None:
            assert release.history[: len(self.seen.history)] == self.seen.history
            if release.history == self.seen.history or self.seen.is_over:
                assert content(release) == content(self.seen)
        assert release.change == CHANGE
        self.seen = release

    @invariant()
    def one_phase_is_current_while_under_way(self) -> None:
        """Phases before it are over, those after it untouched; its status is the release's."""
        release = self.load()
        current = [phase for phase in release.phases if phase.status.value == release.status.value]
        under_way = [phase for phase in release.phases if phase.status in CURRENT]
        assert release.is_over is (release.ended_at is not None)
        if release.is_over:
            assert under_way == []
            return
        assert under_way == current == [release.current_phase]
        index = current[0].index
        assert {phase.status for phase in release.phases[:index]} <= {PhaseStatus.COMPLETED, PhaseStatus.SKIPPED}
        for phase in release.phases[index + 1 :]:
            assert phase.status is PhaseStatus.NOT_RELEASED
            assert phase.released_at is phase.ended_at is None

    @invariant()
    def timer_runs_exactly_while_in_progress(self) -> None:
        """Its deadline is the bake time less what has run; a pause keeps the rest; each start has its own timer id."""
        release = self.load()
        assert (release.timer is not None) is (release.status is ReleaseStatus.IN_PROGRESS)
        for phase in release.phases:
            remaining = phase.bake_time - baked(release, phase, self)
            assert phase.bake_remaining == (remaining if phase.status is PhaseStatus.PAUSED else None)
            if phase.status is PhaseStatus.PAUSED:
                assert ZERO < remaining <= phase.bake_time
            if phase.status is PhaseStatus.IN_PROGRESS:
                assert release.timer is not None
                assert release.timer.deadline == phase.bake_ends_at == self.now + remaining
                assert release.timer.deadline - self.now <= phase.bake_time
                assert self.timers.setdefault(release.timer.id, release.timer) == release.timer
            else:
                assert phase.bake_ends_at is None
            if phase.status is PhaseStatus.COMPLETED:
                assert remaining <= ZERO, "it baked in full"

    @invariant()
    def review_is_never_passed(self) -> None:
        """A phase that asks for review was approved by enough people before its release, or passed by an admin."""
        release = self.load()
        for phase in release.phases:
            approvers = [approval.actor.id for approval in phase.approvals]
            assert len(approvers) == len(set(approvers)) <= phase.required_approvals
            assert all(ROLE_OF[id] in (Role.APPROVER, Role.ADMIN) for id in approvers)
            assert not (phase.prevent_self_approval and release.started_by.id in approvers)
            bypasses = [event for event in release.history if phase.id in event.bypassed_phase_ids]
            assert len(bypasses) == phase.review_bypassed
            for event in bypasses:
                assert ROLE_OF[event.actor.id] is Role.ADMIN
                assert (event.reason or "").strip()
            if phase.released_at is not None:
                assert len(approvers) == phase.required_approvals
                assert not phase.review_bypassed
            elif phase.status is PhaseStatus.SKIPPED and phase.required_approvals:
                assert phase.review_bypassed

    @invariant()
    def exposure_only_grows_until_the_end(self) -> None:
        """Who got the change keeps it while the release is under way; then all have it, or none, exactly as before."""
        release = self.load()
        if release is self.probed:  # a refused action has changed nothing
            return
        self.probed = release
        released = {e.phase_id for e in release.history if e.type is ReleaseEventType.PHASE_RELEASED}
        admitting = {
            number: phase.name
            for phase in reversed(release.phases)
            if phase.id in released
            for number, (place, context) in enumerate(PROBES)
            if any(place in each.environments and _all_of(each.conditions)(context) for each in phase.rules)
        }
        exposed = set(admitting)
        assert exposed >= self.exposed
        self.exposed = exposed
        if release.status is ReleaseStatus.ABORTED:
            exposed = set()
        if release.status is ReleaseStatus.COMPLETED:
            exposed = set(range(len(PROBES)))
        for number, (place, context) in enumerate(PROBES):
            expected = _given(self.feature.key, number in exposed, number)
            if number in exposed and not release.is_over:
                expected = structs.replace(expected, release_id=release.id, phase_name=admitting[number])
            assert self.evaluate(place, context) == expected
        everyone = CHANGE.after if release.status is ReleaseStatus.COMPLETED else CHANGE.before
        assert spec_in_force(self.feature, release) == everyone


_SHOWN: dict[ReleaseAction, Callable[[ReleaseMachine, Release, Release, tuple[ReleaseEvent, ...]], None]] = {
    ReleaseAction.APPROVE: ReleaseMachine.shown_approve,
    ReleaseAction.PAUSE: ReleaseMachine.shown_pause,
    ReleaseAction.UNPAUSE: ReleaseMachine.shown_unpause,
    ReleaseAction.SKIP: ReleaseMachine.shown_skip,
    ReleaseAction.ABORT: ReleaseMachine.shown_abort,
    ReleaseAction.FULL_ROLL_OUT: ReleaseMachine.shown_full_roll_out,
}

TestReleaseMachine = ReleaseMachine.TestCase
TestReleaseMachine.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
