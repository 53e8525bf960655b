"""Conditions on a context, and what makes one valid. Whether a context matches is told in `matching.py`.

A context is a JSON object of attributes.
"""

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import TypeAlias

from msgspec import Struct

from app.domain.comparing import Json, date_of, is_number, version_of
from app.domain.problems import FieldProblem

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


def _is_kept_number(value: Json) -> bool:
    # A whole number of more than 64 bits can be written down, but never be read again.
    return is_number(value) and (isinstance(value, float) or -(2**63) <= value < 2**63)


def _is_text(value: Json) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_TEXT


def _is_scalar(value: Json) -> bool:
    return isinstance(value, bool) or _is_kept_number(value) or (isinstance(value, str) and len(value) <= MAX_TEXT)


_SCALARS = "a string, a number or a boolean"
_TEXTS = f"a string of 1 to {MAX_TEXT} characters"
_NUMBER = "a number"
_A_VERSION = "a version such as 1.4 or 2.0.0-rc.1"
_DATE = "an ISO 8601 date such as 2026-11-24T12:00:00Z, or milliseconds since 1970"


def _is_version(value: Json) -> bool:
    return version_of(value) is not None


def _is_date(value: Json) -> bool:
    return date_of(value) is not None


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
