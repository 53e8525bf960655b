"""The domain's enums, described for the schema."""

from enum import EnumMeta

import strawberry

from app.domain.access import ActorKind, Role
from app.domain.audit import Outcome
from app.domain.channels import ChannelKind
from app.domain.deliveries import DeliveryStatus
from app.domain.explanation import DecidingSpec, RuleOutcome
from app.domain.exposure import Share
from app.domain.features import FeatureKind
from app.domain.notifications import NotificationType
from app.domain.releases import PhaseStatus, ReleaseAction, ReleaseEventType, ReleaseStatus
from app.domain.targeting import ConditionOperator


def _described(cls: EnumMeta, description: str, values: dict[str, str]) -> None:
    """Make a domain enum a GraphQL enum; a member without a description is an error."""
    strawberry.enum(cls, description=description)
    for value in cls.__strawberry_definition__.values:  # type: ignore[attr-defined]
        value.description = values.pop(value.name)
    assert not values, f"{cls.__name__} has no {', '.join(values)}"


_described(
    FeatureKind,
    "What a feature answers.",
    {"FEATURE_GATE": "True or false.", "DYNAMIC_CONFIG": "A JSON object."},
)
_described(
    ConditionOperator,
    "How a condition compares an attribute of the context with its values. An attribute that the context lacks "
    "matches only NOT_EXISTS. A list matches when one of its elements does; for NONE_OF and NOT_EQUALS, when none is. "
    "Of a list the first 1,000 elements count.",
    {
        "ANY_OF": "The attribute is one of the values.",
        "NONE_OF": "The attribute is there and is none of the values.",
        "ANY_OF_IGNORE_CASE": "The attribute is one of the values, letter case aside.",
        "NONE_OF_IGNORE_CASE": "The attribute is there and is none of the values, letter case aside.",
        "CONTAINS": "The attribute contains one of the values within the first 10,000 characters of its text.",
        "STARTS_WITH": "The attribute begins with one of the values.",
        "ENDS_WITH": "The attribute ends with one of the values.",
        "EQUALS": "The attribute is the value: a string, a number or a boolean.",
        "NOT_EQUALS": "The attribute is there and is not the value.",
        "LESS_THAN": "The attribute is a number below the value.",
        "LESS_THAN_OR_EQUAL": "The attribute is a number below the value or equal to it.",
        "GREATER_THAN": "The attribute is a number above the value.",
        "GREATER_THAN_OR_EQUAL": "The attribute is a number above the value or equal to it.",
        "VERSION_EQUALS": "The attribute is the same version as the value; 1.2 and 1.2.0 are.",
        "VERSION_LESS_THAN": "The attribute is an earlier version than the value; a pre-release is before its release.",
        "VERSION_GREATER_THAN": "The attribute is a later version than the value.",
        "BEFORE": "The attribute is a date before the value: ISO 8601, of at most 100 characters, or milliseconds "
        "since 1970.",
        "AFTER": "The attribute is a date after the value: ISO 8601, of at most 100 characters, or milliseconds "
        "since 1970.",
        "EXISTS": "The context has the attribute, and it is not null.",
        "NOT_EXISTS": "The context lacks the attribute, or it is null.",
    },
)
_described(
    ReleaseStatus,
    "Where a release stands.",
    {
        "WAITING_FOR_REVIEW": "The next phase needs approval before it starts; no timer runs.",
        "IN_PROGRESS": "The current phase is released and its bake timer runs.",
        "PAUSED": "The current phase is released and its bake timer stands still.",
        "COMPLETED": "Over: everyone gets the spec after.",
        "ABORTED": "Over: everyone gets the spec before.",
    },
)
_described(
    PhaseStatus,
    "Where a phase of a release stands.",
    {
        "NOT_RELEASED": "Its turn has not come.",
        "WAITING_FOR_REVIEW": "Its turn has come, and it needs approval.",
        "IN_PROGRESS": "Released and baking.",
        "PAUSED": "Released, with the bake timer standing still.",
        "COMPLETED": "Released and baked to the end.",
        "SKIPPED": "Left early or passed over; releasedAt says whether it had been released.",
        "ABORTED": "It was the current phase when the release was aborted.",
    },
)
_described(
    ReleaseAction,
    "What an operator can do to a release.",
    {
        "APPROVE": "Approve the phase that waits for review; with enough approvals it is released.",
        "PAUSE": "Stop the bake timer; the phase stays released.",
        "UNPAUSE": "Let the bake timer go on with what remained.",
        "SKIP": "Leave the current phase and give the next its turn.",
        "ABORT": "Give everyone the spec before, at once and for good.",
        "FULL_ROLL_OUT": "Give everyone the spec after, at once.",
    },
)
_described(
    ReleaseEventType,
    "What happened to a release.",
    {
        "RELEASE_STARTED": "The change was saved and the release began.",
        "REVIEW_REQUESTED": "A phase's turn came and it waits for approval.",
        "PHASE_APPROVED": "Somebody approved the phase.",
        "PHASE_RELEASED": "The phase's contexts get the spec after from now on.",
        "BAKE_PAUSED": "The bake timer was stopped.",
        "BAKE_UNPAUSED": "The bake timer goes on.",
        "PHASE_COMPLETED": "The phase baked to its end.",
        "PHASE_SKIPPED": "The phase was left early or passed over.",
        "FULLY_ROLLED_OUT": "All that remained was skipped.",
        "RELEASE_COMPLETED": "Everyone gets the spec after.",
        "RELEASE_ABORTED": "Everyone gets the spec before again.",
    },
)
_described(
    ActorKind,
    "Who acts.",
    {"USER": "A person, or a program with a token of theirs.", "SYSTEM": "Slipway itself, when a bake ends."},
)
_described(
    Role,
    "What a caller may do; each role includes those before it.",
    {
        "VIEWER": "Read and subscribe.",
        "OPERATOR": "Also start, pause, unpause, skip, abort and roll out; edit features and pipelines.",
        "APPROVER": "Also approve.",
        "ADMIN": "Also bypass reviews, and manage environments, tokens and SDK keys.",
    },
)
_described(
    Outcome,
    "What came of a mutation.",
    {
        "ATTEMPTED": "It was about to be carried out and nothing more is known: the process or the store was cut off.",
        "DONE": "It was carried out.",
        "REFUSED": "It was refused; nothing was changed.",
        "FAILED": "It failed on the way; look at what it was about.",
    },
)
_described(
    Share,
    "How many of an environment's contexts get the new spec of a release.",
    {
        "NOBODY": "None of them.",
        "SOME": "Those that a rule admits.",
        "EVERYONE": "All of them.",
    },
)
_described(
    DecidingSpec,
    "Which spec decided what a context gets.",
    {
        "IN_FORCE": "The spec in force: no release is under way.",
        "BEFORE": "The spec before the release under way: no released phase of it admits the context.",
        "AFTER": "The spec after the release under way: a released phase of it admits the context.",
    },
)
_described(
    RuleOutcome,
    "What became of a targeting rule.",
    {
        "MATCHED": "It decided: its value is given.",
        "OTHER_ENVIRONMENT": "It is for other environments.",
        "CONDITION_FAILED": "A condition does not match.",
        "NO_TARGETING_KEY": "It gives its value to a percentage, and the context names no unit.",
        "NOT_IN_PERCENTAGE": "The unit is not within its pass percentage.",
        "NOT_REACHED": "A rule before it decided.",
    },
)
_described(
    ChannelKind,
    "How a channel is spoken to.",
    {
        "APPRISE": "By a URL of Apprise: Slack, Microsoft Teams, e-mail and many more.",
        "WEBHOOK": "By a webhook that is signed as Standard Webhooks says.",
    },
)
_described(
    NotificationType,
    "What people are told of.",
    {
        "RELEASE_STARTED": "A release began.",
        "REVIEW_REQUESTED": "A phase's turn came and it waits for approval.",
        "REVIEW_OVERDUE": "It has waited for another of the phase's intervals, `remindEvery`.",
        "RELEASE_PAUSED": "The bake timer was stopped.",
        "BAKE_ENDED": "A phase has baked to its end.",
        "PHASE_SKIPPED": "A phase was left early or passed over.",
        "FULLY_ROLLED_OUT": "All that remained was skipped.",
        "RELEASE_COMPLETED": "Everyone gets the spec after.",
        "RELEASE_ABORTED": "Everyone gets the spec before again.",
    },
)
_described(
    DeliveryStatus,
    "Where a delivery stands.",
    {
        "PENDING": "It was not attempted yet, or waits behind another of its release.",
        "RETRYING": "An attempt failed; the next one comes by itself, for a day.",
        "SENT": "The receiver has it.",
        "DEAD": "It was given up; `resendDelivery` sends it again.",
        "DROPPED": "It was of no use any more: the review was given, or the channel disabled or deleted.",
    },
)
