"""What users get before, during and after a release."""

from collections.abc import Callable

import pytest
from msgspec import structs

from app.domain.evaluation import Evaluation, Reason, evaluate_feature
from app.domain.features import FeatureSpec
from app.domain.pipelines import ReleaseRule
from app.domain.releases import Release, ReleaseAction, spec_in_force
from app.domain.targeting import Context
from app.domain.transitions import settle
from tests.domain.builders import (
    HOUR,
    NOW,
    OFF,
    ON,
    ZERO,
    condition,
    do,
    evaluated,
    feature,
    member_of,
    phase,
    review,
    rule,
    spec,
    started,
    statuses,
)

CANARY, HALF, REST = phase("canary"), phase("half"), phase("rest")
EVERYONE = ("canary", "half", "rest", "nobody")
CREATED = spec(False, rule(False, name="as created"))
PRO = condition("plan", "EQUALS", "pro")
FREE = condition("plan", "EQUALS", "free")
UNIT: Context = {"targetingKey": "user-1", "plan": "pro"}


@pytest.mark.parametrize(
    ("given_spec", "context", "expected"),
    [
        (spec(1), UNIT, Evaluation(1, None, Reason.STATIC)),
        (spec(1, rule(2, FREE)), UNIT, Evaluation(1, None, Reason.DEFAULT)),
        (spec(1, rule(2, PRO, name="a")), UNIT, Evaluation(2, "a", Reason.TARGETING_MATCH)),
        (spec(1, rule(2, PRO, name="a"), rule(3, name="b")), UNIT, Evaluation(2, "a", Reason.TARGETING_MATCH)),
        (spec(1, rule(2, FREE, name="a"), rule(3, name="b")), UNIT, Evaluation(3, "b", Reason.TARGETING_MATCH)),
        (spec(1, rule(2, PRO, FREE)), UNIT, Evaluation(1, None, Reason.DEFAULT)),
        (spec(1, rule(2, percentage=99.99, name="a")), UNIT, Evaluation(2, "a", Reason.SPLIT)),
        (spec(1, rule(2, percentage=0)), UNIT, Evaluation(1, None, Reason.STATIC)),
        (spec(1, rule(2, percentage=0), rule(3, name="b")), UNIT, Evaluation(3, "b", Reason.TARGETING_MATCH)),
        (spec(1, rule(2, environments=("staging",))), UNIT, Evaluation(1, None, Reason.STATIC)),
        (
            spec(1, rule(2, environments=("staging", "production"))),
            UNIT,
            Evaluation(2, "rule", Reason.TARGETING_MATCH),
        ),
        (spec(1, rule(2, percentage=99.99)), {}, Evaluation(1, None, Reason.DEFAULT)),
        (spec(1, rule(2, percentage=99.99)), {"targetingKey": ""}, Evaluation(1, None, Reason.DEFAULT)),
        (spec(1, rule(2, percentage=99.99)), {"targetingKey": 7}, Evaluation(1, None, Reason.DEFAULT)),
        (spec(1, rule(2, percentage=100)), {}, Evaluation(2, "rule", Reason.TARGETING_MATCH)),
    ],
)
def test_first_rule_that_admits_decides(given_spec: FeatureSpec, context: Context, expected: Evaluation) -> None:
    """Rules are tried in order by environment, conditions and percentage; who none admits gets the default value."""
    assert evaluated(given_spec, "production", context) == expected


def exposed(release: Release, environment: str = "production") -> list[str]:
    """The groups that get true."""
    return [
        group
        for group in EVERYONE
        if evaluate_feature(feature(CREATED), release, environment, member_of(group)).value is True
    ]


def three() -> Release:
    return started(CANARY, HALF, REST)


def half_way() -> Release:
    return do(three(), ReleaseAction.SKIP)


def reviewed() -> Release:
    return started(CANARY, review("half"), REST)


@pytest.mark.parametrize(
    ("made", "groups"),
    [
        (lambda: started(review("canary"), HALF, REST), []),
        (three, ["canary"]),
        (lambda: do(three(), ReleaseAction.PAUSE), ["canary"]),
        (half_way, ["canary", "half"]),
        (lambda: settle(three(), NOW + HOUR), ["canary", "half"]),
        (lambda: settle(half_way(), NOW + HOUR), ["canary", "half", "rest"]),
        (lambda: do(half_way(), ReleaseAction.ABORT), []),
        (lambda: do(half_way(), ReleaseAction.FULL_ROLL_OUT), list(EVERYONE)),
        (lambda: settle(settle(half_way(), NOW + HOUR), NOW + 2 * HOUR), list(EVERYONE)),
        (lambda: settle(reviewed(), NOW + HOUR), ["canary"]),
        (lambda: do(settle(reviewed(), NOW + HOUR), ReleaseAction.APPROVE), ["canary", "half"]),
        (started, list(EVERYONE)),
        (lambda: started(phase("canary", ZERO), HALF, REST), ["canary", "half"]),
    ],
    ids=[
        "waiting",
        "first",
        "paused",
        "skipped",
        "baked",
        "all-phases",
        "aborted",
        "rolled-out",
        "completed",
        "waiting-later",
        "approved",
        "direct",
        "zero-bake",
    ],
)
def test_only_who_a_released_phase_admits_sees_the_change(made: Callable[[], Release], groups: list[str]) -> None:
    """Under way, the released phases decide who is exposed; completed, everybody is; aborted, nobody."""
    assert exposed(made()) == groups


def test_skipped_phase_that_was_released_still_exposes() -> None:
    """Leaving a phase early does not take the change away from those who have it."""
    release = half_way()
    assert statuses(release) == ["SKIPPED", "IN_PROGRESS", "NOT_RELEASED"]
    assert exposed(release) == ["canary", "half"]


def test_phase_bypassed_before_its_release_does_not_expose() -> None:
    """Skipping a phase that waited for review releases the next one only, and stays on record as not released."""
    waiting = settle(reviewed(), NOW + HOUR)
    release = do(waiting, ReleaseAction.SKIP, now=NOW + HOUR, reason="incident", bypass=True)
    assert statuses(release) == ["COMPLETED", "SKIPPED", "IN_PROGRESS"]
    assert release.phases[1].released_at is None
    assert exposed(release) == ["canary", "rest"]


def test_exposure_is_of_the_rules_environment_only() -> None:
    """A phase for production exposes nobody elsewhere until the release is completed."""
    assert exposed(three(), "staging") == []
    assert exposed(do(three(), ReleaseAction.FULL_ROLL_OUT), "staging") == list(EVERYONE)


def test_rules_of_a_phase_are_ored() -> None:
    """A context that any one of a phase's rules admits is exposed, in that rule's environment."""
    either = ReleaseRule(("staging",), (condition("group", "EQUALS", "half"),))
    release = started(structs.replace(CANARY, rules=(*CANARY.rules, either)))
    assert (exposed(release), exposed(release, "staging")) == (["canary"], ["half"])


def test_admitting_phase_is_the_first_released_one() -> None:
    """Of several phases that admit a context the first released one answers; unreleased ones never do."""
    wide = structs.replace(phase("wide"), rules=(ReleaseRule(("production",)),))
    release = do(started(CANARY, wide, HALF), ReleaseAction.SKIP)
    found = [evaluate_feature(feature(), release, "production", member_of(group)) for group in ("canary", "half")]
    assert [each.phase_name for each in found] == ["canary", "wide"]
    assert evaluate_feature(feature(), started(CANARY, wide), "production", member_of("half")).phase_name is None


def test_spec_in_force_is_decided_by_the_latest_release() -> None:
    """As created before any release, after it when completed, before it when under way or aborted."""
    given = feature(CREATED)
    assert spec_in_force(given, None) is CREATED
    assert spec_in_force(given, three()) is OFF
    assert spec_in_force(given, do(three(), ReleaseAction.PAUSE)) is OFF
    assert spec_in_force(given, started(review("canary"))) is OFF
    assert spec_in_force(given, do(half_way(), ReleaseAction.ABORT)) is OFF
    assert spec_in_force(given, do(half_way(), ReleaseAction.FULL_ROLL_OUT)) is ON
    assert spec_in_force(given, started()) is ON


def test_evaluation_says_which_rule_and_which_release_decided() -> None:
    """An exposed context learns the release's id and the new rule; others get the old answer without an id."""
    before, after = spec(False, rule(False, name="old")), spec(False, rule(True, name="new"))
    release = started(CANARY, before=before, after=after)
    given = feature(CREATED)
    old = Evaluation(False, "old", Reason.TARGETING_MATCH)
    new = Evaluation(True, "new", Reason.TARGETING_MATCH)

    def asked(latest: Release | None, group: str) -> Evaluation:
        return evaluate_feature(given, latest, "production", member_of(group))

    assert asked(None, "canary") == Evaluation(False, "as created", Reason.TARGETING_MATCH)
    assert asked(release, "canary") == structs.replace(new, release_id="rel_1", phase_name="canary")
    assert asked(release, "nobody") == old
    assert asked(do(release, ReleaseAction.SKIP), "nobody") == new
    assert asked(do(release, ReleaseAction.ABORT), "canary") == old


def test_exposed_context_may_still_get_the_old_value() -> None:
    """Being admitted by a phase means the spec after, whose own rules and percentages still decide."""
    release = started(CANARY, after=spec(False, rule(True, percentage=0)))
    found = evaluate_feature(feature(), release, "production", member_of("canary"))
    assert found == Evaluation(False, None, Reason.DEFAULT, "rel_1", "canary")


@pytest.mark.parametrize(
    ("release_rule", "environment", "context", "admitted"),
    [
        (ReleaseRule(("staging", "production")), "production", {}, True),
        (ReleaseRule(("staging",)), "production", {}, False),
        (ReleaseRule(("staging",), (PRO,)), "staging", {"plan": "pro"}, True),
        (ReleaseRule(("staging",), (PRO,)), "staging", {"plan": "free"}, False),
        (ReleaseRule(("staging",), (PRO,)), "production", {"plan": "pro"}, False),
        (ReleaseRule(("staging",), (PRO, condition("beta", "EXISTS"))), "staging", {"plan": "pro"}, False),
    ],
)
def test_release_rule_admits(release_rule: ReleaseRule, environment: str, context: Context, admitted: bool) -> None:
    """A release rule admits the contexts of its environments that match all its conditions."""
    release = started(structs.replace(CANARY, rules=(release_rule,)))
    assert (evaluate_feature(feature(), release, environment, context).release_id == release.id) is admitted
