"""Conditions: does this context match?

A context is a JSON object of attributes. A condition on an attribute that the context lacks (or has as null) matches
only with NOT_EXISTS: who is not known to be in a group is not counted in it, nor out of it. An attribute that is a list
matches ANY_OF, CONTAINS and their like when one element does, NONE_OF and NOT_EQUALS when no element is named.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, TypeAlias, assert_never

from msgspec import Struct

from app.domain.problems import FieldProblem

Json: TypeAlias = Any
Context: TypeAlias = Mapping[str, Json]

MAX_CONDITIONS = 50
MAX_VALUES = 1_000
MAX_TEXT = 1_000


class ConditionOperator(Enum):
    """How a condition compares the context's attribute with its values."""

    ANY_OF = "ANY_OF"
    NONE_OF = "NONE_OF"
    ANY_OF_IGNORE_CASE = "ANY_OF_IGNORE_CASE"
    NONE_OF_IGNORE_CASE = "NONE_OF_IGNORE_CASE"
    CONTAINS = "CONTAINS"
    STARTS_WITH = "STARTS_WITH"
    ENDS_WITH = "ENDS_WITH"
    EQUALS = "EQUALS"
    NOT_EQUALS = "NOT_EQUALS"
    LESS_THAN = "LESS_THAN"
    LESS_THAN_OR_EQUAL = "LESS_THAN_OR_EQUAL"
    GREATER_THAN = "GREATER_THAN"
    GREATER_THAN_OR_EQUAL = "GREATER_THAN_OR_EQUAL"
    VERSION_EQUALS = "VERSION_EQUALS"
    VERSION_LESS_THAN = "VERSION_LESS_THAN"
    VERSION_GREATER_THAN = "VERSION_GREATER_THAN"
    BEFORE = "BEFORE"
    AFTER = "AFTER"
    EXISTS = "EXISTS"
    NOT_EXISTS = "NOT_EXISTS"


Op = ConditionOperator


class Condition(Struct, frozen=True):
    """One comparison of an attribute of the context with values; see `condition_problems` for what fits an operator."""

    attribute: str
    operator: ConditionOperator
    values: tuple[Json, ...] = ()


def all_match(conditions: tuple[Condition, ...], context: Context) -> bool:
    """Whether every condition matches (AND); no conditions match every context."""
    return all(matches(condition, context) for condition in conditions)


def matches(condition: Condition, context: Context) -> bool:
    """Whether the context matches. Never raises: an attribute of a type that does not fit does not match."""
    actual = context.get(condition.attribute)
    operator = condition.operator
    if operator is Op.EXISTS:
        return actual is not None
    if operator is Op.NOT_EXISTS:
        return actual is None
    if actual is None:
        return False
    candidates = actual if isinstance(actual, list) else [actual]
    match operator:
        case Op.ANY_OF | Op.EQUALS:
            return any(_same(candidate, value) for candidate in candidates for value in condition.values)
        case Op.NONE_OF | Op.NOT_EQUALS:
            return not any(_same(candidate, value) for candidate in candidates for value in condition.values)
        case Op.ANY_OF_IGNORE_CASE:
            return _shares_a_folded_text(candidates, condition.values)
        case Op.NONE_OF_IGNORE_CASE:
            return not _shares_a_folded_text(candidates, condition.values)
        case Op.CONTAINS:
            return any(value in text for text in _texts(candidates) for value in condition.values)
        case Op.STARTS_WITH:
            return any(text.startswith(value) for text in _texts(candidates) for value in condition.values)
        case Op.ENDS_WITH:
            return any(text.endswith(value) for text in _texts(candidates) for value in condition.values)
        case Op.LESS_THAN:
            return _is_number(actual) and actual < condition.values[0]
        case Op.LESS_THAN_OR_EQUAL:
            return _is_number(actual) and actual <= condition.values[0]
        case Op.GREATER_THAN:
            return _is_number(actual) and actual > condition.values[0]
        case Op.GREATER_THAN_OR_EQUAL:
            return _is_number(actual) and actual >= condition.values[0]
        case Op.VERSION_EQUALS | Op.VERSION_LESS_THAN | Op.VERSION_GREATER_THAN:
            return _version_matches(operator, actual, condition.values[0])
        case Op.BEFORE | Op.AFTER:
            return _date_matches(operator, actual, condition.values[0])
        case _:
            assert_never(operator)


def condition_problems(condition: Condition, path: tuple[str, ...]) -> Iterator[FieldProblem]:
    """What is wrong with a condition; `path` leads to it in the input."""
    if not condition.attribute.strip():
        yield FieldProblem((*path, "attribute"), "Name the attribute of the context to compare.")
    elif len(condition.attribute) > MAX_TEXT:
        yield FieldProblem((*path, "attribute"), f"Use at most {MAX_TEXT} characters.")
    count, fits, wanted = _VALUES_OF[condition.operator]
    values, name = condition.values, condition.operator.value
    at = (*path, "values")
    if count == "none" and values:
        yield FieldProblem(at, f"{name} takes no values; leave them out.")
        return
    if count == "one" and len(values) != 1:
        yield FieldProblem(at, f"{name} takes exactly one value: {wanted}.")
    if count == "some" and not values:
        yield FieldProblem(at, f"{name} takes at least one value: {wanted}.")
    if len(values) > MAX_VALUES:
        yield FieldProblem(at, f"Use at most {MAX_VALUES} values.")
        return
    for index, value in enumerate(values):
        if not fits(value):
            yield FieldProblem((*at, str(index)), f"{name} compares with {wanted}.")


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value - value == 0


def _is_kept_number(value: Json) -> bool:
    # A whole number of more than 64 bits can be written down, but never be read again.
    return _is_number(value) and (isinstance(value, float) or -(2**63) <= value < 2**63)


def _is_text(value: Json) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_TEXT


def _is_scalar(value: Json) -> bool:
    return isinstance(value, bool) or _is_kept_number(value) or (isinstance(value, str) and len(value) <= MAX_TEXT)


def _same(left: Json, right: Json) -> bool:
    # In Python True == 1; in JSON it is not.
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def _texts(values: list[Json]) -> Iterator[str]:
    return (value for value in values if isinstance(value, str))


def _shares_a_folded_text(candidates: list[Json], values: tuple[Json, ...]) -> bool:
    wanted = {value.casefold() for value in values}
    return any(text.casefold() in wanted for text in _texts(candidates))


# --- versions: dotted numbers of any length, then SemVer 2's pre-release precedence (semver.org, section 11)

_VERSION = re.compile(r"v?(\d+(?:\.\d+)*)(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]+)?", re.ASCII)
_MAX_VERSION = 100

_Version: TypeAlias = tuple[tuple[int, ...], tuple[tuple[int, int, str], ...]]
_NO_PRE_RELEASE = ((2, 0, ""),)


def _version(value: Json) -> _Version | None:
    if not isinstance(value, str) or len(value) > _MAX_VERSION:
        return None
    found = _VERSION.fullmatch(value.strip())
    if found is None:
        return None
    numbers = [int(part) for part in found[1].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()  # 1.2 and 1.2.0 are the same version
    if found[2] is None:
        return tuple(numbers), _NO_PRE_RELEASE
    return tuple(numbers), tuple((0, int(p), "") if p.isdecimal() else (1, 0, p) for p in found[2].split("."))


def _version_matches(operator: ConditionOperator, actual: Json, value: Json) -> bool:
    left, right = _version(actual), _version(value)
    if left is None or right is None:
        return False
    if operator is Op.VERSION_EQUALS:
        return left == right
    return left < right if operator is Op.VERSION_LESS_THAN else left > right


# --- dates ------------------------------------------------------------------------------------------------------------


def _date(value: Json) -> datetime | None:
    """ISO 8601 (UTC where it names no offset), or a number of milliseconds since 1970-01-01 UTC."""
    try:
        if isinstance(value, str):
            date = datetime.fromisoformat(value)
            return date.replace(tzinfo=UTC) if date.tzinfo is None else date
        if _is_number(value):
            return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=value)
    except (ValueError, OverflowError):
        return None
    return None


def _date_matches(operator: ConditionOperator, actual: Json, value: Json) -> bool:
    left, right = _date(actual), _date(value)
    if left is None or right is None:
        return False
    return left < right if operator is Op.BEFORE else left > right


_SCALARS = "a string, a number or a boolean"
_TEXTS = f"a string of 1 to {MAX_TEXT} characters"
_NUMBER = "a number"
_A_VERSION = "a version such as 1.4 or 2.0.0-rc.1"
_DATE = "an ISO 8601 date such as 2026-11-24T12:00:00Z, or milliseconds since 1970"


def _is_version(value: Json) -> bool:
    return _version(value) is not None


def _is_date(value: Json) -> bool:
    return _date(value) is not None


_VALUES_OF = {
    Op.ANY_OF: ("some", _is_scalar, _SCALARS),
    Op.NONE_OF: ("some", _is_scalar, _SCALARS),
    Op.ANY_OF_IGNORE_CASE: ("some", _is_text, _TEXTS),
    Op.NONE_OF_IGNORE_CASE: ("some", _is_text, _TEXTS),
    Op.CONTAINS: ("some", _is_text, _TEXTS),
    Op.STARTS_WITH: ("some", _is_text, _TEXTS),
    Op.ENDS_WITH: ("some", _is_text, _TEXTS),
    Op.EQUALS: ("one", _is_scalar, _SCALARS),
    Op.NOT_EQUALS: ("one", _is_scalar, _SCALARS),
    Op.LESS_THAN: ("one", _is_kept_number, _NUMBER),
    Op.LESS_THAN_OR_EQUAL: ("one", _is_kept_number, _NUMBER),
    Op.GREATER_THAN: ("one", _is_kept_number, _NUMBER),
    Op.GREATER_THAN_OR_EQUAL: ("one", _is_kept_number, _NUMBER),
    Op.VERSION_EQUALS: ("one", _is_version, _A_VERSION),
    Op.VERSION_LESS_THAN: ("one", _is_version, _A_VERSION),
    Op.VERSION_GREATER_THAN: ("one", _is_version, _A_VERSION),
    Op.BEFORE: ("one", _is_date, _DATE),
    Op.AFTER: ("one", _is_date, _DATE),
    Op.EXISTS: ("none", _is_scalar, ""),
    Op.NOT_EXISTS: ("none", _is_scalar, ""),
}
