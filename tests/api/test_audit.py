"""The audit log: every mutation is on it, refused ones too, and no change is kept without it."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from app.domain.access import Role
from app.domain.releases import Release, ReleaseAction, ReleaseStatus
from app.store.documents import StoreUnavailable
from tests.api.serving import Api, say
from tests.conftest import Clock
from tests.domain.builders import ADMIN, phase
from tests.scene import eventually, start_release, stored

_LOG = """
    query($filter: AuditLogFilter, $first: Int, $after: String) {
      auditLog(filter: $filter, first: $first, after: $after) {
        pageInfo { hasNextPage endCursor }
        edges { node {
          id at mutation actor { id name } role credential address input outcome problem message featureKey releaseId
        } }
      }
    }
"""


async def _entries(api: Api, **variables: object) -> list[dict[str, Any]]:
    page = (await api.ask(_LOG, **variables))["auditLog"]
    return [edge["node"] for edge in page["edges"]]


async def test_who_did_what_from_where_and_with_what(api: Api) -> None:
    """A change is on record with its actor, token, address, input, release and feature."""
    release = await start_release(api.services, phase("Only"))
    await api.mutate("abortRelease", input={"releaseId": release.id, "reason": "errors"})
    (entry,) = await _entries(api)
    assert {name: entry[name] for name in ("mutation", "role", "credential", "address", "outcome")} == {
        "mutation": "abortRelease",
        "role": "ADMIN",
        "credential": "admin-token",
        "address": "127.0.0.1",
        "outcome": "DONE",
    }
    assert entry["actor"] == {"id": "admin", "name": "Administrator"}
    assert entry["input"] == {"releaseId": release.id, "reason": "errors", "bypassReview": False}
    assert (entry["featureKey"], entry["releaseId"]) == ("checkout", release.id)


async def test_a_refused_mutation_is_on_record(api: Api) -> None:
    """With the problem that refused it, and by the token's holder."""
    token, secret = await api.services.tokens.create("Vera", Role.VIEWER, None, ADMIN)
    query = 'mutation { deletePipeline(id: "pip_1") { __typename } }'
    await api.post({"query": query}, authorization=f"Bearer {secret}")
    (entry,) = await _entries(api)
    assert (entry["outcome"], entry["problem"]) == ("REFUSED", "PermissionDenied")
    assert (entry["actor"]["id"], entry["credential"]) == (token.id, token.id)
    assert "OPERATOR" in entry["message"]


async def test_a_secret_is_never_on_it(api: Api) -> None:
    """`createToken` is logged without what it made."""
    made = await api.ask(
        'mutation { createToken(input: {name: "x", role: VIEWER}) { ... on CreateTokenPayload { secret } } }'
    )
    (entry,) = await _entries(api)
    assert made["createToken"]["secret"] not in str(entry)
    assert entry["input"] == {"name": "x", "role": "VIEWER"}


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
async def test_nothing_is_done_that_cannot_be_logged(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the entry cannot be written, the mutation is not carried out."""
    release = await start_release(api.services, phase("Only"))

    async def away(*_: object) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(api.services.audit_log, "add", away)
    error = await api.error(
        "mutation($id: ID!) { abortRelease(input: {releaseId: $id}) { __typename } }", id=release.id
    )
    assert error["extensions"]["code"] == "STORE_UNAVAILABLE"
    assert await api.services.releases.get(release.id) == release


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
async def test_a_change_that_was_cut_off_stays_on_record(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """When only the outcome cannot be written, the change is kept and its entry says ATTEMPTED."""
    release = await start_release(api.services, phase("Only"))

    async def away(*_: object) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(api.services.audit_log, "save", away)
    await api.mutate("abortRelease", input={"releaseId": release.id})
    (entry,) = await _entries(api)
    assert (entry["mutation"], entry["outcome"]) == ("abortRelease", "ATTEMPTED")


async def test_it_is_filtered_and_paged(api: Api, clock: Clock) -> None:
    """By actor, feature and time, the newest first, page by page."""
    token, secret = await api.services.tokens.create("Otto", Role.OPERATOR, None, ADMIN)
    started = clock.now()
    for key in ("one", "two"):
        release = await start_release(api.services, phase("Only"), key=key)
        for action in (ReleaseAction.PAUSE, ReleaseAction.UNPAUSE):
            clock.advance(timedelta(seconds=1))
            name = "pauseRelease" if action is ReleaseAction.PAUSE else "unpauseRelease"
            query = f"mutation($in: PhaseActionInput!) {{ {name}(input: $in) {{ __typename }} }}"
            variables = {"in": {"releaseId": release.id, "phaseId": release.phases[0].id}}
            by = secret if key == "one" else api.token
            await api.post({"query": query, "variables": variables}, authorization=f"Bearer {by}")
    of_actor = await _entries(api, filter={"actorId": token.id})
    assert [(entry["mutation"], entry["featureKey"]) for entry in of_actor] == [
        ("unpauseRelease", "one"),
        ("pauseRelease", "one"),
    ]
    assert {entry["actor"]["id"] for entry in await _entries(api, filter={"featureKey": "two"})} == {"admin"}
    early = (started + timedelta(seconds=2)).isoformat()
    assert len(await _entries(api, filter={"before": early})) == 1
    assert len(await _entries(api, filter={"after": early})) == 2
    pages, after = [], None
    while True:
        page = (await api.ask(_LOG, first=3, after=after))["auditLog"]
        pages += [edge["node"]["id"] for edge in page["edges"]]
        if not page["pageInfo"]["hasNextPage"]:
            break
        after = page["pageInfo"]["endCursor"]
    assert len(pages) == len(set(pages)) == 4


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
async def test_a_caller_who_leaves_cuts_nothing_off(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mutation over a socket that closes at once is carried out and logged to its end."""
    release = await start_release(api.services, phase("Only"))
    started, go_on = asyncio.Event(), asyncio.Event()
    save = api.services.releases.save

    async def slowly(changed: Release) -> bool:
        started.set()
        await go_on.wait()
        return await save(changed)

    monkeypatch.setattr(api.services.releases, "save", slowly)
    query = f'mutation {{ abortRelease(input: {{releaseId: "{release.id}"}}) {{ __typename }} }}'
    async with api.raw_socket() as socket:
        await say(socket, {"type": "subscribe", "id": "1", "payload": {"query": query}})
        await started.wait()
    go_on.set()

    async def is_logged() -> bool:
        return [entry["outcome"] for entry in await _entries(api)] == ["DONE"]

    await eventually(is_logged)
    assert (await stored(api.services, release)).status is ReleaseStatus.ABORTED


async def test_a_refusal_by_role_is_found_by_its_feature(api: Api) -> None:
    """What somebody tried on a release is on record with that release and its feature, whatever refused it."""
    release = await start_release(api.services, phase("Only"))
    _, secret = await api.services.tokens.create("Vera", Role.VIEWER, None, ADMIN)
    for query in (
        f'mutation {{ abortRelease(input: {{releaseId: "{release.id}"}}) {{ __typename }} }}',
        'mutation { updateFeature(input: {key: "checkout", spec: {defaultValue: false}}) { __typename } }',
    ):
        await api.post({"query": query}, authorization=f"Bearer {secret}")
    found = await _entries(api, filter={"featureKey": "checkout"})
    assert [(entry["mutation"], entry["problem"], entry["releaseId"]) for entry in found] == [
        ("updateFeature", "PermissionDenied", None),
        ("abortRelease", "PermissionDenied", release.id),
    ]


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
async def test_a_large_input_is_kept_as_a_digest(api: Api) -> None:
    """What is short stays readable; the rest is its size and digest, so that nobody fills the store by asking."""
    _, secret = await api.services.tokens.create("Vera", Role.VIEWER, None, ADMIN)
    query = "mutation($in: CreateFeatureInput!) { createFeature(input: $in) { __typename } }"
    given = {"key": "big", "kind": "FEATURE_GATE", "description": "x" * 500_000, "spec": {"defaultValue": True}}
    request = {"query": query, "variables": {"in": given}}
    response = await api.post(request, authorization=f"Bearer {secret}")
    assert response.json()["data"]["createFeature"]["__typename"] == "PermissionDenied"
    (entry,) = await _entries(api)
    assert entry["input"]["key"] == "big"
    assert entry["input"]["omitted"]["bytes"] > 500_000
    assert len(str(entry["input"])) < 1_000
