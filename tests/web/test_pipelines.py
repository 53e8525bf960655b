"""Pipelines on the status page: made, edited and looked at, in a real browser on a real server."""

import pytest
from playwright.async_api import Browser, expect

from app.catalog import PipelineEdit
from app.domain.access import Role
from app.domain.pipelines import Pipeline
from app.domain.releases import ReleaseAction
from tests.api.serving import Api
from tests.domain.builders import ADMIN, HOUR, MINUTE, ON, SUBMITTER, phase, review
from tests.scene import act, make_feature, make_pipeline
from tests.web.desk import desk, token_for

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def stored(api: Api, pipeline: Pipeline) -> Pipeline:
    """The pipeline as it is on record."""
    found = await api.services.pipelines.get(pipeline.id)
    assert found is not None
    return found


async def test_one_is_made_by_keyboard(api: Api, browser: Browser) -> None:
    """What is wrong is told at its field, the first focused; phases are added, moved and removed; it is there."""
    async with desk(browser, api.base_url, await token_for(api, "Olga", Role.OPERATOR)) as olga:
        page = olga.page
        await olga.go("/pipelines")
        await page.get_by_role("button", name="New pipeline").press("Enter")
        await expect(page.get_by_label("Name", exact=True)).to_be_focused()
        await page.keyboard.type("By hand")

        first = page.get_by_role("group", name="phase 1", exact=True)
        await first.get_by_label("Bake time").fill("soon")
        await page.keyboard.press("Enter")
        await expect(first.get_by_label("Bake time")).to_be_focused()
        await expect(first.get_by_label("Bake time")).to_have_accessible_description("Give a number, zero or more.")
        await expect(page.get_by_role("alert")).to_contain_text("Nothing was saved.")

        await page.keyboard.press("Control+A")
        await page.keyboard.type("90")
        await first.get_by_label("Unit of time").select_option("minutes")
        await first.get_by_label("Bake time").focus()
        await page.keyboard.press("Enter")
        await expect(first.get_by_label("Phase name")).to_be_focused()
        await expect(first.get_by_label("Phase name")).to_have_accessible_description("Give it a name.")
        await expect(first.get_by_role("group", name="Environments")).to_have_accessible_description(
            "Name at least one environment."
        )

        await page.keyboard.type("World")
        await first.get_by_label("production").check()
        await first.get_by_label("Required approvals").fill("2")
        await first.get_by_label("reviewers are reminded").fill("45")
        await page.get_by_role("button", name="Add phase").press("Enter")
        second = page.get_by_role("group", name="phase 2", exact=True)
        await expect(second.get_by_label("Phase name")).to_be_focused()
        await page.keyboard.type("Canary")
        await second.get_by_label("production").check()
        await second.get_by_role("button", name="Add condition").press("Enter")
        await page.keyboard.type("country")
        await second.get_by_label("Values").fill("de, at")
        for way, place, name in (("up", 2, "Canary"), ("down", 1, "World"), ("up", 2, "Canary")):
            await page.get_by_role("button", name=f"Move {way}: Phase {place}").press("Enter")
            await expect(first.get_by_label("Phase name")).to_have_value(name)
        await expect(first.get_by_label("Phase name")).to_be_focused()
        await expect(second.get_by_label("Bake time")).to_have_value("90")
        await expect(second.get_by_label("Unit of time")).to_have_value("minutes")
        await page.get_by_role("button", name="Add phase").press("Enter")
        await page.get_by_role("button", name="Remove: Phase 3").press("Enter")
        await expect(page.get_by_role("button", name="Add phase")).to_be_focused()
        await page.get_by_role("button", name="Save").press("Enter")

        await page.get_by_role("link", name="By hand").click()
        phases = page.locator(".phase")
        await expect(phases).to_have_text(
            [
                "Canaryproduction, where country is “de” or “at”bakes 1 hno review",
                "Worldproduction, everyonebakes 1 h 30 min2 approvals",
            ]
        )
        (kept,) = (await api.services.pipelines.page(10, None)).values
        assert [each.remind_every for each in kept.phases] == [None, 45 * MINUTE]


async def test_edits_of_others_are_shown_first(api: Api, browser: Browser) -> None:
    """Who saves over a newer state is told what it is, keeps what they wrote, and saves it knowingly."""
    made = await make_pipeline(api.services, phase("Canary"), review("World", remind_every=HOUR), name="Shared")
    async with desk(browser, api.base_url, api.token) as ann:
        page = ann.page
        await ann.go(f"/pipelines/{made.id}")
        await page.get_by_role("button", name="Edit").click()
        await page.get_by_label("Name", exact=True).fill("Of Ann")
        await api.services.catalog.update_pipeline(made.id, PipelineEdit(name="Of Bob"), ADMIN)
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("alert")).to_contain_text("Somebody else has changed it meanwhile")
        await expect(page.get_by_role("form")).to_contain_text("Of Bob")
        await expect(page.get_by_label("Name", exact=True)).to_have_value("Of Ann")
        assert (await stored(api, made)).name == "Of Bob"

        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("heading", name="Of Ann")).to_be_visible()
        assert (await stored(api, made)).phases == made.phases


async def test_one_in_use_is_not_edited(api: Api, browser: Browser) -> None:
    """While a release goes through it, the button says why not; and so does the server to who has it open already."""
    made = await make_pipeline(api.services, phase("Canary"), name="Busy")
    await make_feature(api.services, made, "busy")
    async with desk(browser, api.base_url, api.token) as ann:
        page = ann.page
        await ann.go(f"/pipelines/{made.id}")
        await expect(page.get_by_role("link", name="busy")).to_be_visible()
        await page.get_by_role("button", name="Edit").click()
        await page.get_by_label("Name", exact=True).fill("Not now")
        await api.services.catalog.update_feature("busy", ON, None, None, SUBMITTER)
        await expect(ann.row("busy #1")).to_be_visible()
        edit = page.get_by_role("button", name="Edit")
        await expect(edit).to_be_disabled()
        await expect(edit).to_have_accessible_description("Releases go through it; wait for their end.")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("alert")).to_contain_text("release #1 of busy")
        await expect(page.get_by_label("Name", exact=True)).to_have_value("Not now")


async def test_what_is_under_way_is_counted(api: Api, browser: Browser) -> None:
    """The list says of each pipeline how many releases go through it now, as they come and go."""
    made = await make_pipeline(api.services, phase("Canary"), name="Counted")
    for key in ("counted-a", "counted-b"):
        await make_feature(api.services, made, key)
    async with desk(browser, api.base_url, api.token) as ann:
        await ann.go("/pipelines")
        row = ann.row("Counted", "Pipelines")
        await expect(row).to_contain_text("Canary")
        await expect(row).not_to_contain_text("under way")
        _, first = await api.services.catalog.update_feature("counted-a", ON, None, None, SUBMITTER)
        await expect(row).to_contain_text("1 under way")
        await api.services.catalog.update_feature("counted-b", ON, None, None, SUBMITTER)
        await expect(row).to_contain_text("2 under way")
        await act(api.services, first, ReleaseAction.ABORT)
        await row.get_by_role("link", name="1 under way").click()
        await expect(ann.row("counted-b #1")).to_be_visible()
        await expect(ann.row("counted-a #1", "History")).to_be_visible()


async def test_one_is_deleted(api: Api, browser: Browser) -> None:
    """The dialog names what is attached; once it is confirmed the pipeline is gone, and its feature says so."""
    made = await make_pipeline(api.services, phase("Canary"), name="Doomed")
    await make_feature(api.services, made, "left-behind")
    async with desk(browser, api.base_url, api.token) as ann:
        page = ann.page
        await ann.go(f"/pipelines/{made.id}")
        await page.get_by_role("button", name="Delete").click()
        await expect(ann.dialog).to_contain_text("Attached to it: left-behind.")
        await page.keyboard.press("Escape")
        assert await stored(api, made) == made
        await page.get_by_role("button", name="Delete").click()
        await ann.dialog.get_by_role("button", name="Delete").click()
        await expect(page.get_by_role("heading", name="Pipelines")).to_be_focused()
        assert await api.services.pipelines.get(made.id) is None

        await ann.go("/features")
        await expect(ann.row("left-behind", "Features")).to_contain_text("its pipeline was deleted")
        await page.get_by_role("link", name="left-behind").click()
        await expect(page.locator(".notice.warning:visible")).to_contain_text("Attach another or detach it")
        await page.get_by_role("button", name="Pipeline").click()
        await expect(page.get_by_label("Its changes go through")).to_have_value(made.id)
        await page.get_by_label("Its changes go through").select_option("none: everyone gets them at once")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_text("no pipeline", exact=True)).to_be_visible()


async def test_axe_finds_nothing(api: Api, browser: Browser, axe: str) -> None:
    """No violation in the list, on a page and in its editor with errors, in light and dark, wide and narrow."""
    made = await make_pipeline(api.services, phase("Canary"), review("World"), name="Axe of a pipeline")
    async with desk(browser, api.base_url, api.token) as ann:
        page = ann.page
        await ann.go("/pipelines")
        await expect(page.get_by_role("link", name="Axe of a pipeline")).to_be_visible()
        assert not await ann.violations(axe)
        await ann.go(f"/pipelines/{made.id}")
        await page.get_by_role("button", name="Edit").click()
        await page.get_by_label("Phase name").first.fill("")
        await page.get_by_label("production").first.uncheck()
        await page.get_by_role("button", name="Remove: Release rule 1").last.click()
        await page.get_by_role("button", name="Save").click()
        for wrong in ("Give it a name.", "Name at least one environment.", "Give the phase at least one release rule."):
            await expect(page.get_by_text(wrong)).to_be_visible()
        assert not await ann.violations(axe)
        await page.set_viewport_size({"width": 360, "height": 740})
        assert not await ann.violations(axe)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360
