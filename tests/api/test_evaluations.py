"""What a context gets, why, who a release reaches and what an action would change, as the API tells it."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from app.domain.access import Principal
from app.domain.releases import ReleaseAction
from tests.api.serving import Api
from tests.conftest import Clock
from tests.domain.builders import ADMIN, HOUR, ON, VIEWER, condition, phase, review, rule, spec
from tests.scene import act, make_environments, make_feature, make_pipeline, start_release

ON_SQLITE = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)

EVALUATE = """query($key: String!, $environment: String!, $context: JSON) {
    evaluate(featureKey: $key, environment: $environment, context: $context) { value ruleName releaseId reason }
}"""


async def evaluated(api: Api, context: object, environment: str = "production") -> tuple[object, ...]:
    """Value, rule, release and reason of an evaluation of `checkout`."""
    answer = await api.ask(EVALUATE, key="checkout", environment=environment, context=context)
    return tuple(answer["evaluate"][name] for name in ("value", "ruleName", "releaseId", "reason"))


async def test_evaluation_follows_a_release_from_start_to_end(api: Api) -> None:
    """Before, the old spec; during, the new one for whom a phase admits; after, the new one or the old again."""
    before = spec(False, rule(True, condition("beta", "EQUALS", True), name="testers"))
    after = spec(True, rule(False, condition("plan", "ANY_OF", "free"), name="not for free", percentage=50))
    await make_environments(api.services)
    pipeline = await make_pipeline(api.services, phase("a"), phase("b"))
    await make_feature(api.services, pipeline, spec=before)

    assert await evaluated(api, {}) == (False, None, None, "DEFAULT")
    assert await evaluated(api, {"beta": True}) == (True, "testers", None, "TARGETING_MATCH")
    assert await evaluated(api, None) == (False, None, None, "DEFAULT")

    _, release = await api.services.catalog.update_feature("checkout", after, None, None, ADMIN)
    admitted = {"group": "a", "targetingKey": "user-1"}
    assert await evaluated(api, {"group": "b"}) == (False, None, None, "DEFAULT")
    assert await evaluated(api, {**admitted}, "staging") == (False, None, None, "DEFAULT")
    assert await evaluated(api, admitted) == (True, None, release.id, "DEFAULT")
    reasons = {
        (await evaluated(api, admitted | {"plan": "free", "targetingKey": f"user-{number}"}))[1:]
        for number in range(20)
    }
    assert reasons == {("not for free", release.id, "SPLIT"), (None, release.id, "DEFAULT")}

    release = (await act(api.services, release, ReleaseAction.SKIP)).release
    assert await evaluated(api, {"group": "b"}) == (True, None, release.id, "DEFAULT")
    assert await evaluated(api, admitted) == (True, None, release.id, "DEFAULT")

    await act(api.services, release, ReleaseAction.ABORT)
    assert await evaluated(api, admitted) == (False, None, None, "DEFAULT")

    _, release = await api.services.catalog.update_feature("checkout", ON, None, None, ADMIN)
    await act(api.services, release, ReleaseAction.FULL_ROLL_OUT)
    assert await evaluated(api, {}, "staging") == (True, None, None, "STATIC")


@ON_SQLITE
async def test_a_config_gives_back_its_json_exactly(api: Api) -> None:
    """Dots, dollars, empty names, wide and exact numbers and any text survive the store and the way here."""
    value = {"a.b": {"$c": [1, 1.0, 2**63 - 1, -(2**63), 1e-300, "🚀\0\u2028", None, True, {"": []}]}}
    await make_environments(api.services)
    created = await api.mutate(
        "createFeature", input={"key": "checkout", "kind": "DYNAMIC_CONFIG", "spec": {"defaultValue": value}}
    )
    assert created["__typename"] == "FeaturePayload"

    given = (await evaluated(api, {}))[0]

    assert given == value
    assert repr(given) == repr(value)


@ON_SQLITE
async def test_an_evaluation_of_nothing_is_an_error_that_says_what_is_missing(api: Api) -> None:
    """An unknown feature or environment is NOT_FOUND; a context that is no object is BAD_USER_INPUT."""
    await make_environments(api.services)
    await make_feature(api.services)

    async def refused(**variables: object) -> tuple[str, str]:
        error = await api.error(EVALUATE, **({"key": "checkout", "environment": "production"} | variables))
        assert error["path"] == ["evaluate"]
        return error["extensions"]["code"], error["message"]

    assert await refused(key="nope") == ("NOT_FOUND", "There is no feature 'nope'.")
    assert await refused(environment="mars") == ("NOT_FOUND", "There is no environment 'mars'.")
    for context in ([1], "text", 5, True):
        assert await refused(context=context) == ("BAD_USER_INPUT", "context: Give a JSON object of attributes.")


async def test_a_targeting_key_is_a_string(api: Api) -> None:
    """A numeric id is refused: it would pass for no unit at all, and nobody would be told."""
    await make_environments(api.services)
    await make_feature(api.services)
    query = """{ evaluate(featureKey: "checkout", environment: "production", context: {targetingKey: 5}) { value } }"""
    error = await api.error(query)
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "argument": "context"}
    assert "targetingKey" in error["message"]


@ON_SQLITE
async def test_a_number_is_finite(api: Api) -> None:
    """An infinite number, which GraphQL can write and JSON cannot carry, is refused wherever it stands."""
    await make_environments(api.services)
    await make_feature(api.services)
    for context in ("{n: 1e999}", "{n: -1e999}", "{n: [{m: 1e999}]}"):
        for asked in ("evaluate", "explain"):
            shown = "value" if asked == "evaluate" else "text"
            error = await api.error(
                f'{{ {asked}(featureKey: "checkout", environment: "production", context: {context}) {{ {shown} }} }}'
            )
            assert error["extensions"] == {"code": "BAD_USER_INPUT", "argument": "context"}
            assert error["message"] == "context: Use finite numbers."


async def test_a_release_under_way_makes_no_value_static(api: Api) -> None:
    """Who gets which spec depends on the context then, so a client must not take the value for everybody's."""
    query = """{ evaluate(featureKey: "checkout", environment: "production", context: {}) { reason } }"""
    release = await start_release(api.services, phase("first"))
    assert (await api.ask(query))["evaluate"]["reason"] == "DEFAULT"
    await act(api.services, release, ReleaseAction.ABORT)
    assert (await api.ask(query))["evaluate"]["reason"] == "STATIC"


# --- explanations -----------------------------------------------------------------------------------------------------

EXPLAIN = """query($context: JSON, $environment: String!) {
    explain(featureKey: "checkout", environment: $environment, context: $context) {
        text spec evaluation { value reason ruleName phaseName } release { number } phase { name }
        phases {
            phase { name } isReleased admits
            rules { inEnvironment matches rule { environments } conditions { actual matches condition { attribute } } }
        }
        rules { outcome unitPercentage rule { name } conditions { actual matches condition { operator values } } }
    }
}"""


async def test_an_explanation_tells_why_a_user_sees_the_new_version(api: Api) -> None:
    """Which phase admitted the context, which rule matched, and on which condition another failed."""
    after = spec(False, rule(True, condition("plan", "EQUALS", "pro"), name="pro"), rule(True, name="all"))
    await start_release(api.services, phase("a"), review("b"), spec=after)

    found = (await api.ask(EXPLAIN, environment="production", context={"group": "a", "plan": "free"}))["explain"]

    assert found["evaluation"] == {"value": True, "reason": "TARGETING_MATCH", "ruleName": "all", "phaseName": "a"}
    assert (found["spec"], found["release"], found["phase"]) == ("AFTER", {"number": 1}, {"name": "a"})
    assert found["text"] == (
        "Release #1 of checkout is under way. Its phase “a” has been released and admits the context: the spec after "
        "decides. Rule “pro” does not match: it asks that plan is “pro”, and it is “free”. Rule “all” matches. "
        "Its value is given: true."
    )
    assert [(each["phase"]["name"], each["isReleased"], each["admits"]) for each in found["phases"]] == [
        ("a", True, True),
        ("b", False, False),
    ]
    assert found["phases"][1]["rules"] == [
        {
            "inEnvironment": True,
            "matches": False,
            "rule": {"environments": ["production"]},
            "conditions": [{"actual": "a", "matches": False, "condition": {"attribute": "group"}}],
        }
    ]
    assert [(each["rule"]["name"], each["outcome"]) for each in found["rules"]] == [
        ("pro", "CONDITION_FAILED"),
        ("all", "MATCHED"),
    ]


@ON_SQLITE
async def test_an_explanation_of_nothing_says_what_is_missing(api: Api) -> None:
    """What `evaluate` refuses `explain` refuses in the same words; a context too large for either is refused."""
    await make_environments(api.services)
    assert (await api.error(EXPLAIN, environment="production"))["extensions"]["code"] == "NOT_FOUND"
    await make_feature(api.services)
    assert (await api.error(EXPLAIN, environment="mars"))["message"] == "There is no environment 'mars'."
    for query in (EXPLAIN, EVALUATE.replace("$key", '"checkout"').replace('("checkout": String!, ', "(")):
        error = await api.error(query, environment="production", context={"it": "x" * 300_000})
        assert error["extensions"] == {"code": "BAD_USER_INPUT", "argument": "context"}
        assert "at most 262144 bytes" in error["message"]


# --- who a release reaches --------------------------------------------------------------------------------------------

REACH = """{ releases { edges { node {
    expectedEndAt
    exposure { text environments { environment share changes phases { name } rules { environments } text } }
} } } }"""


async def reach(api: Api) -> Any:
    """What the API tells of the newest release: its exposure by environment."""
    found = (await api.ask(REACH))["releases"]["edges"][0]["node"]
    return found | {"in": {each["environment"]: each for each in found["exposure"]["environments"]}}


def moment(written: str) -> datetime:
    return datetime.fromisoformat(written)


async def test_exposure_follows_a_release(api: Api, clock: Clock) -> None:
    """Environment by environment, from the first phase to the end; and when that is expected, as far as it can be."""
    release = await start_release(api.services, phase("a", HOUR), phase("b", 2 * HOUR))

    found = await reach(api)
    assert found["exposure"]["text"] == (
        "The new spec goes to production: contexts where group is “a”. Everyone else gets the spec from before."
    )
    shares = {name: each["share"] for name, each in found["in"].items()}
    assert shares == {"development": "NOBODY", "staging": "NOBODY", "production": "SOME"}
    production = found["in"]["production"]
    assert (production["changes"], production["phases"]) == (True, [{"name": "a"}])
    assert production["rules"] == [{"environments": ["production"]}]
    assert moment(found["expectedEndAt"]) == clock.now() + 3 * HOUR

    clock.advance(HOUR)  # due, and not settled by anybody: what is shown is what any action would find
    assert len((await reach(api))["in"]["production"]["phases"]) == 2
    await act(api.services, release, ReleaseAction.FULL_ROLL_OUT)
    found = await reach(api)
    assert {each["share"] for each in found["in"].values()} == {"EVERYONE"}
    assert (found["exposure"]["text"], found["expectedEndAt"]) == ("Everyone gets the new spec.", None)


# --- previews ---------------------------------------------------------------------------------------------------------

PREVIEW = """query($id: ID!, $action: ReleaseAction!) { previewAction(releaseId: $id, action: $action) {
    action allowed reason confirmation bypassesReviewOf { name } status currentPhase { name } expectedEndAt
    exposure { text environments { environment share } }
} }"""


async def test_a_preview_tells_what_an_action_would_change(api: Api, clock: Clock) -> None:
    """Exposure, bypassed reviews, status and expected end after it; and the release stays as it was."""
    release = await start_release(api.services, phase("a"), review("b"), phase("c", timedelta(minutes=5)))

    async def previewed(action: str) -> Any:
        return (await api.ask(PREVIEW, id=release.id, action=action))["previewAction"]

    skip = await previewed("SKIP")
    assert (skip["allowed"], skip["status"], skip["currentPhase"]) == (True, "WAITING_FOR_REVIEW", {"name": "b"})
    assert skip["expectedEndAt"] is None
    everything = await previewed("FULL_ROLL_OUT")
    assert everything["bypassesReviewOf"] == [{"name": "b"}]
    assert (everything["status"], everything["currentPhase"]) == ("COMPLETED", None)
    assert everything["exposure"]["text"] == "Everyone gets the new spec."
    abort = await previewed("ABORT")
    assert abort["exposure"]["text"] == "Everyone gets the spec from before."
    assert (await previewed("UNPAUSE"))["allowed"] is False

    assert (await api.services.releases.get(release.id)) == release
    release = (await act(api.services, release, ReleaseAction.SKIP)).release
    approve = await previewed("APPROVE")
    assert approve["status"] == "IN_PROGRESS"
    assert moment(approve["expectedEndAt"]) == clock.now() + HOUR + timedelta(minutes=5)


@ON_SQLITE
async def test_a_viewer_sees_what_they_may_not_do(api: Api, become: Any) -> None:
    """The preview says no, why, and what it would do; of a release that is not there it is an error."""
    release = await start_release(api.services, phase("a"))
    viewer: Principal = VIEWER
    become(viewer)
    found = (await api.ask(PREVIEW, id=release.id, action="SKIP"))["previewAction"]
    assert (found["allowed"], found["status"]) == (False, "COMPLETED")
    assert "OPERATOR" in found["reason"]
    error = await api.error(PREVIEW, id="rel_none", action="SKIP")
    assert (error["extensions"]["code"], error["path"]) == ("NOT_FOUND", ["previewAction"])
