"""The status page in a real Chromium, as somebody with a token sees it."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, expect

from tests.api.serving import Api
from tests.domain.builders import ADMIN

NOT_TRIED = "THE STATUS PAGE IN CHROMIUM IS NOT TRIED"
_FAILED = re.compile("WebSocket connection|Failed to load resource")

expect.set_options(timeout=6_000)  # for a machine that is busy


class Desk:
    """A page of somebody's."""

    def __init__(self, page: Page, url: str, token: str) -> None:
        self.page = page
        self.url = url
        self.token = token
        self.complaints: list[str] = []
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _note(self, message: ConsoleMessage) -> None:
        if message.type != "debug" and not message.text.startswith("[DOM] Password forms should have"):
            self.complaints.append(f"{message.type}: {message.text}")

    async def go(self, path: str = "/") -> None:
        """Open a path by the link that signs in, and wait until the page is live."""
        await self.page.goto(f"{self.url}{path}#token={self.token}", wait_until="domcontentloaded")
        await self.live()

    async def live(self) -> None:
        """Wait until the page says that it is live."""
        await expect(self.page.locator("html")).to_have_attribute("data-connection", "live")

    def forget_failed_requests(self) -> None:
        """A browser complains of every request that fails; some have to, while a server is away or refuses."""
        self.complaints[:] = [complaint for complaint in self.complaints if not _FAILED.search(complaint)]

    def row(self, title: str, within: str = "Releases under way") -> Locator:
        """The row of a release in a list."""
        return self.page.get_by_role("list", name=within).get_by_role("listitem").filter(has_text=title)

    def phase(self, name: str) -> Locator:
        """A phase on the page of a release."""
        return self.page.locator(".phase").filter(has=self.page.get_by_role("heading", name=name, exact=True))

    async def violations(self, axe: str) -> list[str]:
        """What axe-core finds against the page as it is in light, and against its colours in dark as well."""
        if await self.page.evaluate("!window.axe"):
            await self.page.evaluate(axe)
        found = []
        for scheme, rules in (("dark", ", runOnly: ['color-contrast']"), ("light", "")):
            await self.page.emulate_media(color_scheme=scheme)
            answer = await self.page.evaluate(f"axe.run(document, {{resultTypes: ['violations']{rules}}})")
            found += [(scheme, each["id"], node) for each in answer["violations"] for node in each["nodes"]]
        return [f"{scheme} {id}: {node['html']} {node['failureSummary']}" for scheme, id, node in found]

    @property
    def dialog(self) -> Locator:
        """The dialog that is open."""
        return self.page.get_by_role("dialog")

    async def choose(self, action: str) -> None:
        """Open the menu of a release and choose an action."""
        await self.page.get_by_role("button", name="Actions").click()
        await self.page.get_by_role("menuitem", name=action, exact=True).click()

    async def do(self, action: str, reason: str = "") -> None:
        """Carry an action out through menu and dialog."""
        await self.choose(action)
        if reason:
            await self.dialog.get_by_label("Reason").fill(reason)
        await self.dialog.get_by_role("button", name=action, exact=True).click()
        await expect(self.dialog).to_have_count(0)


@asynccontextmanager
async def desk(browser: Browser, url: str, token: str, **options: Any) -> AsyncIterator[Desk]:
    """A page in a browser of its own; nothing that it complains of goes unseen."""
    context: BrowserContext = await browser.new_context(**options)
    try:
        opened = Desk(await context.new_page(), url, token)
        yield opened
        assert not opened.complaints, opened.complaints
    finally:
        await context.close()


async def token_for(api: Api, name: str, role: Any) -> str:
    """A token of somebody with that role."""
    _, secret = await api.services.tokens.create(name, role, None, ADMIN)
    return secret
