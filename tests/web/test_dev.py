"""A whole release by the link of `slipway dev`, while another browser watches and the server is killed meanwhile."""

import re
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.e2e.processes import dev
from tests.web.desk import desk

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_whole_release_though_the_server_is_killed(browser: Browser, tmp_path: Path) -> None:
    """Two pages, of which one is never touched, show the same to the end; while the server is away neither is live."""
    async with AsyncExitStack() as servers, AsyncExitStack() as people:
        first = await servers.enter_async_context(dev(tmp_path / "data", "--demo"))
        port, token = int(first.url.rpartition(":")[2]), first.token
        found = re.search(r"new-checkout is under way: (rel_\w+)", first.output)
        assert found is not None
        assert f"/#token={token}" in first.output
        olga, ann = [await people.enter_async_context(desk(browser, first.url, token)) for _ in range(2)]
        for page in (olga, ann):
            await page.go(f"/releases/{found[1]}")
        timeline = ann.page.locator("ol.timeline")
        await olga.do("Pause", "coffee")
        await expect(ann.phase("Staging").locator(".status")).to_have_text("Paused")
        await expect(timeline).to_contain_text("coffee")

        await first.end(signal.SIGKILL)
        for page in (olga, ann):
            await expect(page.page.get_by_text("What you see is as of")).to_be_visible()
        await servers.enter_async_context(dev(tmp_path / "data", port=port))
        for page in (olga, ann):
            await page.live()
            await expect(page.page.locator("#lost")).to_be_hidden()

        await olga.do("Unpause")
        await expect(ann.phase("Staging")).to_contain_text("left")
        await olga.do("Skip")
        await expect(ann.page.get_by_text("“Production us-west” waits for review")).to_be_visible()
        await olga.do("Approve", "looks good")
        await expect(ann.phase("Production us-west")).to_contain_text("Administrator approved")
        await expect(ann.page.locator("p.exposure")).to_contain_text("us-west")
        await olga.do("Full Roll Out")
        await expect(ann.page.locator("p.exposure")).to_have_text("Everyone gets the new spec.")
        await expect(timeline.locator("li").first).to_contain_text("completed the release")
        for page in (olga, ann):
            page.forget_failed_requests()
