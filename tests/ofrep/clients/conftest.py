"""The clients of OpenFeature, a shop for them, and the look at what a server logged that the API's tests take."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from app.services import Services
from tests.api.conftest import logs
from tests.api.serving import Api
from tests.ofrep.clients.sdks import install_clients, node_client, python_client
from tests.ofrep.clients.shop import make_shop, open_shop

__all__ = ["logs"]

# Opens a client at an address, with a secret, for people.
Connect: TypeAlias = Callable[..., AbstractAsyncContextManager[Any]]


@pytest.fixture(scope="session")
def node_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the clients of npm."""
    return install_clients(tmp_path_factory.mktemp("clients"))


@pytest.fixture(params=["python", "server", "web"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which client."""
    return str(request.param)


@pytest.fixture
def connect(kind: str, request: pytest.FixtureRequest) -> Connect:
    """Opens that client."""
    if kind == "python":
        return python_client
    return partial(node_client, request.getfixturevalue("node_packages"), f"{kind}.mjs")


@pytest.fixture
def web(node_packages: Path) -> Connect:
    """Opens the client for browsers."""
    return partial(node_client, node_packages, "web.mjs")


@pytest.fixture
def store_url(tmp_path: Path) -> str:
    """One adapter is enough: evaluating touches no store."""
    return f"sqlite:///{tmp_path / 'slipway.db'}"


@pytest.fixture
async def secret(services: Services) -> str:
    """The SDK key of the shop."""
    return await make_shop(services)


@pytest.fixture
async def api(services: Services, secret: str) -> AsyncIterator[Api]:
    """A server that the shop evaluates at."""
    async with open_shop(services) as api:
        yield api
