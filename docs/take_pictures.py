"""Takes docs/status-page-light.png, -dark.png and -phone.png: the status page in Chromium, on a server of its own.

    uv run python -m docs.take_pictures

Needs Chromium (Debian: `apt-get install chromium`). Run again, it takes the same pictures, for the scene's clock stands
still; only the fonts are those of the machine.
"""

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Literal

from playwright.async_api import Browser
from pydantic import SecretStr

from app.embedded import EmbeddedValkey
from app.logs import configure_logs
from app.services import open_services
from app.settings import Settings
from docs.picture_scene import ADA, GRACE, Clock, Scene
from tests.api.serving import serving
from tests.browsing import CLOSED_NETWORK, chromium
from tests.web.desk import Desk, desk

_NOT_TAKEN = "NO PICTURES ARE TAKEN"
_HERE = Path(__file__).parent
_MOST_BYTES = 200_000
_WIDE: dict[str, Any] = {"viewport": {"width": 1100, "height": 780}}
_PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True}


class Studio:
    """Where pictures are taken of one server."""

    def __init__(self, browser: Browser, url: str, token: str) -> None:
        self._browser, self._url, self._token = browser, url, token

    async def take(
        self, name: str, path: str, scheme: Literal["light", "dark"], screen: dict[str, Any], *, menu: bool = False
    ) -> None:
        """Save a picture of a page, once it is live and all is there."""
        async with desk(self._browser, self._url, self._token, color_scheme=scheme, **screen) as shown:
            await shown.go(path)
            await self._there(shown)
            if menu:
                await shown.page.get_by_role("button", name="Actions").click()
            file = _HERE / f"status-page-{name}.png"
            await shown.page.screenshot(path=file, animations="disabled")
        size = file.stat().st_size
        print(f"{file.relative_to(_HERE.parent)}  {size / 1_000:,.0f} kB{'  TOO LARGE' if size > _MOST_BYTES else ''}")

    async def _there(self, shown: Desk) -> None:
        await shown.page.locator(".strip, .phase").first.wait_for()
        await shown.page.locator("#reviews:visible").wait_for()  # which comes last, a moment after the lists
        await shown.page.wait_for_timeout(500)


async def _main() -> None:
    configure_logs("warning")
    clock = Clock()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        valkey = await stack.enter_async_context(EmbeddedValkey(folder))
        settings = Settings(
            store_url=f"sqlite:///{folder}/pictures.db",
            redis_url=valkey.url,
            admin_token=SecretStr("of-the-pictures-alone"),
            log_level="warning",
            requests_per_minute=0,
        )
        services = await stack.enter_async_context(open_services(settings, clock))
        await services.store.prepare()
        release = await Scene(services, clock).play()
        _, token = await services.tokens.create(GRACE.actor.name, GRACE.role, None, ADA)
        api = await stack.enter_async_context(serving(services))
        browser = await stack.enter_async_context(chromium(_NOT_TAKEN, *CLOSED_NETWORK))
        studio = Studio(browser, api.base_url, token)
        await studio.take("light", "/", "light", _WIDE)
        await studio.take("dark", f"/releases/{release.id}", "dark", _WIDE, menu=True)
        await studio.take("phone", f"/releases/{release.id}", "light", _PHONE)


if __name__ == "__main__":
    asyncio.run(_main())
