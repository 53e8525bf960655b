"""The `slipway` command. Modules are imported when a command needs them: help and a refusal come at once."""

import asyncio
import gc
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from app.checked_settings import checked_settings, fail, fail_settings
from app.store_cli import channels, sdk_keys, tokens

app = typer.Typer(
    help="Slipway rolls a change of a feature gate or dynamic config out in phases.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(tokens, name="token")
app.add_typer(sdk_keys, name="sdk-key")
app.add_typer(channels, name="channel")


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
        fail(f"--log-level {log_level}: use debug, info, warning or error.")

    from pydantic import ValidationError

    from app.data_folder import EmbeddedError
    from app.dev import run
    from app.server import PortTaken

    try:
        _run(run(host, port, data, demo, log_level))
    except (EmbeddedError, PortTaken) as error:
        fail(str(error))
    except ValidationError as error:
        fail_settings(error)


@app.command()
def serve(
    host: Host = "127.0.0.1",
    port: Port = 8000,
) -> None:
    """Serve the API.

    Configured by environment variables: SLIPWAY_STORE_URL, SLIPWAY_REDIS_URL and SLIPWAY_ADMIN_TOKEN; see README.
    """
    settings = checked_settings()

    from app.server import PortTaken, Server, create_app, listening, server_config

    server = Server(
        server_config(create_app(), settings.log_level, settings.max_message_bytes, settings.trusted_proxies)
    )
    try:
        with listening(host, port) as listener:
            _run(server.serve(sockets=[listener]))
    except PortTaken as error:
        fail(str(error))
    if not server.started:
        sys.exit(1)


@app.command()
def worker(
    check: Annotated[
        bool, typer.Option("--check", help="Tell by the exit status whether a worker is at work, and do nothing else.")
    ] = False,
) -> None:
    """End bakes that are due. Configured by the same environment variables as `serve`."""
    settings = checked_settings()

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
        fail(str(error))


def main() -> None:
    """The entry point."""
    gc.disable()  # what is imported stays: a tenth of the start would go by looking for garbage there
    app()


def _run(main: object) -> None:
    """Run to the end on uvloop, where there is one."""
    import uvloop

    gc.enable()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)  # type: ignore[arg-type]
