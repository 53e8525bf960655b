"""What the clients of OpenFeature make of answers without a value: the default of the code, and a reason."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from app.domain.access import Role
from tests.api.serving import Api
from tests.domain.builders import ADMIN
from tests.ofrep.calling import application
from tests.ofrep.clients.conftest import Connect
from tests.ofrep.clients.sdks import Client, People
from tests.ofrep.clients.shop import ANN, CONFIG, GATE
from tests.scene import eventually


async def _default(client: Client, flag: str, otherwise: object) -> str:
    """The error code with which the one person is given the default."""
    ((_, details),) = (await client.read(flag, otherwise)).items()
    assert (details["value"], details["reason"]) == (otherwise, "ERROR"), details
    return str(details["errorCode"])


async def test_a_flag_that_is_unknown_or_of_another_type_gives_the_default(
    api: Api, secret: str, connect: Connect
) -> None:
    """FLAG_NOT_FOUND and TYPE_MISMATCH; and the client goes on to read others."""
    async with connect(api.base_url, secret, ANN) as client:
        assert await _default(client, "nowhere", True) == "FLAG_NOT_FOUND"
        assert await _default(client, "no/where at all?", True) == "FLAG_NOT_FOUND"
        assert await _default(client, GATE, "text") == "TYPE_MISMATCH"
        assert await _default(client, GATE, {"a": 1}) == "TYPE_MISMATCH"
        assert await _default(client, CONFIG, True) == "TYPE_MISMATCH"
        assert (await client.read(GATE, True))["Ann"]["value"] is False


# By the context: what clients for servers say. The one for browsers gets no flags at all, and knows none.
CONTEXTS: dict[str, tuple[People, str]] = {
    "without a targeting key": ({"Nobody": {"region": "NO"}}, "TARGETING_KEY_MISSING"),
    "with a number as targeting key": ({"Odd": {"targetingKey": 7}}, "INVALID_CONTEXT"),
}


@pytest.mark.parametrize("context", CONTEXTS)
async def test_a_context_that_cannot_be_evaluated_gives_the_default(
    api: Api, secret: str, connect: Connect, kind: str, context: str
) -> None:
    """The code of the refusal reaches the application where its client asks for one flag at a time."""
    people, code = CONTEXTS[context]
    async with connect(api.base_url, secret, people) as client:
        assert await _default(client, GATE, True) == ("FLAG_NOT_FOUND" if kind == "web" else code)
        if kind == "web":
            assert [fact["failed"] for fact in client.heard] == [
                "GeneralError: Failed OFREP bulk evaluation request, status: 400"
            ]


async def _token(api: Api) -> str:
    _, secret = await api.services.tokens.create("Laptop", Role.ADMIN, timedelta(hours=1), ADMIN)
    return secret


async def _revoked(api: Api) -> str:
    lost = await application(api)
    await api.services.sdk_keys.revoke(lost.key.id, ADMIN)

    async def is_refused() -> bool:  # the server reads that it was revoked a moment after
        return (await lost.all()).status_code == 401

    await eventually(is_refused)
    return lost.secret


async def _unknown(api: Api) -> str:
    return "slk_unknown"


@pytest.mark.parametrize("made", [_token, _revoked, _unknown])
async def test_who_brings_no_valid_sdk_key_is_given_the_default(
    api: Api, connect: Connect, kind: str, made: Callable[[Api], Awaitable[str]]
) -> None:
    """An unknown key, a revoked key and an API token let no client in, and the one for browsers asks no more."""
    async with connect(api.base_url, await made(api), ANN) as client:
        assert await _default(client, GATE, True) == ("PROVIDER_FATAL" if kind == "web" else "GENERAL")


async def test_a_server_that_does_not_answer_gives_the_default(secret: str, connect: Connect, kind: str) -> None:
    """Without a server the application runs on its own defaults."""
    async with connect("http://127.0.0.1:9", secret, ANN) as client:
        assert await _default(client, GATE, True) == ("FLAG_NOT_FOUND" if kind == "web" else "GENERAL")
