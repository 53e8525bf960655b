"""The mutations: an input becomes a call of the engine or the catalog, its result or refusal a member of a union."""

from __future__ import annotations

from typing import Annotated, Any

import strawberry

from app.api import administration, inputs
from app.api.audited import mutation
from app.api.channels import ChannelMutations
from app.api.context import Info
from app.api.fields import argument
from app.api.notifications import NotificationMutations
from app.api.results import (
    AttachPipelineResult,
    CreateFeatureResult,
    CreatePipelineResult,
    CreateSdkKeyPayload,
    CreateSdkKeyResult,
    CreateTokenPayload,
    CreateTokenResult,
    DeletePipelinePayload,
    DeletePipelineResult,
    DuplicatePipelineResult,
    EnvironmentPayload,
    FeaturePayload,
    PipelinePayload,
    ReleaseActionPayload,
    ReleaseActionResult,
    RevokeSdkKeyPayload,
    RevokeSdkKeyResult,
    RevokeTokenPayload,
    RevokeTokenResult,
    SaveEnvironmentResult,
    UpdateFeaturePayload,
    UpdateFeatureResult,
    UpdatePipelineResult,
)
from app.api.types import recorded
from app.domain.commands import Command
from app.domain.releases import ReleaseAction


def _input(description: str) -> Any:
    return argument(description, name="input")


async def _act(info: Info, release_id: str, command: Command) -> ReleaseActionPayload:
    decision = await info.context.services.engine.act(release_id, command, info.context.caller)
    return ReleaseActionPayload(release=decision.release, events=recorded(decision.release, decision.events))


@strawberry.type(description="What changes something. Each answers with its payload or the problem that it met.")
class Mutation(ChannelMutations, NotificationMutations):
    """The mutations."""

    @mutation(SaveEnvironmentResult, "Create an environment, or change it. Needs ADMIN.")
    async def save_environment(
        self, info: Info, given: Annotated[inputs.SaveEnvironmentInput, _input("The environment.")]
    ) -> EnvironmentPayload:
        """See `Catalog.save_environment`."""
        catalog, caller = info.context.services.catalog, info.context.caller
        return EnvironmentPayload(
            environment=await catalog.save_environment(given.name, given.pipeline_required, caller)
        )

    @mutation(CreatePipelineResult, "Create a pipeline. Needs OPERATOR.")
    async def create_pipeline(
        self, info: Info, given: Annotated[inputs.CreatePipelineInput, _input("The pipeline.")]
    ) -> PipelinePayload:
        """See `Catalog.create_pipeline`."""
        catalog, caller = info.context.services.catalog, info.context.caller
        phases = tuple(phase.draft() for phase in given.phases)
        return PipelinePayload(pipeline=await catalog.create_pipeline(given.name, given.description, phases, caller))

    @mutation(UpdatePipelineResult, "Edit a pipeline that no release goes through. Needs OPERATOR.")
    async def update_pipeline(
        self, info: Info, given: Annotated[inputs.UpdatePipelineInput, _input("The edit.")]
    ) -> PipelinePayload:
        """See `Catalog.update_pipeline`."""
        catalog, caller = info.context.services.catalog, info.context.caller
        pipeline = await catalog.update_pipeline(
            given.id, given.edit(), caller, expected_revision=given.expected_revision
        )
        return PipelinePayload(pipeline=pipeline)

    @mutation(DuplicatePipelineResult, "Create a pipeline like another, which may be in use. Needs OPERATOR.")
    async def duplicate_pipeline(
        self,
        info: Info,
        id: Annotated[strawberry.ID, argument("The pipeline to copy.")],
        name: Annotated[str, argument("The copy's name.")],
    ) -> PipelinePayload:
        """See `Catalog.duplicate_pipeline`."""
        catalog, caller = info.context.services.catalog, info.context.caller
        return PipelinePayload(pipeline=await catalog.duplicate_pipeline(id, name, caller))

    @mutation(
        DeletePipelineResult,
        "Delete a pipeline that no release goes through. Features attached to it take no change until another is "
        "attached or they are detached. Needs OPERATOR.",
    )
    async def delete_pipeline(
        self, info: Info, id: Annotated[strawberry.ID, argument("The pipeline.")]
    ) -> DeletePipelinePayload:
        """See `Catalog.delete_pipeline`."""
        await info.context.services.catalog.delete_pipeline(id, info.context.caller)
        return DeletePipelinePayload(id=id)

    @mutation(CreateFeatureResult, "Create a feature; its spec is in force at once. Needs OPERATOR.")
    async def create_feature(
        self, info: Info, given: Annotated[inputs.CreateFeatureInput, _input("The feature.")]
    ) -> FeaturePayload:
        """See `Catalog.create_feature`."""
        catalog, caller = info.context.services.catalog, info.context.caller
        feature = await catalog.create_feature(
            given.key, given.kind, given.description, given.spec.spec(), given.pipeline_id, caller
        )
        return FeaturePayload(feature=feature)

    @mutation(AttachPipelineResult, "Attach a pipeline to a feature in the place of any other. Needs OPERATOR.")
    async def attach_pipeline(
        self, info: Info, given: Annotated[inputs.AttachPipelineInput, _input("The feature and the pipeline.")]
    ) -> FeaturePayload:
        """See `Catalog.attach_pipeline`."""
        catalog, caller = info.context.services.catalog, info.context.caller
        return FeaturePayload(feature=await catalog.attach_pipeline(given.feature_key, given.pipeline_id, caller))

    @mutation(
        UpdateFeatureResult,
        "Triggers a release when a pipeline is attached and the change touches an environment that requires one. "
        "Any other change is a release too, completed at once. Needs OPERATOR.",
    )
    async def update_feature(
        self, info: Info, given: Annotated[inputs.UpdateFeatureInput, _input("The change.")]
    ) -> UpdateFeaturePayload:
        """See `Catalog.update_feature`."""
        feature, release = await info.context.services.catalog.update_feature(
            given.key,
            given.spec.spec(),
            given.description,
            given.idempotency_key,
            info.context.caller,
            expected_revision=given.expected_revision,
        )
        return UpdateFeaturePayload(feature=feature, release=release)

    @mutation(ReleaseActionResult, "Approve the phase that waits for review. Needs APPROVER.")
    async def approve_phase(
        self, info: Info, given: Annotated[inputs.PhaseActionInput, _input("The phase.")]
    ) -> ReleaseActionPayload:
        """See `domain.transitions`."""
        return await _act(info, given.release_id, given.command(ReleaseAction.APPROVE))

    @mutation(ReleaseActionResult, "Stop the bake timer of the phase; the phase stays released. Needs OPERATOR.")
    async def pause_release(
        self, info: Info, given: Annotated[inputs.PhaseActionInput, _input("The phase.")]
    ) -> ReleaseActionPayload:
        """See `domain.transitions`."""
        return await _act(info, given.release_id, given.command(ReleaseAction.PAUSE))

    @mutation(ReleaseActionResult, "Let the bake timer of the phase go on with what remained. Needs OPERATOR.")
    async def unpause_release(
        self, info: Info, given: Annotated[inputs.PhaseActionInput, _input("The phase.")]
    ) -> ReleaseActionPayload:
        """See `domain.transitions`."""
        return await _act(info, given.release_id, given.command(ReleaseAction.UNPAUSE))

    @mutation(ReleaseActionResult, "Leave the phase and give the next its turn. Needs OPERATOR.")
    async def skip_phase(
        self, info: Info, given: Annotated[inputs.PhaseActionInput, _input("The phase.")]
    ) -> ReleaseActionPayload:
        """See `domain.transitions`."""
        return await _act(info, given.release_id, given.command(ReleaseAction.SKIP))

    @mutation(ReleaseActionResult, "Give everyone the spec before, at once and for good. Needs OPERATOR.")
    async def abort_release(
        self, info: Info, given: Annotated[inputs.ReleaseActionInput, _input("The release.")]
    ) -> ReleaseActionPayload:
        """See `domain.transitions`."""
        return await _act(info, given.release_id, given.command(ReleaseAction.ABORT))

    @mutation(ReleaseActionResult, "Give everyone the spec after, at once. Needs OPERATOR.")
    async def full_roll_out(
        self, info: Info, given: Annotated[inputs.ReleaseActionInput, _input("The release.")]
    ) -> ReleaseActionPayload:
        """See `domain.transitions`."""
        return await _act(info, given.release_id, given.command(ReleaseAction.FULL_ROLL_OUT))

    @mutation(CreateTokenResult, "Make an API token; its secret is shown here and never again. Needs ADMIN.")
    async def create_token(
        self, info: Info, given: Annotated[administration.CreateTokenInput, _input("The token.")]
    ) -> CreateTokenPayload:
        """See `TokenRegister.create`."""
        register, caller = info.context.services.tokens, info.context.caller
        token, secret = await register.create(given.name, given.role, given.expires_in, caller)
        return CreateTokenPayload(token=token, secret=secret)

    @mutation(RevokeTokenResult, "Let a token's holder in no more; open websockets are closed within 5 s. Needs ADMIN.")
    async def revoke_token(
        self, info: Info, id: Annotated[strawberry.ID, argument("The token.")]
    ) -> RevokeTokenPayload:
        """See `TokenRegister.revoke`."""
        return RevokeTokenPayload(token=await info.context.services.tokens.revoke(id, info.context.caller))

    @mutation(CreateSdkKeyResult, "Make an SDK key; its secret is shown here and never again. Needs ADMIN.")
    async def create_sdk_key(
        self, info: Info, given: Annotated[administration.CreateSdkKeyInput, _input("The key.")]
    ) -> CreateSdkKeyPayload:
        """See `SdkKeyRegister.create`."""
        register, caller = info.context.services.sdk_keys, info.context.caller
        key, secret = await register.create(given.name, given.environment, given.expires_in, caller)
        return CreateSdkKeyPayload(sdk_key=key, secret=secret)

    @mutation(RevokeSdkKeyResult, "Let an SDK key's holder evaluate no more. Needs ADMIN.")
    async def revoke_sdk_key(
        self, info: Info, id: Annotated[strawberry.ID, argument("The key.")]
    ) -> RevokeSdkKeyPayload:
        """See `SdkKeyRegister.revoke`."""
        return RevokeSdkKeyPayload(sdk_key=await info.context.services.sdk_keys.revoke(id, info.context.caller))
