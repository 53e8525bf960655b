"""`slipway token`, `sdk-key` and `channel`: what they take. What they do is imported when it is asked for."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.checked_settings import fail, fail_settings
from app.domain.access import Role
from app.domain.credentials import MAX_LIFETIME
from app.domain.notifications import NotificationType

if TYPE_CHECKING:
    from app.settings import ChannelSettings

tokens = typer.Typer(help="API tokens: made, listed and revoked on the store.", no_args_is_help=True)
sdk_keys = typer.Typer(
    help="SDK keys, which evaluate features of one environment: made, listed and revoked on the store.",
    no_args_is_help=True,
)
channels = typer.Typer(
    help="Channels, where people are told: made, listed, tried, changed and deleted on the store.",
    no_args_is_help=True,
)

StoreData = Annotated[
    Path | None, typer.Option("--data", help="The data folder of `slipway dev`, instead of SLIPWAY_STORE_URL.")
]
Days = Annotated[
    int | None,
    typer.Option(help="After how many days it expires; never if left out.", min=1, max=MAX_LIFETIME.days),
]


@tokens.command("create")
def create_token(
    name: Annotated[str, typer.Argument(help="Whose it is, or what for.")],
    role: Annotated[Role, typer.Option(help="What its holder may do.", case_sensitive=False)],
    days: Days = None,
    data: StoreData = None,
) -> None:
    """Make a token; its secret is shown once."""
    from app.credential_commands import create_token

    _on_store(data, lambda url: create_token(url, name, role, _lifetime(days)))


@tokens.command("list")
def list_tokens(data: StoreData = None) -> None:
    """List all tokens, the newest first."""
    from app.credential_commands import list_tokens

    _on_store(data, list_tokens)


@tokens.command("revoke")
def revoke_token(id: Annotated[str, typer.Argument(help="The token's id: tok_...")], data: StoreData = None) -> None:
    """Let a token's holder in no more; open websockets are closed within 5 s."""
    from app.credential_commands import revoke_token

    _on_store(data, lambda url: revoke_token(url, id))


@sdk_keys.command("create")
def create_sdk_key(
    name: Annotated[str, typer.Argument(help="What it is built into.")],
    environment: Annotated[str, typer.Option(help="The one environment that it evaluates in.")],
    days: Days = None,
    data: StoreData = None,
) -> None:
    """Make an SDK key; its secret is shown once."""
    from app.credential_commands import create_sdk_key

    _on_store(data, lambda url: create_sdk_key(url, name, environment, _lifetime(days)))


@sdk_keys.command("list")
def list_sdk_keys(data: StoreData = None) -> None:
    """List all SDK keys, the newest first."""
    from app.credential_commands import list_sdk_keys

    _on_store(data, list_sdk_keys)


@sdk_keys.command("revoke")
def revoke_sdk_key(id: Annotated[str, typer.Argument(help="The key's id: sdk_...")], data: StoreData = None) -> None:
    """Let an SDK key's holder evaluate no more."""
    from app.credential_commands import revoke_sdk_key

    _on_store(data, lambda url: revoke_sdk_key(url, id))


ChannelId = Annotated[str, typer.Argument(help="The channel's id: cha_...")]


@channels.command("create")
def create_channel(
    name: Annotated[str, typer.Argument(help="Its name.")],
    target: Annotated[
        str, typer.Option(envvar="SLIPWAY_CHANNEL_TARGET", help="A webhook's URL with --webhook, or a URL of Apprise.")
    ],
    webhook: Annotated[bool, typer.Option("--webhook", help="It is a webhook; its secret is shown once.")] = False,
    type: Annotated[list[NotificationType] | None, typer.Option(help="Of what; several times; else of all.")] = None,
    feature: Annotated[list[str] | None, typer.Option(help="Of which features: a key, or a pattern with *.")] = None,
    pipeline: Annotated[list[str] | None, typer.Option(help="Of releases through which pipeline: pip_...")] = None,
    data: StoreData = None,
) -> None:
    """Make a channel. What it is reached with is kept encrypted, with SLIPWAY_SECRETS_KEY or the folder's key."""
    from app.channel_commands import create_channel
    from app.notify.channels import ChannelEdit

    edit = ChannelEdit(types=type, features=feature, pipeline_ids=pipeline)
    _on_channels(data, lambda url, settings: create_channel(url, settings, webhook, name, target, edit))


@channels.command("list")
def list_channels(data: StoreData = None) -> None:
    """List all channels, in the order of creation."""
    from app.channel_commands import list_channels

    _on_store(data, list_channels)


@channels.command("update")
def update_channel(
    id: ChannelId,
    name: Annotated[str | None, typer.Option(help="Its new name.")] = None,
    target: Annotated[
        str | None, typer.Option(envvar="SLIPWAY_CHANNEL_TARGET", help="What it is reached with from now on.")
    ] = None,
    type: Annotated[list[NotificationType] | None, typer.Option(help="Of what from now on; several times.")] = None,
    feature: Annotated[list[str] | None, typer.Option(help="Of which features from now on; * for all.")] = None,
    pipeline: Annotated[list[str] | None, typer.Option(help="Of releases through which pipeline from now on.")] = None,
    enabled: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Whether it is told anything; what waits is dropped.")
    ] = None,
    data: StoreData = None,
) -> None:
    """Change a channel; what is left out stays."""
    from app.channel_commands import update_channel
    from app.notify.channels import ChannelEdit

    edit = ChannelEdit(name, target, type, feature, pipeline, enabled)
    _on_channels(data, lambda url, settings: update_channel(url, settings, id, edit))


@channels.command("test")
def try_channel(id: ChannelId, data: StoreData = None) -> None:
    """Send a test message now; exit status 2 if it does not arrive."""
    from app.channel_commands import try_channel

    _on_channels(data, lambda url, settings: try_channel(url, settings, id))


@channels.command("rotate")
def rotate_channel(id: ChannelId, data: StoreData = None) -> None:
    """Give a webhook a new secret, shown once; for a day the old one signs too."""
    from app.channel_commands import rotate_channel

    _on_channels(data, lambda url, settings: rotate_channel(url, settings, id))


@channels.command("delete")
def delete_channel(id: ChannelId, data: StoreData = None) -> None:
    """Delete a channel; what was on its way is dropped."""
    from app.channel_commands import delete_channel

    _on_channels(data, lambda url, settings: delete_channel(url, settings, id))


def _lifetime(days: int | None) -> timedelta | None:
    return None if days is None else timedelta(days=days)


def _on_store(data: Path | None, command: Callable[[str], Coroutine[Any, Any, None]]) -> None:
    from app.data_folder import database, store_url
    from app.domain.problems import Problem
    from app.logs import configure_logs
    from app.store.documents import StoreUnavailable

    configure_logs("warning")
    url = store_url(data) if data is not None else os.environ.get("SLIPWAY_STORE_URL")
    if not url:
        fail("Say which store: set SLIPWAY_STORE_URL, or name the folder of `slipway dev` with --data .slipway")
    if data is not None and not database(data).exists():
        fail(f"There is no data in {data}: start `slipway dev --data {data}` first.")
    try:
        asyncio.run(command(url))
    except Problem as problem:
        fail(problem.message)
    except (StoreUnavailable, ValueError) as error:
        fail(str(error))


def _on_channels(data: Path | None, command: Callable[[str, "ChannelSettings"], Coroutine[Any, Any, None]]) -> None:
    from pydantic import ValidationError

    from app.data_folder import kept_secrets_key
    from app.settings import ChannelSettings

    try:
        settings = ChannelSettings()
        if not settings.secrets_key and data is not None and (key := kept_secrets_key(data)):
            settings = ChannelSettings(secrets_key=key)
    except ValidationError as error:
        fail_settings(error)
    _on_store(data, lambda url: command(url, settings))
