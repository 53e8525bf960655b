"""Features and their specs, and what makes one valid. What a context gets is told in `evaluation.py`."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import Enum

import msgspec
from msgspec import Struct

from app.domain.comparing import Json
from app.domain.problems import FieldProblem
from app.domain.targeting import MAX_CONDITIONS, Condition, condition_problems

BUCKETS = 10_000
MAX_RULES = 200
MAX_NAME = 100
MAX_DESCRIPTION = 2_000
MAX_SPEC_BYTES = 256 * 1024
MAX_DEPTH = 50

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)


class FeatureKind(Enum):
    """A feature gate answers true or false, a dynamic config answers a JSON object."""

    FEATURE_GATE = "FEATURE_GATE"
    DYNAMIC_CONFIG = "DYNAMIC_CONFIG"


class TargetingRule(Struct, frozen=True):
    """Gives `value` to `pass_percentage` (0 to 100) of the units that match all conditions in one of the environments.

    No environments means all of them.
    """

    name: str
    environments: tuple[str, ...]
    conditions: tuple[Condition, ...]
    pass_percentage: float
    value: Json


class FeatureSpec(Struct, frozen=True):
    """Targeting rules, tried in order, and the value for whoever none of them admits."""

    rules: tuple[TargetingRule, ...]
    default_value: Json


class Feature(Struct, frozen=True):
    """A feature gate or dynamic config. What it gives now is decided by its latest release, or by `created_spec`."""

    id: str
    key: str
    kind: FeatureKind
    description: str | None
    created_spec: FeatureSpec
    pipeline_id: str | None
    created_at: datetime
    revision: int = 1


def bucket(feature_key: str, targeting_key: str) -> int:
    """The unit's place among 10,000 buckets, 0 to 9,999: the same for ever, independent between features.

    A unit passes at p percent when its bucket is below `threshold(p)`, so growing a percentage never takes a unit out.
    """
    digest = hashlib.sha256(f"{feature_key}:{targeting_key}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8]) % BUCKETS


def threshold(percentage: float) -> int:
    """How many of the 10,000 buckets pass at that percentage."""
    return round(percentage * BUCKETS / 100)


def same_json(left: object, right: object) -> bool:
    """Whether two values are the same JSON (Python would take true for 1)."""
    return msgspec.json.encode(left, order="deterministic") == msgspec.json.encode(right, order="deterministic")


def touched_environments(before: FeatureSpec, after: FeatureSpec, environments: Sequence[str]) -> list[str]:
    """The environments in which some context could get another value from `after` than from `before`."""
    return [name for name in environments if not same_json(_effective(before, name), _effective(after, name))]


def _effective(spec: FeatureSpec, environment: str) -> tuple[list[tuple[tuple[Condition, ...], float, Json]], Json]:
    """What decides in one environment: names, rules for elsewhere and rules that can never be reached do not."""
    rules: list[tuple[tuple[Condition, ...], float, Json]] = []
    default = spec.default_value
    for rule in spec.rules:
        if (rule.environments and environment not in rule.environments) or rule.pass_percentage <= 0:
            continue
        if not rule.conditions and rule.pass_percentage >= 100:
            default = rule.value
            break
        rules.append((rule.conditions, rule.pass_percentage, rule.value))
    return rules, default


# --- validation -------------------------------------------------------------------------------------------------------


def key_problems(key: str, path: tuple[str, ...]) -> Iterator[FieldProblem]:
    """What is wrong with a feature's key."""
    if not _KEY.fullmatch(key):
        yield FieldProblem(
            path, "Use 1 to 100 letters, digits, dots, dashes or underscores, beginning with a letter or digit."
        )


def name_problems(name: str, path: tuple[str, ...]) -> Iterator[FieldProblem]:
    """What is wrong with a name that a person reads."""
    if not name.strip():
        yield FieldProblem(path, "Give it a name.")
    elif len(name) > MAX_NAME:
        yield FieldProblem(path, f"Use at most {MAX_NAME} characters.")
    elif not name.isprintable() or name != name.strip():
        yield FieldProblem(path, "Use printable characters only, with no space at either end.")


def description_problems(description: str | None, path: tuple[str, ...]) -> Iterator[FieldProblem]:
    """What is wrong with a description or a reason."""
    if description is not None and len(description) > MAX_DESCRIPTION:
        yield FieldProblem(path, f"Use at most {MAX_DESCRIPTION} characters.")


def revision_problems(expected: int | None, current: int, what: str, path: tuple[str, ...]) -> Iterator[FieldProblem]:
    """That what is to be changed is not at the revision that the change was made from, if one is named."""
    if expected is None or expected == current:
        return
    if expected < current:
        yield FieldProblem(path, f"The {what} has changed since revision {expected}: it is at revision {current}.")
    else:
        yield FieldProblem(path, f"The {what} has no revision {expected} yet: it is at revision {current}.")


def duplicate_problems(names: Sequence[str], path: tuple[str, ...]) -> Iterator[FieldProblem]:
    """One problem for each element whose name an earlier one has, letter case aside."""
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name.casefold() in seen:
            yield FieldProblem((*path, str(index), "name"), f"Another one is named {name!r}; names must differ.")
        seen.add(name.casefold())


def unknown_environment(name: str, known: Sequence[str], path: tuple[str, ...]) -> FieldProblem:
    """That there is no environment of that name."""
    return FieldProblem(path, f"There is no environment {name!r}. Known: {', '.join(known) or 'none'}.")


def environment_problems(names: Sequence[str], known: Sequence[str], path: tuple[str, ...]) -> Iterator[FieldProblem]:
    """What is wrong with a list of environment names: unknown ones, and those named twice."""
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name not in known:
            yield unknown_environment(name, known, (*path, str(index)))
        elif name in seen:
            yield FieldProblem((*path, str(index)), f"{name!r} is named twice.")
        seen.add(name)


def conditions_problems(conditions: Sequence[Condition], path: tuple[str, ...]) -> Iterator[FieldProblem]:
    """What is wrong with a list of conditions."""
    if len(conditions) > MAX_CONDITIONS:
        yield FieldProblem(path, f"Use at most {MAX_CONDITIONS} conditions.")
        return
    for index, condition in enumerate(conditions):
        yield from condition_problems(condition, (*path, str(index)))


def spec_problems(
    spec: FeatureSpec, kind: FeatureKind, environments: Sequence[str], path: tuple[str, ...]
) -> Iterator[FieldProblem]:
    """Everything that is wrong with a spec, for a feature of that kind where those environments exist."""
    if len(spec.rules) > MAX_RULES:
        yield FieldProblem((*path, "rules"), f"Use at most {MAX_RULES} rules.")
        return
    for index, rule in enumerate(spec.rules):
        at = (*path, "rules", str(index))
        yield from name_problems(rule.name, (*at, "name"))
        yield from environment_problems(rule.environments, environments, (*at, "environments"))
        yield from conditions_problems(rule.conditions, (*at, "conditions"))
        yield from _percentage_problems(rule.pass_percentage, (*at, "passPercentage"))
        yield from _value_problems(rule.value, kind, (*at, "value"))
    yield from duplicate_problems([rule.name for rule in spec.rules], (*path, "rules"))
    yield from _value_problems(spec.default_value, kind, (*path, "defaultValue"))


def spec_size_problems(spec: FeatureSpec, path: tuple[str, ...]) -> Iterator[FieldProblem]:
    """Whether a spec that is valid otherwise is too large to keep twice in a release."""
    size = len(msgspec.json.encode(spec))
    if size > MAX_SPEC_BYTES:
        yield FieldProblem(path, f"The spec takes {size} bytes as JSON; the most is {MAX_SPEC_BYTES}.")


def _percentage_problems(percentage: float, path: tuple[str, ...]) -> Iterator[FieldProblem]:
    if not 0 <= percentage <= 100:
        yield FieldProblem(path, "Use a percentage from 0 to 100.")
    elif abs(percentage * 100 - round(percentage * 100)) > 1e-6:
        yield FieldProblem(path, "Use at most two decimals: units are spread over 10,000 buckets.")


def _value_problems(value: Json, kind: FeatureKind, path: tuple[str, ...]) -> Iterator[FieldProblem]:
    if kind is FeatureKind.FEATURE_GATE and not isinstance(value, bool):
        yield FieldProblem(path, "A feature gate's value is true or false.")
    elif kind is FeatureKind.DYNAMIC_CONFIG and not isinstance(value, dict):
        yield FieldProblem(path, "A dynamic config's value is a JSON object.")
    else:
        yield from _json_problems(value, path, MAX_DEPTH)


def _json_problems(value: Json, path: tuple[str, ...], depth: int) -> Iterator[FieldProblem]:
    if depth == 0:
        yield FieldProblem(path, f"Nest objects and lists at most {MAX_DEPTH} deep.")
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _json_problems(inner, (*path, name), depth - 1)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _json_problems(inner, (*path, str(index)), depth - 1)
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        yield FieldProblem(path, "Use whole numbers of at most 64 bits; send a larger one as a string.")
    elif isinstance(value, float) and value - value != 0:
        yield FieldProblem(path, "Use finite numbers.")
