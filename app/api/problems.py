"""The refusals as members of the unions: the one place where a domain problem becomes what a mutation answers."""

from __future__ import annotations

from collections.abc import Callable

import strawberry

from app.api.fields import plain
from app.api.parts import ReleasePhase
from app.api.types import Release
from app.domain import problems
from app.domain.access import Role

_MESSAGE = "What is wrong and what to do now, for a person to read."
_RELEASE = "The release as it now stands."


@strawberry.interface(description="Why a mutation was refused. Nothing was changed.")
class Problem:
    """What all refusals share."""

    message: str = plain(_MESSAGE)


@strawberry.type(description="Nothing is known by that id or key.")
class NotFound(Problem):
    """See `domain.problems.NotFound`."""

    id: strawberry.ID = plain("What was asked for.")


@strawberry.type(description="What is wrong with one field of the input.")
class FieldProblem:
    """See `domain.problems.FieldProblem`."""

    path: list[str] = plain("Leads to the field from the input's root; list places count from 0.")
    message: str = plain(_MESSAGE)


@strawberry.type(description="The input is wrong.")
class ValidationFailed(Problem):
    """See `domain.problems.ValidationFailed`."""

    fields: list[FieldProblem] = plain("Every field that is wrong.")


@strawberry.type(description="The caller's role does not allow it.")
class PermissionDenied(Problem):
    """See `domain.problems.PermissionDenied`."""

    required_role: Role = plain("The role that does.")


@strawberry.type(description="The name or key is taken.")
class AlreadyExists(Problem):
    """See `domain.problems.AlreadyExists`."""


@strawberry.type(description="A pipeline with releases under way can be neither edited nor deleted.")
class PipelineInUse(Problem):
    """See `domain.problems.PipelineInUse`."""

    releases: list[Release] = plain("The releases under way.")


@strawberry.type(description="The feature has a release under way and takes no second change.")
class ReleaseInProgress(Problem):
    """See `domain.problems.ReleaseInProgress`."""

    release: Release = plain("The release under way.")


@strawberry.type(description="The phase that was named is not the current one.")
class StalePhase(Problem):
    """See `domain.problems.StalePhase`."""

    release: Release = plain(_RELEASE)


@strawberry.type(description="The action does not apply to the release as it stands.")
class InvalidTransition(Problem):
    """See `domain.problems.InvalidTransition`."""

    release: Release = plain(_RELEASE)


@strawberry.type(description="The action would walk around a review.")
class ReviewRequired(Problem):
    """See `domain.problems.ReviewRequired`."""

    release: Release = plain(_RELEASE)
    phases: list[ReleasePhase] = plain("The phases that ask for it.")


_SHOWN_AS: dict[type[problems.Problem], Callable[..., Problem]] = {
    problems.NotFound: NotFound,
    problems.ValidationFailed: ValidationFailed,
    problems.PermissionDenied: PermissionDenied,
    problems.AlreadyExists: AlreadyExists,
    problems.PipelineInUse: PipelineInUse,
    problems.ReleaseInProgress: ReleaseInProgress,
    problems.StalePhase: StalePhase,
    problems.InvalidTransition: InvalidTransition,
    problems.ReviewRequired: ReviewRequired,
}


def shown(problem: problems.Problem) -> Problem:
    """A refusal as the schema shows it."""
    return _SHOWN_AS[type(problem)](**vars(problem))
