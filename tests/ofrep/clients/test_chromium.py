"""OpenFeature's client for browsers in a real one, on a page of another origin than Slipway's.

What Node leaves open: cross-origin requests and what a page may read of their answers, a browser's own EventSource,
and the provider's local storage.
"""

import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Request

from app.domain.releases import ReleaseAction
from app.services import Services, open_services
from app.settings import Settings
from tests.api.serving import Api, serving
from tests.browsing import chromium
from tests.conftest import Clock
from tests.node.programs import Fact
from tests.ofrep.clients.sdks import SCRIPTS, install_clients
from tests.ofrep.clients.shop import ANN, GATE, Given, given, make_shop, open_shop, start, turns
from tests.scene import act, eventually

# All in one loop, since they share a browser.
pytestmark = pytest.mark.asyncio(loop_scope="module")

FLAGS, EVENTS = "/ofrep/v1/evaluate/flags", "/ofrep/v1/events"
OLD: Given = {"Ann": "old"}
NEW: Given = {"Ann": "new by Norway"}

NOT_TRIED = "OPENFEATURE IN CHROMIUM IS NOT TRIED"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a page, its script bundled with the clients of npm."""
    folder, site = (tmp_path_factory.mktemp(name) for name in ("bundled", "site"))
    packages = install_clients(folder, "esbuild@0.28.2") / "node_modules"
    bundle: list[str | Path] = [
        packages / ".bin/esbuild",
        SCRIPTS / "page.mjs",
        "--bundle",
        f"--outfile={site / 'page.js'}",
    ]
    done = subprocess.run(
        bundle, env=os.environ | {"NODE_PATH": str(packages)}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    (site / "index.html").write_text('<!doctype html><title>Shop</title><script src="page.js"></script>')
    return site


@contextmanager
def _served(site: Path) -> Iterator[str]:
    """The origin of a server of files."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site)) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://localhost:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def origin(site: Path) -> Iterator[str]:
    """Where the page is."""
    with _served(site) as origin:
        yield origin


@pytest.fixture
def settings(settings: Settings, origin: str) -> Settings:
    """Slipway lets pages of the shop call it."""
    return settings.model_copy(update={"allowed_origins": (origin,)})


@pytest_asyncio.fixture(loop_scope="module")
async def services(settings: Settings, clock: Clock) -> AsyncIterator[Services]:
    """A process on the empty store."""
    async with open_services(settings, clock) as services:
        await services.store.prepare()
        yield services


@pytest_asyncio.fixture(loop_scope="module")
async def secret(services: Services) -> str:
    """The SDK key of the shop."""
    return await make_shop(services)


@pytest_asyncio.fixture(loop_scope="module")
async def api(services: Services, secret: str) -> AsyncIterator[Api]:
    """A server that the shop evaluates at."""
    async with open_shop(services) as api:
        yield api


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """A Chromium."""
    async with chromium(NOT_TRIED) as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page of somebody who was never here: nothing is kept from test to test."""
    async with await browser.new_context() as context:
        yield await context.new_page()


class Shop:
    """The shop in a browser, as Ann sees it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[Request] = []
        self.complaints: list[str] = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("request", lambda request: self.requests.append(request))

    async def open(self, origin: str, url: str, secret: str) -> str:
        """Go to the page and let it evaluate; what comes of it."""
        await self.page.goto(origin)
        return str(await self.page.evaluate("given => shop.open(given)", [url, secret, ANN["Ann"]]))

    async def read(self, flag: str, otherwise: object) -> dict[str, Fact]:
        """The evaluation details that Ann gets."""
        return {"Ann": await self.page.evaluate("given => shop.read(given)", [flag, otherwise])}

    async def heard(self, event: str) -> list[float]:
        """When it was told of an event, in milliseconds since 1970."""
        heard = await self.page.evaluate("() => shop.heard")
        return [each["at"] for each in heard if each["event"] == event]

    async def asked(self, path: str) -> list[dict[str, Any]]:
        """The answered requests for a path since this was last asked: their headers, and the status of the answer."""
        found = [request for request in self.requests if urlsplit(request.url).path == path]
        self.requests[:] = [request for request in self.requests if request not in found]
        answers = [(await request.all_headers(), await request.response()) for request in found]
        return [headers | {"status": answer.status} for headers, answer in answers if answer is not None]


async def test_a_page_of_another_origin_sees_an_abort(
    services: Services, api: Api, secret: str, origin: str, page: Page
) -> None:
    """It sends its key as X-API-Key, reads the ETag, is told of changes by a stream, and a reload costs a 304."""
    shop = Shop(page)
    assert await shop.open(origin, api.base_url, secret) == "open"
    await turns(shop, GATE, OLD, OLD)

    release = await start(services, GATE)
    await turns(shop, GATE, OLD, NEW)
    answer = await api.mutate("abortRelease", input={"releaseId": release.id})
    answered = time.time()
    assert answer["__typename"] == "ReleaseActionPayload"
    await turns(shop, GATE, NEW, OLD)
    seen = (await shop.heard("PROVIDER_CONFIGURATION_CHANGED"))[-1]
    print(f"Chromium: abort seen {seen - answered * 1000:.0f} ms after it was answered")

    bulk = await shop.asked(FLAGS)
    assert [asked["status"] for asked in bulk] == [200, 200, 200]
    assert [asked["x-api-key"] for asked in bulk] == [secret] * 3
    assert [asked["origin"] for asked in bulk] == [origin] * 3
    assert ["if-none-match" in asked for asked in bulk] == [False, True, True]
    (stream,) = await shop.asked(EVENTS)
    assert (stream["status"], stream["origin"]) == (200, origin)

    assert await shop.open(origin, api.base_url, secret) == "open"
    assert await given(shop, GATE) == OLD
    await eventually(lambda: any(urlsplit(asked.url).path == FLAGS for asked in shop.requests))
    assert [asked["status"] for asked in await shop.asked(FLAGS)] == [304]


async def test_a_page_of_an_origin_that_is_not_named_gets_nothing(
    api: Api, secret: str, site: Path, page: Page
) -> None:
    """The browser keeps the answers from it, and it runs on the defaults of its code."""
    shop = Shop(page)
    with _served(site) as elsewhere:
        assert "The OFREP request failed" in await shop.open(elsewhere, api.base_url, secret)
    assert any("blocked by CORS policy" in complaint for complaint in shop.complaints)
    details = (await shop.read(GATE, True))["Ann"]
    assert (details["value"], details["reason"]) == (True, "ERROR")


async def test_a_browser_hears_of_a_change_made_while_the_server_was_away(
    settings: Settings, clock: Clock, origin: str, page: Page
) -> None:
    """Chromium's own EventSource connects again by itself and says of which change the page knows."""
    shop = Shop(page)
    async with open_services(settings, clock) as services, AsyncExitStack() as stack:
        await services.store.prepare()
        secret = await make_shop(services)
        async with open_shop(services) as api:
            assert await shop.open(origin, api.base_url, secret) == "open"
            release = await start(services, GATE)
            await turns(shop, GATE, OLD, NEW)
            await shop.asked(EVENTS)

        async def is_stale() -> bool:
            return bool(await shop.heard("PROVIDER_STALE"))

        await eventually(is_stale)
        await act(services, release, ReleaseAction.ABORT)
        assert await given(shop, GATE) == NEW
        await stack.enter_async_context(serving(services, port=api.port))
        listening = time.time()
        await turns(shop, GATE, NEW, OLD)
        seen = (await shop.heard("PROVIDER_CONFIGURATION_CHANGED"))[-1]
        print(f"Chromium: abort made meanwhile seen {seen - listening * 1000:.0f} ms after the server is back")
        (connected, *_) = await shop.asked(EVENTS)
        assert connected["last-event-id"]
