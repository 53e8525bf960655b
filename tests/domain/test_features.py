"""Whom a percentage admits, what a change touches, and what makes a spec valid."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.comparing import Json
from app.domain.features import (
    BUCKETS,
    MAX_DESCRIPTION,
    MAX_NAME,
    MAX_RULES,
    MAX_SPEC_BYTES,
    FeatureKind,
    FeatureSpec,
    bucket,
    description_problems,
    key_problems,
    name_problems,
    same_json,
    spec_problems,
    spec_size_problems,
    touched_environments,
)
from app.domain.problems import FieldProblem
from app.domain.targeting import MAX_CONDITIONS
from tests.domain.builders import ENVIRONMENTS, condition, evaluated, rule, spec

PRO = condition("plan", "EQUALS", "pro")
FREE = condition("plan", "EQUALS", "free")
KEYS = [f"user-{number}" for number in range(100_000)]

# --- bucketing --------------------------------------------------------------------------------------------------------


def test_buckets_are_filled_evenly() -> None:
    """Chi-square over 100,000 units and 10,000 buckets lies between its 0.1 % and 99.9 % points.

    Wilson and Hilferty: the point of z with d degrees of freedom is d * (1 - 2/9d + z * sqrt(2/9d))**3. With d = 9,999
    and z = -3.0902 and 3.0902 these are 9,567 and 10,442.
    """
    counts = Counter(bucket("checkout", key) for key in KEYS)
    expected = len(KEYS) / BUCKETS
    assert set(counts) <= set(range(BUCKETS))
    assert 9_567 < sum((counts[place] - expected) ** 2 / expected for place in range(BUCKETS)) < 10_442


def test_features_are_bucketed_independently() -> None:
    """Where a unit lies for one feature says nothing of another: 10 by 10 cells are even (99 degrees: 148.2)."""
    cells = Counter((bucket("checkout", key) // 1_000, bucket("search", key) // 1_000) for key in KEYS)
    expected = len(KEYS) / 100
    assert len(cells) == 100
    assert sum((count - expected) ** 2 / expected for count in cells.values()) < 148.2


@pytest.mark.parametrize(
    ("feature_key", "targeting_key", "place"),
    [
        ("checkout", "user-1", 2_447),
        ("search", "user-1", 5_187),
        ("checkout", "Ünïcödé 🦆", 3_535),
        ("checkout", "\ud800", 6_833),
    ],
)
def test_buckets_stay_for_ever(feature_key: str, targeting_key: str, place: int) -> None:
    """These places were written down when the first units were given them; a change would move every user."""
    assert bucket(feature_key, targeting_key) == place


def passes(percentage: float, targeting_key: str) -> bool:
    asked = spec(False, rule(True, percentage=percentage))
    return evaluated(asked, "production", {"targetingKey": targeting_key}).value is True


def test_percentage_admits_exactly_its_buckets() -> None:
    """At every hundredth of a percent the last bucket below it passes and the next does not, in spite of floats."""
    unit_in = {bucket("checkout", key): key for key in KEYS}
    assert len(unit_in) > 9_900
    for hundredths in range(1, BUCKETS):
        inside, outside = unit_in.get(hundredths - 1), unit_in.get(hundredths)
        assert inside is None or passes(hundredths / 100, inside)
        assert outside is None or not passes(hundredths / 100, outside)


percentages = st.integers(0, BUCKETS).map(lambda hundredths: hundredths / 100)


@given(smaller=percentages, larger=percentages, key=st.text(min_size=1))
def test_growing_a_percentage_takes_nobody_out(smaller: float, larger: float, key: str) -> None:
    """Who passes at a percentage passes at every larger one."""
    smaller, larger = sorted((smaller, larger))
    assert passes(smaller, key) <= passes(larger, key)


# --- what a change touches --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        (True, True, True),
        (True, 1, False),
        (False, 0, False),
        ({"a": [True]}, {"a": [1]}, False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": {"x": 1, "y": 2}}, {"a": {"y": 2, "x": 1}}, True),
        ([1, 2], [2, 1], False),
        (None, False, False),
        ("1", 1, False),
        ({"a": None}, {}, False),
    ],
)
def test_same_json(left: Json, right: Json, same: bool) -> None:
    """Values are compared as JSON: true is not 1, and the order of an object's names means nothing."""
    assert same_json(left, right) is same


STAGING = ("staging",)
ALL = list(ENVIRONMENTS)


@pytest.mark.parametrize(
    ("before", "after", "touched"),
    [
        (spec(False), spec(False), []),
        (spec(False), spec(True), ALL),
        (spec({"a": True}), spec({"a": 1}), ALL),
        (spec(False, rule(True, PRO, name="old")), spec(False, rule(True, PRO, name="new")), []),
        (spec(False), spec(False, rule(True, PRO)), ALL),
        (spec(False), spec(False, rule(True, PRO, environments=STAGING)), ["staging"]),
        (
            spec(False, rule(True, PRO, environments=("staging", "production"))),
            spec(False, rule(True, PRO, environments=STAGING)),
            ["production"],
        ),
        (spec(False, rule(True, PRO)), spec(False, rule(True, PRO, environments=ENVIRONMENTS)), []),
        (spec(False), spec(False, rule(True, PRO, percentage=0)), []),
        (spec(False, rule(True, PRO, percentage=10)), spec(False, rule(True, PRO, percentage=10.01)), ALL),
        (spec(False, rule(True)), spec(False, rule(True), rule(False, PRO)), []),
        (spec(False, rule(True)), spec(True, rule(True)), []),
        (spec(False, rule(True, environments=STAGING)), spec(True, rule(True, environments=STAGING)), ALL[::2]),
        (spec(False, rule(True, percentage=50)), spec(False, rule(True, percentage=50), rule(True, PRO)), ALL),
        (
            spec(False, rule(True, PRO, environments=STAGING), rule(True, FREE, environments=("production",))),
            spec(False, rule(True, FREE, environments=("production",)), rule(True, PRO, environments=STAGING)),
            [],
        ),
        (spec(0, rule(1, PRO), rule(2, FREE)), spec(0, rule(2, FREE), rule(1, PRO)), ALL),
        (spec(False, rule(True, PRO)), spec(False, rule(True, FREE)), ALL),
        (
            spec(False, rule(True, condition("age", "EQUALS", 1))),
            spec(False, rule(True, condition("age", "EQUALS", True))),
            ALL,
        ),
    ],
)
def test_touched_environments(before: FeatureSpec, after: FeatureSpec, touched: list[str]) -> None:
    """Names, rules for elsewhere, rules that admit nobody and rules that nobody reaches touch no environment."""
    assert touched_environments(before, after, ENVIRONMENTS) == touched
    assert touched_environments(after, before, ENVIRONMENTS) == touched


rules = st.builds(
    lambda value, conditions, percentage, environments: rule(
        value, *conditions, percentage=percentage, environments=environments
    ),
    st.sampled_from([0, 1, True]),
    st.sampled_from([(), (PRO,), (FREE,), (PRO, FREE)]),
    st.sampled_from([0.0, 50.0, 100.0]),
    st.sampled_from([(), ("staging",), ("development", "production"), ENVIRONMENTS]),
)
specs = st.builds(
    lambda default, some: spec(default, *some), st.sampled_from([0, 1, True]), st.lists(rules, max_size=3)
)


@given(before=specs, after=specs)
def test_untouched_environment_gives_everyone_the_same(before: FeatureSpec, after: FeatureSpec) -> None:
    """Where a change is said to touch nothing, no context gets another value: so no review is walked around."""
    touched = touched_environments(before, after, ENVIRONMENTS)
    for environment in set(ENVIRONMENTS) - set(touched):
        for plan in ("pro", "free", None):
            for number in range(6):
                context = {"targetingKey": f"user-{number}", "plan": plan}
                was, now = (evaluated(each, environment, context).value for each in (before, after))
                assert same_json(was, now), (environment, context)


# --- validation -------------------------------------------------------------------------------------------------------


def paths(problems: list[FieldProblem]) -> list[str]:
    return [".".join(problem.path) for problem in problems]


def nested(levels: int) -> Json:
    value: Json = {}
    for _ in range(levels - 1):
        value = {"in": value}
    return value


GATE, CONFIG = FeatureKind.FEATURE_GATE, FeatureKind.DYNAMIC_CONFIG


@pytest.mark.parametrize(
    ("kind", "given_spec", "expected"),
    [
        (GATE, spec(False, rule(True, PRO, percentage=12.34, environments=ENVIRONMENTS)), []),
        (GATE, spec(1), ["defaultValue"]),
        (GATE, spec(None), ["defaultValue"]),
        (GATE, spec({}), ["defaultValue"]),
        (GATE, spec(False, rule("on")), ["rules.0.value"]),
        (CONFIG, spec({"a": [1, None, "x", 1.5, True, {}]}), []),
        (CONFIG, spec(True), ["defaultValue"]),
        (CONFIG, spec([]), ["defaultValue"]),
        (CONFIG, spec({}, rule(True), rule({}, name="b")), ["rules.0.value"]),
        (CONFIG, spec({"a": [0, {"b": math.inf}]}), ["defaultValue.a.1.b"]),
        (CONFIG, spec({"a": math.nan, "b": 2**63}), ["defaultValue.a", "defaultValue.b"]),
        (CONFIG, spec({"a": -(2**63), "b": 2**63 - 1}), []),
        (CONFIG, spec({"a": -(2**63) - 1}), ["defaultValue.a"]),
        (CONFIG, spec(nested(50)), []),
        (CONFIG, spec(nested(51)), ["defaultValue" + ".in" * 50]),
        (GATE, spec(False, rule(name="")), ["rules.0.name"]),
        (GATE, spec(False, rule(name="a"), rule(name="b"), rule(name="A")), ["rules.2.name"]),
        (GATE, spec(False, rule(environments=("staging", "mars"))), ["rules.0.environments.1"]),
        (GATE, spec(False, rule(environments=("staging", "staging"))), ["rules.0.environments.1"]),
        (
            GATE,
            spec(False, rule(True, PRO, condition("", "CONTAINS"))),
            [
                "rules.0.conditions.1.attribute",
                "rules.0.conditions.1.values",
            ],
        ),
        (GATE, spec(False, rule(True, *[PRO] * MAX_CONDITIONS)), []),
        (GATE, spec(False, rule(True, *[PRO] * (MAX_CONDITIONS + 1))), ["rules.0.conditions"]),
        (GATE, spec(False, rule(percentage=-0.01)), ["rules.0.passPercentage"]),
        (GATE, spec(False, rule(percentage=100.01)), ["rules.0.passPercentage"]),
        (GATE, spec(False, rule(percentage=math.nan)), ["rules.0.passPercentage"]),
        (GATE, spec(False, rule(percentage=0.005)), ["rules.0.passPercentage"]),
        (GATE, spec(False, rule(percentage=0), rule(percentage=0.29, name="b"), rule(percentage=100, name="c")), []),
        (GATE, spec(False, *[rule(name=str(i)) for i in range(MAX_RULES)]), []),
        (GATE, spec(False, *[rule("wrong")] * (MAX_RULES + 1)), ["rules"]),
        (
            GATE,
            spec(
                0, rule(True, name="a"), rule(1, FREE, condition("b", "EXISTS", 1), percentage=101, environments=("x",))
            ),
            [
                "rules.1.environments.0",
                "rules.1.conditions.1.values",
                "rules.1.passPercentage",
                "rules.1.value",
                "defaultValue",
            ],
        ),
    ],
)
def test_spec_problems_name_every_wrong_field(kind: FeatureKind, given_spec: FeatureSpec, expected: list[str]) -> None:
    """Every wrong field of a spec is listed by its path in the input, and a valid spec has none."""
    assert paths(list(spec_problems(given_spec, kind, ENVIRONMENTS, ()))) == expected


def test_paths_begin_where_the_spec_lies() -> None:
    """The path of a problem starts with the path that leads to the spec."""
    found = spec_problems(spec(1, rule(percentage=-1)), GATE, ENVIRONMENTS, ("input", "spec"))
    assert [problem.path for problem in found] == [
        ("input", "spec", "rules", "0", "passPercentage"),
        ("input", "spec", "defaultValue"),
    ]


def test_spec_has_a_size() -> None:
    """A spec that would not fit twice into a release is refused as a whole."""
    assert paths(list(spec_size_problems(spec({"a": "x" * 1_000}), ("spec",)))) == []
    assert paths(list(spec_size_problems(spec({"a": "x" * MAX_SPEC_BYTES}), ("spec",)))) == ["spec"]


@pytest.mark.parametrize("key", ["a", "checkout.new-flow_2", "9", "A" * 100])
def test_good_keys(key: str) -> None:
    """Keys that fit into a URL are accepted."""
    assert paths(list(key_problems(key, ("key",)))) == []


@pytest.mark.parametrize("key", ["", "-a", ".a", "a b", "a/b", "ä", "a\n", "A" * 101])
def test_bad_keys(key: str) -> None:
    """Keys that would need quoting somewhere are refused."""
    assert paths(list(key_problems(key, ("key",)))) == ["key"]


@pytest.mark.parametrize("name", ["", " ", " a", "a ", "a\nb", "a\x00", "\u202eevil", "x" * (MAX_NAME + 1)])
def test_bad_names(name: str) -> None:
    """Names that nobody could read, or tell from another, are refused with one problem each."""
    assert paths(list(name_problems(name, ("name",)))) == ["name"]


def test_good_names() -> None:
    """Names of any language are accepted, up to their limit."""
    assert [problem for name in ("a", "Köln 🦆 1", "x" * MAX_NAME) for problem in name_problems(name, ())] == []


def test_descriptions_have_a_length() -> None:
    """A description may be missing, empty or long, but not endless."""
    for text, expected in ((None, []), ("", []), ("x" * MAX_DESCRIPTION, []), ("x" * (MAX_DESCRIPTION + 1), ["d"])):
        assert paths(list(description_problems(text, ("d",)))) == expected
