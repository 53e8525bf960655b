"""Why a context gets what it gets: every phase, every rule and every condition that was looked at.

The answer is the one of `evaluation.py`; this says how it comes about.
"""

from enum import Enum

import msgspec
from msgspec import Struct

from app.domain.comparing import Json
from app.domain.evaluation import Evaluation, evaluation_of, released_rules, rules_in, targeting_key
from app.domain.features import BUCKETS, Feature, FeatureSpec, TargetingRule, bucket, threshold
from app.domain.matching import predicate
from app.domain.pipelines import ReleaseRule
from app.domain.releases import Release, ReleasePhase, spec_in_force
from app.domain.targeting import Condition, Context
from app.domain.wording import condition_in_words, cut, value_in_words

MAX_SHOWN = 1_000


class DecidingSpec(Enum):
    """Which spec decided."""

    IN_FORCE = "IN_FORCE"
    BEFORE = "BEFORE"
    AFTER = "AFTER"


class RuleOutcome(Enum):
    """What became of a targeting rule."""

    MATCHED = "MATCHED"
    OTHER_ENVIRONMENT = "OTHER_ENVIRONMENT"
    CONDITION_FAILED = "CONDITION_FAILED"
    NO_TARGETING_KEY = "NO_TARGETING_KEY"
    NOT_IN_PERCENTAGE = "NOT_IN_PERCENTAGE"
    NOT_REACHED = "NOT_REACHED"


class ConditionExplanation(Struct, frozen=True):
    """A condition, and what it was compared with: the context's attribute, None where it has none.

    What is longer than 1,000 characters as JSON is cut, and shown as text.
    """

    condition: Condition
    actual: Json
    matches: bool


class ReleaseRuleExplanation(Struct, frozen=True):
    """A release rule of a phase, and whether it admits the context. One for other environments has no conditions."""

    rule: ReleaseRule
    in_environment: bool
    conditions: tuple[ConditionExplanation, ...]

    @property
    def matches(self) -> bool:
        """Whether it admits the context, once its phase is released."""
        return self.in_environment and all(each.matches for each in self.conditions)


class PhaseExplanation(Struct, frozen=True):
    """A phase of the release under way, and whether it gives the context the spec after."""

    phase: ReleasePhase
    rules: tuple[ReleaseRuleExplanation, ...]

    @property
    def is_released(self) -> bool:
        """Whether it gives anybody the spec after."""
        return self.phase.released_at is not None

    @property
    def admits(self) -> bool:
        """Whether it gives the context the spec after."""
        return self.is_released and any(rule.matches for rule in self.rules)


class RuleExplanation(Struct, frozen=True):
    """A targeting rule of the deciding spec. `unit_percentage` is where the unit stands between 0 and 100.

    The conditions are those that were looked at: of a rule for other environments, or one not reached, there are none.
    """

    rule: TargetingRule
    outcome: RuleOutcome
    conditions: tuple[ConditionExplanation, ...]
    unit_percentage: float | None


class Explanation(Struct, frozen=True):
    """An evaluation and how it came about: the release under way, and the phase of it that admitted the context."""

    evaluation: Evaluation
    spec: DecidingSpec
    release: Release | None
    phase: ReleasePhase | None
    phases: tuple[PhaseExplanation, ...]
    rules: tuple[RuleExplanation, ...]
    text: str


def explain(feature: Feature, latest: Release | None, environment: str, context: Context) -> Explanation:
    """Why a context gets what it gets from a feature whose latest release is `latest`."""
    release = None if latest is None or latest.is_over else latest
    look = _Look(context)
    phases = tuple(_phase(phase, environment, look) for phase in release.phases) if release else ()
    admitting = next((each for each in phases if each.admits), None)
    if release is None:
        deciding, spec = DecidingSpec.IN_FORCE, spec_in_force(feature, latest)
    elif admitting is None:
        deciding, spec = DecidingSpec.BEFORE, release.change.before
    else:
        deciding, spec = DecidingSpec.AFTER, release.change.after
    rules = _rules(spec, feature.key, environment, look)
    matched = next((at for at, each in enumerate(rules) if each.outcome is RuleOutcome.MATCHED), None)
    is_static = not rules_in(spec, environment) and not any(released_rules(p.phase, environment) for p in phases)
    phase = admitting.phase if admitting else None
    evaluation = evaluation_of(spec, matched, is_static, release, phase)
    sentences = [
        *_release_sentences(release, admitting, phases, environment),
        *(_rule_sentence(each) for each in rules if each.outcome not in _UNSAID),
        _value_sentence(evaluation, rules),
    ]
    return Explanation(evaluation, deciding, release, phase, phases, rules, " ".join(sentences))


class _Look:
    """Looks at conditions, and shows each attribute once, cut where it is long: a rule may ask for it many times."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._shown: dict[str, Json] = {}

    def at(self, conditions: tuple[Condition, ...]) -> tuple[ConditionExplanation, ...]:
        return tuple(
            ConditionExplanation(each, self._actual(each.attribute), predicate(each)(self.context))
            for each in conditions
        )

    def _actual(self, attribute: str) -> Json:
        if attribute not in self._shown:
            actual = self.context.get(attribute)
            if isinstance(actual, str):
                shown: Json = cut(actual, MAX_SHOWN)
            else:
                encoded = msgspec.json.encode(actual).decode()
                shown = actual if len(encoded) <= MAX_SHOWN else cut(encoded, MAX_SHOWN)
            self._shown[attribute] = shown
        return self._shown[attribute]


def _phase(phase: ReleasePhase, environment: str, look: _Look) -> PhaseExplanation:
    explained: list[ReleaseRuleExplanation] = []
    for rule in phase.rules:
        in_environment = environment in rule.environments
        conditions = look.at(rule.conditions) if in_environment else ()
        explained.append(ReleaseRuleExplanation(rule, in_environment, conditions))
    return PhaseExplanation(phase, tuple(explained))


def _rules(spec: FeatureSpec, feature_key: str, environment: str, look: _Look) -> tuple[RuleExplanation, ...]:
    explained: list[RuleExplanation] = []
    is_decided = False
    unit = targeting_key(look.context)
    place = None if unit is None else bucket(feature_key, unit)
    for rule in spec.rules:
        conditions: tuple[ConditionExplanation, ...] = ()
        if is_decided:
            outcome = RuleOutcome.NOT_REACHED
        elif rule.environments and environment not in rule.environments:
            outcome = RuleOutcome.OTHER_ENVIRONMENT
        else:
            conditions = look.at(rule.conditions)
            outcome = _outcome(rule, conditions, place)
            is_decided = outcome is RuleOutcome.MATCHED
        explained.append(RuleExplanation(rule, outcome, conditions, None if place is None else place * 100 / BUCKETS))
    return tuple(explained)


def _outcome(rule: TargetingRule, conditions: tuple[ConditionExplanation, ...], place: int | None) -> RuleOutcome:
    if not all(each.matches for each in conditions):
        return RuleOutcome.CONDITION_FAILED
    if threshold(rule.pass_percentage) >= BUCKETS:
        return RuleOutcome.MATCHED
    if place is None:
        return RuleOutcome.NO_TARGETING_KEY
    return RuleOutcome.MATCHED if place < threshold(rule.pass_percentage) else RuleOutcome.NOT_IN_PERCENTAGE


# --- sentences --------------------------------------------------------------------------------------------------------

_SAID = 3
_UNSAID = (RuleOutcome.OTHER_ENVIRONMENT, RuleOutcome.NOT_REACHED)


def _release_sentences(
    release: Release | None, admitting: PhaseExplanation | None, phases: tuple[PhaseExplanation, ...], environment: str
) -> list[str]:
    if release is None:
        return ["No release is under way: the spec in force decides."]
    begun = f"R{release.title[1:]} is under way."
    if admitting is not None:
        return [
            begun,
            f"Its phase “{admitting.phase.name}” has been released and admits the context: the spec after decides.",
        ]
    failed = [_phase_sentence(each, environment) for each in phases if released_rules(each.phase, environment)]
    waiting = [each.phase.name for each in phases if not each.is_released and any(rule.matches for rule in each.rules)]
    if waiting:
        end = f"Its phase “{waiting[0]}” would admit the context but is not released: the spec before decides."
    elif failed:
        end = "So the spec before decides."
    else:
        end = f"None of its released phases is for {environment}: the spec before decides."
    more = [f"{len(failed) - _SAID} more released phases do not admit it either."] if len(failed) > _SAID else []
    return [begun, *failed[:_SAID], *more, end]


def _phase_sentence(explained: PhaseExplanation, environment: str) -> str:
    """Why a released phase does not admit the context: its first rule for the environment, as an example."""
    rule = next(each for each in explained.rules if each.in_environment)
    failed = next(each for each in rule.conditions if not each.matches)
    name = f"Its released phase “{explained.phase.name}” does not admit the context"
    others = sum(each.in_environment for each in explained.rules) - 1
    return f"{name}: it asks that {_failure(failed)}{f' (and {others} more rules do not match)' if others else ''}."


def _rule_sentence(explained: RuleExplanation) -> str:
    rule, share = explained.rule, f"{explained.rule.pass_percentage:g} %"
    match explained.outcome:
        case RuleOutcome.CONDITION_FAILED:
            failed = next(each for each in explained.conditions if not each.matches)
            return f"Rule “{rule.name}” does not match: it asks that {_failure(failed)}."
        case RuleOutcome.NO_TARGETING_KEY:
            return f"Rule “{rule.name}” gives its value to {share}, but the context has no targetingKey to go by."
        case RuleOutcome.NOT_IN_PERCENTAGE:
            return (
                f"Rule “{rule.name}” matches, but the unit, at {explained.unit_percentage:g} %, is not within {share}."
            )
        case _ if rule.pass_percentage < 100:
            return f"Rule “{rule.name}” matches, and the unit, at {explained.unit_percentage:g} %, is within {share}."
        case _:
            return f"Rule “{rule.name}” matches."


def _failure(failed: ConditionExplanation) -> str:
    actual = "the context has none" if failed.actual is None else f"it is {value_in_words(failed.actual)}"
    return f"{condition_in_words(failed.condition)}, and {actual}"


def _value_sentence(evaluation: Evaluation, rules: tuple[RuleExplanation, ...]) -> str:
    if evaluation.rule_name is None:
        none = "No rule admits the context. " if rules else ""
        return f"{none}The default value is given: {value_in_words(evaluation.value)}."
    return f"Its value is given: {value_in_words(evaluation.value)}."
