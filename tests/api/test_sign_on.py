"""Single sign-on end to end: a JWT of a real issuer over HTTP and over a websocket."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from gql import gql

from app.domain.access import Role
from app.services import Services, open_services
from app.settings import Settings
from tests.api.issuer import AUDIENCE, Issuer, issuing, signing_key
from tests.api.serving import Api, close_of, serving
from tests.conftest import Clock

pytestmark = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    """An issuer with an EC key."""
    async with issuing() as issuer:
        issuer.keys = [signing_key("ES256").jwk()]
        yield issuer


@pytest.fixture
async def services(settings: Settings, clock: Clock, issuer: Issuer) -> AsyncIterator[Services]:
    """A process that lets the issuer's people in by their groups."""
    sign_on = {
        "oidc_issuer": issuer.url,
        "oidc_audience": AUDIENCE,
        "oidc_role_claim": "groups",
        "oidc_roles": {"sre": Role.APPROVER, "all": Role.VIEWER},
    }
    async with open_services(settings.model_copy(update=sign_on), clock) as services:
        await services.store.prepare()
        yield services


@pytest.fixture
async def api(services: Services) -> AsyncIterator[Api]:
    """A server with single sign-on."""
    async with serving(services) as api:
        yield api


def _token(issuer: Issuer, clock: Clock, lifetime: timedelta = timedelta(hours=1), **changes: object) -> str:
    now = int(clock.now().timestamp())
    claims = {"iat": now, "exp": now + int(lifetime.total_seconds()), "name": "Ada L.", "groups": ["all", "sre"]}
    return signing_key("ES256").token(issuer.claims(**(claims | changes)))


async def test_a_person_signs_on_with_the_highest_role_of_their_groups(api: Api, issuer: Issuer, clock: Clock) -> None:
    """Who they are and what they may do comes from the token, over HTTP and in connection_init alike."""
    authorization = f"Bearer {_token(issuer, clock)}"
    query = "{ viewer { role actor { id name kind } } }"
    expected = {"role": "APPROVER", "actor": {"id": "oidc:ada", "name": "Ada L.", "kind": "USER"}}
    response = await api.post({"query": query}, authorization=authorization)
    assert response.json()["data"]["viewer"] == expected
    async with api.socket({"authorization": authorization}) as socket:
        assert (await socket.execute(gql(query)))["viewer"] == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"groups": ["others"]},
        {"groups": None},
        {"aud": "somebody else"},
        {"iss": "https://elsewhere.example"},
        {"exp": 1},
    ],
)
async def test_nobody_else_does(api: Api, issuer: Issuer, clock: Clock, changes: dict[str, object]) -> None:
    """A token without a role here, for somebody else, by somebody else or of yesterday is answered with 401."""
    authorization = f"Bearer {_token(issuer, clock, **changes)}"
    response = await api.post({"query": "{ serverTime }"}, authorization=authorization)
    assert response.status_code == 401
    assert response.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_a_socket_lives_no_longer_than_its_token(api: Api, issuer: Issuer, clock: Clock) -> None:
    """When the JWT expires its socket is closed with 4403, within five seconds."""
    authorization = f"Bearer {_token(issuer, clock, timedelta(minutes=5))}"
    async with api.raw_socket(init=False) as socket:
        await socket.send(f'{{"type": "connection_init", "payload": {{"authorization": "{authorization}"}}}}')
        assert "connection_ack" in str(await socket.recv())
        clock.advance(timedelta(minutes=6))
        assert (await close_of(socket))[0] == 4403


async def test_what_an_issuer_that_is_away_cannot_tell(api: Api, issuer: Issuer, clock: Clock) -> None:
    """A token that cannot be checked is answered with 503, and tokens of our own are let in all the while."""
    await issuer.stop()
    response = await api.post({"query": "{ serverTime }"}, authorization=f"Bearer {_token(issuer, clock)}")
    assert response.status_code == 503
    assert response.json()["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
    assert "serverTime" in await api.ask("{ serverTime }")
