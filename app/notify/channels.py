"""Channels: made, changed, tried and removed, by administrators."""

import base64
import secrets as random_secrets
from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import partial
from typing import Protocol, TypeVar

import structlog
from msgspec import Struct, structs

from app.domain.access import Principal, Role, require_role
from app.domain.channels import (
    MAX_CHANNELS,
    MAX_TARGET,
    Channel,
    ChannelKind,
    ChannelSecrets,
    channel_problems,
    rotated,
    webhook_address,
    webhook_problems,
)
from app.domain.deliveries import Delivery, DeliveryStatus, resent
from app.domain.notifications import NotificationType
from app.domain.problems import AlreadyExists, FieldProblem, NotFound, ValidationFailed
from app.engine import ATTEMPTS, Clock, Contention, new_id
from app.notify.chats import NotUnderstood, described
from app.notify.courier import Courier
from app.notify.targets import NotDelivered
from app.store.documents import DuplicateKey
from app.store.notifications import Channels, Deliveries, Secrets
from app.store.repositories import Pipelines
from app.store.sealing import NoKey, NotOpened

log = structlog.get_logger()

OLD_SECRET_SIGNS_FOR = timedelta(days=1)


T = TypeVar("T")


class Prompts(Protocol):
    """Has somebody deliver."""

    async def deliver(self, channel_ids: Sequence[str]) -> None:
        """Prompt what is due to channels. Never fails: the sweep finds what was not prompted."""


class ChannelEdit(Struct, frozen=True):
    """What to set of a channel; None leaves a part as it is. Lists are given whole, and empty means all."""

    name: str | None = None
    target: str | None = None
    types: Sequence[NotificationType] | None = None
    features: Sequence[str] | None = None
    pipeline_ids: Sequence[str] | None = None
    enabled: bool | None = None


class ChannelRegister:
    """The channels of this Slipway. Every method checks the caller's role first."""

    def __init__(
        self,
        channels: Channels,
        secrets: Secrets,
        deliveries: Deliveries,
        pipelines: Pipelines,
        courier: Courier,
        prompts: Prompts,
        clock: Clock,
    ) -> None:
        self._channels = channels
        self._secrets = secrets
        self._deliveries = deliveries
        self._pipelines = pipelines
        self._courier = courier
        self._prompts = prompts
        self._clock = clock

    async def create(
        self, kind: ChannelKind, name: str, target: str, edit: ChannelEdit, by: Principal
    ) -> tuple[Channel, str | None]:
        """Make a channel; of a webhook, the secret that signs is given here and never again.

        Raises ValidationFailed or AlreadyExists (its name).
        """
        require_role(by, Role.ADMIN, "make a channel")
        now = self._clock.now()
        blank = Channel(new_id("cha", now), name, kind, "", by.actor, now)
        channel = await self._edited(blank, structs.replace(edit, name=name, target=target))
        if len(await self._channels.all()) >= MAX_CHANNELS:
            raise ValidationFailed([FieldProblem(("name",), f"There are {MAX_CHANNELS} channels already.")])
        signing = (_new_signing_secret(),) if kind is ChannelKind.WEBHOOK else ()
        # First: a channel without secrets could be told nothing.
        await self._secrets.keep(channel.id, ChannelSecrets(target, signing), now)
        try:
            await self._channels.add(channel)
        except DuplicateKey as taken:
            await self._secrets.forget(channel.id)
            raise _name_taken(name) from taken
        log.info("channel made", channel=channel.id, kind=kind.value, by=by.actor.id)
        return channel, next(iter(signing), None)

    async def update(self, id: str, edit: ChannelEdit, by: Principal) -> Channel:
        """Change a channel. Raises NotFound, ValidationFailed or AlreadyExists."""
        require_role(by, Role.ADMIN, "change a channel")
        for _ in range(ATTEMPTS):
            found = await self._channel(id)
            channel = structs.replace(await self._edited(found, edit), revision=found.revision + 1)
            if edit.target is not None:
                await self._secrets_of(id)  # what cannot be kept must be refused before anything is changed
            try:
                if not await self._channels.save(channel):
                    continue
            except DuplicateKey as taken:
                raise _name_taken(channel.name) from taken
            if edit.target is not None:
                await self._secrets.change(id, partial(structs.replace, target=edit.target), self._clock.now())
            return channel
        raise _contention(id)

    async def delete(self, id: str, by: Principal) -> None:
        """Remove a channel and its secrets; what was on its way is dropped. Raises NotFound."""
        require_role(by, Role.ADMIN, "delete a channel")
        for _ in range(ATTEMPTS):
            if await self._channels.remove(await self._channel(id)):
                await self._secrets.forget(id)
                log.info("channel deleted", channel=id, by=by.actor.id)
                await self._prompts.deliver([id])
                return
        raise _contention(id)

    async def rotate(self, id: str, by: Principal) -> tuple[Channel, str]:
        """Give a webhook a new secret, shown here and never again; for a day the old one signs as well.

        Raises NotFound or ValidationFailed (a channel that signs nothing).
        """
        require_role(by, Role.ADMIN, "rotate a channel's secret")
        for _ in range(ATTEMPTS):
            found = await self._channel(id)
            if found.kind is not ChannelKind.WEBHOOK:
                raise ValidationFailed(
                    [FieldProblem(("id",), "Only webhooks are signed. Give the channel a new target.")]
                )
            await self._secrets_of(id)
            now, secret = self._clock.now(), _new_signing_secret()
            channel = structs.replace(found, secret_rotated_at=now, revision=found.revision + 1)
            if await self._channels.save(channel):
                await self._secrets.change(id, partial(rotated, new=secret, old_until=now + OLD_SECRET_SIGNS_FOR), now)
                log.info("channel secret rotated", channel=id, by=by.actor.id)
                return channel, secret
        raise _contention(id)

    async def test(self, id: str, by: Principal) -> tuple[Channel, str | None]:
        """Send a test message now: None, or why the receiver does not have it. Raises NotFound."""
        require_role(by, Role.ADMIN, "try a channel")
        channel = await self._channel(id)
        try:
            await self._courier.test(channel, by.actor)
        except NotDelivered as error:
            return channel, str(error)
        return channel, None

    async def resend(self, delivery_id: str, by: Principal) -> Delivery:
        """Let a dead letter be attempted again, under its old id; any other delivery stays as it is.

        Raises NotFound.
        """
        require_role(by, Role.ADMIN, "send a delivery again")
        for _ in range(ATTEMPTS):
            found = await self._deliveries.get(delivery_id)
            if found is None:
                raise NotFound(f"There is no delivery {delivery_id!r}.", delivery_id)
            again = resent(found, self._clock.now())
            if again is found or await self._deliveries.save(again):
                if again.status is DeliveryStatus.PENDING:
                    await self._prompts.deliver([again.channel_id])
                return again
        raise _contention(delivery_id)

    async def _channel(self, id: str) -> Channel:
        channel = await self._channels.get(id)
        if channel is None:
            raise NotFound(f"There is no channel {id!r}.", id)
        return channel

    async def _edited(self, channel: Channel, edit: ChannelEdit) -> Channel:
        """The channel with what the edit sets. Raises ValidationFailed."""
        given = {
            "name": edit.name,
            "types": edit.types if edit.types is None else _distinct(edit.types),
            "features": edit.features if edit.features is None else _distinct(edit.features),
            "pipeline_ids": edit.pipeline_ids if edit.pipeline_ids is None else _distinct(edit.pipeline_ids),
            "enabled": edit.enabled,
        }
        edited = structs.replace(channel, **{name: value for name, value in given.items() if value is not None})
        new_pipelines = edit.pipeline_ids or ()
        known = set(await self._pipelines.get_many(list(new_pipelines[:100]))) | set(channel.pipeline_ids)
        problems = list(channel_problems(edited.name, edited.features, edited.pipeline_ids, known))
        if edit.target is not None:
            address, wrong = await self._address(channel.kind, edit.target)
            problems += wrong
            edited = structs.replace(edited, address=address)
        if problems:
            raise ValidationFailed(problems)
        return edited

    async def _address(self, kind: ChannelKind, target: str) -> tuple[str, list[FieldProblem]]:
        """What may be shown of a target, or what is wrong with it."""
        path = ("target",)
        if not self._secrets.has_key:
            return "", [FieldProblem(path, "This Slipway has no key to keep secrets with: set SLIPWAY_SECRETS_KEY.")]
        if len(target) > MAX_TARGET:
            return "", [FieldProblem(path, f"Use at most {MAX_TARGET} characters.")]
        if kind is ChannelKind.WEBHOOK:
            wrong = list(webhook_problems(target, path))
            return ("" if wrong else webhook_address(target)), wrong
        try:
            return await described(target), []
        except NotUnderstood as error:
            return "", [FieldProblem(path, str(error))]

    async def _secrets_of(self, id: str) -> ChannelSecrets:
        """A channel's secrets. Raises ValidationFailed where they cannot be opened."""
        try:
            secrets = await self._secrets.of(id)
        except (NotOpened, NoKey) as error:
            raise ValidationFailed([FieldProblem(("id",), f"{error} Create the channel anew.")]) from None
        if secrets is None:
            raise NotFound(f"There is no channel {id!r}.", id)
        return secrets


def _distinct(given: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(given))


def _new_signing_secret() -> str:
    return "whsec_" + base64.b64encode(random_secrets.token_bytes(32)).decode()


def _name_taken(name: str) -> AlreadyExists:
    return AlreadyExists(f"There is another channel named {name!r}.")


def _contention(id: str) -> Contention:
    return Contention(f"{id} is being changed by many others at once. Nothing was done; try again.")
