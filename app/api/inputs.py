"""What clients send, and the domain values that it stands for."""

from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, cast

import strawberry
from strawberry.utils.str_converters import to_camel_case

from app.api import enums  # noqa: F401  (describes the enums before a type names them)
from app.api.scalars import JSON
from app.audit import KEPT_SECRET
from app.catalog import PhaseDraft, PipelineEdit
from app.domain.commands import Command
from app.domain.features import FeatureKind, FeatureSpec, TargetingRule
from app.domain.pipelines import ReleaseRule
from app.domain.releases import ReleaseAction, ReleaseStatus
from app.domain.targeting import Condition, ConditionOperator
from app.store.repositories import ReleaseFilter as Filter

SECRET = "secret"  # noqa: S105
"""Of a field's metadata: that what is given must be on no record."""


@strawberry.input(description="One comparison of an attribute of the context with values.")
class ConditionInput:
    """A condition."""

    attribute: str = strawberry.field(description="The attribute of the context.")
    operator: ConditionOperator = strawberry.field(description="How to compare.")
    values: list[JSON] = strawberry.field(description="What to compare with.", default_factory=list)

    def value(self) -> Condition:
        """The domain's condition."""
        return Condition(self.attribute, self.operator, tuple(self.values))


@strawberry.input(description="A targeting rule of a spec.")
class TargetingRuleInput:
    """A targeting rule."""

    name: str = strawberry.field(description="Unlike the names of the spec's other rules.")
    environments: list[str] = strawberry.field(
        description="Where it applies; none means everywhere.", default_factory=list
    )
    conditions: list[ConditionInput] = strawberry.field(description="All must match.", default_factory=list)
    pass_percentage: float = strawberry.field(
        description="How many of the matching units get the value: 0 to 100, two decimals at most.", default=100
    )
    value: JSON = strawberry.field(description="What they get: a boolean for a gate, an object for a config.")

    def rule(self) -> TargetingRule:
        """The domain's targeting rule."""
        return TargetingRule(
            self.name,
            tuple(self.environments),
            tuple(condition.value() for condition in self.conditions),
            float(self.pass_percentage),
            self.value,
        )


@strawberry.input(description="What a feature gives to whom.")
class FeatureSpecInput:
    """A spec."""

    rules: list[TargetingRuleInput] = strawberry.field(description="Tried in order.", default_factory=list)
    default_value: JSON = strawberry.field(description="What whoever no rule admits gets.")

    def spec(self) -> FeatureSpec:
        """The domain's spec."""
        return FeatureSpec(tuple(rule.rule() for rule in self.rules), self.default_value)


@strawberry.input(description="Whom a phase releases to.")
class ReleaseRuleInput:
    """A release rule."""

    environments: list[str] = strawberry.field(description="At least one environment.")
    conditions: list[ConditionInput] = strawberry.field(description="All must match.", default_factory=list)

    def rule(self) -> ReleaseRule:
        """The domain's release rule."""
        return ReleaseRule(tuple(self.environments), tuple(condition.value() for condition in self.conditions))


@strawberry.input(description="A phase of a pipeline.")
class PhaseInput:
    """A phase."""

    name: str = strawberry.field(description="Unlike the names of the pipeline's other phases.")
    rules: list[ReleaseRuleInput] = strawberry.field(
        description="At least one; a context that one admits is in the phase."
    )
    bake_time: timedelta = strawberry.field(
        description="How long it is observed before the next phase; at most 90 days.", default=timedelta(0)
    )
    required_approvals: int = strawberry.field(
        description="How many different people must approve it before it starts; 0 to 20.", default=0
    )
    prevent_self_approval: bool = strawberry.field(
        description="Whether who started the release may not approve it.", default=False
    )
    remind_every: timedelta | None = strawberry.field(
        description="How long a review waits before reviewers are told again, each time more urgently; null for never. "
        "PT1M to P30D.",
        default=None,
    )

    def draft(self) -> PhaseDraft:
        """The catalog's draft of a phase."""
        return PhaseDraft(
            self.name,
            tuple(rule.rule() for rule in self.rules),
            self.bake_time,
            self.required_approvals,
            self.prevent_self_approval,
            self.remind_every,
        )


@strawberry.input(description="An environment to create or change.")
class SaveEnvironmentInput:
    """An environment."""

    name: str = strawberry.field(description="Lower-case letters, digits, dots, dashes, underscores.")
    pipeline_required: bool = strawberry.field(
        description="Whether a change that touches it goes through the feature's pipeline.", default=True
    )


@strawberry.input(description="A pipeline to create.")
class CreatePipelineInput:
    """A new pipeline."""

    name: str = strawberry.field(description="Unlike the names of all other pipelines.")
    description: str | None = strawberry.field(description="What it is for.", default=None)
    phases: list[PhaseInput] = strawberry.field(description="In order, at least one.")


@strawberry.input(description="What to change of a pipeline; what is left out stays.")
class UpdatePipelineInput:
    """An edit of a pipeline."""

    id: strawberry.ID = strawberry.field(description="The pipeline.")
    name: str | None = strawberry.field(description="Its new name.", default=strawberry.UNSET)
    description: str | None = strawberry.field(
        description="Its new description; null removes it.", default=strawberry.UNSET
    )
    phases: list[PhaseInput] | None = strawberry.field(
        description="All its phases anew; one that keeps its name keeps its id.", default=strawberry.UNSET
    )
    expected_revision: int | None = strawberry.field(
        description="The `Pipeline.revision` that the edit was made from: if it is at another one, nothing is written "
        "and the answer is ValidationFailed. Left out, the edit is made of whatever is there.",
        default=None,
    )

    def edit(self) -> PipelineEdit:
        """The catalog's edit."""
        return PipelineEdit(
            name=self.name or ("" if self.name == "" else None),
            description=self.description or None,
            clear_description=self.description is None or self.description == "",
            phases=tuple(phase.draft() for phase in self.phases) if isinstance(self.phases, list) else None,
        )


@strawberry.input(description="A feature to create.")
class CreateFeatureInput:
    """A new feature."""

    key: str = strawberry.field(
        description="Unlike the keys of all other features; letters, digits, dots, dashes, underscores."
    )
    kind: FeatureKind = strawberry.field(description="Gate or config; it never changes.")
    description: str | None = strawberry.field(description="What it is for.", default=None)
    spec: FeatureSpecInput = strawberry.field(description="In force at once: a new feature changes nobody's value.")
    pipeline_id: strawberry.ID | None = strawberry.field(description="The pipeline to attach.", default=None)


@strawberry.input(description="A change of what a feature gives.")
class UpdateFeatureInput:
    """A change of a feature."""

    key: str = strawberry.field(description="The feature.")
    spec: FeatureSpecInput = strawberry.field(description="The whole new spec.")
    description: str | None = strawberry.field(
        description="What the change is for; the release keeps it.", default=None
    )
    idempotency_key: str | None = strawberry.field(
        description="Sent again with the same key, the change answers with the release that it started.", default=None
    )
    expected_revision: int | None = strawberry.field(
        description="The `Feature.revision` that the change was made from: if it is at another one, nothing is written "
        "and the answer is ValidationFailed. Left out, the change is made of whatever is there.",
        default=None,
    )


@strawberry.input(description="pipelineId null detaches")
class AttachPipelineInput:
    """A pipeline for a feature."""

    feature_key: str = strawberry.field(description="The feature.")
    pipeline_id: strawberry.ID | None = strawberry.field(description="The pipeline; null detaches.", default=None)


@strawberry.input(description="An action on the phase that the operator saw.")
class PhaseActionInput:
    """An action that names a phase."""

    release_id: strawberry.ID = strawberry.field(description="The release.")
    phase_id: strawberry.ID = strawberry.field(
        description="The phase; if it is no longer current, the action is refused."
    )
    reason: str | None = strawberry.field(description="Why; needed to bypass a review.", default=None)
    bypass_review: bool = strawberry.field(description="Pass a review by; needs ADMIN and a reason.", default=False)
    idempotency_key: str | None = strawberry.field(
        description="Sent again with the same key, the action answers as it did the first time.", default=None
    )

    def command(self, action: ReleaseAction) -> Command:
        """The domain's command."""
        return Command(action, self.phase_id, self.reason, self.bypass_review, self.idempotency_key)


@strawberry.input(description="An action on a release as a whole.")
class ReleaseActionInput:
    """An action that names no phase."""

    release_id: strawberry.ID = strawberry.field(description="The release.")
    reason: str | None = strawberry.field(description="Why; needed to bypass a review.", default=None)
    bypass_review: bool = strawberry.field(description="Pass reviews by; needs ADMIN and a reason.", default=False)
    idempotency_key: str | None = strawberry.field(
        description="Sent again with the same key, the action answers as it did the first time.", default=None
    )

    def command(self, action: ReleaseAction) -> Command:
        """The domain's command."""
        return Command(action, None, self.reason, self.bypass_review, self.idempotency_key)


@strawberry.input(description="Which releases; what is left out does not matter.")
class ReleaseFilter:
    """A filter of releases."""

    status: list[ReleaseStatus] | None = strawberry.field(description="One of these statuses.", default=None)
    feature_key: str | None = strawberry.field(description="Of this feature.", default=None)
    pipeline_id: strawberry.ID | None = strawberry.field(description="Through this pipeline.", default=None)
    started_after: datetime | None = strawberry.field(description="Started later than this.", default=None)
    started_before: datetime | None = strawberry.field(description="Started earlier than this.", default=None)


def filter_of(given: ReleaseFilter | None) -> Filter:
    """The store's filter."""
    if given is None:
        return Filter()
    return Filter(
        statuses=None if given.status is None else tuple(given.status),
        feature_key=given.feature_key,
        pipeline_id=given.pipeline_id,
        started_after=given.started_after,
        started_before=given.started_before,
    )


def context_of(given: Any) -> dict[str, Any] | None:
    """The attributes of an evaluation's context; None if it is not a JSON object."""
    if given is None:
        return {}
    return cast(dict[str, Any], given) if isinstance(given, dict) else None


def plain_input(value: Any) -> Any:
    """An input as JSON, without what was left out; for the audit log."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, timedelta | datetime):
        return str(value)
    if is_dataclass(value):
        fields = {
            field.name: KEPT_SECRET if field.metadata.get(SECRET) and given else given
            for field in dataclass_fields(value)
            for given in (getattr(value, field.name),)
        }
        given = {name: value for name, value in fields.items() if value is not None and value is not strawberry.UNSET}
        return {to_camel_case(name): plain_input(value) for name, value in given.items()}
    if isinstance(value, dict):
        return {name: plain_input(given) for name, given in value.items()}
    return [plain_input(given) for given in value] if isinstance(value, list) else value
