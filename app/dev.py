"""`slipway dev`: API, worker and embedded stores as one process, with Valkey as its child."""

import asyncio
import os
import socket
from pathlib import Path
from urllib.parse import quote

from pydantic import SecretStr
from rich.console import Console
from rich.markup import escape

from app import worker
from app.data_folder import SECRETS_KEY, DataFolder, store_url
from app.demo import load_demo
from app.domain.access import ADMINISTRATOR
from app.embedded import EmbeddedValkey, parent_gone
from app.logs import configure_logs
from app.open_files import allow_open_files
from app.server import Server, create_app, listening, server_config
from app.services import Services, open_services
from app.settings import Settings


async def run(host: str, port: int, data: Path, demo: bool, log_level: str) -> None:
    """Run until SIGINT, SIGTERM or the end of the uv that started us.

    Raises `embedded.AlreadyRunning` when another one runs on the same data, and `server.PortTaken`.
    """
    configure_logs(log_level)
    allow_open_files()
    with DataFolder.open(data, url=_url(host, port)) as folder, listening(host, port) as listener:
        url = _url(host, listener.getsockname()[1])
        folder.announce(url)
        token = os.environ.get("SLIPWAY_ADMIN_TOKEN") or folder.admin_token()
        async with EmbeddedValkey(folder.path) as valkey:
            settings = Settings(
                store_url=store_url(folder.path),
                redis_url=valkey.url,
                admin_token=SecretStr(token),
                log_level=log_level,
                public_url=os.environ.get("SLIPWAY_PUBLIC_URL") or url,
                secrets_key=os.environ.get("SLIPWAY_SECRETS_KEY") or folder.secrets_key(),
            )
            async with open_services(settings) as services:
                await services.store.prepare()
                await _serve(services, listener, _greeting(url, token, folder), demo)


async def _serve(services: Services, listener: socket.socket, greeting: list[str], demo: bool) -> None:
    settings = services.settings
    server = Server(server_config(create_app(services), settings.log_level, settings.max_message_bytes))
    tasks = [
        asyncio.create_task(worker.run(services)),
        asyncio.create_task(_stop_with_parent(server)),
        asyncio.create_task(_welcome(server, services, greeting, demo)),
    ]
    for task in tasks:
        task.add_done_callback(server.stop_if_failed)
    try:
        await server.serve(sockets=[listener])
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    for end in ends:
        if isinstance(end, Exception):
            raise end


async def _stop_with_parent(server: Server) -> None:
    await parent_gone()
    server.stop()


async def _welcome(server: Server, services: Services, greeting: list[str], demo: bool) -> None:
    """Load the demo and say where to go, once requests are answered."""
    while not server.started:  # noqa: ASYNC110 (uvicorn tells no other way)
        await asyncio.sleep(0.01)
    lines = list(greeting)
    if demo:
        started = await load_demo(services, ADMINISTRATOR)
        lines.extend(f"Demo         {release.title} is under way: {release.id}" for release in started)
        if not started:
            lines.append("Demo         was loaded before; for a fresh one choose another folder with --data")
    lines += ["", "Stop with Ctrl-C; the data stays."]
    # Never wrapped, whatever the terminal's width: token and ids are there to be copied.
    Console(soft_wrap=True, highlight=False).print("\n".join(["", *lines, ""]))


def _greeting(url: str, token: str, folder: DataFolder) -> list[str]:
    is_given = bool(os.environ.get("SLIPWAY_SECRETS_KEY"))
    key = "of SLIPWAY_SECRETS_KEY" if is_given else f"in {escape(str(folder.path / SECRETS_KEY))}"
    return [
        f"[bold]Slipway is up[/bold] at {url}",
        "",
        # The page takes the token out of the address bar; what follows # is sent to no server.
        f"Status page  {url}/#token={quote(token, safe='')}",
        f"GraphiQL     {url}/graphql",
        f"Token        {token}",
        f"Secrets      of channels are sealed with the key {key}",
    ]


def _url(host: str, port: int) -> str:
    shown = "localhost" if host in ("0.0.0.0", "::", "127.0.0.1") else host  # noqa: S104
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}"
