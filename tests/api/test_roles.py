"""Every mutation, query and subscription with every role, over HTTP and over a websocket."""

from datetime import timedelta
from typing import Any

import pytest
from gql import gql
from gql.transport.exceptions import TransportConnectionFailed, TransportQueryError

from app.domain.access import Role
from app.domain.releases import Release
from tests.api.serving import MUTATIONS, SCHEMA, Api
from tests.domain.builders import ADMIN
from tests.scene import start_release

_SPEC = {"defaultValue": True}
_PHASE = {"releaseId": "?", "phaseId": "pha_other"}
_WHOLE = {"releaseId": "?"}

# Which role each mutation needs, and arguments with which it changes nothing for those who have it.
_MUTATIONS: dict[str, tuple[Role, dict[str, Any]]] = {
    "saveEnvironment": (Role.ADMIN, {"input": {"name": "Not A Name"}}),
    "createPipeline": (Role.OPERATOR, {"input": {"name": "", "phases": []}}),
    "updatePipeline": (Role.OPERATOR, {"input": {"id": "pip_none"}}),
    "duplicatePipeline": (Role.OPERATOR, {"id": "pip_none", "name": "Copy"}),
    "deletePipeline": (Role.OPERATOR, {"id": "pip_none"}),
    "createFeature": (Role.OPERATOR, {"input": {"key": "?", "kind": "FEATURE_GATE", "spec": _SPEC}}),
    "attachPipeline": (Role.OPERATOR, {"input": {"featureKey": "none"}}),
    "updateFeature": (Role.OPERATOR, {"input": {"key": "none", "spec": _SPEC}}),
    "approvePhase": (Role.APPROVER, {"input": _PHASE}),
    "pauseRelease": (Role.OPERATOR, {"input": _PHASE}),
    "unpauseRelease": (Role.OPERATOR, {"input": _PHASE}),
    "skipPhase": (Role.OPERATOR, {"input": _PHASE}),
    "abortRelease": (Role.OPERATOR, {"input": _WHOLE}),
    "fullRollOut": (Role.OPERATOR, {"input": _WHOLE}),
    "createToken": (Role.ADMIN, {"input": {"name": "", "role": "VIEWER"}}),
    "revokeToken": (Role.ADMIN, {"id": "tok_none"}),
    "createSdkKey": (Role.ADMIN, {"input": {"name": "", "environment": "production"}}),
    "revokeSdkKey": (Role.ADMIN, {"id": "sdk_none"}),
    "createChannel": (Role.ADMIN, {"input": {"name": "", "kind": "WEBHOOK", "target": ""}}),
    "updateChannel": (Role.ADMIN, {"input": {"id": "cha_none"}}),
    "deleteChannel": (Role.ADMIN, {"id": "cha_none"}),
    "rotateChannelSecret": (Role.ADMIN, {"id": "cha_none"}),
    "testChannel": (Role.ADMIN, {"id": "cha_none"}),
    "resendDelivery": (Role.ADMIN, {"id": "dlv_none"}),
    "markNotificationRead": (Role.VIEWER, {"id": "ntf_none"}),
}
_QUERIES: dict[str, tuple[Role, str]] = {
    "node": (Role.VIEWER, 'node(id: "rel_none") { id }'),
    "viewer": (Role.VIEWER, "viewer { role }"),
    "serverTime": (Role.VIEWER, "serverTime"),
    "environments": (Role.VIEWER, "environments { name }"),
    "feature": (Role.VIEWER, 'feature(key: "none") { id }'),
    "features": (Role.VIEWER, "features { edges { cursor } }"),
    "pipeline": (Role.VIEWER, 'pipeline(id: "none") { id }'),
    "pipelines": (Role.VIEWER, "pipelines { edges { cursor } }"),
    "release": (Role.VIEWER, 'release(id: "none") { id }'),
    "releases": (Role.VIEWER, "releases { edges { cursor } }"),
    "evaluate": (Role.VIEWER, 'evaluate(featureKey: "checkout", environment: "production") { value }'),
    "explain": (Role.VIEWER, 'explain(featureKey: "checkout", environment: "production") { text }'),
    "previewAction": (Role.VIEWER, 'previewAction(releaseId: "?", action: SKIP) { allowed }'),
    "tokens": (Role.ADMIN, "tokens { edges { cursor } }"),
    "sdkKeys": (Role.ADMIN, "sdkKeys { edges { cursor } }"),
    "auditLog": (Role.ADMIN, "auditLog { edges { cursor } }"),
    "channels": (Role.ADMIN, "channels { id }"),
    "deliveries": (Role.ADMIN, 'deliveries(channelId: "cha_none") { edges { cursor } }'),
    "notifications": (Role.VIEWER, "notifications { edges { cursor } }"),
    "pendingReviews": (Role.VIEWER, "pendingReviews { edges { cursor } }"),
}
_SUBSCRIPTIONS: dict[str, tuple[Role, str]] = {
    "releaseEvents": (Role.VIEWER, 'releaseEvents(releaseId: "?") { sequence }'),
    "releases": (Role.VIEWER, "releases { id }"),
}
# Open to all as well; they are silent until something is to be told: see test_notifications.
_SILENT = {"notifications", "pendingReviews"}


def test_the_tables_are_whole() -> None:
    """No field of the schema's roots is without a role."""
    assert _MUTATIONS.keys() == SCHEMA.mutation_type.fields.keys()
    assert _QUERIES.keys() == SCHEMA.query_type.fields.keys()
    assert _SUBSCRIPTIONS.keys() | _SILENT == SCHEMA.subscription_type.fields.keys()


@pytest.fixture
async def release(api: Api) -> Release:
    """A release that is over: whoever may act on it meets a problem."""
    return await start_release(api.services)


async def _secret(api: Api, role: Role) -> str:
    _, secret = await api.services.tokens.create(f"Somebody {role.value}", role, timedelta(hours=1), ADMIN)
    return secret


def _filled(arguments: dict[str, Any], release: Release) -> dict[str, Any]:
    given = dict(arguments.get("input", {}))
    if given.get("releaseId") == "?":
        return {"input": given | {"releaseId": release.id}}
    return arguments


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("role", Role)
async def test_every_mutation_with_every_role(api: Api, release: Release, role: Role) -> None:
    """Over HTTP and over a websocket a mutation answers PermissionDenied, naming the role, to those below it alone."""
    secret = await _secret(api, role)
    async with api.socket({"authorization": f"Bearer {secret}"}) as socket:
        for mutation, (needed, arguments) in _MUTATIONS.items():
            given = _filled(arguments, release)
            response = await api.post(
                {"query": MUTATIONS[mutation], "variables": given}, authorization=f"Bearer {secret}"
            )
            over_http = response.json()["data"][mutation]
            request = gql(MUTATIONS[mutation])
            request.variable_values = given
            over_websocket = (await socket.execute(request))[mutation]
            for answer in (over_http, over_websocket):
                assert (answer["__typename"] == "PermissionDenied") is not role.includes(needed), (mutation, answer)
                assert answer.get("requiredRole", needed.value) == needed.value


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("role", Role)
async def test_every_query_and_subscription_with_every_role(api: Api, release: Release, role: Role) -> None:
    """What a role may not read is an error with the code FORBIDDEN, and what it may read comes."""
    secret = await _secret(api, role)
    async with api.socket({"authorization": f"Bearer {secret}"}) as socket:
        for query, (needed, asked) in _QUERIES.items():
            text = asked.replace("?", release.id)
            response = await api.post({"query": f"{{ {text} }}"}, authorization=f"Bearer {secret}")
            errors = response.json().get("errors", [])
            assert [error["extensions"]["code"] for error in errors] == ([] if role.includes(needed) else ["FORBIDDEN"])
            if role.includes(needed):
                assert query in await socket.execute(gql(f"{{ {text} }}"))
                continue
            with pytest.raises(TransportQueryError) as refused:
                await socket.execute(gql(f"{{ {text} }}"))
            assert refused.value.errors[0]["extensions"]["code"] == "FORBIDDEN"
        for name, (_, text) in _SUBSCRIPTIONS.items():
            async for answer in socket.subscribe(gql(f"subscription {{ {text.replace('?', release.id)} }}")):
                assert name in answer
                break


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
async def test_without_a_token_nothing_is_read_or_done(api: Api, release: Release) -> None:
    """Each root field alike answers 401 over HTTP, and no websocket opens."""
    operations = [f"{{ {text} }}" for _, text in _QUERIES.values()]
    operations += [f"subscription {{ {text} }}" for _, text in _SUBSCRIPTIONS.values()]
    operations += MUTATIONS.values()
    for operation in operations:
        response = await api.post({"query": operation}, authorization="")
        assert response.status_code == 401
        assert response.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
        assert "data" not in response.json()
    with pytest.raises(TransportConnectionFailed):
        async with api.socket({}):
            pass


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("role", Role)
async def test_the_menu_follows_the_role(api: Api, role: Role) -> None:
    """`availableActions` allows each role what it may do, and tells the others which role does."""
    secret = await _secret(api, role)
    release = await start_release(api.services)
    query = "query($id: ID!) { release(id: $id) { availableActions { action allowed reason } } }"
    response = await api.post({"query": query, "variables": {"id": release.id}}, authorization=f"Bearer {secret}")
    for entry in response.json()["data"]["release"]["availableActions"]:
        needed = Role.APPROVER if entry["action"] == "APPROVE" else Role.OPERATOR
        assert not entry["allowed"]
        assert entry["reason"]
        assert role.includes(needed) or needed.value in entry["reason"] or "completed" in entry["reason"]
