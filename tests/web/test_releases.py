"""Releases on the status page: seen moving, and steered, in a real browser on a real server."""

import asyncio
import re
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Route, WebSocketRoute, expect

from app.domain.access import Role
from app.domain.pipelines import Phase
from app.domain.releases import Release, ReleaseAction
from app.services import Services, open_services
from app.settings import Settings
from tests.api.serving import Api, serving
from tests.domain.builders import ADMIN, OFF, ON, SUBMITTER, phase, review
from tests.scene import act, make_environments, make_feature, make_pipeline, stored
from tests.web.desk import desk, token_for

pytestmark = pytest.mark.asyncio(loop_scope="session")

CANARY, EUROPE, WORLD = phase("Canary"), review("Europe"), phase("World")


async def begin(services: Services, key: str, *phases: Phase) -> Release:
    """A release of a new feature, through a pipeline of its own, or through none."""
    pipeline = await make_pipeline(services, *phases, name=f"Path of {key}") if phases else None
    await make_feature(services, pipeline, key)
    _, release = await services.catalog.update_feature(key, ON, f"Try {key}", None, SUBMITTER)
    return release


# --- signing in -------------------------------------------------------------------------------------------------------


async def test_who_has_a_token_comes_in_and_goes_out(api: Api, browser: Browser) -> None:
    """Without one there is only the form; with a wrong one it says so; signed out, the tab knows it no more."""
    async with desk(browser, api.base_url, api.token) as ann:
        page = ann.page
        await page.goto(f"{api.base_url}/?status=PAUSED")
        await expect(page.get_by_role("banner").get_by_role("button")).to_have_count(0)
        await page.get_by_label("Token").fill("not-a-token-of-ours")
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("alert")).to_contain_text("not valid")
        ann.forget_failed_requests()

        await expect(page.get_by_label("Token")).to_be_focused()
        await page.keyboard.insert_text(api.token)
        await page.keyboard.press("Enter")
        await expect(page).to_have_url(f"{api.base_url}/?status=PAUSED")
        await expect(page.get_by_role("heading", name="Releases")).to_be_focused()
        await expect(page.locator("#viewer")).to_have_text("Administrator · admin")
        await ann.live()

        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        assert await page.evaluate("JSON.stringify([{...sessionStorage}, {...localStorage}, document.cookie])") == (
            '[{},{},""]'
        )


async def test_a_link_with_a_token_leaves_no_trace(api: Api, browser: Browser) -> None:
    """The token is out of the address and the history at once; a reload still has it, and another tab has not."""
    async with desk(browser, api.base_url, api.token) as ann:
        await ann.go("/?feature=checkout")
        assert ann.page.url == f"{api.base_url}/?feature=checkout"
        await ann.page.reload()
        await ann.live()
        other = await ann.page.context.new_page()
        await other.goto(api.base_url)
        await expect(other.get_by_role("heading", name="Sign in")).to_be_visible()
        await ann.page.go_back()
        assert "token" not in ann.page.url


# --- the list ---------------------------------------------------------------------------------------------------------


async def test_a_release_comes_moves_and_settles(api: Api, browser: Browser) -> None:
    """It shows up, changes in place and goes to the history by itself; a change without a pipeline is there at once."""
    services = api.services
    async with desk(browser, api.base_url, api.token) as ann:
        await ann.go()
        release = await begin(services, "live-row", CANARY, EUROPE)
        row = ann.row("live-row #1")
        await expect(row).to_contain_text("Path of live-row")
        await expect(row).to_contain_text("Sam, ")
        await expect(row.get_by_role("img")).to_have_attribute(
            "aria-label", "Phases: Canary in progress, Europe not released"
        )
        await expect(row).to_contain_text("59 min")
        held = await row.element_handle()

        await act(services, release, ReleaseAction.PAUSE)
        await expect(row).to_contain_text("paused with 59 min")
        await act(services, release, ReleaseAction.SKIP)
        await expect(row).to_contain_text("“Europe” waits for review")
        assert await held.evaluate("row => row.isConnected")

        await act(services, release, ReleaseAction.ABORT)
        await expect(row).to_have_count(0)
        await expect(ann.row("live-row #1", "History")).to_contain_text("Aborted")

        await begin(services, "at-once")
        await expect(ann.row("at-once #1", "History")).to_contain_text("no pipeline")


async def test_what_is_beyond_the_first_rows_is_there_too(api: Api, browser: Browser) -> None:
    """A screenful is asked for, and the others are told by the subscription, each once."""
    services = api.services
    pipeline = await make_pipeline(services, CANARY, name="Path of many")
    for count in range(25):
        await make_feature(services, pipeline, f"many-{count}")
        await services.catalog.update_feature(f"many-{count}", ON, "Try many", None, SUBMITTER)
    async with desk(browser, api.base_url, api.token) as ann:
        await ann.go(f"/?pipeline={pipeline.id}")
        await expect(ann.row("many-")).to_have_count(25)
        await expect(ann.row("many-").first).to_contain_text("many-24")
        await expect(ann.row("many-").last).to_contain_text("many-0")


async def test_it_is_filtered_and_the_address_says_how(api: Api, browser: Browser) -> None:
    """By status, feature and pipeline; what comes later is filtered too, and so is a reload."""
    services = api.services
    await begin(services, "filter-a", CANARY)
    await begin(services, "filter-b", EUROPE)
    async with desk(browser, api.base_url, api.token) as ann:
        await ann.go()
        await ann.page.get_by_label("Feature").select_option("filter-b")
        await expect(ann.row("filter-b #1")).to_be_visible()
        await expect(ann.row("filter-a #1")).to_have_count(0)
        await begin(services, "filter-c", EUROPE)
        await ann.page.get_by_label("Status").select_option("In progress")
        await expect(ann.row("filter-b #1")).to_have_count(0)
        await expect(ann.page.get_by_text("None of the releases under way matches")).to_be_visible()

        await ann.page.reload()
        await expect(ann.page.get_by_label("Feature")).to_have_value("filter-b")
        await expect(ann.row("filter-a #1")).to_have_count(0)
        await ann.page.get_by_label("Feature").select_option("")
        await ann.page.get_by_label("Pipeline").select_option("Path of filter-a")
        await expect(ann.row("filter-a #1")).to_be_visible()
        await expect(ann.row("filter-c #1")).to_have_count(0)
        await ann.page.get_by_label("Status").select_option("Completed")
        await expect(ann.row("filter-a #1")).to_have_count(0)
        await expect(ann.page.get_by_text("No such release is over.")).to_be_visible()


async def test_the_history_has_pages(api: Api, browser: Browser) -> None:
    """The latest twenty, and older ones on demand, each once."""
    services = api.services
    await make_feature(services, None, "often")
    for count in range(23):
        await services.catalog.update_feature("often", (ON, OFF)[count % 2], f"Change {count}", None, SUBMITTER)
    async with desk(browser, api.base_url, api.token) as ann:
        await ann.go("/?feature=often")
        rows = ann.row("often #", "History")
        await expect(rows).to_have_count(20)
        await expect(rows.first).to_contain_text("often #23")
        await ann.page.get_by_role("button", name="Show older ones").click()
        await expect(rows).to_have_count(23)
        await expect(rows.last).to_contain_text("often #1")
        await expect(ann.page.get_by_role("button", name="Show older ones")).to_be_hidden()


async def test_it_tells_whoever_may_review(api: Api, browser: Browser) -> None:
    """An approver's tab counts what waits for them, on every page, until they approve; a viewer's does not."""
    services = api.services
    async with AsyncExitStack() as stack:
        roles = {"Abby": Role.APPROVER, "Vic": Role.VIEWER}
        abby, vic = [
            await stack.enter_async_context(desk(browser, api.base_url, await token_for(api, name, role)))
            for name, role in roles.items()
        ]
        await abby.go()
        await vic.go()
        banner = abby.page.locator("#reviews")
        before = await banner.locator("a").count()
        release = await begin(services, "to-review", review("Europe", approvals=2))
        await expect(banner.get_by_role("link", name="to-review #1")).to_be_visible()
        await expect(abby.page).to_have_title(f"({before + 1}) Releases · Slipway")
        await expect(abby.row("to-review #1").get_by_text("your review")).to_be_visible()
        await expect(vic.row("to-review #1")).to_contain_text("Waiting for review")
        await expect(vic.row("to-review #1").get_by_text("your review")).to_be_hidden()
        assert await vic.page.title() == "Releases · Slipway"

        await banner.get_by_role("link", name="to-review #1").click()
        await abby.do("Approve")
        await expect(abby.phase("Europe")).to_contain_text("1 of 2 approvals")
        await expect(abby.phase("Europe")).to_contain_text("Abby approved")
        await expect(banner.get_by_role("link", name="to-review #1")).to_have_count(0)
        await act(services, release, ReleaseAction.ABORT)


# --- a release --------------------------------------------------------------------------------------------------------


async def test_one_steers_a_release_while_another_watches(api: Api, browser: Browser) -> None:
    """Through the menu from its first phase to its end; the other page is never touched and shows every step."""
    release = await begin(api.services, "whole", CANARY, EUROPE, WORLD, phase("Moon"))
    async with AsyncExitStack() as stack:
        olga, ann = [
            await stack.enter_async_context(desk(browser, api.base_url, await token_for(api, name, Role.ADMIN)))
            for name in ("Olga", "Ann")
        ]
        for page in (olga, ann):
            await page.go(f"/releases/{release.id}")
        timeline = ann.page.locator("ol.timeline")
        await expect(ann.page.get_by_role("group", name="Difference")).to_contain_text("- removed: everyone: false")
        await expect(ann.page.get_by_role("group", name="Difference")).to_contain_text("+ added: everyone: true")
        await expect(ann.phase("Canary")).to_contain_text("production, where group is “Canary”")
        for exposed in ("staging: nobody", "production: contexts where group is “Canary”"):
            await expect(ann.page.get_by_text(exposed, exact=True)).to_be_visible()

        await olga.do("Pause", "coffee")
        await expect(ann.phase("Canary")).to_contain_text("paused with 59 min")
        await expect(timeline).to_contain_text("Olga paused “Canary”")
        await expect(timeline).to_contain_text("coffee")
        await olga.do("Unpause")
        await expect(ann.phase("Canary")).to_contain_text("left")
        await olga.do("Skip")
        await expect(ann.phase("Canary").locator(".status")).to_have_text("Skipped")
        await expect(ann.phase("Europe")).to_have_attribute("aria-current", "step")
        await olga.do("Approve", "looks good")
        await expect(ann.phase("Europe")).to_contain_text("Olga approved")
        await expect(ann.page.locator("p.exposure")).to_contain_text("“Europe”")
        await olga.do("Skip")
        await expect(ann.phase("World")).to_contain_text("left")
        await olga.do("Full Roll Out")
        await expect(ann.page.locator("p.exposure")).to_have_text("Everyone gets the new spec.")
        await expect(timeline.locator("li").first).to_contain_text("completed the release")
        assert await timeline.locator("li").count() == len((await stored(api.services, release)).history)
        await ann.page.get_by_role("button", name="Actions").click()
        for entry in await ann.page.get_by_role("menuitem").all():
            await expect(entry).to_have_attribute("aria-disabled", "true")


async def test_a_dialog_says_what_will_happen(api: Api, browser: Browser) -> None:
    """What the action does, who gets the new version after it and what it is then; cancelled, nothing happens."""
    release = await begin(api.services, "foretold", CANARY, WORLD)
    async with desk(browser, api.base_url, api.token) as ann:
        await ann.go(f"/releases/{release.id}")
        await ann.choose("Skip")
        await expect(ann.dialog).to_have_accessible_name("Skip “Canary”")
        await expect(ann.dialog).to_contain_text("Skip “Canary” of release #1 of foretold")
        await expect(ann.dialog).to_contain_text("After it: The new spec goes to")
        await expect(ann.dialog).to_contain_text("The release is then in progress")
        await ann.dialog.get_by_role("button", name="Cancel").click()
        await ann.choose("Abort")
        await expect(ann.dialog).to_contain_text("cannot be undone")
        await expect(ann.dialog).to_contain_text("After it: Everyone gets the spec from before.")
        await ann.page.keyboard.press("Escape")
        assert await stored(api.services, release) == release


async def test_a_refused_action_is_grey_and_says_why(api: Api, browser: Browser) -> None:
    """The reason is tooltip and description, and choosing it does nothing."""
    release = await begin(api.services, "refused", EUROPE)
    async with desk(browser, api.base_url, await token_for(api, "Vera", Role.VIEWER)) as vera:
        await vera.go(f"/releases/{release.id}")
        await vera.page.get_by_role("button", name="Actions").click()
        abort = vera.page.get_by_role("menuitem", name="Abort")
        await expect(abort).to_have_attribute("aria-disabled", "true")
        await expect(abort).to_have_accessible_description(
            "You need the role OPERATOR to abort a release; yours is VIEWER."
        )
        assert "OPERATOR" in str(await abort.get_attribute("title"))
        await abort.click(force=True)
        await expect(vera.dialog).to_have_count(0)


async def test_who_comes_too_late_is_told_what_changed_meanwhile(api: Api, browser: Browser) -> None:
    """A phase that somebody else left is not skipped twice: the dialog shows who did what since it was opened."""
    release = await begin(api.services, "stale", CANARY, EUROPE, WORLD)
    async with desk(browser, api.base_url, api.token) as ann:
        await ann.go(f"/releases/{release.id}")
        await ann.choose("Skip")
        await expect(ann.dialog).to_have_accessible_name("Skip “Canary”")
        await act(api.services, release, ReleaseAction.SKIP, reason="I was first")
        await expect(ann.dialog.get_by_role("status")).to_contain_text("Ada skipped “Canary”")
        await ann.dialog.get_by_role("button", name="Skip").click()
        await expect(ann.dialog.get_by_role("alert")).to_contain_text("Refused:")
        await expect(ann.dialog.get_by_role("status")).to_contain_text("I was first")
        await ann.dialog.get_by_role("button", name="Close").click()
        await expect(ann.phase("Europe").locator(".status")).to_have_text("Waiting for review")
        assert [each.name for each in (await stored(api.services, release)).phases if each.ended_at] == ["Canary"]


async def test_a_bypass_needs_a_reason(api: Api, browser: Browser) -> None:
    """Without one the dialog asks for it; with one the review is passed by, and both are on record."""
    release = await begin(api.services, "bypass", EUROPE, WORLD)
    async with desk(browser, api.base_url, api.token) as ann:
        await ann.go(f"/releases/{release.id}")
        await ann.choose("Skip")
        reason = ann.dialog.get_by_label("Reason (required")
        await ann.dialog.get_by_role("button", name="Skip").click()
        await expect(reason).to_be_focused()
        await expect(reason).to_have_attribute("aria-invalid", "true")
        await expect(ann.dialog).to_contain_text("Say why")
        await reason.fill("the house is on fire")
        await ann.dialog.get_by_role("button", name="Skip").click()
        await expect(ann.phase("Europe").locator(".status")).to_have_text("Skipped, review bypassed")
        await expect(ann.page.locator("ol.timeline")).to_contain_text("bypassing the review of “Europe”")
        await expect(ann.page.locator("ol.timeline")).to_contain_text("the house is on fire")


async def test_confirming_twice_does_it_once(api: Api, browser: Browser) -> None:
    """A double click opens one dialog and sends one request; one that is sent again does nothing twice."""
    release = await begin(api.services, "twice", CANARY, phase("Middle"), WORLD)
    async with desk(browser, api.base_url, api.token) as ann:
        await ann.go(f"/releases/{release.id}")
        await ann.page.get_by_role("button", name="Actions").click()
        await ann.page.evaluate(
            "for (const entry of document.querySelectorAll('[role=menuitem]')) "
            "if (entry.textContent.startsWith('Skip')) { entry.click(); entry.click(); }"
        )
        await ann.dialog.get_by_role("button", name="Skip").dblclick()
        await expect(ann.phase("Middle")).to_have_attribute("aria-current", "step")
        await expect(ann.dialog).to_have_count(0)

        async def lose(route: Route) -> None:
            if "skipPhase" not in (route.request.post_data or ""):
                await route.continue_()
                return
            await route.fetch()
            await route.abort()

        await ann.choose("Skip")
        await ann.page.route("**/graphql", lose)
        await ann.dialog.get_by_role("button", name="Skip").click()
        await expect(ann.dialog).to_contain_text("trying again does nothing twice")
        await ann.page.unroute("**/graphql")
        await ann.dialog.get_by_role("button", name="Try again").click()
        await expect(ann.dialog).to_have_count(0)
        await expect(ann.phase("World")).to_have_attribute("aria-current", "step")
        ann.forget_failed_requests()
        events = [event.type.value for event in (await stored(api.services, release)).history]
        assert events.count("PHASE_SKIPPED") == 2


async def test_the_keyboard_is_enough(api: Api, browser: Browser) -> None:
    """The menu opens, is walked through and closed by keys; the dialog keeps the focus and gives it back."""
    release = await begin(api.services, "keys", CANARY, WORLD)
    async with desk(browser, api.base_url, api.token) as ann:
        await ann.go(f"/releases/{release.id}")
        press, focused = ann.page.keyboard.press, ann.page.locator(":focus")
        await expect(ann.page.get_by_role("heading", name="keys #1")).to_be_focused()
        await press("Tab")
        menu = ann.page.get_by_role("button", name="Actions")
        await expect(menu).to_be_focused()
        await press("ArrowDown")
        await expect(focused).to_have_accessible_name("Approve")
        await press("Escape")
        await expect(menu).to_be_focused()
        await expect(ann.page.get_by_role("menu")).to_be_hidden()

        await press("Enter")
        for key, name in (
            ("ArrowUp", "Full Roll Out"),
            ("ArrowDown", "Approve"),
            ("End", "Full Roll Out"),
            ("Home", "Approve"),
        ):
            await press(key)
            await expect(focused).to_have_accessible_name(name)
        await press("Enter")  # which is refused
        await expect(ann.dialog).to_have_count(0)
        await press("ArrowDown")
        await press("ArrowDown")
        await press("ArrowDown")
        await press("Enter")
        await expect(ann.dialog.get_by_label("Reason")).to_be_focused()
        for _ in range(7):
            await press("Tab")
            assert await ann.page.evaluate("!document.activeElement.closest('main, header')")
        await press("Escape")
        await expect(ann.dialog).to_have_count(0)
        await expect(menu).to_be_focused()

        await press("ArrowDown")
        await press("ArrowDown")
        await press("ArrowDown")
        await press("ArrowDown")
        await press("Enter")
        await expect(ann.dialog.get_by_label("Reason")).to_be_focused()
        await press("Shift+Enter")
        await press("Enter")
        await expect(ann.phase("World")).to_have_attribute("aria-current", "step")


# --- the connection ---------------------------------------------------------------------------------------------------


async def test_it_catches_up_after_the_server_was_away(settings: Settings, browser: Browser, tmp_path: Path) -> None:
    """While the server is away nothing passes for live; when it is back, both pages show what happened meanwhile."""
    own = settings.model_copy(update={"store_url": f"sqlite:///{tmp_path / 'slipway.db'}"})
    async with open_services(own) as services, AsyncExitStack() as stack:
        await services.store.prepare()
        await make_environments(services)
        one, two = [await begin(services, key, CANARY, EUROPE, WORLD) for key in ("away-a", "away-b")]
        token = own.admin_token.get_secret_value()
        async with serving(services) as api:
            lists, page = [await stack.enter_async_context(desk(browser, api.base_url, token)) for _ in range(2)]
            for each in (lists, page):
                await each.page.clock.install()
            await lists.go()
            await page.go(f"/releases/{one.id}")
            await expect(lists.row("away-b #1")).to_be_visible()
        for each in (lists, page):
            await expect(each.page.locator("html")).not_to_have_attribute("data-connection", "live")
            await expect(each.page.get_by_text("What you see is as of")).to_be_visible()
            await expect(each.page.locator("#as-of")).to_contain_text(re.compile(r"Trying again in \d+ s\."))
        left = await lists.row("away-a #1").locator(".left").text_content()
        await act(services, one, ReleaseAction.SKIP, reason="meanwhile")
        await act(services, two, ReleaseAction.ABORT)
        three = await begin(services, "away-c", CANARY)
        for each in (lists, page):  # whose clocks then stand still, so that neither tries by itself
            await each.page.clock.pause_at(await each.page.evaluate("Date.now() / 1000") + 3)
        assert await lists.row("away-a #1").locator(".left").text_content() == left, "time stands still"

        api = await stack.enter_async_context(serving(services, port=api.port))
        for each in (lists, page):
            await each.page.get_by_role("button", name="Try now").click()
            await each.live()
            await each.page.clock.resume()
            await expect(each.page.locator("#lost")).to_be_hidden()
        await expect(page.phase("Europe")).to_have_attribute("aria-current", "step")
        await expect(page.page.locator("ol.timeline")).to_contain_text("meanwhile")
        await expect(page.page.locator("ol.timeline").locator("li")).to_have_count(
            len((await stored(services, one)).history)
        )
        await expect(lists.row("away-a #1")).to_contain_text("“Europe” waits for review")
        await expect(lists.row("away-b #1")).to_have_count(0)
        await expect(lists.row("away-b #1", "History")).to_contain_text("Aborted")
        await expect(lists.row("away-c #1")).to_be_visible()

        await act(services, three, ReleaseAction.PAUSE)
        await expect(lists.row("away-c #1")).to_contain_text("paused with")
        for each in (lists, page):
            each.forget_failed_requests()
        await stack.aclose()


async def test_what_is_refused_for_good_is_not_asked_for_again(
    settings: Settings, browser: Browser, tmp_path: Path
) -> None:
    """The page says that it is not live and why, on the one socket that it has; where all is answered it is live."""
    file = f"sqlite:///{tmp_path / 'slipway.db'}"
    own = settings.model_copy(update={"store_url": file, "max_subscriptions": 2})
    async with open_services(own) as services:
        await services.store.prepare()
        await make_environments(services)
        await begin(services, "one-too-many", CANARY)
        token = own.admin_token.get_secret_value()
        async with serving(services) as api, desk(browser, api.base_url, token) as ann:
            sockets = list[str]()
            ann.page.on("websocket", lambda socket: sockets.append(socket.url))
            await ann.page.goto(f"{ann.url}/#token={token}")
            await expect(ann.page.locator("#as-of")).to_contain_text("The server refuses to keep this page live: ")
            await expect(ann.page.locator("#connection")).to_have_text("Not live")
            await ann.row("one-too-many #1").get_by_role("link").click()
            await ann.live()
            await expect(ann.page.locator("#lost")).to_be_hidden()
            assert len(sockets) == 1


async def test_whose_token_is_revoked_is_out(api: Api, browser: Browser) -> None:
    """The socket is closed for good, and the page says why."""
    services = api.services
    token, secret = await services.tokens.create("Rob", Role.ADMIN, None, ADMIN)
    async with desk(browser, api.base_url, secret) as rob:
        await rob.go()
        await services.tokens.revoke(token.id, ADMIN)
        await expect(rob.page.get_by_role("alert")).to_contain_text("not valid")
        await expect(rob.page.get_by_role("heading", name="Sign in")).to_be_visible()
        rob.forget_failed_requests()


async def test_what_was_being_edited_does_not_look_live_without_a_token(api: Api, browser: Browser) -> None:
    """Who stays for the sake of what is not saved when the token is revoked is told that nothing is live."""
    services = api.services
    await begin(services, "unsaved", CANARY)
    token, secret = await services.tokens.create("Eve", Role.ADMIN, None, ADMIN)
    async with desk(browser, api.base_url, secret) as eve:
        eve.page.on("dialog", lambda asked: asyncio.ensure_future(asked.dismiss()))
        await eve.go("/pipelines")
        await eve.page.get_by_role("button", name="New pipeline").click()
        await eve.page.get_by_label("Name").first.fill("Half a pipeline")
        await services.tokens.revoke(token.id, ADMIN)
        await expect(eve.page.locator("#connection")).to_have_text("Not live")
        await expect(eve.page.locator("#as-of")).to_contain_text("not valid")
        eve.forget_failed_requests()


async def test_a_server_that_hangs_is_noticed(api: Api, browser: Browser) -> None:
    """The socket stays open and nothing is answered any more: soon the page says that it is not live."""
    async with desk(browser, api.base_url, api.token) as ann:
        hangs = asyncio.Event()

        def pass_on(route: WebSocketRoute) -> None:
            server = route.connect_to_server()
            route.on_message(lambda message: None if hangs.is_set() else server.send(message))
            server.on_message(lambda message: None if hangs.is_set() else route.send(message))

        await ann.page.clock.install()
        await ann.page.route_web_socket("**/graphql", pass_on)
        await ann.go()
        hangs.set()
        await ann.page.clock.run_for(11_000)
        await expect(ann.page.locator("html")).not_to_have_attribute("data-connection", "live")
        hangs.clear()
        await ann.page.clock.run_for(20_000)
        await ann.live()
        ann.forget_failed_requests()


async def test_no_dialog_outlives_its_page(api: Api, browser: Browser) -> None:
    """Going back closes the dialog of an action, and one that is slow to come does not open on another page."""
    release = await begin(api.services, "outlived", CANARY)
    async with desk(browser, api.base_url, api.token) as ann:
        await ann.go()
        await ann.row("outlived #1").get_by_role("link").click()
        await ann.choose("Pause")
        await expect(ann.dialog).to_be_visible()
        await ann.page.go_back()
        await expect(ann.page.get_by_role("heading", name="Releases", exact=True)).to_be_visible()
        await expect(ann.dialog).to_have_count(0)

        answer = asyncio.Event()

        async def later(route: Route) -> None:
            if "previewAction" in (route.request.post_data or ""):
                await answer.wait()
            await route.continue_()

        await ann.page.goto(f"{ann.url}/releases/{release.id}")
        await ann.live()
        await ann.page.route("**/graphql", later)
        await ann.choose("Pause")
        await ann.page.get_by_role("link", name="Features").click()
        await expect(ann.page.get_by_role("heading", name="Features", exact=True)).to_be_visible()
        async with ann.page.expect_response(lambda got: "previewAction" in (got.request.post_data or "")):
            answer.set()
        await ann.page.evaluate("new Promise((done) => setTimeout(done, 100))")
        await expect(ann.dialog).to_have_count(0)


async def test_no_address_leaves_the_page_empty(api: Api, browser: Browser) -> None:
    """Broken encodings are taken as they stand; the link to all releases lets go of the filter."""
    async with desk(browser, api.base_url, api.token) as ann:
        await ann.page.goto(f"{ann.url}/#token=%")
        await expect(ann.page.get_by_role("heading", name="Sign in")).to_be_visible()
        await ann.go("/features/%FF")
        await expect(ann.page.locator("main h1")).to_be_visible()
        await ann.go("/?status=PAUSED")
        await expect(ann.page.get_by_label("Status")).to_have_value("PAUSED")
        await ann.page.get_by_role("link", name="Releases").click()
        await expect(ann.page.get_by_label("Status")).to_have_value("")
        ann.forget_failed_requests()


# --- for everyone -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("wish", "moves"), [("reduce", False), ("no-preference", True)])
async def test_nothing_moves_for_who_does_not_want_it(api: Api, browser: Browser, wish: Any, moves: bool) -> None:
    """Of all rules that apply, one moves something only where the system does not ask for reduced motion."""
    async with desk(browser, api.base_url, api.token, reduced_motion=wish) as ann:
        await ann.go()
        moving = await ann.page.evaluate(
            """() => {
              const applying = (rules) => [...rules].flatMap((rule) =>
                !rule.media ? [rule.cssText] : matchMedia(rule.media.mediaText).matches ? applying(rule.cssRules) : []);
              const all = [...document.styleSheets].flatMap((sheet) => applying(sheet.cssRules));
              return all.filter((text) => /transition|animation|scroll-behavior/.test(text)).length;
            }"""
        )
        assert bool(moving) is moves


async def test_axe_finds_nothing(api: Api, browser: Browser, axe: str) -> None:
    """No violation on any page, with the menu, a dialog or a refusal open, in light and dark, wide and narrow."""
    ended = await begin(api.services, "axe", CANARY, EUROPE, WORLD, phase("Never"))
    await act(api.services, ended, ReleaseAction.FULL_ROLL_OUT, reason="now", bypass=True)
    _, release = await api.services.catalog.update_feature("axe", OFF, "Not yet", None, SUBMITTER)
    await act(api.services, release, ReleaseAction.PAUSE)
    async with desk(browser, api.base_url, api.token) as ann:
        await ann.page.goto(api.base_url)
        await expect(ann.page.get_by_role("heading", name="Sign in")).to_be_visible()
        assert not await ann.violations(axe)
        await ann.go("/?feature=axe")
        await expect(ann.row("axe #2")).to_be_visible()
        await expect(ann.row("axe #1", "History")).to_be_visible()
        assert not await ann.violations(axe)
        await ann.page.set_viewport_size({"width": 360, "height": 740})
        assert not await ann.violations(axe)
        assert await ann.page.evaluate("document.documentElement.scrollWidth") <= 360
        await ann.go(f"/releases/{release.id}")
        await expect(ann.phase("Europe")).to_be_visible()
        assert not await ann.violations(axe)
        assert await ann.page.evaluate("document.documentElement.scrollWidth") <= 360
        await ann.page.set_viewport_size({"width": 1280, "height": 800})
        await ann.page.get_by_role("button", name="Actions").click()
        assert not await ann.violations(axe)
        await ann.page.get_by_role("menuitem", name="Skip").click()
        await expect(ann.dialog).to_contain_text("After it")
        await act(api.services, release, ReleaseAction.SKIP)
        await ann.dialog.get_by_role("button", name="Skip").click()
        await expect(ann.dialog.get_by_role("alert")).to_contain_text("Refused")
        assert not await ann.violations(axe)
