"""Does this context match? A table for every operator, and what a large or odd context does."""

import math
import sys
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.comparing import Json
from app.domain.matching import MAX_ELEMENTS, MAX_SEARCHED, all_of, predicate
from app.domain.targeting import MAX_TEXT, Condition, ConditionOperator, condition_problems
from tests.domain.builders import condition
from tests.domain.test_targeting import GARBAGE, NAN, NOON, NOON_MS, VALUES, short

NEGATIVE = {ConditionOperator.NONE_OF, ConditionOperator.NONE_OF_IGNORE_CASE, ConditionOperator.NOT_EQUALS}


# operator, values, the attribute, whether it matches
MATCHES = [
    ("ANY_OF", ("de", "fr"), "fr", True),
    ("ANY_OF", ("de", "fr"), "FR", False),
    ("ANY_OF", ("de", "fr"), "it", False),
    ("ANY_OF", (1, 2), 2, True),
    ("ANY_OF", (1, 2), 2.0, True),
    ("ANY_OF", (1, 2), "2", False),
    ("ANY_OF", (1,), True, False),
    ("ANY_OF", (True,), 1, False),
    ("ANY_OF", (True,), True, True),
    ("ANY_OF", (0,), False, False),
    ("ANY_OF", ("beta",), ["alpha", "beta"], True),
    ("ANY_OF", ("beta",), ["alpha", None, {}], False),
    ("ANY_OF", ("beta",), [], False),
    ("ANY_OF", (1,), [True], False),
    ("ANY_OF", (5.0,), NAN, False),
    ("NONE_OF", ("de", "fr"), "it", True),
    ("NONE_OF", ("de", "fr"), "fr", False),
    ("NONE_OF", (1,), True, True),
    ("NONE_OF", ("beta",), ["alpha", "gamma"], True),
    ("NONE_OF", ("beta",), ["alpha", "beta"], False),
    ("NONE_OF", ("beta",), [], True),
    ("ANY_OF_IGNORE_CASE", ("Admin@Example.org",), "admin@example.ORG", True),
    ("ANY_OF_IGNORE_CASE", ("STRASSE",), "straße", True),
    ("ANY_OF_IGNORE_CASE", ("a",), "b", False),
    ("ANY_OF_IGNORE_CASE", ("1",), 1, False),
    ("ANY_OF_IGNORE_CASE", ("BETA",), [7, "beta"], True),
    ("NONE_OF_IGNORE_CASE", ("BETA",), "beta", False),
    ("NONE_OF_IGNORE_CASE", ("BETA",), "gamma", True),
    ("NONE_OF_IGNORE_CASE", ("BETA",), ["alpha", "Beta"], False),
    ("NONE_OF_IGNORE_CASE", ("1",), 1, True),
    ("CONTAINS", ("@example.",), "ann@example.org", True),
    ("CONTAINS", ("nobody", "ann"), "ann@example.org", True),
    ("CONTAINS", ("ANN",), "ann@example.org", False),
    ("CONTAINS", ("ex",), ["ann", "example"], True),
    ("CONTAINS", ("annex",), ["ann", "ex"], False),
    ("STARTS_WITH", ("ann",), "ann@example.org", True),
    ("STARTS_WITH", ("org",), "ann@example.org", False),
    ("STARTS_WITH", ("x", "y"), [3, "yes"], True),
    ("ENDS_WITH", (".org",), "ann@example.org", True),
    ("ENDS_WITH", ("ann",), "ann@example.org", False),
    ("ENDS_WITH", ("x", "s"), [3, "yes"], True),
    ("EQUALS", ("pro",), "pro", True),
    ("EQUALS", ("pro",), "Pro", False),
    ("EQUALS", ("",), "", True),
    ("EQUALS", (1,), True, False),
    ("EQUALS", (False,), 0, False),
    ("EQUALS", (False,), False, True),
    ("EQUALS", ("pro",), ["free", "pro"], True),
    ("EQUALS", ("pro",), {"pro": True}, False),
    ("NOT_EQUALS", ("pro",), "free", True),
    ("NOT_EQUALS", ("pro",), "pro", False),
    ("NOT_EQUALS", (1,), True, True),
    ("NOT_EQUALS", ("pro",), ["free", "pro"], False),
    ("LESS_THAN", (5,), 4.9, True),
    ("LESS_THAN", (5,), 5, False),
    ("LESS_THAN", (5,), -(10**400), True),
    ("LESS_THAN", (5,), False, False),
    ("LESS_THAN", (5,), "4", False),
    ("LESS_THAN", (5,), [4], False),
    ("LESS_THAN", (5,), NAN, False),
    ("LESS_THAN_OR_EQUAL", (5,), 5.0, True),
    ("LESS_THAN_OR_EQUAL", (5,), 5.1, False),
    ("LESS_THAN_OR_EQUAL", (5,), NAN, False),
    ("GREATER_THAN", (5,), 5.1, True),
    ("GREATER_THAN", (5,), 5, False),
    ("GREATER_THAN", (0,), True, False),
    ("GREATER_THAN", (5.5,), 10**400, True),
    ("GREATER_THAN", (5,), NAN, False),
    ("GREATER_THAN_OR_EQUAL", (5,), 5, True),
    ("GREATER_THAN_OR_EQUAL", (5,), 4.9, False),
    ("GREATER_THAN_OR_EQUAL", (1,), True, False),
    ("VERSION_EQUALS", ("1.2",), "1.2.0", True),
    ("VERSION_EQUALS", ("1.2.0.0",), "1.2", True),
    ("VERSION_EQUALS", ("0",), "0.0.0", True),
    ("VERSION_EQUALS", ("1.2.0",), "v1.2.0", True),
    ("VERSION_EQUALS", ("1.2.0",), " 1.2.0 ", True),
    ("VERSION_EQUALS", ("1.2.0",), "1.2.0+build.7", True),
    ("VERSION_EQUALS", ("1.2.0-rc.1",), "1.2-rc.1", True),
    ("VERSION_EQUALS", ("1.2.0",), "1.2.0-rc.1", False),
    ("VERSION_EQUALS", ("1.2",), "1.20", False),
    ("VERSION_EQUALS", ("1.2",), 1.2, False),
    ("VERSION_EQUALS", ("1.2",), ["1.2"], False),
    ("VERSION_LESS_THAN", ("1.10",), "1.9", True),
    ("VERSION_LESS_THAN", ("1.10",), "1.10", False),
    ("VERSION_LESS_THAN", ("1.10",), "1.11", False),
    ("VERSION_LESS_THAN", ("1.0.0.1",), "1", True),
    ("VERSION_LESS_THAN", ("1.0",), "1.0-rc.1", True),
    ("VERSION_GREATER_THAN", ("1.9",), "1.10", True),
    ("VERSION_GREATER_THAN", ("1.9",), "1.9.0", False),
    ("VERSION_GREATER_THAN", ("1.9",), "v2", True),
    ("VERSION_GREATER_THAN", ("1.9",), "2.0-", False),
    ("VERSION_GREATER_THAN", ("1.9",), "two", False),
    ("VERSION_GREATER_THAN", ("1.9",), "", False),
    ("VERSION_GREATER_THAN", ("1.9",), "٢.٠", False),
    ("VERSION_GREATER_THAN", ("1.9",), GARBAGE, False),
    ("VERSION_GREATER_THAN", ("1.9",), f"1.{GARBAGE}", False),
    ("VERSION_LESS_THAN", ("1.9",), GARBAGE, False),
    ("BEFORE", (NOON,), "2026-11-24T11:59:59.999Z", True),
    ("BEFORE", (NOON,), NOON, False),
    ("BEFORE", (NOON,), "2026-11-24T13:30:00+02:00", True),
    ("BEFORE", (NOON,), "2026-11-24T11:30:00-02:00", False),
    ("BEFORE", (NOON,), "2026-11-24T11:59:59", True),
    ("BEFORE", (NOON,), "2026-11-24T12:00:00", False),
    ("BEFORE", (NOON,), "2026-11-24", True),
    ("BEFORE", (NOON,), NOON_MS - 1, True),
    ("BEFORE", (NOON,), NOON_MS, False),
    ("BEFORE", (NOON_MS,), "2026-11-24T11:59:59Z", True),
    ("BEFORE", (NOON,), -1.5, True),
    ("BEFORE", (NOON,), "0001-01-01T00:00:00+14:00", True),
    ("BEFORE", (NOON,), "yesterday", False),
    ("BEFORE", (NOON,), "", False),
    ("BEFORE", (NOON,), GARBAGE, False),
    ("BEFORE", (NOON,), -(10**400), False),
    ("BEFORE", (NOON,), -math.inf, False),
    ("BEFORE", (NOON,), NAN, False),
    ("BEFORE", (NOON,), True, False),
    ("BEFORE", (NOON,), ["2020-01-01"], False),
    ("AFTER", (NOON,), "2026-11-24T12:00:00.001Z", True),
    ("AFTER", (NOON,), NOON, False),
    ("AFTER", (NOON,), "2026-11-24T12:30:00+02:00", False),
    ("AFTER", (NOON,), NOON_MS + 0.5, True),
    ("AFTER", (NOON,), "9999-12-31T23:59:59-14:00", True),
    ("AFTER", (NOON,), "2026-13-01", False),
    ("AFTER", (NOON,), 10**400, False),
    ("AFTER", (NOON,), 1e300, False),
    ("AFTER", (NOON,), math.inf, False),
    ("EXISTS", (), "", True),
    ("EXISTS", (), 0, True),
    ("EXISTS", (), False, True),
    ("EXISTS", (), [], True),
    ("NOT_EXISTS", (), "", False),
    ("NOT_EXISTS", (), [None], False),
]


@pytest.mark.parametrize(("operator", "values", "actual", "expected"), MATCHES, ids=short)
def test_operator_compares_the_attribute(operator: str, values: tuple[Json, ...], actual: Json, expected: bool) -> None:
    """Each operator matches what the table says, and only that."""
    assert predicate(condition("it", operator, *values))({"it": actual}) is expected


def test_table_shows_every_operator_both_ways() -> None:
    """An operator that is new, or seen only to match or only not to, leaves a hole in the table."""
    shown = {(operator, expected) for operator, _, _, expected in MATCHES}
    when_missing = {("EXISTS", False), ("NOT_EXISTS", True)}  # the next test
    assert shown | when_missing == {(operator.value, way) for operator in ConditionOperator for way in (True, False)}


@pytest.mark.parametrize("context", [{}, {"it": None}, {"It": "a"}], ids=["missing", "null", "other"])
@pytest.mark.parametrize("operator", ConditionOperator)
def test_missing_attribute_matches_only_not_exists(operator: ConditionOperator, context: dict[str, Json]) -> None:
    """Who is not known to be in a group is counted neither in it nor out of it."""
    assert predicate(Condition("it", operator, VALUES[operator]))(context) is (operator is ConditionOperator.NOT_EXISTS)


@pytest.mark.parametrize("actual", [True, {"a": 1}, [[]], "\ud800", NAN], ids=short)
@pytest.mark.parametrize("operator", ConditionOperator)
def test_attribute_of_another_type_is_none_of_the_values(operator: ConditionOperator, actual: Json) -> None:
    """An attribute whose type does not fit is there, is not any of the values, and matches nothing else."""
    expected = operator in NEGATIVE or operator is ConditionOperator.EXISTS
    assert predicate(Condition("it", operator, VALUES[operator]))({"it": actual}) is expected


def test_only_the_beginning_of_a_long_text_is_searched() -> None:
    """So that no context, however long, is searched for thousands of values for seconds."""
    contains = predicate(condition("it", "CONTAINS", "x"))
    assert contains({"it": "." * (MAX_SEARCHED - 1) + "x"})
    assert not contains({"it": "." * MAX_SEARCHED + "x"})


LIST_OPERATORS = ["ANY_OF", "EQUALS", "ANY_OF_IGNORE_CASE", "CONTAINS", "STARTS_WITH", "ENDS_WITH"]


@pytest.mark.parametrize("operator", [*LIST_OPERATORS, *sorted(each.value for each in NEGATIVE)])
def test_only_the_first_elements_of_a_long_list_count(operator: str) -> None:
    """So that no context, however long, holds up those who ask for thousands of features."""
    matches = predicate(condition("it", operator, "x"))
    when_named = operator in LIST_OPERATORS
    assert matches({"it": [""] * (MAX_ELEMENTS - 1) + ["x"]}) is when_named
    assert matches({"it": [""] * MAX_ELEMENTS + ["x"]}) is not when_named
    assert matches({"it": [{}, [], 1, True, None, "x"]}) is when_named


def cpu_seconds(work: Callable[[], object]) -> float:
    """What the thread consumes for it five times, at best."""

    def once() -> float:
        before = time.thread_time()
        for _ in range(5):
            work()
        return time.thread_time() - before

    return min(once() for _ in range(3))


@pytest.mark.parametrize("element", ["", "ß" * 9, 7, True, []], ids=repr)
@pytest.mark.parametrize("operator", ConditionOperator)
def test_more_elements_than_count_cost_nothing(operator: ConditionOperator, element: Json) -> None:
    """Sixteen times the elements beyond those that count take no more CPU, which four times leaves room for."""
    matches = predicate(Condition("it", operator, VALUES[operator]))
    few, many = ({"it": [element] * (MAX_ELEMENTS * factor)} for factor in (1, 16))
    assert cpu_seconds(lambda: matches(many)) < 4 * cpu_seconds(lambda: matches(few)) + 0.0005


@pytest.mark.parametrize("operator", sorted(each.value for each in ConditionOperator if each.value != "CONTAINS"))
def test_a_text_too_long_to_be_a_value_costs_nothing(operator: str) -> None:
    """A text of 200,000 characters takes no more CPU than one of 2,000: it is compared without being read."""
    matches = predicate(Condition("it", ConditionOperator(operator), VALUES[ConditionOperator(operator)]))
    few, many = ({"it": "ẞ" * length} for length in (2_000, 200_000))
    assert cpu_seconds(lambda: matches(many)) < 4 * cpu_seconds(lambda: matches(few)) + 0.0005


def test_folding_makes_no_text_shorter() -> None:
    """By which a text longer than every folded value is known to equal none; one that grows to their length does."""
    assert all(chr(code).casefold() for code in range(sys.maxunicode + 1))
    matches = predicate(condition("it", "ANY_OF_IGNORE_CASE", "ΐ" * MAX_TEXT))
    assert matches({"it": "ΐ" * MAX_TEXT})
    assert matches({"it": "ΐ".casefold() * MAX_TEXT})
    assert not matches({"it": "ΐ".casefold() * MAX_TEXT + "x"})
    assert not matches({"it": "ΐ" * (MAX_TEXT + 1)})


@pytest.mark.parametrize("operator", ["BEFORE", "AFTER"])
def test_a_date_is_read_up_to_a_hundred_characters(operator: str) -> None:
    """What is longer is no date, even where it begins as one."""
    matches = predicate(condition("it", operator, "2020-01-01" if operator == "AFTER" else "2030-01-01"))
    date = "2026-11-24T12:00:00."
    assert matches({"it": date.ljust(100, "0")})
    assert not matches({"it": date.ljust(101, "0")})


def test_pre_releases_are_ordered_as_semver_orders_them() -> None:
    """The chain of semver.org section 11, extended by a numeric step and both neighbours, is strictly ascending."""
    pre_releases = ("1", "2", "11", "alpha", "alpha.1", "alpha.beta", "beta", "beta.2", "beta.11", "rc.1")
    chain = ["0.9", *(f"1.0.0-{tag}" for tag in pre_releases), "1.0.0", "1.0.1-0", "1.0.1"]
    for i, left in enumerate(chain):
        for j, right in enumerate(chain):
            order = {
                "VERSION_LESS_THAN": i < j,
                "VERSION_EQUALS": i == j,
                "VERSION_GREATER_THAN": i > j,
            }
            assert {o: predicate(condition("v", o, right))({"v": left}) for o in order} == order, (left, right)


def test_conditions_are_anded() -> None:
    """All conditions must match; none at all match everyone."""
    both = (condition("plan", "EQUALS", "pro"), condition("age", "GREATER_THAN", 17))
    assert all_of(both)({"plan": "pro", "age": 18})
    assert not all_of(both)({"plan": "pro", "age": 17})
    assert not all_of(both)({"age": 18})
    assert all_of(())({})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates().map(str),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)


@given(operator=st.sampled_from(ConditionOperator), values=st.lists(json_values, max_size=2), actual=json_values)
def test_valid_condition_never_raises(operator: ConditionOperator, values: list[Json], actual: Json) -> None:
    """Whatever an SDK sends as an attribute, a condition that passed validation answers yes or no."""
    asked = Condition("it", operator, tuple(values))
    if list(condition_problems(asked, ("c",))):
        asked = Condition("it", operator, VALUES[operator])
    assert predicate(asked)({"it": actual}) in (True, False)
