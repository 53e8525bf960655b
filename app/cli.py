"""The `slipway` command. Modules are imported when a command needs them: help and a refusal come at once."""

import asyncio
import gc
import os
import sys
from collections.abc import Callable, Coroutine
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from app.domain.access import Role
from app.domain.credentials import MAX_LIFETIME
from app.domain.notifications import NotificationType

if TYPE_CHECKING:
    from pydantic import ValidationError

    from app.settings import Settings

app = typer.Typer(
    help="Slipway rolls a change of a feature gate or dynamic config out in phases.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"slipway {version('slipway')}")
        raise typer.Exit


@app.callback()
def slipway(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Slipway rolls a change of a feature gate or dynamic config out in phases."""


Host = Annotated[str, typer.Option(help="The address to listen on.")]
Port = Annotated[int, typer.Option(help="The port to listen on.", min=0, max=65535)]


@app.command()
def dev(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    data: Annotated[Path, typer.Option(help="The folder that keeps the data.")] = Path(".slipway"),
    demo: Annotated[bool, typer.Option("--demo", help="Load environments, a pipeline and two releases.")] = False,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "warning",
) -> None:
    """Run API, worker and embedded stores on this machine, with nothing to set up."""
    if log_level not in ("debug", "info", "warning", "error"):
        _fail(f"--log-level {log_level}: use debug, info, warning or error.")

    from pydantic import ValidationError

    from app.data_folder import EmbeddedError
    from app.dev import run
    from app.server import PortTaken

    try:
        _run(run(host, port, data, demo, log_level))
    except (EmbeddedError, PortTaken) as error:
        _fail(str(error))
    except ValidationError as error:
        _fail_settings(error)


@app.command()
def serve(
    host: Host = "127.0.0.1",
    port: Port = 8000,
) -> None:
    """Serve the API.

    Configured by environment variables: SLIPWAY_STORE_URL, SLIPWAY_REDIS_URL and SLIPWAY_ADMIN_TOKEN; see README.
    """
    settings = _settings()

    from app.server import PortTaken, Server, create_app, listening, server_config

    server = Server(
        server_config(create_app(), settings.log_level, settings.max_message_bytes, settings.trusted_proxies)
    )
    try:
        with listening(host, port) as listener:
            _run(server.serve(sockets=[listener]))
    except PortTaken as error:
        _fail(str(error))
    if not server.started:
        sys.exit(1)


@app.command()
def worker(
    check: Annotated[
        bool, typer.Option("--check", help="Tell by the exit status whether a worker is at work, and do nothing else.")
    ] = False,
) -> None:
    """End bakes that are due. Configured by the same environment variables as `serve`."""
    settings = _settings()

    if check:
        from app.worker_health import is_healthy

        healthy = asyncio.run(is_healthy(settings.redis_url))
        if not healthy:
            print("No worker of this machine was seen on Redis within the last seconds.", file=sys.stderr)
        sys.exit(0 if healthy else 1)

    from app.worker import serve

    _run(serve(settings))


@app.command()
def schema() -> None:
    """Print the GraphQL schema (SDL)."""
    from app.api.schema import schema

    print(schema.as_str())


@app.command()
def graphiql(
    folder: Annotated[
        Path | None, typer.Option(envvar="SLIPWAY_GRAPHIQL_DIR", help="Where to; the server looks there too.")
    ] = None,
) -> None:
    """Fetch GraphiQL's files from npm, so that /graphql works without internet. Needs Node."""
    from app.graphiql_command import NotFetched, fetch
    from app.settings import default_graphiql_dir

    try:
        fetch(folder or default_graphiql_dir())
    except NotFetched as error:
        _fail(str(error))


tokens = typer.Typer(help="API tokens: made, listed and revoked on the store.", no_args_is_help=True)
app.add_typer(tokens, name="token")
sdk_keys = typer.Typer(
    help="SDK keys, which evaluate features of one environment: made, listed and revoked on the store.",
    no_args_is_help=True,
)
app.add_typer(sdk_keys, name="sdk-key")

channels = typer.Typer(
    help="Channels, where people are told: made, listed, tried, changed and deleted on the store.",
    no_args_is_help=True,
)
app.add_typer(channels, name="channel")

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

    edit = ChannelEdit(types=tuple(type or ()), features=tuple(feature or ()), pipeline_ids=tuple(pipeline or ()))
    _on_store(data, lambda url: create_channel(url, data, webhook, name, target, edit))


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

    edit = ChannelEdit(
        name=name,
        target=target,
        types=None if type is None else tuple(type),
        features=None if feature is None else tuple(feature),
        pipeline_ids=None if pipeline is None else tuple(pipeline),
        enabled=enabled,
    )
    _on_store(data, lambda url: update_channel(url, data, id, edit))


@channels.command("test")
def try_channel(id: ChannelId, data: StoreData = None) -> None:
    """Send a test message now; exit status 2 if it does not arrive."""
    from app.channel_commands import try_channel

    _on_store(data, lambda url: try_channel(url, data, id))


@channels.command("rotate")
def rotate_channel(id: ChannelId, data: StoreData = None) -> None:
    """Give a webhook a new secret, shown once; for a day the old one signs too."""
    from app.channel_commands import rotate_channel

    _on_store(data, lambda url: rotate_channel(url, data, id))


@channels.command("delete")
def delete_channel(id: ChannelId, data: StoreData = None) -> None:
    """Delete a channel; what was on its way is dropped."""
    from app.channel_commands import delete_channel

    _on_store(data, lambda url: delete_channel(url, data, id))


def _lifetime(days: int | None) -> timedelta | None:
    return None if days is None else timedelta(days=days)


def _on_store(data: Path | None, command: Callable[[str], Coroutine[Any, Any, None]]) -> None:
    from app.credential_commands import store_of
    from app.domain.problems import Problem
    from app.logs import configure_logs
    from app.store.documents import StoreUnavailable

    configure_logs("warning")
    url = store_of(data) if data is not None else os.environ.get("SLIPWAY_STORE_URL")
    if not url:
        _fail("Say which store: set SLIPWAY_STORE_URL, or name the folder of `slipway dev` with --data .slipway")
    if data is not None and not (data / "slipway.db").exists():
        _fail(f"There is no data in {data}: start `slipway dev --data {data}` first.")
    try:
        asyncio.run(command(url))
    except Problem as problem:
        _fail(problem.message)
    except (StoreUnavailable, ValueError) as error:
        _fail(str(error))


def main() -> None:
    """The entry point."""
    gc.disable()  # what is imported stays: a tenth of the start would go by looking for garbage there
    app()


def _settings() -> "Settings":
    from pydantic import ValidationError

    from app.settings import Settings
    from app.store import open_store
    from app.timers import connect

    try:
        settings = Settings()
    except ValidationError as error:
        _fail_settings(error)
    try:
        open_store(settings.store_url)
    except ValueError as error:
        _fail(f"SLIPWAY_STORE_URL: {error}")
    try:
        connect(settings.redis_url).connection_pool.make_connection()  # type: ignore[no-untyped-call]
    except (ValueError, TypeError):  # whose text may hold a part of the password
        _fail(f"SLIPWAY_REDIS_URL: Not the URL of a Redis. {Settings.model_fields['redis_url'].description}.")
    if settings.oidc_issuer is not None:
        from app.api.issuer_keys import checked_issuer

        try:
            checked_issuer(settings.oidc_issuer)
        except ValueError as error:
            _fail(f"SLIPWAY_OIDC_ISSUER: {error}")
    for name in sorted(os.environ):
        if name.startswith("SLIPWAY_") and name.removeprefix("SLIPWAY_").lower() not in Settings.model_fields:
            print(f"{name} is none of Slipway's settings and does nothing.", file=sys.stderr)
    return settings


_WRONG = {
    "missing": "is not set",
    "string_pattern_mismatch": "does not look like one",
    "too_short": "is too short",
}


def _fail_settings(error: "ValidationError") -> NoReturn:
    from app.settings import Settings

    lines = []
    for problem in error.errors():
        if not problem["loc"]:
            lines.append(problem["msg"].removeprefix("Value error, ") + ".")
            continue
        field = str(problem["loc"][0])
        wrong = _WRONG.get(problem["type"], problem["msg"].removeprefix("Value error, "))
        lines.append(f"SLIPWAY_{field.upper()}: {wrong}. {Settings.model_fields[field].description}.")
    _fail("\n".join(lines))


def _run(main: object) -> None:
    """Run to the end on uvloop, where there is one."""
    import uvloop

    gc.enable()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)  # type: ignore[arg-type]


def _fail(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    sys.exit(2)
