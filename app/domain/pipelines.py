"""Release pipelines: the phases that a change goes through, and what makes one valid."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from app.domain.features import (
    conditions_problems,
    description_problems,
    duplicate_problems,
    environment_problems,
    name_problems,
)
from app.domain.problems import FieldProblem
from app.domain.targeting import Condition

MAX_PHASES = 50
MAX_PHASE_RULES = 50
MAX_BAKE_TIME = timedelta(days=90)
MAX_APPROVALS = 20
MIN_REMIND_EVERY = timedelta(minutes=1)
MAX_REMIND_EVERY = timedelta(days=30)
MAX_PIPELINE_BYTES = 256 * 1024


class ReleaseRule(Struct, frozen=True):
    """Admits the contexts of its environments (at least one) that match all its conditions."""

    environments: tuple[str, ...]
    conditions: tuple[Condition, ...] = ()


class Phase(Struct, frozen=True):
    """One step of a pipeline: whom it releases to (rules, OR), who must agree first, and how long it bakes.

    While its review is not given, reviewers are reminded after each `remind_every`; None reminds nobody.
    """

    id: str
    name: str
    rules: tuple[ReleaseRule, ...]
    bake_time: timedelta = timedelta(0)
    required_approvals: int = 0
    prevent_self_approval: bool = False
    remind_every: timedelta | None = None


class Pipeline(Struct, frozen=True):
    """An ordered list of phases that features are attached to."""

    id: str
    name: str
    description: str | None
    phases: tuple[Phase, ...]
    created_at: datetime
    revision: int = 1


def pipeline_problems(pipeline: Pipeline, environments: Sequence[str]) -> Iterator[FieldProblem]:
    """Everything that is wrong with a pipeline where those environments exist, by the paths of its input."""
    yield from name_problems(pipeline.name, ("name",))
    yield from description_problems(pipeline.description, ("description",))
    if not pipeline.phases:
        yield FieldProblem(("phases",), "Give the pipeline at least one phase.")
    if len(pipeline.phases) > MAX_PHASES:
        yield FieldProblem(("phases",), f"Use at most {MAX_PHASES} phases.")
        return
    for index, phase in enumerate(pipeline.phases):
        yield from _phase_problems(phase, environments, ("phases", str(index)))
    yield from duplicate_problems([phase.name for phase in pipeline.phases], ("phases",))
    size = len(msgspec.json.encode(pipeline.phases))
    if size > MAX_PIPELINE_BYTES:
        yield FieldProblem(("phases",), f"The phases take {size} bytes as JSON; the most is {MAX_PIPELINE_BYTES}.")


def _phase_problems(phase: Phase, environments: Sequence[str], path: tuple[str, ...]) -> Iterator[FieldProblem]:
    yield from name_problems(phase.name, (*path, "name"))
    if not phase.rules:
        yield FieldProblem((*path, "rules"), "Give the phase at least one release rule.")
    if len(phase.rules) > MAX_PHASE_RULES:
        yield FieldProblem((*path, "rules"), f"Use at most {MAX_PHASE_RULES} release rules.")
        return
    for index, rule in enumerate(phase.rules):
        at = (*path, "rules", str(index))
        if not rule.environments:
            yield FieldProblem((*at, "environments"), "Name at least one environment.")
        yield from environment_problems(rule.environments, environments, (*at, "environments"))
        yield from conditions_problems(rule.conditions, (*at, "conditions"))
    if phase.bake_time < timedelta(0):
        yield FieldProblem((*path, "bakeTime"), "A bake time cannot be negative.")
    if phase.bake_time > MAX_BAKE_TIME:
        yield FieldProblem((*path, "bakeTime"), f"Use a bake time of at most {MAX_BAKE_TIME.days} days.")
    if not 0 <= phase.required_approvals <= MAX_APPROVALS:
        yield FieldProblem((*path, "requiredApprovals"), f"Ask for 0 to {MAX_APPROVALS} approvals.")
    if phase.remind_every is not None:
        if not MIN_REMIND_EVERY <= phase.remind_every <= MAX_REMIND_EVERY:
            yield FieldProblem((*path, "remindEvery"), "Remind every 1 minute (PT1M) to 30 days (P30D).")
        if phase.required_approvals == 0:
            yield FieldProblem(
                (*path, "remindEvery"), "The phase asks for no review, so there is nothing to remind of."
            )
