"""Evaluations in the schema, why they come out as they do, and what an action would change."""

from __future__ import annotations

from datetime import datetime

import strawberry

from app.api import enums  # noqa: F401  (describes the enums before a type names them)
from app.api.context import Info
from app.api.exposures import Exposure
from app.api.fields import computed, plain
from app.api.parts import Condition, ReleasePhase, ReleaseRule, TargetingRule
from app.api.scalars import JSON
from app.api.types import Release
from app.domain import evaluation, explanation, exposure, preview, releases


def _reason(root: evaluation.Evaluation) -> str:
    return root.reason.value


def _action(root: preview.ActionPreview) -> releases.ReleaseAction:
    return root.available.action


def _allowed(root: preview.ActionPreview) -> bool:
    return root.available.allowed


def _refusal(root: preview.ActionPreview) -> str | None:
    return root.available.reason


def _confirmation(root: preview.ActionPreview) -> str:
    return root.available.confirmation


def _bypassed(root: preview.ActionPreview) -> tuple[releases.ReleasePhase, ...]:
    return root.available.bypasses_review_of


def _status_after(root: preview.ActionPreview) -> releases.ReleaseStatus:
    return root.after.status


def _current_phase_after(root: preview.ActionPreview) -> releases.ReleasePhase | None:
    return root.after.current_phase


async def _exposure_after(root: preview.ActionPreview, info: Info) -> exposure.Exposure:
    return exposure.exposure(root.after, await info.context.environment_names())


def _end_after(root: preview.ActionPreview, info: Info) -> datetime | None:
    return releases.expected_end(root.after, info.context.services.clock.now())


@strawberry.type(description="What a context gets from a feature, and why.")
class Evaluation:
    """An evaluation."""

    value: JSON = plain("The value.")
    rule_name: str | None = plain("The targeting rule that gave it; null for the default value.")
    release_id: strawberry.ID | None = plain("The release under way whose spec after gave it.")
    phase_name: str | None = plain("The phase of that release which admitted the context.")
    reason: str = computed(
        _reason,
        "STATIC: nothing in the environment depends on the context. DEFAULT: no rule admits the context. "
        "TARGETING_MATCH: a rule does. SPLIT: a rule does, and the unit is within its pass percentage.",
    )


@strawberry.type(description="A condition, and what it was compared with.")
class ConditionExplanation:
    """An explained condition."""

    condition: Condition = plain("The condition.")
    actual: JSON | None = plain(
        "The attribute of the context, null where it has none; cut and shown as text where it is longer than 1,000."
    )
    matches: bool = plain("Whether it matches.")


@strawberry.type(description="A release rule of a phase, and whether it admits the context.")
class ReleaseRuleExplanation:
    """An explained release rule."""

    rule: ReleaseRule = plain("The rule.")
    in_environment: bool = plain("Whether it is for the environment.")
    conditions: list[ConditionExplanation] = plain("Each of its conditions; none of a rule for other environments.")
    matches: bool = plain("Whether it admits the context, once its phase is released.")


@strawberry.type(description="A phase of the release under way, and whether it gives the context the spec after.")
class PhaseExplanation:
    """An explained phase."""

    phase: ReleasePhase = plain("The phase.")
    is_released: bool = plain("Whether it gives anybody the spec after.")
    admits: bool = plain("Whether it gives the context the spec after.")
    rules: list[ReleaseRuleExplanation] = plain("Each of its rules; one that matches is enough.")


@strawberry.type(description="A targeting rule of the deciding spec, and what became of it.")
class RuleExplanation:
    """An explained targeting rule."""

    rule: TargetingRule = plain("The rule.")
    outcome: explanation.RuleOutcome = plain("What became of it.")
    conditions: list[ConditionExplanation] = plain(
        "Each of its conditions; none of a rule for other environments or one that was not reached."
    )
    unit_percentage: float | None = plain(
        "Where the unit stands from 0 to 100: it is within every larger pass percentage. Null without a targetingKey."
    )


@strawberry.type(description="Why a context gets what it gets.")
class Explanation:
    """An explanation."""

    evaluation: Evaluation = plain("What it gets.")
    text: str = plain("Why, in words.")
    spec: explanation.DecidingSpec = plain("Which spec decided.")
    release: Release | None = plain("The release under way.")
    phase: ReleasePhase | None = plain("The phase of it that admitted the context: the first released one that does.")
    phases: list[PhaseExplanation] = plain("Every phase of the release under way.")
    rules: list[RuleExplanation] = plain("Every targeting rule of the spec that decided, in order.")


@strawberry.type(description="What an action would make of a release. Nothing is changed.")
class ActionPreview:
    """A previewed action."""

    action: releases.ReleaseAction = computed(_action, "The action.")
    allowed: bool = computed(_allowed, "Whether it would be carried out for the caller.")
    reason: str | None = computed(_refusal, "Why it would be refused.")
    confirmation: str = computed(_confirmation, "What it would do, for a confirm dialog.")
    bypasses_review_of: list[ReleasePhase] = computed(
        _bypassed, "The phases whose review it would pass by: it then needs ADMIN, bypassReview and a reason."
    )
    status: releases.ReleaseStatus = computed(
        _status_after, "The release's status after it, for whoever may do it; as it is where nobody may."
    )
    current_phase: ReleasePhase | None = computed(_current_phase_after, "The phase whose turn it is after it.")
    exposure: Exposure = computed(_exposure_after, "Who gets the new spec after it.")
    expected_end_at: datetime | None = computed(
        _end_after, "When the release is completed after it, if nobody acts again; null as in `Release.expectedEndAt`."
    )
