"""The refusals: one class for each Problem of the schema, raised where the rule is broken.

    Problem
    ├── NotFound
    ├── ValidationFailed
    ├── PermissionDenied
    ├── AlreadyExists
    ├── PipelineInUse
    ├── ReleaseInProgress
    ├── StalePhase
    ├── InvalidTransition
    └── ReviewRequired

A refusal changes nothing. Those about a release carry it as it stood when it was judged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from app.domain.access import Role
    from app.domain.releases import Release, ReleasePhase


class FieldProblem(Struct, frozen=True):
    """What is wrong with one field of an input; `path` leads to it from the input's root."""

    path: tuple[str, ...]
    message: str


class Problem(Exception):
    """Something asked for that is refused, worded for the person who asked."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NotFound(Problem):
    """Nothing is known by that id or key."""

    def __init__(self, message: str, id: str) -> None:
        super().__init__(message)
        self.id = id


class ValidationFailed(Problem):
    """The input is wrong; every wrong field is listed."""

    def __init__(self, fields: list[FieldProblem]) -> None:
        where = " ".join(f"{'.'.join(field.path)}: {field.message}" for field in fields[:3])
        more = f" (and {len(fields) - 3} more)" if len(fields) > 3 else ""
        super().__init__(f"The input is not valid. {where}{more}")
        self.fields = fields


class PermissionDenied(Problem):
    """The caller's role does not allow it."""

    def __init__(self, message: str, required_role: Role) -> None:
        super().__init__(message)
        self.required_role = required_role


class AlreadyExists(Problem):
    """The name or key is taken."""


class PipelineInUse(Problem):
    """Releases under way go through the pipeline, so it can be neither edited nor deleted."""

    def __init__(self, message: str, releases: list[Release]) -> None:
        super().__init__(message)
        self.releases = releases


class ReleaseInProgress(Problem):
    """The feature has a release under way and takes no second change."""

    def __init__(self, message: str, release: Release) -> None:
        super().__init__(message)
        self.release = release


class StalePhase(Problem):
    """The phase that was named is not the release's current phase."""

    def __init__(self, message: str, release: Release) -> None:
        super().__init__(message)
        self.release = release


class InvalidTransition(Problem):
    """The action does not apply to the release as it stands."""

    def __init__(self, message: str, release: Release) -> None:
        super().__init__(message)
        self.release = release


class ReviewRequired(Problem):
    """The action would walk around a review."""

    def __init__(self, message: str, release: Release, phases: tuple[ReleasePhase, ...]) -> None:
        super().__init__(message)
        self.release = release
        self.phases = phases
