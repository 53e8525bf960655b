"""What can be read: things by id and key, pages, filters, and what a menu needs."""

import base64
from datetime import datetime, timedelta
from typing import Any

import pytest
from graphql import (
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLOutputType,
    get_named_type,
    is_leaf_type,
    is_union_type,
)

from app.domain.features import FeatureKind
from app.domain.releases import Release, ReleaseAction
from tests.api.serving import SCHEMA, Api
from tests.conftest import Clock
from tests.domain.builders import ADMIN, OFF, ON, phase, review, spec
from tests.scene import act, make_environments, make_feature, make_pipeline, start_release

ON_SQLITE = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)


# --- one thing --------------------------------------------------------------------------------------------------------


@ON_SQLITE
async def test_node_finds_a_thing_of_each_kind_by_its_id(api: Api) -> None:
    """Release, feature and pipeline are found by their ids alone; an id of nothing is null."""
    release = await start_release(api.services, phase("a"))
    feature = await api.services.features.by_key("checkout")
    assert feature is not None

    found = {}
    for id in (release.id, feature.id, release.pipeline_id, "rel_0", "fea_0", "pip_0", "development", "", "rel_\0🚀"):
        node = (await api.ask("query($id: ID!) { node(id: $id) { __typename id } }", id=id))["node"]
        found[id] = node and (node["__typename"], node["id"] == id)
    assert list(found.values()) == [("Release", True), ("Feature", True), ("Pipeline", True), *[None] * 6]


@ON_SQLITE
async def test_who_asks_what_time_it_is_and_where_there_is(api: Api, clock: Clock) -> None:
    """`viewer` is the token's owner, `serverTime` the clock that timers go by, environments come as they were made."""
    for name in ("development", "staging", "production"):
        await api.mutate("saveEnvironment", input={"name": name, "pipelineRequired": name != "development"})
        clock.advance(timedelta(seconds=1))

    answer = await api.ask(
        "{ viewer { actor { id name kind } role } serverTime environments { name pipelineRequired } }"
    )

    assert answer["viewer"] == {"actor": {"id": "admin", "name": "Administrator", "kind": "USER"}, "role": "ADMIN"}
    assert moment(answer["serverTime"]) == clock.now()
    assert answer["environments"] == [
        {"name": "development", "pipelineRequired": False},
        {"name": "staging", "pipelineRequired": True},
        {"name": "production", "pipelineRequired": True},
    ]


@ON_SQLITE
async def test_what_does_not_exist_is_null(api: Api) -> None:
    """Asking for something by an id or key of nothing is no error."""
    answer = await api.ask('{ feature(key: "x") { id } pipeline(id: "x") { id } release(id: "x") { id } }')

    assert answer == {"feature": None, "pipeline": None, "release": None}


async def test_every_field_of_every_type_can_be_asked_for(api: Api, clock: Clock) -> None:
    """All fields, three levels deep, on a release in the middle of its way, its feature and its pipeline."""
    waiting = await start_release(api.services, phase("a"), review("b", approvals=2), phase("c"))
    release = (await act(api.services, waiting, ReleaseAction.SKIP, reason="looks good")).release
    release = (await act(api.services, release, ReleaseAction.APPROVE)).release
    clock.advance(timedelta(minutes=1))

    asked = " ".join(
        f'{name}: node(id: "{id}") {{ ... on {name} {selection(name)} }}'
        for name, id in {"Release": release.id, "Pipeline": release.pipeline_id}.items()
    )
    answer = await api.ask(f'{{ {asked} feature(key: "checkout") {selection("Feature")} }}')

    shown = answer["Release"]
    assert shown["status"] == "WAITING_FOR_REVIEW"
    assert shown["currentPhase"] == shown["phases"][1]
    (approval,) = shown["phases"][1]["approvals"]
    assert approval == {"actor": {"__typename": "Actor"}, "at": moments(release.changed_at), "reason": None}
    assert [event["type"] for event in shown["history"]] == [
        *("RELEASE_STARTED", "PHASE_RELEASED", "PHASE_SKIPPED", "REVIEW_REQUESTED", "PHASE_APPROVED")
    ]
    assert [event["sequence"] for event in shown["history"]] == [1, 2, 3, 4, 5]
    assert shown["history"][2]["reason"] == "looks good"
    assert shown["history"][2]["phase"]["name"] == "a"
    assert shown["history"][0]["fromStatus"] is None
    assert shown["startedBy"] == actor("Sam")
    assert shown["change"]["before"]["defaultValue"] is False
    assert shown["change"]["after"]["defaultValue"] is True
    assert answer["feature"]["activeRelease"]["id"] == answer["Pipeline"]["activeReleases"][0]["id"] == release.id


@ON_SQLITE
async def test_a_feature_shows_what_is_in_force_and_on_its_way(api: Api) -> None:
    """Its spec is the latest completed release's, whatever is under way; its releases are all there, newest first."""
    query = """{ feature(key: "checkout") {
        kind spec { defaultValue } pipeline { name } activeRelease { number }
        releases { edges { node { number status feature { key } } } }
    } }"""

    async def shown() -> tuple[bool, str | None, int | None, list[tuple[int, str]]]:
        feature = (await api.ask(query))["feature"]
        releases = [edge["node"] for edge in feature["releases"]["edges"]]
        assert feature["kind"] == "FEATURE_GATE"
        assert {release["feature"]["key"] for release in releases} <= {"checkout"}
        return (
            feature["spec"]["defaultValue"],
            feature["pipeline"] and feature["pipeline"]["name"],
            feature["activeRelease"] and feature["activeRelease"]["number"],
            [(release["number"], release["status"]) for release in releases],
        )

    await make_environments(api.services)
    await make_feature(api.services)
    assert await shown() == (False, None, None, [])

    pipeline = await make_pipeline(api.services, phase("a"))
    await api.services.catalog.attach_pipeline("checkout", pipeline.id, ADMIN)
    _, first = await api.services.catalog.update_feature("checkout", ON, None, None, ADMIN)
    assert await shown() == (False, "Careful", 1, [(1, "IN_PROGRESS")])

    await act(api.services, first, ReleaseAction.FULL_ROLL_OUT)
    assert await shown() == (True, "Careful", None, [(1, "COMPLETED")])

    _, second = await api.services.catalog.update_feature("checkout", OFF, None, None, ADMIN)
    await act(api.services, second, ReleaseAction.ABORT)
    assert await shown() == (True, "Careful", None, [(2, "ABORTED"), (1, "COMPLETED")])


@ON_SQLITE
async def test_a_feature_tells_a_deleted_pipeline_from_none(api: Api) -> None:
    """`pipelineId` stays when the pipeline is deleted, and is null only where none is attached."""
    await make_environments(api.services)
    pipeline = await make_pipeline(api.services, phase("a"))
    await make_feature(api.services, pipeline)
    query = '{ feature(key: "checkout") { pipelineId pipeline { id } } }'

    assert (await api.ask(query))["feature"] == {"pipelineId": pipeline.id, "pipeline": {"id": pipeline.id}}
    await api.services.catalog.delete_pipeline(pipeline.id, ADMIN)
    assert (await api.ask(query))["feature"] == {"pipelineId": pipeline.id, "pipeline": None}
    await api.services.catalog.attach_pipeline("checkout", None, ADMIN)
    assert (await api.ask(query))["feature"] == {"pipelineId": None, "pipeline": None}


@ON_SQLITE
async def test_a_pipeline_shows_its_features_and_what_goes_through_it(api: Api) -> None:
    """Features attached to it by key, releases under way through it oldest first; those that are over are not."""
    await make_environments(api.services)
    pipeline = await make_pipeline(api.services, phase("a"))
    releases = []
    for key in ("b", "c", "a"):
        await make_feature(api.services, pipeline, key)
        releases.append((await api.services.catalog.update_feature(key, ON, None, None, ADMIN))[1])
    await make_feature(api.services, None, "elsewhere")
    await act(api.services, releases[1], ReleaseAction.ABORT)

    query = "query($id: ID!) { pipeline(id: $id) { features { edges { node { key } } } activeReleases { id } } }"
    shown = (await api.ask(query, id=pipeline.id))["pipeline"]

    assert [edge["node"]["key"] for edge in shown["features"]["edges"]] == ["a", "b", "c"]
    assert [release["id"] for release in shown["activeReleases"]] == [releases[0].id, releases[2].id]


@ON_SQLITE
async def test_what_remains_of_a_bake_counts_down_and_stands_still_while_paused(api: Api, clock: Clock) -> None:
    """`bakeRemaining` goes by the server's clock, is never negative, and is null before and after the bake."""
    release = await start_release(api.services, phase("a", timedelta(minutes=10)), phase("b"))
    query = "query($id: ID!) { release(id: $id) { phases { bakeRemaining bakeEndsAt } } }"

    async def remaining() -> list[str | None]:
        phases = (await api.ask(query, id=release.id))["release"]["phases"]
        return [each["bakeRemaining"] for each in phases]

    assert await remaining() == ["PT10M", None]
    clock.advance(timedelta(minutes=3, milliseconds=500))
    assert await remaining() == ["PT6M59.5S", None]
    await act(api.services, release, ReleaseAction.PAUSE)
    clock.advance(timedelta(hours=5))
    assert await remaining() == ["PT6M59.5S", None]
    await act(api.services, release, ReleaseAction.UNPAUSE)
    clock.advance(timedelta(hours=5))
    assert await remaining() == ["PT0S", None]
    await api.services.engine.settle_due()
    assert await remaining() == [None, "PT1H"]


@ON_SQLITE
async def test_the_menu_lists_every_action_and_says_why_one_is_refused(api: Api, clock: Clock) -> None:
    """Allowed or refused with a reason, always with a sentence to confirm, and judged after a bake that is due."""
    release = await start_release(api.services, phase("a"), review("b"))
    query = """query($id: ID!) { release(id: $id) { status availableActions {
        action allowed reason confirmation bypassesReviewOf { name }
    } } }"""

    async def menu() -> dict[str, Any]:
        actions = (await api.ask(query, id=release.id))["release"]["availableActions"]
        assert all(action["confirmation"] and action["allowed"] == (action["reason"] is None) for action in actions)
        return {action["action"]: action for action in actions}

    found = await menu()
    assert list(found) == [action.value for action in ReleaseAction]
    assert {name for name, action in found.items() if action["allowed"]} == {"PAUSE", "SKIP", "ABORT", "FULL_ROLL_OUT"}
    assert "review" in found["APPROVE"]["reason"]
    assert found["FULL_ROLL_OUT"]["bypassesReviewOf"] == [{"name": "b"}]

    clock.advance(timedelta(hours=2))
    found = await menu()
    assert found["APPROVE"]["allowed"]
    assert not found["PAUSE"]["allowed"]
    assert found["SKIP"]["bypassesReviewOf"] == [{"name": "b"}]

    await act(api.services, release, ReleaseAction.ABORT)
    assert not any(action["allowed"] for action in (await menu()).values())


# --- pages ------------------------------------------------------------------------------------------------------------

# How to ask for a page of each list, and how many things `many` puts into it.
PAGE = "(first: $first, after: $after) { edges { cursor node { id } } pageInfo { ...I } }"
LISTS = {
    "releases": "{ releases%s }",
    "features": "{ features%s }",
    "pipelines": "{ pipelines%s }",
    "feature.releases": '{ feature(key: "toggled") { releases%s } }',
    "pipeline.features": "{ pipeline(id: $pipeline) { features%s } }",
}
COUNTS = {"releases": 7, "features": 8, "pipelines": 7, "feature.releases": 7, "pipeline.features": 7}
INFO = "fragment I on PageInfo { hasNextPage hasPreviousPage startCursor endCursor }"


@pytest.fixture
async def many(api: Api, clock: Clock) -> str:
    """Seven of each thing, some of them of the same millisecond; gives the id of the pipeline with seven features."""
    services = api.services
    await make_environments(services)
    made = [await make_pipeline(services, phase("a"), name=f"{letter} pipeline") for letter in "gBfaEcD"]
    for number in range(7):
        await make_feature(services, made[0], f"feature-{number}")
    await make_feature(services, None, "toggled")
    for number in range(7):
        await services.catalog.update_feature("toggled", (ON, OFF)[number % 2], None, None, ADMIN)
        clock.advance(timedelta(milliseconds=number % 3))
    return made[0].id


def page_query(listed: str) -> str:
    """The query for a page of a list."""
    declared = "$first: Int, $after: String" + (", $pipeline: ID!" if listed == "pipeline.features" else "")
    return f"query({declared}) {LISTS[listed] % PAGE} {INFO}"


async def page_of(api: Api, listed: str, pipeline: str, **bounds: object) -> dict[str, Any]:
    """A page of a list."""
    variables = bounds | ({"pipeline": pipeline} if listed == "pipeline.features" else {})
    answer = await api.ask(page_query(listed), **variables)
    for name in listed.split("."):
        answer = answer[name]
    assert answer["pageInfo"]["startCursor"] == (answer["edges"][0]["cursor"] if answer["edges"] else None)
    assert answer["pageInfo"]["endCursor"] == (answer["edges"][-1]["cursor"] if answer["edges"] else None)
    return dict(answer)


async def test_every_list_can_be_walked_page_by_page(api: Api, many: str) -> None:
    """With `after`, pages of any size show everything once, in one order, and say whether more follow."""
    for listed, count in COUNTS.items():
        whole = await page_of(api, listed, many, first=100)
        ids = [edge["node"]["id"] for edge in whole["edges"]]
        assert len(ids) == len(set(ids)) == count
        assert whole["pageInfo"]["hasNextPage"] is whole["pageInfo"]["hasPreviousPage"] is False
        assert await page_of(api, listed, many) == whole
        for size in (1, 3):
            walked, after = [], None
            while True:
                page = await page_of(api, listed, many, first=size, after=after)
                walked += [edge["node"]["id"] for edge in page["edges"]]
                assert page["pageInfo"]["hasPreviousPage"] is (after is not None)
                assert page["pageInfo"]["hasNextPage"] is (len(walked) < count)
                after = page["pageInfo"]["endCursor"]
                if not page["pageInfo"]["hasNextPage"]:
                    break
            assert walked == ids
        end = await page_of(api, listed, many, first=5, after=after)
        assert end["edges"] == []
        assert end["pageInfo"]["hasNextPage"] is False


@ON_SQLITE
async def test_a_page_has_at_most_a_hundred(api: Api, many: str) -> None:
    """`first` is 0 to 100, null means 20; anything else is BAD_USER_INPUT that names the argument."""
    for listed, count in COUNTS.items():
        assert len((await page_of(api, listed, many, first=None))["edges"]) == count
        nothing = await page_of(api, listed, many, first=0)
        assert nothing["edges"] == []
        assert nothing["pageInfo"]["hasNextPage"] is True
        for first in (101, -1, 2**31 - 1, -(2**31)):
            variables = {"first": first} | ({"pipeline": many} if listed == "pipeline.features" else {})
            error = await api.error(page_query(listed), **variables)
            assert error["extensions"] == {"code": "BAD_USER_INPUT", "argument": "first"}
            assert error["path"] == listed.split(".")


@ON_SQLITE
async def test_a_cursor_that_no_page_gave_is_refused(api: Api, many: str) -> None:
    """Garbage, another list's cursor, and text that merely decodes are BAD_USER_INPUT that names the argument."""
    own = {listed: (await page_of(api, listed, many))["edges"][0]["cursor"] for listed in COUNTS}
    decodes = base64.urlsafe_b64encode(b"hello").decode()
    garbage = ["", " ", "!", "é", "🚀", "\0", "AA", decodes, decodes.rstrip("="), "x" * 2000, own["features"] + "?"]
    for listed in COUNTS:
        kind = listed.split(".")[-1]
        others = [cursor for list_, cursor in own.items() if list_.split(".")[-1] != kind]
        for after in (*garbage, *others):
            variables = {"after": after} | ({"pipeline": many} if listed == "pipeline.features" else {})
            error = await api.error(page_query(listed), **variables)
            assert error["extensions"] == {"code": "BAD_USER_INPUT", "argument": "after"}, (listed, after)


# --- filters ----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def releases(api: Api, clock: Clock) -> list[Release]:
    """Two releases in each status, a minute apart, through two pipelines; and one that needed none."""
    services = api.services
    await make_environments(services)
    plain = await make_pipeline(services, phase("a"), name="Plain")
    reviewed = await make_pipeline(services, review("a"), name="Reviewed")
    started = []
    for number, (action, pipeline) in enumerate(
        (action, pipeline)
        for action in (None, ReleaseAction.ABORT, ReleaseAction.PAUSE, ReleaseAction.FULL_ROLL_OUT)
        for pipeline in (plain, reviewed)
    ):
        await make_feature(services, pipeline, f"feature-{number}")
        _, release = await services.catalog.update_feature(f"feature-{number}", ON, None, None, ADMIN)
        if action is ReleaseAction.PAUSE and pipeline is reviewed:
            release = (await act(services, release, ReleaseAction.APPROVE)).release
        if action is not None:
            release = (await act(services, release, action, bypass=True, reason="test")).release
        started.append(release)
        clock.advance(timedelta(minutes=1))
    await make_feature(services, None, "direct")
    started.append((await services.catalog.update_feature("direct", ON, None, None, ADMIN))[1])
    return started


async def filtered(api: Api, filter: object) -> list[str]:
    """Ids of the releases that a filter admits, walked two at a time: in whatever order they come."""
    query = """query($filter: ReleaseFilter, $after: String) {
        releases(filter: $filter, first: 2, after: $after) { edges { node { id } } pageInfo { hasNextPage endCursor } }
    }"""
    ids, after = [], None
    while True:
        page = (await api.ask(query, filter=filter, after=after))["releases"]
        ids += [edge["node"]["id"] for edge in page["edges"]]
        if not page["pageInfo"]["hasNextPage"]:
            return ids
        after = page["pageInfo"]["endCursor"]


async def test_releases_are_filtered_by_status_feature_pipeline_and_time(api: Api, releases: list[Release]) -> None:
    """Each condition alone and with the others; the bounds exclude the moment itself; the newest comes first."""
    newest = list(reversed(releases))
    at = [moments(release.started_at) for release in releases]
    plain, reviewed = releases[0].pipeline_id, releases[1].pipeline_id
    for status in ("WAITING_FOR_REVIEW", "IN_PROGRESS", "PAUSED", "COMPLETED", "ABORTED"):
        expected = [release.id for release in newest if release.status.value == status]
        assert expected
        assert await filtered(api, {"status": [status]}) == expected
    for filter, numbers in (
        (None, range(9)),
        ({}, range(9)),
        ({"status": None, "featureKey": None}, range(9)),
        ({"status": []}, ()),
        ({"status": ["ABORTED", "PAUSED", "ABORTED"]}, (2, 3, 4, 5)),
        ({"featureKey": "feature-3"}, (3,)),
        ({"featureKey": "nope"}, ()),
        ({"pipelineId": plain}, (0, 2, 4, 6)),
        ({"pipelineId": reviewed, "status": ["ABORTED", "COMPLETED"]}, (3, 7)),
        ({"pipelineId": plain, "featureKey": "feature-1"}, ()),
        ({"startedAfter": at[6]}, (7, 8)),
        ({"startedBefore": at[2]}, (0, 1)),
        ({"startedAfter": at[1], "startedBefore": at[4]}, (2, 3)),
        ({"startedAfter": at[1], "startedBefore": at[5], "status": ["PAUSED"], "pipelineId": plain}, (4,)),
        ({"startedAfter": at[4], "startedBefore": at[4]}, ()),
        ({"startedAfter": "0001-01-01T00:00:00Z", "startedBefore": "9999-12-31T23:59:59Z"}, range(9)),
        ({"startedBefore": "0001-01-01T00:00:00Z"}, ()),
        ({"startedAfter": "9999-12-31T23:59:59Z"}, ()),
        ({"startedAfter": f"{at[7][:-1]}+00:00"}, (8,)),
    ):
        assert await filtered(api, filter) == [releases[number].id for number in reversed(numbers)], filter


async def test_features_are_filtered_by_kind_pipeline_and_activity(api: Api) -> None:
    """Each condition alone and with the others, on pages of any size."""
    services = api.services
    await make_environments(services)
    pipelines = [await make_pipeline(services, phase("a"), name=name) for name in ("One", "Two")]
    everything = []
    for number in range(12):
        kind = FeatureKind.DYNAMIC_CONFIG if number in (5, 9, 10, 11) else FeatureKind.FEATURE_GATE
        gate = kind is FeatureKind.FEATURE_GATE
        pipeline = (*pipelines, None)[number % 3]
        key = f"f{number:02}"
        created = spec(False if gate else {})
        await services.catalog.create_feature(key, kind, None, created, pipeline and pipeline.id, ADMIN)
        active = pipeline is not None and number not in (4, 7)
        if active:
            await services.catalog.update_feature(key, spec(True if gate else {"a": 1}), None, None, ADMIN)
        everything.append((key, kind.value, pipeline and pipeline.id, active))
    query = """query($kind: FeatureKind, $pipeline: ID, $active: Boolean, $first: Int, $after: String) {
        features(kind: $kind, pipelineId: $pipeline, hasActiveRelease: $active, first: $first, after: $after) {
            edges { node { key } } pageInfo { hasNextPage endCursor }
    } }"""

    for kind in (None, "FEATURE_GATE", "DYNAMIC_CONFIG"):
        for pipeline in (None, pipelines[0].id, pipelines[1].id, "pip_0"):
            for active in (None, True, False):
                expected = [
                    key
                    for key, kind_, pipeline_, active_ in everything
                    if kind in (None, kind_) and pipeline in (None, pipeline_) and active in (None, active_)
                ]
                for first in (2, 100):
                    found, after = [], None
                    while True:
                        variables = {"kind": kind, "pipeline": pipeline, "active": active, "first": first}
                        page = (await api.ask(query, **variables, after=after))["features"]
                        found += [edge["node"]["key"] for edge in page["edges"]]
                        if not page["pageInfo"]["hasNextPage"]:
                            break
                        assert len(page["edges"]) == first
                        after = page["pageInfo"]["endCursor"]
                    assert found == expected, (kind, pipeline, active, first)


# --- words ------------------------------------------------------------------------------------------------------------


def moment(text: str) -> datetime:
    """A DateTime as it travels."""
    assert text.endswith("Z")
    return datetime.fromisoformat(text)


def moments(at: datetime) -> str:
    """A moment as DateTime writes it."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def actor(name: str) -> dict[str, str]:
    """A person as an actor."""
    return {"id": name.lower(), "name": name, "kind": "USER"}


def selection(name: str, depth: int = 3) -> str:
    """Every field of a type, that many levels deep."""
    type_ = SCHEMA.type_map[name]
    assert isinstance(type_, GraphQLObjectType | GraphQLInterfaceType)
    return f"{{ {' '.join(_field(name, field.type, depth) for name, field in type_.fields.items())} }}"


def _field(name: str, type_: GraphQLOutputType, depth: int) -> str:
    named = get_named_type(type_)
    assert not is_union_type(named)
    if is_leaf_type(named):
        return name
    return f"{name} {selection(named.name, depth - 1)}" if depth > 1 else f"{name} {{ __typename }}"
