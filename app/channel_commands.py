"""`slipway channel ...`: on the store itself, without the API, but on the audit log too."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from msgspec import structs

from app.audit import KEPT_SECRET
from app.credential_commands import audited, opened
from app.domain.access import ADMINISTRATOR
from app.domain.channels import Channel, ChannelKind
from app.engine import SystemClock
from app.notify.channels import ChannelEdit, ChannelRegister
from app.notify.courier import open_courier
from app.settings import ChannelSettings
from app.store.notifications import Channels, Deliveries, Secrets
from app.store.repositories import Pipelines, Releases
from app.store.sealing import Sealer


class _Unprompted:
    """Prompts nobody: a command knows the store alone, and the workers' sweep finds what it has changed."""

    async def deliver(self, channel_ids: Sequence[str]) -> None:
        """Do nothing."""


@asynccontextmanager
async def _changing(
    store_url: str, settings: ChannelSettings, mutation: str, given: dict[str, str | None]
) -> AsyncIterator[ChannelRegister]:
    """The channels of a store, to the end of the block; what is done there is on the audit log."""
    async with opened(store_url) as store:
        clock, channels, deliveries = SystemClock(), Channels(store), Deliveries(store)
        secrets = Secrets(store, Sealer(settings.sealing_keys))
        async with (
            open_courier(channels, secrets, deliveries, Releases(store), clock, settings) as courier,
            audited(store, mutation, given),
        ):
            yield ChannelRegister(channels, secrets, deliveries, Pipelines(store), courier, _Unprompted(), clock)


async def create_channel(
    store_url: str, settings: ChannelSettings, is_webhook: bool, name: str, target: str, edit: ChannelEdit
) -> None:
    """Make a channel; of a webhook print its secret, the only time. Raises `Problem` or `StoreUnavailable`."""
    kind = ChannelKind.WEBHOOK if is_webhook else ChannelKind.APPRISE
    given = {"kind": kind.value, **_recorded(structs.replace(edit, name=name, target=target))}
    async with _changing(store_url, settings, "createChannel", given) as register:
        channel, secret = await register.create(kind, name, target, edit, ADMINISTRATOR)
    print(f"{channel.id}  {channel.address}  {channel.name}")
    if secret is not None:
        print(f"Its secret, shown only now: {secret}")


async def update_channel(store_url: str, settings: ChannelSettings, id: str, edit: ChannelEdit) -> None:
    """Change a channel. Raises `Problem` or `StoreUnavailable`."""
    given = {"id": id, **_recorded(edit)}
    async with _changing(store_url, settings, "updateChannel", given) as register:
        channel = await register.update(id, edit, ADMINISTRATOR)
    print(f"{channel.id}  {_state(channel)}  {channel.address}  {channel.name}")


async def list_channels(store_url: str) -> None:
    """Print all channels. Raises `StoreUnavailable`."""
    row = "{:<30}  {:<8}  {:<9}  {:<40}  {}"
    print(row.format("Id", "Kind", "State", "Address", "Name"))
    async with opened(store_url) as store:
        for channel in await Channels(store).all():
            print(row.format(channel.id, channel.kind.value.lower(), _state(channel), channel.address, channel.name))


def _recorded(edit: ChannelEdit) -> dict[str, str | None]:
    """What the audit log says of an edit: all that is set, but no target."""
    return {
        "name": edit.name,
        "target": None if edit.target is None else KEPT_SECRET,
        "types": None if edit.types is None else ", ".join(each.value for each in edit.types),
        "features": None if edit.features is None else ", ".join(edit.features),
        "pipelineIds": None if edit.pipeline_ids is None else ", ".join(edit.pipeline_ids),
        "enabled": None if edit.enabled is None else str(edit.enabled),
    }


def _state(channel: Channel) -> str:
    return "enabled" if channel.enabled else "disabled"


async def try_channel(store_url: str, settings: ChannelSettings, id: str) -> None:
    """Send a test message. Raises `Problem`, `StoreUnavailable`, or ValueError if it does not arrive."""
    async with _changing(store_url, settings, "testChannel", {"id": id}) as register:
        channel, error = await register.test(id, ADMINISTRATOR)
    if error is not None:
        raise ValueError(f"{channel.name} does not have it. {error}")
    print(f"{channel.name} has it.")


async def rotate_channel(store_url: str, settings: ChannelSettings, id: str) -> None:
    """Give a webhook a new secret and print it, the only time. Raises `Problem` or `StoreUnavailable`."""
    async with _changing(store_url, settings, "rotateChannelSecret", {"id": id}) as register:
        channel, secret = await register.rotate(id, ADMINISTRATOR)
    print(f"{channel.id}  {channel.name}\nIts new secret, shown only now: {secret}")


async def delete_channel(store_url: str, settings: ChannelSettings, id: str) -> None:
    """Delete a channel. Raises `Problem` or `StoreUnavailable`."""
    async with _changing(store_url, settings, "deleteChannel", {"id": id}) as register:
        await register.delete(id, ADMINISTRATOR)
    print(f"{id} is deleted.")
