"""Environments, and whether a change that touches one needs a pipeline."""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime

from msgspec import Struct

from app.domain.features import FeatureSpec, touched_environments
from app.domain.problems import FieldProblem

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)


class Environment(Struct, frozen=True):
    """Somewhere that features are evaluated, such as `production`, and whether a change there needs a pipeline."""

    name: str
    pipeline_required: bool
    created_at: datetime
    revision: int = 1


def environment_name_problems(name: str, path: tuple[str, ...]) -> Iterator[FieldProblem]:
    """What is wrong with an environment's name."""
    if not _NAME.fullmatch(name):
        yield FieldProblem(
            path,
            "Use 1 to 63 lower-case letters, digits, dots, dashes or underscores, beginning with a letter or digit.",
        )


def needs_pipeline(before: FeatureSpec, after: FeatureSpec, environments: Sequence[Environment]) -> bool:
    """Whether the change touches an environment that requires a pipeline.

    What counts is the effective difference: a rule renamed, or a rule that nobody can reach, touches nothing.
    """
    required = [environment.name for environment in environments if environment.pipeline_required]
    return bool(touched_environments(before, after, required))
