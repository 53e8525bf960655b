"""Slipway as it runs in production: two API processes and two workers on one store and one Valkey."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager
from pathlib import Path
from typing import Protocol

from app.embedded import EmbeddedValkey
from tests.e2e.client import Slipway
from tests.e2e.processes import Running, serve, worker
from tests.store.servers import with_database

TOKEN = "token-" * 4
POLL_SECONDS = 2


class Store(Protocol):
    """A store of the tests' own."""

    url: str

    def away(self) -> AbstractContextManager[None]:
        """It does not answer to the end of the block."""


class SqliteFile:
    """A file, moved away for a while."""

    def __init__(self, file: Path) -> None:
        self.url = f"sqlite:///{file}"
        self._file = file

    @contextmanager
    def away(self) -> Iterator[None]:
        """See `Store.away`."""
        self._file.rename(moved := self._file.with_suffix(".moved"))
        try:
            yield
        finally:
            moved.rename(self._file)


class MongoServer:
    """A server, stopped in its tracks for a while."""

    def __init__(self, url: str, pid: int) -> None:
        self.url = with_database(url, "slipway_e2e")
        self._pid = pid

    @contextmanager
    def away(self) -> Iterator[None]:
        """See `Store.away`."""
        os.kill(self._pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._pid, signal.SIGCONT)


class Production:
    """What runs, and how to make some of it go away."""

    def __init__(self, stack: AsyncExitStack, folder: Path, valkey: EmbeddedValkey, store: Store) -> None:
        self.valkey = valkey
        self.store = store
        self.environment = {
            "SLIPWAY_STORE_URL": store.url,
            "SLIPWAY_REDIS_URL": valkey.url,
            "SLIPWAY_ADMIN_TOKEN": TOKEN,
            "SLIPWAY_POLL_SECONDS": str(POLL_SECONDS),
            # On a machine that is busy, tests look at their releases more often than a client may by default.
            "SLIPWAY_REQUESTS_PER_MINUTE": "60000",
        }
        self.apis: list[Running] = []
        self.workers: list[Running] = []
        self.clients: list[Slipway] = []
        self._stack = stack
        self._folder = folder

    async def start_apis(self) -> None:
        """Two of them, at the same moment on an empty store; return when both are ready."""
        for _ in range(2):
            api = await self._stack.enter_async_context(serve(self._folder, self.environment))
            self.apis.append(api)
            self.clients.append(await self._stack.enter_async_context(Slipway(api.url, TOKEN)))
        for api in self.apis:
            await api.ready()

    async def start_workers(self) -> None:
        """Two of them; they say nothing when they are at work."""
        self.workers = [await self._stack.enter_async_context(worker(self._folder, self.environment)) for _ in range(2)]

    async def readiness(self) -> list[tuple[int, dict[str, str]]]:
        """What `/readyz` of each API process answers."""
        answers = [await client.http.get("/readyz") for client in self.clients]
        return [(answer.status_code, answer.json()) for answer in answers]

    async def all_ready(self, within: float) -> None:
        """Wait until all API processes are."""
        deadline = time.monotonic() + within
        while any(status != 200 for status, _ in await self.readiness()):
            assert time.monotonic() < deadline, await self.readiness()
            await asyncio.sleep(0.1)

    def assert_untouched(self) -> None:
        """Nothing has ended."""
        for running in (*self.apis, *self.workers):
            assert running.process.poll() is None, running.output
