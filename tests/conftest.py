"""Real stores for every test that asks for one."""

import gc
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from cryptography.fernet import Fernet
from pydantic import SecretStr
from pymongo import MongoClient
from redis.asyncio import Redis

from app.embedded import EmbeddedValkey
from app.engine import SystemClock
from app.services import Services, open_services
from app.settings import Settings
from app.store import open_store
from app.store.documents import Store
from tests.commands import Commands, commands
from tests.store.servers import mongodb_server, with_database

# Keep bytecode wherever the tests run: else each of their processes, and each it starts, compiles all libraries anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


# What is imported and collected stays to the end: looking for garbage in it takes a tenth of the collection.
gc.disable()


def pytest_collection_finish() -> None:
    """Keep what was collected, which stays to the end, out of the garbage collector's rounds."""
    gc.collect()
    gc.freeze()
    gc.enable()


SECRETS_KEY = Fernet.generate_key().decode()


@pytest.fixture(scope="session")
def mongodb_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A MongoDB: the one that SLIPWAY_TEST_MONGODB_URL names, or a wire-protocol server of our own."""
    if named := os.environ.get("SLIPWAY_TEST_MONGODB_URL"):
        yield named
        return
    with mongodb_server(tmp_path_factory.mktemp("mongodb")) as (url, _):
        yield url


# What stores must do alike is shown in tests/store, and engine, timers and servers run on both. What only calls these
# runs on MongoDB besides where there is a real one, which is another than the suite in tests/store was written with.
WHERE_REAL = pytest.mark.parametrize(
    "store_url", ["sqlite", "mongodb"] if "SLIPWAY_TEST_MONGODB_URL" in os.environ else ["sqlite"], indirect=True
)


@pytest.fixture(params=["sqlite", "mongodb"])
def store_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an empty store: a fresh file, and then again a fresh database. Several processes may open it."""
    if request.param == "sqlite":
        folder = request.getfixturevalue("tmp_path")
        yield f"sqlite:///{folder / 'slipway.db'}"
        return
    url = request.getfixturevalue("mongodb_url")
    name = f"slipway_test_{uuid4().hex[:16]}"
    yield with_database(url, name)
    with MongoClient[dict[str, object]](url, serverSelectionTimeoutMS=3_000) as client:
        client.drop_database(name)


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    """An empty store, prepared, on each adapter in turn."""
    store = open_store(store_url)
    try:
        await store.prepare()
        yield store
    finally:
        await store.close()


class Clock:
    """A clock that stands still until a test moves it.

    It starts at the real time, by which Redis hands out jobs and the hub polls.
    """

    def __init__(self) -> None:
        self.moment = SystemClock().now()

    def now(self) -> datetime:
        """The moment that the test has come to."""
        return self.moment

    def advance(self, by: timedelta) -> None:
        """Let time pass."""
        self.moment += by


@pytest.fixture
def clock() -> Clock:
    """What time it is in this test."""
    return Clock()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def valkey_url() -> AsyncIterator[str]:
    """A Valkey that stays up for all tests."""
    with tempfile.TemporaryDirectory(prefix="slipway-") as folder:  # pytest's paths are too long for a socket
        async with EmbeddedValkey(Path(folder)) as valkey:
            yield valkey.url


@pytest.fixture
async def redis_url(valkey_url: str) -> str:
    """An empty Redis."""
    async with Redis.from_url(valkey_url) as redis:
        await redis.flushall()
    return valkey_url


@pytest.fixture(scope="session")
def slipway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """Runs `slipway ...` without its start."""
    with commands(tmp_path_factory.mktemp("commands")) as slipway:
        yield slipway


@pytest.fixture
def settings(store_url: str, redis_url: str) -> Settings:
    """What a process on the empty stores is told. Its hub polls so rarely that a test sees announcements alone."""
    return Settings(
        store_url=store_url,
        redis_url=redis_url,
        admin_token=SecretStr("x" * 20),
        poll_seconds=60,
        requests_per_minute=0,
        secrets_key=SECRETS_KEY,
        allowed_targets=("127.0.0.1",),
        delivery_seconds=1,
        public_url="https://slipway.example",
    )


@pytest.fixture
async def services(settings: Settings, clock: Clock) -> AsyncIterator[Services]:
    """A process on empty stores, each adapter in turn, whose time is the test's `clock`."""
    async with open_services(settings, clock) as services:
        await services.store.prepare()
        yield services


@pytest.fixture
async def neighbour(settings: Settings, services: Services, clock: Clock) -> AsyncIterator[Services]:
    """Another process on the stores of `services`."""
    async with open_services(settings, clock) as neighbour:
        yield neighbour
