"""What a context gets from a feature: decided by its spec and by its latest release alone (semantics.md).

A `Plan` is made once for a feature in an environment, and decides for any number of contexts: what does not depend on
the context is worked out beforehand.
"""

from collections.abc import Callable
from enum import Enum
from typing import Generic, TypeVar

import msgspec
from msgspec import Struct

from app.domain.comparing import Json
from app.domain.features import BUCKETS, Feature, FeatureSpec, TargetingRule, bucket, threshold
from app.domain.matching import Predicate, all_of
from app.domain.pipelines import ReleaseRule
from app.domain.releases import Release, ReleasePhase, spec_in_force
from app.domain.targeting import Context

T = TypeVar("T")


class Reason(Enum):
    """Why an evaluation gave its value, in the words of the OpenFeature specification (types, "Resolution Reason")."""

    STATIC = "STATIC"
    DEFAULT = "DEFAULT"
    TARGETING_MATCH = "TARGETING_MATCH"
    SPLIT = "SPLIT"


class Evaluation(Struct, frozen=True):
    """What a context gets, from which rule (none: the default value) and, while a release is under way that gives it
    the spec after, from which release and which phase of it.
    """

    value: Json
    rule_name: str | None
    reason: Reason
    release_id: str | None = None
    phase_name: str | None = None


def targeting_key(context: Context) -> str | None:
    """The unit that pass percentages go by; None where the context names none."""
    key = context.get("targetingKey")
    return key if isinstance(key, str) and key else None


def evaluation_of(
    spec: FeatureSpec, index: int | None, is_static: bool, release: Release | None, phase: ReleasePhase | None
) -> Evaluation:
    """What the rule of a spec at an index gives (none: the default value), where a phase admitted the context or none.

    It is static where nothing depends on the context.
    """
    release_id = release.id if release and phase else None
    phase_name = phase.name if phase else None
    if index is None:
        reason = Reason.STATIC if is_static else Reason.DEFAULT
        return Evaluation(spec.default_value, None, reason, release_id, phase_name)
    rule = spec.rules[index]
    reason = Reason.TARGETING_MATCH if rule.pass_percentage >= 100 else Reason.SPLIT
    return Evaluation(rule.value, rule.name, reason, release_id, phase_name)


class _SpecPlan:
    """A spec in one environment: which rule decides?"""

    def __init__(self, spec: FeatureSpec, feature_key: str, environment: str) -> None:
        self._spec = spec
        self._feature_key = feature_key
        self._rules = tuple(
            (index, all_of(rule.conditions), threshold(rule.pass_percentage))
            for index, rule in rules_in(spec, environment)
        )

    def first_rule(self, context: Context) -> int | None:
        """The index of the first rule that admits the context; None if the default value decides."""
        place: int | None = None
        for index, matches, share in self._rules:
            if not matches(context):
                continue
            if share >= BUCKETS:
                return index
            if place is None:
                unit = targeting_key(context)
                # Without a unit there is nothing to keep stable.
                place = BUCKETS if unit is None else bucket(self._feature_key, unit)
            if place < share:
                return index
        return None

    def evaluation(self, index: int | None, release: Release | None, phase: ReleasePhase | None) -> Evaluation:
        """What the rule at an index gives, where a release has released phases and one of them admitted the context."""
        # Once a phase is released who gets which spec depends on the context: no value is the same for all.
        is_static = not self._rules and release is None
        return evaluation_of(self._spec, index, is_static, release, phase)


class Plan(Generic[T]):
    """What decides a feature's value in one environment. Few answers are possible: `show` is asked once for each."""

    def __init__(
        self, feature: Feature, latest: Release | None, environment: str, show: Callable[[Evaluation], T]
    ) -> None:
        self._show = show
        self._phases: tuple[tuple[ReleasePhase, Predicate], ...] = ()
        self._before = self._after = _SpecPlan(spec_in_force(feature, latest), feature.key, environment)
        self._release: Release | None = None
        if latest is not None and (released := _released(latest, environment)):
            self._release = latest
            self._phases = tuple((phase, _any_admits(rules)) for phase, rules in released)
            self._after = _SpecPlan(latest.change.after, feature.key, environment)
        self._shown: dict[tuple[int | None, int | None], T] = {}

    def decide(self, context: Context) -> T:
        """What the context gets, as `show` shows it. Never raises."""
        admitting = next((at for at, (_, matches) in enumerate(self._phases) if matches(context)), None)
        spec = self._before if admitting is None else self._after
        outcome = (admitting, spec.first_rule(context))
        shown = self._shown.get(outcome)
        if shown is None:
            phase = None if admitting is None else self._phases[admitting][0]
            shown = self._shown[outcome] = self._show(spec.evaluation(outcome[1], self._release, phase))
        return shown


def evaluate_feature(feature: Feature, latest: Release | None, environment: str, context: Context) -> Evaluation:
    """What a context gets from a feature whose latest release (of any status) is `latest`."""
    return Plan(feature, latest, environment, lambda evaluation: evaluation).decide(context)


def state_in(feature: Feature, latest: Release | None, environment: str) -> bytes:
    """All that decides in an environment: by two states that are equal every context gets the same."""
    state = [feature.key, *_spec_state(spec_in_force(feature, latest), environment)]
    if latest is not None and (released := _released(latest, environment)):
        state += [latest.id, [(phase.name, rules) for phase, rules in released]]
        state += _spec_state(latest.change.after, environment)
    return msgspec.json.encode(state)


def _spec_state(spec: FeatureSpec, environment: str) -> list[Json]:
    return [[rule for _, rule in rules_in(spec, environment)], spec.default_value]


def rules_in(spec: FeatureSpec, environment: str) -> list[tuple[int, TargetingRule]]:
    """The rules by which somebody in an environment may get a value, and their places in the spec.

    A rule that no unit can pass is none of them: nothing would come of looking at its conditions.
    """
    return [
        (index, rule)
        for index, rule in enumerate(spec.rules)
        if threshold(rule.pass_percentage) > 0 and (not rule.environments or environment in rule.environments)
    ]


def released_rules(phase: ReleasePhase, environment: str) -> tuple[ReleaseRule, ...]:
    """The rules of a phase by which contexts of an environment get the spec after; none before it is released."""
    if phase.released_at is None:
        return ()
    return tuple(rule for rule in phase.rules if environment in rule.environments)


def _released(release: Release, environment: str) -> tuple[tuple[ReleasePhase, tuple[ReleaseRule, ...]], ...]:
    """The phases by which contexts of an environment get the spec after, and their rules; none once it is over."""
    if release.is_over:
        return ()
    found = ((phase, released_rules(phase, environment)) for phase in release.phases)
    return tuple((phase, rules) for phase, rules in found if rules)


def _any_admits(rules: tuple[ReleaseRule, ...]) -> Predicate:
    predicates = tuple(all_of(rule.conditions) for rule in rules)
    return lambda context: any(admits(context) for admits in predicates)
