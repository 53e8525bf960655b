"""Who a release reaches, in the schema."""

from __future__ import annotations

import strawberry

from app.api import enums  # noqa: F401  (describes the enums before a type names them)
from app.api.fields import plain
from app.api.parts import ReleasePhase, ReleaseRule
from app.domain import exposure


@strawberry.type(description="Who gets the new spec of a release in one environment.")
class EnvironmentExposure:
    """An exposure in an environment."""

    environment: str = plain("The environment.")
    share: exposure.Share = plain("How many of its contexts get the new spec.")
    changes: bool = plain("Whether the new spec gives anybody there another value.")
    phases: list[ReleasePhase] = plain("The released phases that reach it; none once the release is over.")
    rules: list[ReleaseRule] = plain("Their rules for it: a context that one of them admits gets the new spec.")
    text: str = plain("The same in words.")


@strawberry.type(description="Who gets the new spec of a release.")
class Exposure:
    """An exposure."""

    text: str = plain("In words.")
    environments: list[EnvironmentExposure] = plain("Environment by environment, in the order of their creation.")
