"""A real Chromium, through Playwright."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, async_playwright

from tests.node.programs import not_run

# What it would else fetch by itself is of no use here, and there is no network in some places. (Playwright has it run
# without a window and a sandbox.)
ARGUMENTS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# No name is found, so that nothing is loaded from elsewhere: as on a closed network.
CLOSED_NETWORK = ("--no-proxy-server", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost")


@asynccontextmanager
async def chromium(what: str, *more: str) -> AsyncIterator[Browser]:
    """A browser, with more arguments; `what` is said if there is no Chromium."""
    path = shutil.which("chromium")
    if path is None:
        not_run(what, "chromium is not installed (Debian: apt-get install chromium)")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=[*ARGUMENTS, *more])
        yield browser
        await browser.close()
