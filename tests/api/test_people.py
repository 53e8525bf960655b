"""Reviews among several people, each with a token of their own."""

from typing import Any

import pytest

from app.domain.access import Role
from app.domain.pipelines import Phase
from tests.api.serving import MUTATIONS, Api
from tests.domain.builders import ADMIN, OFF, review
from tests.scene import make_environments, make_feature, make_pipeline

pytestmark = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)


class People:
    """Whoever a test names, with the role that it gives them."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._secrets: dict[str, str] = {}

    async def hire(self, **roles: Role) -> None:
        """Make a token for each."""
        for name, role in roles.items():
            _, self._secrets[name] = await self._api.services.tokens.create(name, role, None, ADMIN)

    async def does(self, name: str, mutation: str, **given: object) -> Any:
        """What the mutation answers to that person."""
        request = {"query": MUTATIONS[mutation], "variables": {"input": given}}
        response = await self._api.post(request, authorization=f"Bearer {self._secrets[name]}")
        return response.json()["data"][mutation]


@pytest.fixture
async def people(api: Api) -> People:
    """Olga and Oskar operate, Ann and Abel approve, Ada administers."""
    people = People(api)
    await people.hire(olga=Role.OPERATOR, oskar=Role.OPERATOR, ann=Role.APPROVER, abel=Role.APPROVER, ada=Role.ADMIN)
    return people


async def _started(api: Api, people: People, by: str, *phases: Phase) -> dict[str, Any]:
    await make_environments(api.services)
    await make_feature(api.services, await make_pipeline(api.services, *phases), spec=OFF)
    answer = await people.does(by, "updateFeature", key="checkout", spec={"defaultValue": True})
    return dict(answer["release"])


def _named(release: dict[str, Any], index: int = 0) -> dict[str, str]:
    return {"releaseId": release["id"], "phaseId": release["phases"][index]["id"]}


async def test_who_started_it_may_not_approve_it_where_the_phase_says_so(api: Api, people: People) -> None:
    """Ann's own release waits for somebody else's approval; Abel gives it."""
    release = await _started(api, people, "ann", review("careful", prevent_self_approval=True))
    refused = await people.does("ann", "approvePhase", **_named(release))
    assert (refused["__typename"], refused["release"]["status"]) == ("InvalidTransition", "WAITING_FOR_REVIEW")
    assert "somebody else" in refused["message"]
    approved = await people.does("abel", "approvePhase", **_named(release))
    assert approved["release"]["status"] == "IN_PROGRESS"


async def test_who_started_it_may_approve_it_where_nothing_forbids(api: Api, people: People) -> None:
    """The same person, where the phase does not prevent it."""
    release = await _started(api, people, "ann", review("trusting"))
    assert (await people.does("ann", "approvePhase", **_named(release)))["release"]["status"] == "IN_PROGRESS"


async def test_two_approvals_are_those_of_two_people(api: Api, people: People) -> None:
    """One person's second approval is refused, and an operator's counts for nothing."""
    release = await _started(api, people, "olga", review("twice", approvals=2))
    assert (await people.does("oskar", "approvePhase", **_named(release)))["__typename"] == "PermissionDenied"
    first = await people.does("ann", "approvePhase", **_named(release))
    assert first["release"]["status"] == "WAITING_FOR_REVIEW"
    assert (await people.does("ann", "approvePhase", **_named(release)))["__typename"] == "InvalidTransition"
    assert (await people.does("abel", "approvePhase", **_named(release)))["release"]["status"] == "IN_PROGRESS"


@pytest.mark.parametrize("mutation", ["skipPhase", "fullRollOut"])
async def test_only_an_administrator_bypasses_a_review_and_says_why(api: Api, people: People, mutation: str) -> None:
    """Everybody else meets ReviewRequired or PermissionDenied; the bypass is on record, and is no approval."""
    release = await _started(api, people, "olga", review("careful"))
    given = _named(release) if mutation == "skipPhase" else {"releaseId": release["id"]}
    assert (await people.does("ada", mutation, **given))["__typename"] == "ReviewRequired"
    for name in ("olga", "ann"):
        denied = await people.does(name, mutation, **given, bypassReview=True, reason="hurry")
        assert (denied["__typename"], denied["requiredRole"]) == ("PermissionDenied", "ADMIN")
    silent = await people.does("ada", mutation, **given, bypassReview=True)
    assert [field["path"] for field in silent["fields"]] == [["reason"]]
    done = await people.does("ada", mutation, **given, bypassReview=True, reason="outage")
    (passed,) = done["release"]["phases"]
    assert (passed["status"], passed["reviewBypassed"], passed["approvals"]) == ("SKIPPED", True, [])
    assert done["events"][0]["reason"] == "outage"
    query = """query($id: ID!) { release(id: $id) { history { actor { name } bypassedReviewOf { name } } } }"""
    history = (await api.ask(query, id=release["id"]))["release"]["history"]
    assert {"actor": {"name": "ada"}, "bypassedReviewOf": [{"name": "careful"}]} in history


async def test_a_viewer_aborts_nothing_and_an_operator_does(api: Api, people: People) -> None:
    """Nothing ever blocks an abort but the role."""
    await people.hire(vera=Role.VIEWER)
    release = await _started(api, people, "olga", review("careful"))
    assert (await people.does("vera", "abortRelease", releaseId=release["id"]))["__typename"] == "PermissionDenied"
    assert (await people.does("oskar", "abortRelease", releaseId=release["id"]))["release"]["status"] == "ABORTED"
