"""Features on the status page: made, changed and attached, in a real browser on a real server."""

import pytest
from playwright.async_api import Browser, Dialog, expect

from app.domain.access import Role
from app.domain.releases import Release, ReleaseAction
from app.services import Services
from tests.api.serving import Api
from tests.domain.builders import OFF, ON, SUBMITTER, condition, phase, review, rule, spec
from tests.scene import act, make_feature, make_pipeline
from tests.web.desk import desk, token_for

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def latest(services: Services, key: str) -> Release:
    """The latest release of a feature that has one."""
    found = await services.releases.latest_of(key)
    assert found is not None
    return found


async def test_a_saved_change_starts_a_release(api: Api, browser: Browser) -> None:
    """One is made and attached; it is told how a change of it will progress, which once confirmed is under way."""
    services = api.services
    await make_pipeline(services, phase("Canary"), review("World", approvals=2), name="Careful")
    async with desk(browser, api.base_url, await token_for(api, "Olga", Role.OPERATOR)) as olga:
        page = olga.page
        await olga.go("/features")
        await page.get_by_role("button", name="New feature").click()
        await page.get_by_label("Key", exact=True).fill("no spaces")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_label("Key", exact=True)).to_be_focused()
        await page.get_by_label("Key", exact=True).fill("search")
        await page.get_by_role("button", name="Save").click()
        await page.get_by_role("link", name="search").click()
        await expect(page.get_by_role("heading", name="search")).to_be_visible()

        await page.get_by_role("button", name="Pipeline").click()
        await page.get_by_label("Its changes go through").select_option("Careful")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("link", name="Careful")).to_be_visible()

        await page.get_by_role("button", name="Change").click()
        await page.get_by_role("button", name="Save").click()
        await expect(olga.dialog).to_contain_text("goes through “Careful”")
        await olga.dialog.get_by_role("button", name="Start").click()
        await expect(page.get_by_role("alert")).to_contain_text("nothing to release")

        await page.get_by_role("button", name="Add rule").click()
        await page.get_by_label("Rule name").fill("Half of Europe")
        await page.get_by_label("Pass percentage").fill("50.123")
        await page.get_by_role("button", name="Add condition").click()
        await page.get_by_label("Attribute").fill("region")
        await page.get_by_label("Operator").select_option("LESS_THAN")
        await page.get_by_label("Values").fill("eu, 12345678901234567")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_label("Values")).to_have_accessible_description(
            '12345678901234567 would be rounded; write it as a "string".'
        )
        await page.get_by_label("Values").fill('eu, "uk"')
        await page.get_by_label("Value", exact=True).select_option("true")
        await page.get_by_label("What the change is for").fill("Try it")
        await page.get_by_role("button", name="Save").click()
        await olga.dialog.get_by_role("button", name="Start").click()
        await expect(page.get_by_label("Values")).to_be_focused()
        await expect(page.get_by_label("Values")).to_have_accessible_description(
            "LESS_THAN takes exactly one value: a number."
        )
        await expect(page.get_by_label("Pass percentage")).to_have_accessible_description(
            "Use at most two decimals: units are spread over 10,000 buckets."
        )
        await page.get_by_label("Operator").select_option("ANY_OF")
        await page.get_by_label("Pass percentage").fill("50")
        await page.get_by_role("button", name="Save").click()
        await expect(olga.dialog).to_contain_text("region is “eu” or “uk”, 50 %")
        await expect(olga.dialog.locator(".phase")).to_have_text(
            [
                "Canaryproduction, where group is “Canary”bakes 1 hno review",
                "Worldproduction, where group is “World”bakes 1 h2 approvals",
            ]
        )
        await page.keyboard.press("Escape")
        assert await services.releases.latest_of("search") is None
        await page.get_by_role("button", name="Save").click()
        await olga.dialog.get_by_role("button", name="Start").click()

        await expect(olga.row("search #1", "Release under way, and those before")).to_contain_text("“Canary” bakes")
        await expect(page.get_by_role("button", name="Change")).to_have_accessible_description(
            "A release is under way; wait for its end, or abort it."
        )
        release = await latest(services, "search")
        wanted = rule(True, condition("region", "ANY_OF", "eu", "uk"), percentage=50.0, name="Half of Europe")
        assert (release.change.after, release.description) == (spec(False, wanted), "Try it")
        await page.get_by_role("link", name="search #1").first.click()
        await expect(olga.phase("Canary")).to_contain_text("In progress")


async def test_a_change_by_others_is_shown_first(api: Api, browser: Browser) -> None:
    """What was written is kept beside what somebody else made meanwhile, even while the change is being confirmed."""
    services = api.services
    await make_feature(services, None, "disputed")
    mine = rule(True, percentage=10.0, name="mine")
    async with desk(browser, api.base_url, api.token) as ann:
        page = ann.page
        await ann.go("/features/disputed")
        await page.get_by_role("button", name="Change").click()
        await page.get_by_role("button", name="Add rule").click()
        await page.get_by_label("Rule name").fill("mine")
        await page.get_by_label("Pass percentage").fill("10")
        await page.get_by_label("Value", exact=True).select_option("true")
        await page.get_by_role("button", name="Save").click()
        await expect(ann.dialog).to_contain_text("everyone gets it at once")
        await services.catalog.update_feature("disputed", ON, None, None, SUBMITTER)
        await ann.dialog.get_by_role("button", name="Start").click()
        await expect(page.get_by_role("form")).to_contain_text("added: everyone: true")
        await expect(page.get_by_label("Rule name")).to_have_value("mine")
        assert (await latest(services, "disputed")).number == 1

        await page.get_by_role("button", name="Save").click()
        await ann.dialog.get_by_role("button", name="Start").click()
        await expect(page.get_by_role("link", name="disputed #2")).to_be_visible()
        assert (await latest(services, "disputed")).change.after == spec(False, mine)


async def test_no_edit_is_lost_by_leaving(api: Api, browser: Browser) -> None:
    """By a link or a reload, somebody who edited is asked first; who did not, or says so, just goes."""
    await make_feature(api.services, None, "edited")
    async with desk(browser, api.base_url, api.token) as ann:
        page, asked, answers = ann.page, list[str](), [False, False, True]

        async def answer(dialog: Dialog) -> None:
            asked.append(dialog.type)
            await (dialog.accept() if answers.pop(0) else dialog.dismiss())

        page.on("dialog", answer)
        await ann.go("/features/edited")
        await page.get_by_role("button", name="Change").click()
        await page.get_by_role("button", name="Pipeline").click()
        await expect(page.get_by_label("Its changes go through")).to_be_focused()
        await page.get_by_role("button", name="Change").click()
        await page.get_by_label("What the change is for").fill("Think of it")

        await page.get_by_role("link", name="Pipelines").click()
        await page.evaluate("location.reload()")
        await expect(page.get_by_label("What the change is for")).to_have_value("Think of it")
        assert asked == ["confirm", "beforeunload"]
        await page.get_by_role("link", name="Pipelines").click()
        await expect(page.get_by_role("heading", name="Pipelines")).to_be_focused()
        await page.get_by_role("link", name="Releases", exact=True).click()
        await expect(page.get_by_role("heading", name="Releases")).to_be_focused()
        assert asked == ["confirm", "beforeunload", "confirm"]


async def test_the_list_shows_what_is_under_way(api: Api, browser: Browser) -> None:
    """A release shows up beside its feature, moves there and goes; the box filters by key, without regard to case."""
    services = api.services
    made = await make_pipeline(services, phase("Canary"), review("World"), name="Beside")
    await make_feature(services, made, "beside-A")
    await make_feature(services, None, "beside-B")
    async with desk(browser, api.base_url, api.token) as ann:
        await ann.go("/features")
        row = ann.row("beside-A", "Features")
        await expect(row).to_contain_text("Beside")
        _, release = await services.catalog.update_feature("beside-A", ON, None, None, SUBMITTER)
        await expect(row).to_contain_text("“Canary” bakes")
        await act(services, release, ReleaseAction.SKIP)
        await expect(row.locator(".status")).to_have_text("Waiting for review")
        await ann.page.get_by_label("Filter features").fill("BESIDE-")
        await expect(ann.page.get_by_role("list", name="Features").get_by_role("listitem")).to_have_count(2)
        await ann.page.get_by_label("Filter features").fill("beside-a")
        await expect(ann.row("beside-B", "Features")).to_have_count(0)
        await act(services, release, ReleaseAction.ABORT)
        await expect(row.locator(".status")).to_have_count(0)
        await expect(ann.row("beside-B", "Features")).to_have_count(0)


async def test_who_may_not_sees_why(api: Api, browser: Browser) -> None:
    """A viewer reads all of it, and finds every button disabled with the reason."""
    made = await make_pipeline(api.services, phase("Canary"), name="Seen")
    await make_feature(api.services, made, "seen")
    async with desk(browser, api.base_url, await token_for(api, "Vic", Role.VIEWER)) as vic:
        for path, names in {
            "/features": ["New feature"],
            "/features/seen": ["Change", "Pipeline"],
            "/pipelines": ["New pipeline"],
            f"/pipelines/{made.id}": ["Edit", "Delete"],
        }.items():
            await vic.go(path)
            for name in names:
                button = vic.page.get_by_role("main").get_by_role("button", name=name)
                await expect(button).to_have_accessible_description("Needs the role operator; yours is viewer.")
                await expect(button).to_be_disabled()


async def test_axe_finds_nothing(api: Api, browser: Browser, axe: str) -> None:
    """No violation in the list, on a page, beside a conflict and in the dialog, in light and dark, wide and narrow."""
    services = api.services
    key = "axe-feature"
    await make_feature(services, await make_pipeline(services, review("World"), name="Axe of a feature"), key)
    await make_feature(services, None, "free", spec(False, rule(True, condition("a", "EXISTS"))))
    await services.catalog.update_feature("free", OFF, "why", None, SUBMITTER)
    async with desk(browser, api.base_url, api.token) as ann:
        page = ann.page
        await ann.go("/features")
        await expect(page.get_by_role("link", name=key)).to_be_visible()
        assert not await ann.violations(axe)
        await ann.go("/features/free")
        await page.get_by_role("button", name="Change").click()
        await expect(page.get_by_label("What the change is for")).to_be_visible()
        await services.catalog.update_feature("free", ON, "why", None, SUBMITTER)
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("alert")).to_contain_text("Somebody else has changed it meanwhile")
        assert not await ann.violations(axe)
        await ann.go(f"/features/{key}")
        await page.set_viewport_size({"width": 360, "height": 740})
        await page.get_by_role("button", name="Change").click()
        await page.get_by_label("Value for everyone else").select_option("true")
        assert not await ann.violations(axe)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360
        await page.get_by_role("button", name="Save").click()
        await expect(ann.dialog).to_contain_text("goes through")
        assert not await ann.violations(axe)
