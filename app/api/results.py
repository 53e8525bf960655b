"""What the mutations answer: a payload each, and the union of it with the problems that it can meet."""

from __future__ import annotations

from typing import Annotated

import strawberry

from app.api import administration
from app.api.fields import plain
from app.api.parts import Environment
from app.api.problems import (
    AlreadyExists,
    InvalidTransition,
    NotFound,
    PermissionDenied,
    PipelineInUse,
    ReleaseInProgress,
    ReviewRequired,
    StalePhase,
    ValidationFailed,
)
from app.api.types import Feature, Pipeline, RecordedEvent, Release, ReleaseEvent
from app.domain import environments, features, pipelines, releases, sdk_keys, tokens


@strawberry.type(description="The environment as saved.")
class EnvironmentPayload:
    """A saved environment."""

    environment: environments.Environment = plain("The environment.", shown_as=Environment)


@strawberry.type(description="The pipeline as saved.")
class PipelinePayload:
    """A saved pipeline."""

    pipeline: pipelines.Pipeline = plain("The pipeline.", shown_as=Pipeline)


@strawberry.type(description="The pipeline is deleted.")
class DeletePipelinePayload:
    """A deleted pipeline."""

    id: strawberry.ID = plain("What its id was.")


@strawberry.type(description="The feature as saved.")
class FeaturePayload:
    """A saved feature."""

    feature: features.Feature = plain("The feature.", shown_as=Feature)


@strawberry.type(description="The change is on its way, or done.")
class UpdateFeaturePayload:
    """A changed feature and the release that changes it."""

    feature: features.Feature = plain("The feature.", shown_as=Feature)
    release: releases.Release = plain(
        "The release that carries the change; completed where it needed no pipeline.", shown_as=Release
    )


@strawberry.type(description="The action is done.")
class ReleaseActionPayload:
    """A release after an action."""

    release: releases.Release = plain("The release as it now stands.", shown_as=Release)
    events: list[RecordedEvent] = plain(
        "What the action caused; none where there was nothing left to do. Sent again with the same idempotency key, it "
        "answers with the events of the first time.",
        shown_as=list[ReleaseEvent],
    )


@strawberry.type(description="The token is made.")
class CreateTokenPayload:
    """A new token and its secret."""

    token: tokens.Token = plain("The token.", shown_as=administration.Token)
    secret: str = plain("What its holder sends as bearer token. It is not kept: write it down now.")


@strawberry.type(description="The token is revoked.")
class RevokeTokenPayload:
    """A revoked token."""

    token: tokens.Token = plain("The token.", shown_as=administration.Token)


@strawberry.type(description="The SDK key is made.")
class CreateSdkKeyPayload:
    """A new SDK key and its secret."""

    sdk_key: sdk_keys.SdkKey = plain("The key.", shown_as=administration.SdkKey)
    secret: str = plain("What an SDK sends as bearer token. It is not kept: write it down now.")


@strawberry.type(description="The SDK key is revoked.")
class RevokeSdkKeyPayload:
    """A revoked SDK key."""

    sdk_key: sdk_keys.SdkKey = plain("The key.", shown_as=administration.SdkKey)


SaveEnvironmentResult = Annotated[
    EnvironmentPayload | PermissionDenied | ValidationFailed,
    strawberry.union("SaveEnvironmentResult", description="What `saveEnvironment` answers."),
]
CreatePipelineResult = Annotated[
    PipelinePayload | PermissionDenied | ValidationFailed | AlreadyExists,
    strawberry.union("CreatePipelineResult", description="What `createPipeline` answers."),
]
UpdatePipelineResult = Annotated[
    PipelinePayload | PermissionDenied | ValidationFailed | AlreadyExists | NotFound | PipelineInUse,
    strawberry.union("UpdatePipelineResult", description="What `updatePipeline` answers."),
]
DuplicatePipelineResult = Annotated[
    PipelinePayload | PermissionDenied | ValidationFailed | AlreadyExists | NotFound,
    strawberry.union("DuplicatePipelineResult", description="What `duplicatePipeline` answers."),
]
DeletePipelineResult = Annotated[
    DeletePipelinePayload | PermissionDenied | NotFound | PipelineInUse,
    strawberry.union("DeletePipelineResult", description="What `deletePipeline` answers."),
]
CreateFeatureResult = Annotated[
    FeaturePayload | PermissionDenied | ValidationFailed | AlreadyExists | NotFound,
    strawberry.union("CreateFeatureResult", description="What `createFeature` answers."),
]
UpdateFeatureResult = Annotated[
    UpdateFeaturePayload | PermissionDenied | ValidationFailed | NotFound | ReleaseInProgress,
    strawberry.union("UpdateFeatureResult", description="What `updateFeature` answers."),
]
AttachPipelineResult = Annotated[
    FeaturePayload | PermissionDenied | NotFound | ReleaseInProgress,
    strawberry.union("AttachPipelineResult", description="What `attachPipeline` answers."),
]
ReleaseActionResult = Annotated[
    ReleaseActionPayload
    | PermissionDenied
    | ValidationFailed
    | NotFound
    | StalePhase
    | InvalidTransition
    | ReviewRequired,
    strawberry.union("ReleaseActionResult", description="What every action on a release answers."),
]

CreateTokenResult = Annotated[
    CreateTokenPayload | PermissionDenied | ValidationFailed,
    strawberry.union("CreateTokenResult", description="What `createToken` answers."),
]
RevokeTokenResult = Annotated[
    RevokeTokenPayload | PermissionDenied | NotFound,
    strawberry.union("RevokeTokenResult", description="What `revokeToken` answers."),
]
CreateSdkKeyResult = Annotated[
    CreateSdkKeyPayload | PermissionDenied | ValidationFailed,
    strawberry.union("CreateSdkKeyResult", description="What `createSdkKey` answers."),
]
RevokeSdkKeyResult = Annotated[
    RevokeSdkKeyPayload | PermissionDenied | NotFound,
    strawberry.union("RevokeSdkKeyResult", description="What `revokeSdkKey` answers."),
]
