"""GraphiQL at work, in a real Chromium without internet: what it asks, what it watches, and where the token goes."""

import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Page, Route

from app.api.graphiql_files import CDN, compressed, files
from app.domain.releases import ReleaseAction
from app.services import Services, open_services
from app.settings import Settings
from tests.api.serving import Api, serving
from tests.browsing import CLOSED_NETWORK, chromium
from tests.conftest import Clock
from tests.domain.builders import phase
from tests.node.graphiql import fetch_graphiql
from tests.scene import act, eventually, start_release

# All in one loop, since they share a browser.
pytestmark = pytest.mark.asyncio(loop_scope="module")

NOT_TRIED = "GRAPHIQL IN CHROMIUM IS NOT TRIED"
QUERY = ".graphiql-query-editor .CodeMirror"
HEADERS = ".graphiql-editor-tool .CodeMirror"  # the last of them
RESPONSE = ".result-window .CodeMirror"


@pytest.fixture
def store_url(tmp_path: Path) -> str:
    """One store is enough."""
    return f"sqlite:///{tmp_path / 'slipway.db'}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the server looks for GraphiQL's files: there is nothing yet."""
    return tmp_path / "graphiql"


@pytest.fixture
def settings(settings: Settings, folder: Path) -> Settings:
    """The server looks in the test's folder, not in that of whoever runs the test."""
    return settings.model_copy(update={"graphiql_dir": folder})


@pytest_asyncio.fixture(loop_scope="module")
async def services(settings: Settings, clock: Clock) -> AsyncIterator[Services]:
    """A process on the empty store."""
    async with open_services(settings, clock) as services:
        await services.store.prepare()
        yield services


@pytest_asyncio.fixture(loop_scope="module")
async def api(services: Services) -> AsyncIterator[Api]:
    """A server on the empty store."""
    async with serving(services) as api:
        yield api


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that `slipway graphiql` has filled from npm."""
    folder = tmp_path_factory.mktemp("fetched") / "graphiql"
    fetch_graphiql(folder)
    return folder


class Graphiql:
    """The page, as somebody sees it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requested: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.requested.append(request.url))
        page.on("console", self._complain)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.set_default_timeout(20_000)

    def _complain(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    async def open(self, url: str) -> None:
        """Go there and wait for the editors."""
        await self.page.goto(url)
        await self.page.locator(HEADERS).last.wait_for()

    async def headers(self) -> str:
        """What is in the Headers editor."""
        return await self._text(HEADERS)

    async def query(self) -> str:
        """What is in the query's editor."""
        return await self._text(QUERY)

    async def sends(self, header: str) -> None:
        """Wait until that is in the Headers editor."""

        async def is_there() -> bool:
            return header in await self.headers()

        await eventually(is_there)

    async def run(self, operation: str) -> None:
        """Type an operation and press the button."""
        await self.page.locator(QUERY).evaluate("(it, text) => it.CodeMirror.setValue(text)", operation)

        async def is_understood() -> bool:
            # Until then the button runs the operations, and asks which of the several, of the text before.
            known = "it => it.CodeMirror.documentAST?.loc.source.body"
            return bool(await self.page.locator(QUERY).evaluate(known) == operation)

        await eventually(is_understood)
        await self.page.click(".graphiql-execute-button")

    async def shows(self, text: str) -> None:
        """Wait until the response has it."""

        async def is_there() -> bool:
            return text in await self._text(RESPONSE)

        await eventually(is_there)

    async def knows_the_schema(self) -> None:
        """Wait until it has been told of it."""
        await self.page.click("[aria-label='Show Documentation Explorer']")
        await self.page.wait_for_selector(".graphiql-doc-explorer >> text=Subscription")

    async def stored(self, kind: str) -> dict[str, str]:
        """What the browser keeps: localStorage, sessionStorage."""
        return dict(await self.page.evaluate(f"() => ({{...{kind}}})"))

    async def _text(self, editor: str) -> str:
        return str(await self.page.locator(editor).last.evaluate("it => it.CodeMirror.getValue()"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """A Chromium that reaches nothing but this machine."""
    async with chromium(NOT_TRIED, *CLOSED_NETWORK) as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def graphiql(browser: Browser) -> AsyncIterator[Graphiql]:
    """A page of somebody who was never here: nothing is kept from test to test."""
    async with await browser.new_context() as context:
        yield Graphiql(await context.new_page())


@pytest.fixture
def local(settings: Settings, fetched: Path, folder: Path) -> None:
    """The server's folder is the filled one."""
    folder.symlink_to(fetched)


@pytest.mark.usefixtures("local")
async def test_it_asks_and_watches_with_the_token_of_its_address(
    services: Services, api: Api, graphiql: Graphiql
) -> None:
    """The token leaves the address bar for the Headers editor; a query, a subscription; nothing from elsewhere."""
    release = await start_release(services, phase("first"))
    await graphiql.open(f"{api.base_url}/graphql#token={api.token}")
    assert graphiql.page.url == f"{api.base_url}/graphql"
    assert await graphiql.page.evaluate("history.length") <= 2
    await graphiql.sends(f'"Authorization": "Bearer {api.token}"')
    await graphiql.knows_the_schema()

    await graphiql.run("{ viewer { role } }")
    await graphiql.shows('"role": "ADMIN"')

    await graphiql.run(f'subscription {{ releaseEvents(releaseId: "{release.id}", after: 0) {{ type reason }} }}')
    await graphiql.shows('"type": "PHASE_RELEASED"')
    await act(services, release, ReleaseAction.ABORT, reason="errors up")
    await graphiql.shows('"reason": "errors up"')

    assert graphiql.complaints == []
    assert [url for url in graphiql.requested if not url.startswith((api.base_url, "data:"))] == []


@pytest.mark.usefixtures("local")
async def test_what_it_begins_with_can_be_run(services: Services, api: Api, graphiql: Graphiql) -> None:
    """The text has two operations, the button asks which, and either answers; dialogs open under the policy too."""
    release = await start_release(services, phase("first"))
    for name in ("Releases", "Watch"):
        await graphiql.open(f"{api.base_url}/graphql?again={name}#token={api.token}")
        await graphiql.knows_the_schema()
        await graphiql.page.click(".graphiql-execute-button")
        await graphiql.page.get_by_role("menuitem", name=name).click()
        await graphiql.shows(release.id)
    await graphiql.page.click("[aria-label='Open settings dialog']")
    await graphiql.page.wait_for_selector("text=Clear storage")
    assert {complaint[:21] for complaint in graphiql.complaints} == {"Applying inline style"}


@pytest.mark.usefixtures("local")
async def test_the_token_is_kept_for_the_tab_alone(api: Api, graphiql: Graphiql) -> None:
    """Not on the disk, with past queries or without; a reload finds it, and no second tab within the page."""
    await graphiql.open(f"{api.base_url}/graphql#token={api.token}")
    await graphiql.run("{ viewer { role } }")
    await graphiql.shows('"role": "ADMIN"')

    async def is_kept() -> bool:
        kept = await graphiql.stored("localStorage")
        return all("viewer" in kept.get(f"graphiql:{key}", "") for key in ("queries", "tabState"))

    await eventually(is_kept)
    assert api.token not in str(await graphiql.stored("localStorage"))
    assert (await graphiql.stored("sessionStorage"))["slipway.token"] == api.token

    for _ in range(2):
        await graphiql.page.reload()
        await graphiql.open(graphiql.page.url)
    assert api.token in await graphiql.headers()
    tabs = msgspec.json.decode((await graphiql.stored("localStorage"))["graphiql:tabState"])["tabs"]
    assert [tab["headers"] for tab in tabs] == [None]

    # A query of the past is asked with the token of today.
    await graphiql.page.click("[aria-label='Show History']")
    await graphiql.page.click(".graphiql-history-item-label")
    assert api.token in await graphiql.headers()


@pytest.mark.usefixtures("local")
async def test_the_token_may_be_typed_and_forgotten(api: Api, graphiql: Graphiql) -> None:
    """Without one nothing is answered; typed, it is in the Headers editor; forgotten, it is nowhere."""
    await graphiql.open(f"{api.base_url}/graphql")
    assert await graphiql.headers() == ""
    await graphiql.run("{ viewer { role } }")
    await graphiql.shows("UNAUTHENTICATED")

    await graphiql.page.fill("#secret", api.token)
    await graphiql.page.click("text=Use it")
    await graphiql.page.wait_for_selector("#forget:visible")
    await graphiql.knows_the_schema()
    assert api.token in await graphiql.headers()
    await graphiql.run("{ viewer { role } }")
    await graphiql.shows('"role": "ADMIN"')

    await graphiql.page.click("#forget")
    await graphiql.page.wait_for_selector("#forget", state="hidden")
    await graphiql.open(graphiql.page.url)
    assert await graphiql.headers() == ""
    assert api.token not in str([await graphiql.stored(kind) for kind in ("localStorage", "sessionStorage")])


@pytest.mark.usefixtures("local")
async def test_a_token_pasted_into_an_open_page_is_taken_too(api: Api, graphiql: Graphiql) -> None:
    """A fragment does not load the page anew; encoded characters arrive as they are."""
    await graphiql.open(f"{api.base_url}/graphql?query=%7B__typename%7D")
    await graphiql.page.evaluate("location.hash = '#token=a%2Bb%20%22c'")
    await graphiql.page.wait_for_selector("#forget:visible")
    assert graphiql.page.url == f"{api.base_url}/graphql?query=%7B__typename%7D"
    assert await graphiql.page.evaluate("sessionStorage['slipway.token']") == 'a+b "c'
    await graphiql.sends(r'"Bearer a+b \"c"')
    assert await graphiql.query() == "{__typename}"


async def test_without_files_and_with_internet_it_runs_those_of_the_cdn(
    api: Api, graphiql: Graphiql, fetched: Path
) -> None:
    """Whole, from addresses that the page's policy allows. (Tests have no internet: npm's files take its place.)"""

    async def answer(route: Route) -> None:
        (file,) = (file for file in files() if file.address == route.request.url)
        content = gzip.decompress(compressed(fetched, file).read_bytes())
        allowed = {"access-control-allow-origin": "*"}
        await route.fulfill(body=content, content_type=file.media_type, headers=allowed)

    await graphiql.page.route(f"{CDN}/**", answer)
    await graphiql.open(f"{api.base_url}/graphql#token={api.token}")
    await graphiql.run("{ viewer { role } }")
    await graphiql.shows('"role": "ADMIN"')
    assert {url for url in graphiql.requested if url.startswith(CDN)} == {file.address for file in files()}
    assert graphiql.complaints == []


async def test_without_files_and_internet_the_page_says_what_to_do(api: Api, graphiql: Graphiql) -> None:
    """It is not blank, and the token has left the address bar all the same."""
    await graphiql.page.goto(f"{api.base_url}/graphql#token={api.token}")
    await graphiql.page.wait_for_selector("text=run `slipway graphiql` where the server runs")
    assert graphiql.page.url == f"{api.base_url}/graphql"
