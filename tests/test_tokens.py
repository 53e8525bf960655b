"""API tokens: made, recognised, revoked, expired; and what is left of a secret."""

from datetime import timedelta

import pytest

from app.domain.access import Actor, Principal, Role
from app.domain.problems import NotFound, PermissionDenied, ValidationFailed
from app.domain.tokens import PREFIX
from app.services import Services
from app.store.documents import Query
from app.tokens import RECOGNISED_SECONDS, TokenRegister
from tests.conftest import WHERE_REAL, Clock
from tests.domain.builders import ADMIN

pytestmark = WHERE_REAL


class _Ticks:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ticks() -> _Ticks:
    """Seconds by which secrets are remembered."""
    return _Ticks()


@pytest.fixture
def register(services: Services, clock: Clock, ticks: _Ticks) -> TokenRegister:
    """The tokens of `services`, as a process sees them whose clocks are the test's."""
    return TokenRegister(services.token_list, clock, ticks)


async def test_a_secret_is_recognised_and_not_kept(services: Services, register: TokenRegister) -> None:
    """The holder is who the token was made for; on record is a hash and not the secret."""
    token, secret = await register.create("Deploy bot", Role.OPERATOR, None, ADMIN)
    assert secret.startswith(PREFIX)
    found = await register.recognise(secret)
    assert found is not None
    assert found.principal == Principal(Actor(token.id, "Deploy bot"), Role.OPERATOR)
    (document,) = await services.store.collection("tokens").find(Query(sort="page_key"))
    assert secret.removeprefix(PREFIX) not in document.body
    assert secret not in document.keys.values()


@pytest.mark.parametrize("secret", ["", "slw_", "slw_nothing", "Bearer x", "slw_" + "x" * 10_000, "slw_é"])
async def test_other_secrets_are_not(register: TokenRegister, secret: str) -> None:
    """Nobody is behind a secret that was never made."""
    await register.create("Somebody", Role.ADMIN, None, ADMIN)
    assert await register.recognise(secret) is None


async def test_a_token_expires(register: TokenRegister, clock: Clock) -> None:
    """From its expiry on it lets nobody in, remembered or not."""
    _, secret = await register.create("For an hour", Role.VIEWER, timedelta(hours=1), ADMIN)
    clock.advance(timedelta(minutes=59, seconds=59))
    assert await register.recognise(secret) is not None
    clock.advance(timedelta(seconds=1))
    assert await register.recognise(secret) is None


async def test_revoking_is_at_once_here_and_soon_elsewhere(
    services: Services, register: TokenRegister, clock: Clock, ticks: _Ticks
) -> None:
    """The process that revokes lets the holder in no more; another one does for two seconds at most."""
    other = TokenRegister(services.token_list, clock, ticks)
    token, secret = await register.create("Leaver", Role.ADMIN, None, ADMIN)
    assert await other.recognise(secret) is not None
    revoked = await register.revoke(token.id, ADMIN)
    assert revoked.revoked_at is not None
    assert await register.recognise(secret) is None
    assert await other.recognise(secret) is not None
    ticks.now += RECOGNISED_SECONDS
    assert await other.recognise(secret) is None
    assert await register.revoke(token.id, ADMIN) == revoked


async def test_use_is_noted_once_a_minute(
    services: Services, register: TokenRegister, clock: Clock, ticks: _Ticks
) -> None:
    """`last_used_at` is right to the minute, at one write a minute."""
    token, secret = await register.create("Busy", Role.VIEWER, None, ADMIN)
    revisions = []
    for _ in range(4):
        assert await register.recognise(secret) is not None
        stored = await services.token_list.get(token.id)
        assert stored is not None
        revisions.append((stored.revision, stored.last_used_at))
        clock.advance(timedelta(seconds=30))
        ticks.now += 30
    start = clock.now() - timedelta(minutes=2)
    assert revisions == [(2, start), (2, start), (3, start + timedelta(minutes=1)), (3, start + timedelta(minutes=1))]


async def test_only_administrators_make_and_revoke(register: TokenRegister) -> None:
    """Everybody else meets PermissionDenied."""
    token, _ = await register.create("Somebody", Role.VIEWER, None, ADMIN)
    for role in (Role.VIEWER, Role.OPERATOR, Role.APPROVER):
        other = Principal(Actor("other", "Other"), role)
        with pytest.raises(PermissionDenied):
            await register.create("Mine", role, None, other)
        with pytest.raises(PermissionDenied):
            await register.revoke(token.id, other)


async def test_what_cannot_be_made_or_found(register: TokenRegister) -> None:
    """A nameless or timeless token is ValidationFailed with the field's path, an unknown id NotFound."""
    for name, lifetime, path in (
        ("", None, "name"),
        ("x", timedelta(0), "expiresIn"),
        ("x", timedelta(days=-1), "expiresIn"),
        ("x", timedelta.max, "expiresIn"),
    ):
        with pytest.raises(ValidationFailed) as refused:
            await register.create(name, Role.VIEWER, lifetime, ADMIN)
        assert [field.path for field in refused.value.fields] == [(path,)]
    with pytest.raises(NotFound):
        await register.revoke("tok_none", ADMIN)
