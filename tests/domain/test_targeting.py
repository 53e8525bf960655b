"""What makes a condition valid: what each operator refuses to be given."""

import math
from collections.abc import Iterable

import pytest

from app.domain.comparing import Json
from app.domain.targeting import MAX_TEXT, MAX_VALUES, Condition, ConditionOperator, condition_problems
from tests.domain.builders import condition

NAN = math.nan
GARBAGE = "9" * 5_000
NOON = "2026-11-24T12:00:00Z"
NOON_MS = 1_795_521_600_000

# One set of values for each operator that `condition_problems` has nothing against.
VALUES: dict[ConditionOperator, tuple[Json, ...]] = {
    ConditionOperator.ANY_OF: ("a", 1),
    ConditionOperator.NONE_OF: ("a", 1),
    ConditionOperator.ANY_OF_IGNORE_CASE: ("a",),
    ConditionOperator.NONE_OF_IGNORE_CASE: ("a",),
    ConditionOperator.CONTAINS: ("a",),
    ConditionOperator.STARTS_WITH: ("a",),
    ConditionOperator.ENDS_WITH: ("a",),
    ConditionOperator.EQUALS: ("a",),
    ConditionOperator.NOT_EQUALS: ("a",),
    ConditionOperator.LESS_THAN: (5,),
    ConditionOperator.LESS_THAN_OR_EQUAL: (5,),
    ConditionOperator.GREATER_THAN: (5,),
    ConditionOperator.GREATER_THAN_OR_EQUAL: (5,),
    ConditionOperator.VERSION_EQUALS: ("1.2",),
    ConditionOperator.VERSION_LESS_THAN: ("1.2",),
    ConditionOperator.VERSION_GREATER_THAN: ("1.2",),
    ConditionOperator.BEFORE: (NOON,),
    ConditionOperator.AFTER: (NOON,),
    ConditionOperator.EXISTS: (),
    ConditionOperator.NOT_EXISTS: (),
}


def short(value: object) -> str:
    return repr(value)[:40]


def problems(asked: Condition) -> list[str]:
    return [".".join(problem.path) for problem in condition_problems(asked, ("c",))]


SCALAR_OPERATORS = {"ANY_OF", "NONE_OF", "EQUALS", "NOT_EQUALS"}
TEXT_OPERATORS = {"ANY_OF_IGNORE_CASE", "NONE_OF_IGNORE_CASE", "CONTAINS", "STARTS_WITH", "ENDS_WITH"}
NUMBER_OPERATORS = {"LESS_THAN", "LESS_THAN_OR_EQUAL", "GREATER_THAN", "GREATER_THAN_OR_EQUAL"}
VERSION_OPERATORS = {"VERSION_EQUALS", "VERSION_LESS_THAN", "VERSION_GREATER_THAN"}
DATE_OPERATORS = {"BEFORE", "AFTER"}
BARE_OPERATORS = {"EXISTS", "NOT_EXISTS"}
LIST_OPERATORS = {"ANY_OF", "NONE_OF"} | TEXT_OPERATORS

# operators, values that each of them must refuse, one at a time
WRONG: list[tuple[set[str], list[Json]]] = [
    (SCALAR_OPERATORS, [None, [], {}, NAN, math.inf, -math.inf, "x" * (MAX_TEXT + 1)]),
    (TEXT_OPERATORS, ["", None, 1, True, ["a"], {}, "x" * (MAX_TEXT + 1)]),
    (NUMBER_OPERATORS, [NAN, math.inf, -math.inf, True, "5", None, [5], {}]),
    (VERSION_OPERATORS, ["", "one", "1.", "1.2-", "v", 1.2, True, None, ["1"], GARBAGE]),
    (DATE_OPERATORS, ["", "tomorrow", "2026-02-30", True, None, [0], NAN, math.inf, 10**400, GARBAGE]),
]
GOOD: list[tuple[set[str], list[Json]]] = [
    (SCALAR_OPERATORS, ["a", "", 0, 1.5, True, False, "x" * MAX_TEXT]),
    (TEXT_OPERATORS, ["a", " ", "x" * MAX_TEXT]),
    (NUMBER_OPERATORS, [0, -1, 2.5]),
    (VERSION_OPERATORS, ["1", "v1.2.3", "2.0.0-rc.1+build"]),
    (DATE_OPERATORS, [NOON, "2026-11-24", 0, -1.5]),
]


def singly(table: list[tuple[set[str], list[Json]]]) -> Iterable[tuple[str, Json]]:
    return [(operator, value) for operators, values in table for operator in sorted(operators) for value in values]


@pytest.mark.parametrize(("operator", "value"), singly(WRONG), ids=short)
def test_value_that_does_not_fit_is_refused_where_it_stands(operator: str, value: Json) -> None:
    """A value that an operator cannot compare with is named by its exact path."""
    assert problems(condition("it", operator, value)) == ["c.values.0"]


@pytest.mark.parametrize(("operator", "value"), singly(GOOD), ids=short)
def test_value_that_fits_is_accepted(operator: str, value: Json) -> None:
    """What an operator can compare with is no problem."""
    assert problems(condition("it", operator, value)) == []


def test_wrong_values_are_shown_for_every_operator() -> None:
    """An operator that is new and takes values leaves a hole in both tables."""
    every = {operator.value for operator in ConditionOperator} - BARE_OPERATORS
    assert {operator for operator, _ in singly(WRONG)} == every
    assert {operator for operator, _ in singly(GOOD)} == every


@pytest.mark.parametrize("operator", ConditionOperator)
def test_number_of_values_is_the_operators(operator: ConditionOperator) -> None:
    """None, exactly one, or at least one value: anything else is a problem of `values`."""
    few, good = Condition("it", operator, ()), VALUES[operator]
    twice = Condition("it", operator, (good or ("a",)) * 2)
    assert problems(Condition("it", operator, good)) == []
    if operator.value in BARE_OPERATORS:
        assert problems(twice) == ["c.values"]
    elif operator.value in LIST_OPERATORS:
        assert problems(few) == ["c.values"]
        assert problems(twice) == []
    else:
        assert problems(few) == ["c.values"]
        assert problems(twice) == ["c.values"]


def test_every_wrong_value_is_listed() -> None:
    """Two wrong values among good ones are two problems."""
    assert problems(condition("it", "CONTAINS", "a", 1, "b", "")) == ["c.values.1", "c.values.3"]


def test_too_many_values_are_one_problem() -> None:
    """A list beyond the limit is refused as a whole, and the limit itself is allowed."""
    assert problems(condition("it", "ANY_OF", *range(MAX_VALUES))) == []
    assert problems(condition("it", "ANY_OF", *[None] * (MAX_VALUES + 1))) == ["c.values"]


@pytest.mark.parametrize("attribute", ["", "  ", "x" * (MAX_TEXT + 1)], ids=short)
def test_attribute_must_be_named(attribute: str) -> None:
    """An attribute without a name, or with an endless one, is refused, next to wrong values."""
    assert problems(condition(attribute, "CONTAINS", 1)) == ["c.attribute", "c.values.0"]
    assert problems(condition("x" * MAX_TEXT, "CONTAINS", "a")) == []


@pytest.mark.parametrize("operator", ["LESS_THAN", "EQUALS", "ANY_OF"])
def test_a_number_too_wide_to_be_read_again_is_refused(operator: str) -> None:
    """Beyond 64 bits it could be stored and never be loaded, and with it the whole release."""
    assert problems(condition("x", operator, 2**63)) == ["c.values.0"]
    assert problems(condition("x", operator, -(2**63))) == []
