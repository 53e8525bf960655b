"""SDK keys over the wire: made, listed and revoked by administrators, and let in nowhere here."""

from datetime import timedelta
from typing import Any

import pytest

from tests.api.serving import Api, close_of, say
from tests.conftest import Clock
from tests.domain.builders import SECOND
from tests.scene import make_environments

_KEYS = """
    query($environment: String, $first: Int, $after: String) {
      sdkKeys(environment: $environment, first: $first, after: $after) {
        pageInfo { hasNextPage endCursor }
        edges { cursor node {
          id name environment createdBy { name } createdAt expiresAt lastUsedAt revokedAt
        } }
      }
    }
"""


async def _made(api: Api, name: str = "Shop", environment: str = "production", **more: object) -> dict[str, Any]:
    answer = await api.mutate("createSdkKey", input={"name": name, "environment": environment, **more})
    assert answer["__typename"] == "CreateSdkKeyPayload", answer
    return dict(answer)


async def _listed(api: Api, **variables: object) -> list[dict[str, Any]]:
    return [edge["node"] for edge in (await api.ask(_KEYS, **variables))["sdkKeys"]["edges"]]


async def test_a_key_is_made_used_revoked_and_stays_on_the_list(api: Api, clock: Clock) -> None:
    """The list tells all of a key but its secret, which was shown once."""
    await make_environments(api.services)
    started = clock.now()
    made = await _made(api, expiresIn="P30D")
    clock.advance(timedelta(hours=1))
    await api.services.sdk_keys.note_use({made["sdkKey"]["id"]: clock.now()})
    revoked = await api.mutate("revokeSdkKey", id=made["sdkKey"]["id"])

    (key,) = await _listed(api)
    moments = {name: key.pop(name) for name in ("createdAt", "expiresAt", "lastUsedAt", "revokedAt")}
    assert key == {
        "id": made["sdkKey"]["id"],
        "name": "Shop",
        "environment": "production",
        "createdBy": {"name": "Administrator"},
    }
    assert moments["expiresAt"] == made["sdkKey"]["expiresAt"]
    assert moments["lastUsedAt"] == moments["revokedAt"] == revoked["sdkKey"]["revokedAt"]
    stored = await api.services.sdk_key_list.get(key["id"])
    assert stored is not None
    assert (stored.created_at, stored.expires_at) == (started, started + timedelta(days=30))
    assert made["secret"].startswith("slk_")
    assert made["secret"] not in str(await api.ask(_KEYS))


async def test_a_page_is_of_one_environment_or_of_all(api: Api, clock: Clock) -> None:
    """The newest first, page by page; an environment without keys has an empty page."""
    await make_environments(api.services)
    for number in range(5):
        await _made(api, f"{number}", "staging" if number % 2 else "production")
        clock.advance(SECOND)
    assert [key["name"] for key in await _listed(api)] == ["4", "3", "2", "1", "0"]
    assert [key["name"] for key in await _listed(api, environment="staging")] == ["3", "1"]
    assert await _listed(api, environment="development") == []
    assert await _listed(api, first=0) == []

    names, after = [], None
    while True:
        page = (await api.ask(_KEYS, environment="production", first=2, after=after))["sdkKeys"]
        names.append([edge["node"]["name"] for edge in page["edges"]])
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert names == [["4", "2"], ["0"]]


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
async def test_a_cursor_of_another_list_is_refused(api: Api) -> None:
    """The error names the argument."""
    await api.mutate("createToken", input={"name": "x", "role": "VIEWER"})
    cursor = (await api.ask("{ tokens { pageInfo { endCursor } } }"))["tokens"]["pageInfo"]["endCursor"]
    error = await api.error(_KEYS, after=cursor)
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "argument": "after"}


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
async def test_all_that_is_wrong_with_a_key_is_said_at_once(api: Api) -> None:
    """Each field with its path, and which environments there are."""
    await make_environments(api.services)
    answer = await api.mutate("createSdkKey", input={"name": "", "environment": "mars", "expiresIn": "PT0S"})
    assert {".".join(field["path"]): field["message"] for field in answer["fields"]} == {
        "name": "Give it a name.",
        "expiresIn": "Use a lifetime of more than nothing and at most 3650 days.",
        "environment": "There is no environment 'mars'. Known: development, production, staging.",
    }


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
async def test_no_secret_is_on_the_audit_log(api: Api) -> None:
    """Making, a refusal and revoking are on record, with what was asked for and without what was made."""
    await make_environments(api.services)
    made = await _made(api)
    await api.mutate("createSdkKey", input={"name": "Shop", "environment": "mars"})
    await api.mutate("revokeSdkKey", id=made["sdkKey"]["id"])
    log = (await api.ask("{ auditLog { edges { node { mutation outcome problem input } } } }"))["auditLog"]
    assert [edge["node"] for edge in reversed(log["edges"])] == [
        {
            "mutation": "createSdkKey",
            "outcome": "DONE",
            "problem": None,
            "input": {"name": "Shop", "environment": "production"},
        },
        {
            "mutation": "createSdkKey",
            "outcome": "REFUSED",
            "problem": "ValidationFailed",
            "input": {"name": "Shop", "environment": "mars"},
        },
        {"mutation": "revokeSdkKey", "outcome": "DONE", "problem": None, "input": {"id": made["sdkKey"]["id"]}},
    ]
    assert made["secret"] not in str(log)


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("body", [{"query": "{ __typename }"}, {"query": "mutation { abortRelease }"}, b"not JSON"])
async def test_a_key_asks_nothing_here(api: Api, body: object) -> None:
    """403, whatever is asked: that it only evaluates, over which path, and that an API token is needed here."""
    await make_environments(api.services)
    secret = (await _made(api))["secret"]
    for authorization in (f"Bearer {secret}", f"bearer  {secret}", "Bearer slk_", "Bearer slk_never.made.so"):
        response = await api.post(body, authorization=authorization)
        assert response.status_code == 403
        (error,) = response.json()["errors"]
        assert error["extensions"] == {"code": "FORBIDDEN"}
        for said in ("SDK key", "only evaluates", "/ofrep/v1/", "API token"):
            assert said in error["message"]
        assert "data" not in response.json()
        assert secret not in response.text


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
async def test_a_key_opens_no_websocket(api: Api) -> None:
    """4403 at connection_init, as with any wrong token, in the payload and in the handshake alike."""
    await make_environments(api.services)
    authorization = {"authorization": f"Bearer {(await _made(api))['secret']}"}
    async with api.raw_socket(init=False) as socket:
        await say(socket, {"type": "connection_init", "payload": authorization})
        assert await close_of(socket) == (4403, "Forbidden")
    async with api.raw_socket(init=False, additional_headers=authorization) as socket:
        await say(socket, {"type": "connection_init"})
        assert await close_of(socket) == (4403, "Forbidden")


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
async def test_no_secret_is_logged(api: Api, logs: list[Any]) -> None:
    """Neither when a key is made nor when it is sent where it lets nobody in."""
    await make_environments(api.services)
    secret = (await _made(api))["secret"]
    await api.post({"query": "{ __typename }"}, authorization=f"Bearer {secret}")
    assert any(entry["event"] == "SDK key made" for entry in logs)
    assert secret not in str(logs)
