"""What makes a pipeline valid."""

from datetime import timedelta

import pytest
from msgspec import structs

from app.domain.pipelines import (
    MAX_APPROVALS,
    MAX_BAKE_TIME,
    MAX_PHASE_RULES,
    MAX_PHASES,
    Phase,
    Pipeline,
    ReleaseRule,
    pipeline_problems,
)
from app.domain.targeting import MAX_CONDITIONS
from tests.domain.builders import ENVIRONMENTS, ZERO, condition, phase, pipeline

GOOD = phase("good")
PRO = condition("plan", "EQUALS", "pro")
PRODUCTION = ReleaseRule(("production",))


def paths(asked: Pipeline) -> list[str]:
    return [".".join(problem.path) for problem in pipeline_problems(asked, ENVIRONMENTS)]


def but(**changes: object) -> Pipeline:
    return structs.replace(pipeline(GOOD), **changes)


def with_phase(**changes: object) -> Pipeline:
    return pipeline(GOOD, structs.replace(phase("other"), **changes))


def with_rule(environments: tuple[str, ...], *conditions: object) -> Pipeline:
    return with_phase(rules=(PRODUCTION, ReleaseRule(environments, conditions)))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (pipeline(GOOD), []),
        (but(name=""), ["name"]),
        (but(description="x" * 2_001), ["description"]),
        (but(phases=()), ["phases"]),
        (pipeline(*[phase(str(i)) for i in range(MAX_PHASES)]), []),
        (but(phases=(Phase("", "", ()),) * (MAX_PHASES + 1)), ["phases"]),
        (with_phase(name=" "), ["phases.1.name"]),
        (with_phase(name="GOOD"), ["phases.1.name"]),
        (with_phase(rules=()), ["phases.1.rules"]),
        (with_phase(rules=(PRODUCTION,) * MAX_PHASE_RULES), []),
        (with_phase(rules=(ReleaseRule(()),) * (MAX_PHASE_RULES + 1)), ["phases.1.rules"]),
        (with_phase(bake_time=timedelta(milliseconds=-1)), ["phases.1.bakeTime"]),
        (with_phase(bake_time=ZERO), []),
        (with_phase(bake_time=MAX_BAKE_TIME), []),
        (with_phase(bake_time=MAX_BAKE_TIME + timedelta(milliseconds=1)), ["phases.1.bakeTime"]),
        (with_phase(required_approvals=-1), ["phases.1.requiredApprovals"]),
        (with_phase(required_approvals=MAX_APPROVALS), []),
        (with_phase(required_approvals=MAX_APPROVALS + 1), ["phases.1.requiredApprovals"]),
        (with_rule(()), ["phases.1.rules.1.environments"]),
        (with_rule(("staging", "mars")), ["phases.1.rules.1.environments.1"]),
        (with_rule(("staging", "production", "staging")), ["phases.1.rules.1.environments.2"]),
        (with_rule(("staging",), PRO), []),
        (with_rule(("staging",), PRO, condition("n", "LESS_THAN", "5")), ["phases.1.rules.1.conditions.1.values.0"]),
        (with_rule(("staging",), *[PRO] * (MAX_CONDITIONS + 1)), ["phases.1.rules.1.conditions"]),
        (
            structs.replace(
                pipeline(
                    phase("twice", approvals=99),
                    Phase("", "twice", (ReleaseRule((), (condition("", "EXISTS"),)),), -MAX_BAKE_TIME),
                ),
                name="\n",
            ),
            [
                "name",
                "phases.0.requiredApprovals",
                "phases.1.rules.0.environments",
                "phases.1.rules.0.conditions.0.attribute",
                "phases.1.bakeTime",
                "phases.1.name",
            ],
        ),
    ],
)
def test_pipeline_problems_name_every_wrong_field(asked: Pipeline, expected: list[str]) -> None:
    """Every wrong field of a pipeline is listed by its path in the input, and a valid pipeline has none."""
    assert paths(asked) == expected


def test_a_pipeline_fits_into_every_release_of_it() -> None:
    """Each release carries a copy: phases that are valid one by one may be too large together."""
    values = tuple(f"{number:0999d}" for number in range(1_000))
    large = structs.replace(GOOD, rules=(ReleaseRule(("production",), (condition("id", "ANY_OF", *values),)),))
    assert paths(pipeline(large)) == ["phases"]
