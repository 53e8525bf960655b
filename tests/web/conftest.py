"""A browser and a server for all tests of the page, which leave each other's releases alone."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser
from pydantic import SecretStr

from app.services import open_services
from app.settings import Settings
from tests.api.serving import Api, serving
from tests.browsing import CLOSED_NETWORK, chromium
from tests.node.programs import install
from tests.scene import make_environments
from tests.web.desk import NOT_TRIED


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """A Chromium."""
    async with chromium(NOT_TRIED, *CLOSED_NETWORK) as browser:
        yield browser


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The script of axe-core."""
    folder = install(("axe-core@4.11.0",), tmp_path_factory.mktemp("axe"), NOT_TRIED)
    return (folder / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def settings(valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """What the server is told."""
    file = tmp_path_factory.mktemp("web") / "slipway.db"
    return Settings(
        store_url=f"sqlite:///{file}",
        redis_url=valkey_url,
        admin_token=SecretStr("admin-of-the-page"),
        requests_per_minute=0,
    )


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def api(settings: Settings) -> AsyncIterator[Api]:
    """A server with environments and nothing else."""
    async with open_services(settings) as services:
        await services.store.prepare()
        await make_environments(services)
        async with serving(services) as api:
            yield api
