"""`revision` and `expectedRevision`: who would save over what they have not seen is told so."""

import asyncio
from typing import Any

import pytest

from tests.api.serving import Api
from tests.domain.builders import ON, OPERATOR, phase
from tests.scene import make_environments, make_feature, make_pipeline, start_release

ON_SQLITE = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
FEATURE = "query ($key: String!) { feature(key: $key) { revision spec { defaultValue } pipeline { revision name } } }"
CHANGE = """mutation ($input: UpdateFeatureInput!) { updateFeature(input: $input) {
  __typename ... on UpdateFeaturePayload { feature { revision spec { defaultValue } } release { number } }
  ... on ValidationFailed { fields { path message } } } }"""
EDIT = """mutation ($input: UpdatePipelineInput!) { updatePipeline(input: $input) {
  __typename ... on PipelinePayload { pipeline { revision name } }
  ... on ValidationFailed { fields { path message } } } }"""


async def change(api: Api, value: bool, **more: object) -> dict[str, Any]:
    """What a change of the feature answers."""
    given = {"key": "checkout", "spec": {"defaultValue": value}} | more
    return dict((await api.ask(CHANGE, input=given))["updateFeature"])


def stale(message: str) -> dict[str, object]:
    """The refusal of a change that was made from another revision."""
    return {"__typename": "ValidationFailed", "fields": [{"path": ["expectedRevision"], "message": message}]}


async def test_a_change_made_from_a_revision_that_is_past_is_refused(api: Api) -> None:
    """With the revision that was read it is made, with the one before it is not; null and left out do not matter."""
    await make_environments(api.services)
    await make_feature(api.services)
    seen = (await api.ask(FEATURE, key="checkout"))["feature"]
    assert seen == {"revision": 1, "spec": {"defaultValue": False}, "pipeline": None}

    made = await change(api, True, expectedRevision=seen["revision"])
    assert made["feature"] == {"revision": 3, "spec": {"defaultValue": True}}
    again = await change(api, False, expectedRevision=seen["revision"])
    assert again == stale("The feature has changed since revision 1: it is at revision 3.")
    assert (await api.ask(FEATURE, key="checkout"))["feature"] == made["feature"] | {"pipeline": None}
    assert (await change(api, False, expectedRevision=None))["release"]["number"] == 2
    assert (await change(api, True))["release"]["number"] == 3


async def test_an_edit_made_from_a_revision_that_is_past_is_refused(api: Api) -> None:
    """An edit counts for the pipeline, and for the features attached to it does not."""
    await make_environments(api.services)
    pipeline = await make_pipeline(api.services, phase("a"))
    await make_feature(api.services, pipeline)

    async def edit(name: str) -> dict[str, Any]:
        answer = await api.ask(EDIT, input={"id": pipeline.id, "name": name, "expectedRevision": 1})
        return dict(answer["updatePipeline"])

    assert (await edit("Ann's"))["pipeline"] == {"revision": 2, "name": "Ann's"}
    assert await edit("Bob's") == stale("The pipeline has changed since revision 1: it is at revision 2.")
    feature = (await api.ask(FEATURE, key="checkout"))["feature"]
    assert (feature["revision"], feature["pipeline"]) == (1, {"revision": 2, "name": "Ann's"})


async def test_of_twenty_requests_at_once_one_is_carried_out(api: Api) -> None:
    """All made from one revision; nineteen hear that the feature has changed since."""
    await make_environments(api.services)
    await make_feature(api.services)

    answers = await asyncio.gather(*(change(api, True, expectedRevision=1) for _ in range(20)))

    refused = [each for each in answers if each["__typename"] != "UpdateFeaturePayload"]
    assert refused == [stale("The feature has changed since revision 1: it is at revision 3.")] * 19


@ON_SQLITE
async def test_revision_and_spec_come_of_one_read(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A release that ends while a query is answered cannot give a feature the spec before and the revision after."""
    services = api.services
    await start_release(services, phase("a"))
    await make_feature(services, None, "direct")
    await services.catalog.update_feature("direct", ON, None, None, OPERATOR)
    asked: list[str] = []
    latest_of = services.releases.latest_of
    monkeypatch.setattr(services.releases, "latest_of", lambda key: (asked.append(key), latest_of(key))[1])

    document = "{ features { edges { node { key ...More spec { defaultValue } activeRelease { number } } } } }"
    answers = []
    for _ in range(3):  # by graphql-core, and then by a plan
        asked.clear()
        answers.append(await api.ask(document + " fragment More on Feature { revision }"))
        assert sorted(asked) == ["checkout", "direct"]

    checkout = {"key": "checkout", "revision": 2, "spec": {"defaultValue": False}, "activeRelease": {"number": 1}}
    direct = {"key": "direct", "revision": 3, "spec": {"defaultValue": True}, "activeRelease": None}
    assert answers == [{"features": {"edges": [{"node": checkout}, {"node": direct}]}}] * 3
