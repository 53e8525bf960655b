"""How the servers that Slipway is compared with are served: on uvicorn with Slipway's own settings."""

import asyncio
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette

from app.server import Server, listening, server_config
from benchmarks.commands import commands, say
from benchmarks.scene import RELEASE_ID


async def serve(app: Starlette, fire: Callable[[], Awaitable[None]]) -> None:
    """Serve until the benchmark ends. Its command `fire N` lets N events happen, one after another."""
    with listening("127.0.0.1", 0) as listener:
        server = Server(server_config(app, "warning"))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:  # noqa: ASYNC110 (uvicorn tells no other way)
            await asyncio.sleep(0.01)
        say(port=listener.getsockname()[1], releases=[{"id": RELEASE_ID}], after=0)
        async for _, count in commands():
            for _ in range(int(count)):
                await fire()
        server.stop()
        await serving
