"""Why a context gets what it gets: the explanation is the evaluation's, in full and in words."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from app.domain.evaluation import evaluate_feature
from app.domain.explanation import MAX_SHOWN, DecidingSpec, Explanation, RuleOutcome, explain
from app.domain.features import FeatureSpec
from app.domain.pipelines import ReleaseRule
from app.domain.releases import Release, ReleaseAction
from app.domain.targeting import Context
from tests.domain.builders import (
    ENVIRONMENTS,
    OFF,
    ON,
    ZERO,
    condition,
    do,
    feature,
    member_of,
    phase,
    review,
    rule,
    spec,
    started,
)

PRO = condition("plan", "EQUALS", "pro")
BETA = condition("beta", "EXISTS")


def asked(latest: Release | None, context: Context, environment: str = "production", created: FeatureSpec = OFF):
    return explain(feature(created), latest, environment, context)


def outcomes(found: Explanation) -> list[str]:
    return [each.outcome.value for each in found.rules]


conditions = st.lists(st.sampled_from([PRO, BETA]), max_size=2).map(tuple)
rules = st.builds(
    lambda name, environments, some, percentage, value: rule(
        value, *some, percentage=percentage, environments=environments, name=name
    ),
    st.sampled_from("abc"),
    st.sampled_from([(), ("staging",), ("production", "development")]),
    conditions,
    st.sampled_from([0.0, 50.0, 100.0]),
    st.booleans(),
)
specs = st.builds(lambda default, some: spec(default, *some), st.booleans(), st.lists(rules, max_size=3))
phases = st.lists(
    st.builds(
        lambda environments, some, approvals: (ReleaseRule(environments, some), approvals),
        st.sampled_from([("staging",), ("production",), ENVIRONMENTS]),
        conditions,
        st.integers(0, 1),
    ),
    max_size=3,
)
contexts = st.fixed_dictionaries(
    {}, optional={"targetingKey": st.sampled_from(["a", "b", "c"]), "plan": st.just("pro"), "beta": st.just(True)}
)
ends = st.sampled_from([None, ReleaseAction.SKIP, ReleaseAction.ABORT, ReleaseAction.FULL_ROLL_OUT])


@given(specs, specs, phases, ends, st.sampled_from(ENVIRONMENTS), contexts)
def test_it_explains_the_evaluation(before, after, through, end, environment, context) -> None:
    """The rule said to match, the phase said to admit and the spec said to decide are those of the evaluation."""
    copies = [
        structs.replace(phase(f"p{number}", approvals=approvals), rules=(each,))
        for number, (each, approvals) in enumerate(through)
    ]
    release = started(*copies, before=before, after=after)
    if end is not None and not release.is_over:
        release = do(release, end, reason="why", bypass=True)

    found = explain(feature(before), release, environment, context)

    expected = evaluate_feature(feature(before), release, environment, context)
    assert found.evaluation == expected
    matched = [each.rule.name for each in found.rules if each.outcome is RuleOutcome.MATCHED]
    assert matched == ([] if expected.rule_name is None else [expected.rule_name])
    assert (found.phase and found.phase.name) == expected.phase_name
    assert (found.spec is DecidingSpec.AFTER) == (expected.release_id is not None)
    assert (found.spec is DecidingSpec.IN_FORCE) == (found.release is None) == release.is_over
    for each in (*found.rules, *(r for p in found.phases for r in p.rules)):
        for one in each.conditions:
            assert one.actual == context.get(one.condition.attribute)


def test_an_admitted_context_is_told_by_which_phase() -> None:
    """The sentence an operator reads when a user asks why they see the new version."""
    found = asked(started(phase("canary"), phase("rest")), member_of("canary"))
    assert found.text == (
        "Release #1 of checkout is under way. Its phase “canary” has been released and admits the context: the spec "
        "after decides. The default value is given: true."
    )
    assert [each.admits for each in found.phases] == [True, False]
    assert [each.is_released for each in found.phases] == [True, False]


def test_a_context_outside_is_told_what_is_missing() -> None:
    """A phase that is not released, phases for elsewhere only, and phases that do not match are told apart."""
    release = started(phase("canary"), review("rest"))
    failed = "Its released phase “canary” does not admit the context: it asks that group is “canary”, and"
    assert asked(release, member_of("rest")).text == (
        f"Release #1 of checkout is under way. {failed} it is “rest”. Its phase “rest” would admit the context but is "
        "not released: the spec before decides. The default value is given: false."
    )
    assert "None of its released phases is for staging: the spec before decides." in asked(release, {}, "staging").text
    assert f"{failed} the context has none. So the spec before decides." in asked(release, {}).text


def test_few_of_many_phases_are_named() -> None:
    """An operator reads the first three; all of them are in the data."""
    release = started(*(phase(f"p{number}", ZERO) for number in range(5)), phase("last"))
    text = asked(release, {}).text
    assert text.count("does not admit") == 3
    assert "3 more released phases do not admit it either." in text


def test_every_outcome_of_a_rule_is_told() -> None:
    """Environment, condition, percentage with and without a unit, match, and what was not reached."""
    everything = spec(
        False,
        rule(True, environments=("staging",), name="elsewhere"),
        rule(True, PRO, name="pro"),
        rule(True, percentage=0.01, name="few"),
        rule(True, name="all"),
        rule(True, name="late"),
    )
    common = ["OTHER_ENVIRONMENT", "CONDITION_FAILED"]
    found = asked(None, {"plan": "free", "targetingKey": "a"}, created=everything)
    assert outcomes(found) == [*common, "NOT_IN_PERCENTAGE", "MATCHED", "NOT_REACHED"]
    place = found.rules[2].unit_percentage
    assert found.text == (
        "No release is under way: the spec in force decides. Rule “pro” does not match: it asks that plan is “pro”, "
        f"and it is “free”. Rule “few” matches, but the unit, at {place:g} %, is not within 0.01 %. "
        "Rule “all” matches. Its value is given: true."
    )
    without = asked(None, {}, created=everything)
    assert outcomes(without) == [*common, "NO_TARGETING_KEY", "MATCHED", "NOT_REACHED"]
    assert "plan is “pro”, and the context has none" in without.text
    assert without.rules[2].unit_percentage is None


def test_only_conditions_that_were_looked_at_are_listed() -> None:
    """Rules for elsewhere and rules that were not reached have none; a phase's rules for elsewhere have none either."""
    everything = spec(
        False,
        rule(True, PRO, environments=("staging",), name="elsewhere"),
        rule(True, BETA, percentage=0, name="nobody"),
        rule(True, PRO, BETA, name="all"),
        rule(True, PRO, name="late"),
    )
    found = asked(None, {"plan": "pro", "beta": True}, created=everything)
    assert outcomes(found) == ["OTHER_ENVIRONMENT", "NO_TARGETING_KEY", "MATCHED", "NOT_REACHED"]
    assert [len(each.conditions) for each in found.rules] == [0, 1, 2, 0]
    release = started(phase("canary"), phase("elsewhere", environment="staging"))
    assert [len(each.rules[0].conditions) for each in asked(release, {}).phases] == [1, 0]


def test_a_unit_within_a_percentage_is_told_where_it_stands() -> None:
    """The place of a unit is the one that pass percentages go by: it is below the percentage exactly when it passes."""
    for key in ("a", "b", "c", "d"):
        found = asked(None, {"targetingKey": key}, created=spec(False, rule(True, percentage=50)))
        place = found.rules[0].unit_percentage
        assert place is not None
        assert (place < 50) == (found.evaluation.value is True)
        assert f"{place:g} %" in found.text


def test_a_long_attribute_is_cut() -> None:
    """However often a long attribute was compared, its beginning is shown, and a short one as it is."""
    created = spec(False, rule(True, condition("it", "EQUALS", "x")))
    for long in ("y" * 5_000, ["y"] * 5_000):
        (shown,) = asked(None, {"it": long}, created=created).rules[0].conditions
        assert isinstance(shown.actual, str)
        assert len(shown.actual) == MAX_SHOWN
    (shown,) = asked(None, {"it": ["y"]}, created=created).rules[0].conditions
    assert shown.actual == ["y"]


def test_everyone_gets_the_new_spec_once_it_is_completed() -> None:
    """After a release the spec in force decides, and no release is named."""
    found = asked(do(started(phase("canary"), after=ON), ReleaseAction.SKIP), {})
    assert (found.spec, found.release, found.evaluation.value) == (DecidingSpec.IN_FORCE, None, True)
