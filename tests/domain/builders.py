"""Features, pipelines and releases for tests, in as few words as a test needs.

A phase releases to one environment and to the contexts whose `group` is the phase's name, so a test sees at a glance
whom a phase exposes: `member_of("canary")`.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from app.domain.access import Actor, Principal, Role
from app.domain.commands import Command
from app.domain.comparing import Json
from app.domain.evaluation import Evaluation, evaluate_feature
from app.domain.features import Feature, FeatureKind, FeatureSpec, TargetingRule
from app.domain.pipelines import Phase, Pipeline, ReleaseRule
from app.domain.releases import Release, ReleaseAction, ReleaseEvent, SpecChange
from app.domain.targeting import Condition, ConditionOperator, Context
from app.domain.transitions import act, settle, start

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
ZERO = timedelta(0)
ENVIRONMENTS = ("development", "staging", "production")


def person(name: str, role: Role = Role.OPERATOR) -> Principal:
    """Somebody with a role; the lower-case name is the id."""
    return Principal(Actor(id=name.lower(), name=name), role)


VIEWER = person("Vera", Role.VIEWER)
OPERATOR = person("Olga", Role.OPERATOR)
APPROVER = person("Abe", Role.APPROVER)
SECOND_APPROVER = person("Ana", Role.APPROVER)
ADMIN = person("Ada", Role.ADMIN)
SUBMITTER = person("Sam", Role.ADMIN)  # starts every release of these tests
EVERY_ROLE = {Role.VIEWER: VIEWER, Role.OPERATOR: OPERATOR, Role.APPROVER: APPROVER, Role.ADMIN: ADMIN}


def condition(attribute: str, operator: str, *values: Json) -> Condition:
    """A condition, its operator by name."""
    return Condition(attribute, ConditionOperator(operator), values)


def rule(
    value: Json = True,
    *conditions: Condition,
    percentage: float = 100.0,
    environments: tuple[str, ...] = (),
    name: str = "rule",
) -> TargetingRule:
    """A targeting rule; by default it gives true to everyone."""
    return TargetingRule(name, environments, conditions, percentage, value)


def spec(default: Json, *rules: TargetingRule) -> FeatureSpec:
    """A spec: its default value, then its rules."""
    return FeatureSpec(rules, default)


OFF, ON = spec(False), spec(True)


def feature(created: FeatureSpec = OFF, kind: FeatureKind = FeatureKind.FEATURE_GATE) -> Feature:
    """The feature `checkout` as it was created."""
    return Feature("fea_1", "checkout", kind, None, created, None, NOW)


def evaluated(asked: FeatureSpec, environment: str, context: Context) -> Evaluation:
    """What a context gets from `checkout` where that spec is in force."""
    return evaluate_feature(feature(asked), None, environment, context)


def phase(
    name: str,
    bake: timedelta = HOUR,
    approvals: int = 0,
    *,
    prevent_self_approval: bool = False,
    environment: str = "production",
    remind_every: timedelta | None = None,
) -> Phase:
    """A phase that bakes for an hour, without review, and releases to the group of its name."""
    rules = (ReleaseRule((environment,), (condition("group", "ANY_OF", name),)),)
    return Phase(f"pha_{name}", name, rules, bake, approvals, prevent_self_approval, remind_every)


def review(
    name: str,
    approvals: int = 1,
    bake: timedelta = HOUR,
    *,
    prevent_self_approval: bool = False,
    remind_every: timedelta | None = None,
) -> Phase:
    """A phase that asks for review."""
    return phase(name, bake, approvals, prevent_self_approval=prevent_self_approval, remind_every=remind_every)


def pipeline(*phases: Phase) -> Pipeline:
    """A pipeline of those phases."""
    return Pipeline("pip_1", "Careful", None, phases, NOW)


def started(*phases: Phase, before: FeatureSpec = OFF, after: FeatureSpec = ON, now: datetime = NOW) -> Release:
    """Release #1 of `checkout`, just started by Sam; without phases it goes through no pipeline."""
    through = pipeline(*phases) if phases else None
    return start("rel_1", 1, feature(before), SpecChange(before, after), through, SUBMITTER.actor, now)


def current(release: Release) -> str:
    """The name of the current phase."""
    assert release.current_phase is not None
    return release.current_phase.name


def command(
    action: ReleaseAction,
    name: str | None = None,
    *,
    reason: str | None = None,
    bypass: bool = False,
    key: str | None = None,
) -> Command:
    """An action on the phase of that name (abort and full roll out name none)."""
    return Command(action, f"pha_{name}" if name else None, reason, bypass, key)


def on_current(release: Release, action: ReleaseAction, **more: object) -> Command:
    """An action on the current phase, as somebody sends it who has just looked."""
    phase_id = release.current_phase.id if release.current_phase else None
    return Command(action, None if action in UNNAMED else phase_id, **more)


UNNAMED = (ReleaseAction.ABORT, ReleaseAction.FULL_ROLL_OUT)


def do(
    release: Release,
    action: ReleaseAction,
    by: Principal = ADMIN,
    now: datetime = NOW,
    *,
    reason: str | None = None,
    bypass: bool = False,
) -> Release:
    """The release after an action on its current phase, settled first as the engine does."""
    release = settle(release, now)
    return act(release, on_current(release, action, reason=reason, bypass_review=bypass), by, now).release


def event_names(events: tuple[ReleaseEvent, ...]) -> list[str]:
    """What happened, in words short enough for a list."""
    return [event.type.value for event in events]


def statuses(release: Release) -> list[str]:
    """The status of each phase."""
    return [each.status.value for each in release.phases]


def member_of(group: str) -> Context:
    """A context that only the phase of that name admits."""
    return {"targetingKey": f"user-{group}", "group": group}


_PLAIN, _LAST, _REVIEW = phase("plain"), phase("last"), review("review")

# A release in every situation that an action can find it in, all at NOW.
SITUATIONS: dict[str, Callable[[], Release]] = {
    "waiting, first phase": lambda: started(_REVIEW, _LAST),
    "waiting, later phase": lambda: do(started(_PLAIN, _REVIEW, _LAST), ReleaseAction.SKIP),
    "waiting, last phase": lambda: do(started(_PLAIN, _REVIEW), ReleaseAction.SKIP),
    "in progress": lambda: started(_PLAIN, _LAST),
    "in progress, review next": lambda: started(_PLAIN, _REVIEW),
    "in progress, approved": lambda: do(started(_REVIEW, _LAST), ReleaseAction.APPROVE),
    "in progress, last phase": lambda: do(started(_PLAIN, _LAST), ReleaseAction.SKIP),
    "paused": lambda: do(started(_PLAIN, _LAST), ReleaseAction.PAUSE),
    "paused, review next": lambda: do(started(_PLAIN, _REVIEW), ReleaseAction.PAUSE),
    "completed": lambda: do(started(_PLAIN, _LAST), ReleaseAction.FULL_ROLL_OUT),
    "aborted": lambda: do(started(_PLAIN, _LAST), ReleaseAction.ABORT),
    "direct": started,
}
