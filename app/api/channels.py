"""Channels and their deliveries in the schema: for administrators."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry

from app.api import enums  # noqa: F401  (describes the enums before a type names them)
from app.api.audited import mutation
from app.api.connections import After, Connection, First, PageInfo, connection, page_size, read_cursor
from app.api.context import Info, require_admin
from app.api.fields import argument, plain, query
from app.api.inputs import SECRET
from app.api.parts import Actor
from app.api.problems import AlreadyExists, NotFound, PermissionDenied, ValidationFailed
from app.domain import channels, deliveries
from app.domain.channels import ChannelKind
from app.domain.deliveries import DeliveryStatus
from app.domain.notifications import NotificationType
from app.notify.channels import ChannelEdit
from app.store.notifications import Deliveries


@strawberry.type(description="A place where people are told. What it is reached with is never shown.")
class Channel:
    """A channel."""

    id: strawberry.ID = plain("What mutations name it by.")
    name: str = plain("Unlike the names of all other channels.")
    kind: ChannelKind = plain("How it is spoken to.")
    address: str = plain("As much of its target as may be shown.")
    types: list[NotificationType] = plain("What it is told of; none means everything.")
    features: list[str] = plain("Of which features: keys, or patterns with * and ?; none means all.")
    pipeline_ids: list[strawberry.ID] = plain("Of releases through which pipelines; none means all.")
    enabled: bool = plain("Whether it is told anything.")
    created_by: Actor = plain("Who made it.")
    created_at: datetime = plain("When.")
    secret_rotated_at: datetime | None = plain("When its signing secret was last changed.")


@strawberry.type(description="One notice on its way to one channel.")
class Delivery:
    """A delivery."""

    id: strawberry.ID = plain("The same at every attempt; a webhook's header webhook-id.")
    channel_id: strawberry.ID = plain("The channel.")
    type: NotificationType = plain("What it tells of.")
    release_id: strawberry.ID = plain("The release.")
    feature_key: str = plain("The release's feature.")
    sequence: int = plain("The event's place in the release's history.")
    reminder: int = plain("Which reminder of that review it is; 0 for the event itself.")
    at: datetime = plain("When it happened.")
    status: DeliveryStatus = plain("Where it stands.")
    attempts: int = plain("How often it was attempted.")
    last_attempt_at: datetime | None = plain("When last.")
    last_error: str | None = plain("Why the last attempt failed.")
    due_at: datetime | None = plain("When the next attempt may be made; null when none is to come.")
    sent_at: datetime | None = plain("When the receiver had it.")
    created_at: datetime = plain("When it was written down.")


@strawberry.type(description="A delivery on a page.")
class DeliveryEdge:
    """A delivery and its cursor."""

    node: Delivery = plain("The delivery.")
    cursor: str = plain("Where it stands.")


@strawberry.type(description="A page of deliveries, the newest first.")
class DeliveryConnection:
    """A page of deliveries."""

    edges: list[DeliveryEdge] = plain("The deliveries.")
    page_info: PageInfo = plain("Where the page lies.")


_TARGET = "An http or https URL of a webhook, or a URL of Apprise. It is kept encrypted and never shown again."
_TYPES = "What it is told of; none means everything."
_FEATURES = "Of which features: keys, or patterns with * and ?; none means all."
_PIPELINES = "Of releases through which pipelines; none means all."


@strawberry.input(description="A channel to make.")
class CreateChannelInput:
    """A new channel."""

    name: str = strawberry.field(description="Unlike the names of all other channels.")
    kind: ChannelKind = strawberry.field(description="How it is spoken to; it never changes.")
    target: str = strawberry.field(description=_TARGET, metadata={SECRET: True})
    types: list[NotificationType] = strawberry.field(description=_TYPES, default_factory=list)
    features: list[str] = strawberry.field(description=_FEATURES, default_factory=list)
    pipeline_ids: list[strawberry.ID] = strawberry.field(description=_PIPELINES, default_factory=list)
    enabled: bool = strawberry.field(description="Whether it is told anything.", default=True)

    def edit(self) -> ChannelEdit:
        """What is set besides kind, name and target."""
        return ChannelEdit(
            types=self.types, features=self.features, pipeline_ids=self.pipeline_ids, enabled=self.enabled
        )


@strawberry.input(description="What to change of a channel; what is left out, or null, stays.")
class UpdateChannelInput:
    """An edit of a channel."""

    id: strawberry.ID = strawberry.field(description="The channel.")
    name: str | None = strawberry.field(description="Its new name.", default=None)
    target: str | None = strawberry.field(description=_TARGET, default=None, metadata={SECRET: True})
    types: list[NotificationType] | None = strawberry.field(description=_TYPES, default=None)
    features: list[str] | None = strawberry.field(description=_FEATURES, default=None)
    pipeline_ids: list[strawberry.ID] | None = strawberry.field(description=_PIPELINES, default=None)
    enabled: bool | None = strawberry.field(
        description="Whether it is told anything; what waits for one that is not is dropped.", default=None
    )

    def edit(self) -> ChannelEdit:
        """The register's edit."""
        return ChannelEdit(self.name, self.target, self.types, self.features, self.pipeline_ids, self.enabled)


# --- what the mutations answer ----------------------------------------------------------------------------------------


@strawberry.type(description="The channel is made.")
class CreateChannelPayload:
    """A new channel."""

    channel: channels.Channel = plain("The channel.", shown_as=Channel)
    secret: str | None = plain("What signs a webhook's messages, `whsec_...`: shown now and never again.")


@strawberry.type(description="The channel as saved.")
class ChannelPayload:
    """A saved channel."""

    channel: channels.Channel = plain("The channel.", shown_as=Channel)


@strawberry.type(description="The channel is deleted.")
class DeleteChannelPayload:
    """A deleted channel."""

    id: strawberry.ID = plain("What its id was.")


@strawberry.type(description="The channel has a new secret.")
class RotateChannelSecretPayload:
    """A rotated secret."""

    channel: channels.Channel = plain("The channel.", shown_as=Channel)
    secret: str = plain(
        "What signs from now on, `whsec_...`: shown now and never again. The old one signs too, for a day."
    )


@strawberry.type(description="A test message was attempted.")
class TestChannelPayload:
    """What came of a test message."""

    channel: channels.Channel = plain("The channel.", shown_as=Channel)
    delivered: bool = plain("Whether the receiver has it.")
    error: str | None = plain("Why not.")


@strawberry.type(description="The delivery as it stands.")
class ResendDeliveryPayload:
    """A delivery."""

    delivery: deliveries.Delivery = plain("PENDING if it was a dead letter.", shown_as=Delivery)


CreateChannelResult = Annotated[
    CreateChannelPayload | PermissionDenied | ValidationFailed | AlreadyExists,
    strawberry.union("CreateChannelResult", description="What `createChannel` answers."),
]
UpdateChannelResult = Annotated[
    ChannelPayload | PermissionDenied | ValidationFailed | AlreadyExists | NotFound,
    strawberry.union("UpdateChannelResult", description="What `updateChannel` answers."),
]
DeleteChannelResult = Annotated[
    DeleteChannelPayload | PermissionDenied | NotFound,
    strawberry.union("DeleteChannelResult", description="What `deleteChannel` answers."),
]
RotateChannelSecretResult = Annotated[
    RotateChannelSecretPayload | PermissionDenied | ValidationFailed | NotFound,
    strawberry.union("RotateChannelSecretResult", description="What `rotateChannelSecret` answers."),
]
TestChannelResult = Annotated[
    TestChannelPayload | PermissionDenied | NotFound,
    strawberry.union("TestChannelResult", description="What `testChannel` answers."),
]
ResendDeliveryResult = Annotated[
    ResendDeliveryPayload | PermissionDenied | NotFound,
    strawberry.union("ResendDeliveryResult", description="What `resendDelivery` answers."),
]

ChannelIdArgument = Annotated[strawberry.ID, argument("The channel.")]


@strawberry.type
class ChannelQueries:
    """What can be read of channels."""

    @query(list[Channel], "All channels, in the order of creation. Needs ADMIN.")
    async def channels(self, info: Info) -> list[channels.Channel]:
        """All of them."""
        require_admin(info.context, "see channels")
        return await info.context.services.channel_list.all()

    @query(DeliveryConnection, "What was sent to a channel, and what is on its way, the newest first. Needs ADMIN.")
    async def deliveries(
        self,
        info: Info,
        channel_id: ChannelIdArgument,
        status: Annotated[DeliveryStatus | None, argument("Only those that stand there.")] = None,
        first: First = 20,
        after: After = None,
    ) -> Connection[deliveries.Delivery]:
        """A page of deliveries."""
        require_admin(info.context, "see deliveries")
        size, position = page_size(first), read_cursor("deliveries", after)
        page = await info.context.services.deliveries.page(channel_id, size, position, status)
        return connection("deliveries", page, [Deliveries.cursor(each) for each in page.values], after)


@strawberry.type
class ChannelMutations:
    """What changes channels."""

    @mutation(CreateChannelResult, "Make a channel; a webhook's secret is shown here and never again. Needs ADMIN.")
    async def create_channel(
        self, info: Info, given: Annotated[CreateChannelInput, argument("The channel.", name="input")]
    ) -> CreateChannelPayload:
        """See `ChannelRegister.create`."""
        register, caller = info.context.services.channels, info.context.caller
        channel, secret = await register.create(given.kind, given.name, given.target, given.edit(), caller)
        return CreateChannelPayload(channel=channel, secret=secret)

    @mutation(UpdateChannelResult, "Change a channel. Needs ADMIN.")
    async def update_channel(
        self, info: Info, given: Annotated[UpdateChannelInput, argument("The edit.", name="input")]
    ) -> ChannelPayload:
        """See `ChannelRegister.update`."""
        register, caller = info.context.services.channels, info.context.caller
        return ChannelPayload(channel=await register.update(given.id, given.edit(), caller))

    @mutation(DeleteChannelResult, "Delete a channel; what was on its way is dropped. Needs ADMIN.")
    async def delete_channel(self, info: Info, id: ChannelIdArgument) -> DeleteChannelPayload:
        """See `ChannelRegister.delete`."""
        await info.context.services.channels.delete(id, info.context.caller)
        return DeleteChannelPayload(id=id)

    @mutation(
        RotateChannelSecretResult,
        "Give a webhook a new secret, shown here and never again; for a day the old one signs too. Needs ADMIN.",
    )
    async def rotate_channel_secret(self, info: Info, id: ChannelIdArgument) -> RotateChannelSecretPayload:
        """See `ChannelRegister.rotate`."""
        channel, secret = await info.context.services.channels.rotate(id, info.context.caller)
        return RotateChannelSecretPayload(channel=channel, secret=secret)

    @mutation(TestChannelResult, "Send a channel a test message now, and say what came of it. Needs ADMIN.")
    async def test_channel(self, info: Info, id: ChannelIdArgument) -> TestChannelPayload:
        """See `ChannelRegister.test`."""
        channel, error = await info.context.services.channels.test(id, info.context.caller)
        return TestChannelPayload(channel=channel, delivered=error is None, error=error)

    @mutation(ResendDeliveryResult, "Send a dead letter again, under its old id. Needs ADMIN.")
    async def resend_delivery(
        self, info: Info, id: Annotated[strawberry.ID, argument("The delivery.")]
    ) -> ResendDeliveryPayload:
        """See `ChannelRegister.resend`."""
        return ResendDeliveryPayload(delivery=await info.context.services.channels.resend(id, info.context.caller))
