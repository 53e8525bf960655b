"""The types of the schema that stand alone: what features, pipelines and releases are made of."""

from __future__ import annotations

from datetime import datetime, timedelta

import strawberry

from app.api import enums  # noqa: F401  (describes the enums before a type names them)
from app.api.context import Info
from app.api.fields import computed, plain
from app.api.scalars import JSON
from app.domain import access, releases, targeting


def _bake_remaining(root: releases.ReleasePhase, info: Info) -> timedelta | None:
    if root.bake_ends_at is None:
        return root.bake_remaining
    return max(timedelta(0), root.bake_ends_at - info.context.services.clock.now())


@strawberry.type(description="Somewhere that features are evaluated.")
class Environment:
    """An environment."""

    name: str = plain("Its name: production.")
    pipeline_required: bool = plain("Whether a change that touches it goes through the feature's pipeline.")


@strawberry.type(description="One comparison of an attribute of the context with values.")
class Condition:
    """A condition."""

    attribute: str = plain("The attribute of the context.")
    operator: targeting.ConditionOperator = plain("How it is compared.")
    values: list[JSON] = plain("What it is compared with.")


@strawberry.type(description="Gives a value to the units that match.")
class TargetingRule:
    """A targeting rule."""

    name: str = plain("Its name, unlike those of the spec's other rules.")
    environments: list[str] = plain("Where it applies; none means everywhere.")
    conditions: list[Condition] = plain("All must match.")
    pass_percentage: float = plain(
        "How many of the matching units get the value, by a stable hash of feature key and targetingKey."
    )
    value: JSON = plain("What they get.")


@strawberry.type(description="What a feature gives to whom.")
class FeatureSpec:
    """A spec."""

    rules: list[TargetingRule] = plain("Tried in order.")
    default_value: JSON = plain("What whoever no rule admits gets.")


@strawberry.type(description="Whom a phase releases to: contexts of these environments that match all conditions.")
class ReleaseRule:
    """A release rule."""

    environments: list[str] = plain("At least one.")
    conditions: list[Condition] = plain("All must match.")


@strawberry.type(description="A step of a pipeline.")
class Phase:
    """A phase of a pipeline."""

    id: strawberry.ID = plain("Kept while the phase keeps its name.")
    name: str = plain("Unlike those of the pipeline's other phases.")
    rules: list[ReleaseRule] = plain("A context that one of them admits is in the phase.")
    bake_time: timedelta = plain("How long it is observed before the next phase.")
    required_approvals: int = plain("How many different people must approve it; 0 asks for no review.")
    prevent_self_approval: bool = plain("Whether who started the release may not approve it.")
    remind_every: timedelta | None = plain("How long its review waits before reviewers are told again; null for never.")


@strawberry.type(description="Who did something.")
class Actor:
    """An actor."""

    id: strawberry.ID = plain("The same for everything that this actor does.")
    name: str = plain("For people to read.")
    kind: access.ActorKind = plain("A person, or Slipway itself.")


@strawberry.type(description="One person's consent to a phase.")
class Approval:
    """An approval."""

    actor: Actor = plain("Who approved.")
    at: datetime = plain("When.")
    reason: str | None = plain("Why, if it was said.")


@strawberry.type(description="A phase of a release: the pipeline's as it was at the start, and how far it has come.")
class ReleasePhase:
    """A phase of a release."""

    id: strawberry.ID = plain("What actions name it by; unique within the release.")
    index: int = plain("Its place, from 0.")
    name: str = plain("Its name.")
    status: releases.PhaseStatus = plain("Where it stands.")
    rules: list[ReleaseRule] = plain("Whom it releases to.")
    bake_time: timedelta = plain("How long it is observed in full.")
    required_approvals: int = plain("How many different people must approve it.")
    prevent_self_approval: bool = plain("Whether who started the release may not approve it.")
    remind_every: timedelta | None = plain("How long its review waits before reviewers are told again; null for never.")
    approvals: list[Approval] = plain("Those given.")
    review_bypassed: bool = plain("Whether an administrator passed its review by.")
    released_at: datetime | None = plain("Since when its contexts have had the spec after.")
    bake_ends_at: datetime | None = plain("The deadline while the bake timer runs.")
    bake_remaining: timedelta | None = computed(
        _bake_remaining,
        "What remains of the bake time: counting while it runs, kept while paused.",
    )
    ended_at: datetime | None = plain("When it was completed, skipped or aborted.")


@strawberry.type(description="What a release changes.")
class SpecChange:
    """A change of a spec."""

    before: FeatureSpec = plain("What everyone gets whom no phase has admitted, and after an abort.")
    after: FeatureSpec = plain("What the admitted get, and everyone once it is completed.")
