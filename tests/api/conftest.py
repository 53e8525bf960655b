"""A server for every test that asks for one, and a look at what it logged."""

import logging
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import pytest_asyncio
from pydantic import SecretStr
from structlog.testing import capture_logs
from structlog.typing import EventDict

from app.domain.access import Principal
from app.services import Services, open_services
from app.settings import Settings
from tests.api.serving import Api, serving


@pytest.fixture
async def api(services: Services) -> AsyncIterator[Api]:
    """A server on empty stores."""
    async with serving(services) as api:
        yield api


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_api(valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """A server for all tests of a module, which leave nothing behind: they run in the module's loop."""
    file = tmp_path_factory.mktemp("shared") / "slipway.db"
    settings = Settings(store_url=f"sqlite:///{file}", redis_url=valkey_url, admin_token=SecretStr("shared-" * 4))
    async with open_services(settings) as services:
        await services.store.prepare()
        async with serving(services) as api:
            yield api


@pytest.fixture
def become(monkeypatch: pytest.MonkeyPatch) -> Callable[[Principal], None]:
    """Let the token that clients send be somebody else's from now on."""
    return lambda principal: monkeypatch.setattr("app.api.auth.ADMINISTRATOR", principal)


@pytest.fixture(autouse=True)
def logs(caplog: pytest.LogCaptureFixture) -> Iterator[list[EventDict]]:
    """What Slipway logs. Whatever a test sends, no error and no traceback may be in it, nor in the libraries' logs."""
    with capture_logs() as entries:
        yield entries
    said = [r.getMessage() for r in caplog.get_records("call") if r.levelno >= logging.ERROR or r.exc_info]
    said += [str(entry) for entry in entries if entry["log_level"] in ("error", "critical") or "exc_info" in entry]
    assert not said
