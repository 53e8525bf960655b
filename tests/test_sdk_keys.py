"""SDK keys on each store: made, revoked, and what is left of a secret and of its use."""

import asyncio
from datetime import timedelta

import pytest

from app import credentials
from app.domain.access import Principal, Role
from app.domain.credentials import hash_of
from app.domain.problems import NotFound, PermissionDenied, ValidationFailed
from app.domain.sdk_keys import PREFIX, SdkKey
from app.sdk_keys import SdkKeyRegister
from app.services import Services
from app.store.documents import Query, StoreUnavailable
from tests.conftest import WHERE_REAL, Clock
from tests.domain.builders import ADMIN, EVERY_ROLE, HOUR, MINUTE, SECOND
from tests.scene import make_environments

pytestmark = WHERE_REAL


@pytest.fixture
async def register(services: Services) -> SdkKeyRegister:
    """The keys of a Slipway with three environments."""
    await make_environments(services)
    return services.sdk_keys


async def stored(services: Services, key: SdkKey) -> SdkKey:
    """The key as it is on record."""
    found = await services.sdk_key_list.get(key.id)
    assert found is not None
    return found


async def test_a_key_is_kept_without_its_secret(services: Services, register: SdkKeyRegister, clock: Clock) -> None:
    """It is bound to its environment and ends when it should; on record is a hash and not the secret."""
    key, secret = await register.create("Shop", "production", HOUR, ADMIN)
    assert (key.name, key.environment, key.created_by) == ("Shop", "production", ADMIN.actor)
    assert (key.created_at, key.changed_at, key.expires_at) == (clock.now(), clock.now(), clock.now() + HOUR)
    assert key.id.startswith("sdk_")
    assert secret.startswith(PREFIX)
    assert key.secret_hash == hash_of(secret)
    (document,) = await services.store.collection("sdk_keys").find(Query(sort="page_key"))
    assert secret.removeprefix(PREFIX) not in document.body
    assert secret not in document.keys.values()
    assert await stored(services, key) == key


async def test_no_two_secrets_are_alike(register: SdkKeyRegister) -> None:
    """Two keys made alike have ids and secrets of their own, and without a lifetime no end."""
    (one, first), (other, second) = [await register.create("Shop", "staging", None, ADMIN) for _ in range(2)]
    assert one.id != other.id
    assert first != second
    assert one.expires_at is None


async def test_revoking_twice_is_once(services: Services, register: SdkKeyRegister, clock: Clock) -> None:
    """The moment of the first stays, and from then on the key counts as changed."""
    key, _ = await register.create("Leaver", "production", None, ADMIN)
    clock.advance(MINUTE)
    revoked = await register.revoke(key.id, ADMIN)
    assert (revoked.revoked_at, revoked.changed_at) == (clock.now(), clock.now())
    clock.advance(MINUTE)
    assert await register.revoke(key.id, ADMIN) == revoked
    assert await stored(services, key) == revoked
    assert not revoked.is_valid(clock.now())


async def test_it_is_revoked_however_many_note_its_use(
    services: Services, neighbour: Services, register: SdkKeyRegister, clock: Clock
) -> None:
    """Revoking from one process wins while another writes uses down, and no note takes it back."""
    key, _ = await register.create("Busy", "production", None, ADMIN)

    async def use() -> None:
        for _ in range(5):
            clock.advance(MINUTE)
            await neighbour.sdk_keys.note_use({key.id: clock.now()})

    await asyncio.gather(use(), register.revoke(key.id, ADMIN), use())
    assert (await stored(services, key)).revoked_at is not None


async def test_use_is_noted_once_a_minute(services: Services, register: SdkKeyRegister, clock: Clock) -> None:
    """`last_used_at` is right to the minute, at one write a minute and key; a use is no change of the key."""
    key, _ = await register.create("Busy", "production", None, ADMIN)
    idle, _ = await register.create("Idle", "production", None, ADMIN)
    start, noted = clock.now(), []
    for _ in range(4):
        await register.note_use({key.id: clock.now(), "sdk_none": clock.now()})
        found = await stored(services, key)
        noted.append((found.revision, found.last_used_at, found.changed_at))
        clock.advance(30 * SECOND)
    assert noted == [(2, start, start)] * 2 + [(3, start + MINUTE, start)] * 2
    assert await stored(services, idle) == idle
    await register.note_use({})


async def test_a_lost_race_costs_only_the_note(services: Services, register: SdkKeyRegister, clock: Clock) -> None:
    """Who notes the use of a key that was revoked meanwhile writes nothing, and the key stays revoked."""
    seen, _ = await register.create("Busy", "production", None, ADMIN)
    revoked = await register.revoke(seen.id, ADMIN)
    assert await credentials.note_use(services.sdk_key_list, seen, clock.now()) is None
    assert await stored(services, seen) == revoked


async def test_an_absent_store_costs_only_the_note(services: Services, register: SdkKeyRegister, clock: Clock) -> None:
    """Noting a use raises nothing when the store does not answer."""
    key, _ = await register.create("Busy", "production", None, ADMIN)
    await services.store.close()
    with pytest.raises(StoreUnavailable):
        await stored(services, key)
    await register.note_use({key.id: clock.now()})


async def test_only_administrators_make_and_revoke(services: Services, register: SdkKeyRegister) -> None:
    """Everybody else meets PermissionDenied, and nothing is made or revoked."""
    key, _ = await register.create("Shop", "production", None, ADMIN)
    others: list[Principal] = [by for role, by in EVERY_ROLE.items() if role is not Role.ADMIN]
    for other in others:
        for attempt in (register.create("Mine", "production", None, other), register.revoke(key.id, other)):
            with pytest.raises(PermissionDenied) as refused:
                await attempt
            assert refused.value.required_role is Role.ADMIN
    assert [each async for each in services.sdk_key_list.all()] == [key]


@pytest.mark.parametrize(
    ("name", "environment", "lifetime", "path"),
    [
        ("", "production", None, "name"),
        ("x", "mars", None, "environment"),
        ("x", "production", timedelta(0), "expiresIn"),
        ("x", "production", timedelta.max, "expiresIn"),
    ],
)
async def test_what_cannot_be_made(
    services: Services, register: SdkKeyRegister, name: str, environment: str, lifetime: timedelta | None, path: str
) -> None:
    """A key without a name, an environment that exists or a lifetime is ValidationFailed with the field's path."""
    with pytest.raises(ValidationFailed) as refused:
        await register.create(name, environment, lifetime, ADMIN)
    assert [field.path for field in refused.value.fields] == [(path,)]
    assert [each async for each in services.sdk_key_list.all()] == []


async def test_an_unknown_key_is_not_found(register: SdkKeyRegister) -> None:
    """Revoking what there is not names it."""
    with pytest.raises(NotFound, match="There is no SDK key 'sdk_none'"):
        await register.revoke("sdk_none", ADMIN)
