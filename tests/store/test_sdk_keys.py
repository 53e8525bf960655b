"""SDK keys on each adapter: pages, all of them, and those that changed."""

from datetime import timedelta

import pytest
from msgspec import structs

from app.domain.access import Actor
from app.domain.sdk_keys import SdkKey
from app.store import repositories
from app.store.access import SdkKeys
from app.store.documents import DuplicateKey, Store
from tests.domain.builders import NOW, SECOND

ADA = Actor("ada", "Ada")


def key(number: int, environment: str = "production") -> SdkKey:
    """A key made that many seconds after the first."""
    at = NOW + number * SECOND
    return SdkKey(f"sdk_{number:02}", f"Key {number}", environment, f"hash {number}", ADA, at, at)


@pytest.fixture
async def keys(store: Store) -> SdkKeys:
    """Seven keys, the odd ones of staging."""
    keys = SdkKeys(store)
    for number in (3, 0, 6, 1, 5, 2, 4):
        await keys.add(key(number, "staging" if number % 2 else "production"))
    return keys


@pytest.mark.parametrize(
    ("environment", "expected"),
    [(None, [[6, 5], [4, 3], [2, 1], [0]]), ("production", [[6, 4], [2, 0]]), ("staging", [[5, 3], [1]]), ("x", [[]])],
)
async def test_pages_are_the_newest_first(keys: SdkKeys, environment: str | None, expected: list[list[int]]) -> None:
    """Page after page has every key once, of all environments or of the one asked for."""
    pages, after, more = [], None, True
    while more:
        page = await keys.page(2, after, environment)
        pages.append([int(each.id.removeprefix("sdk_")) for each in page.values])
        after, more = (SdkKeys.cursor(page.values[-1]) if page.values else None), page.has_next
    assert pages == expected


@pytest.mark.parametrize("at_once", [1, 2, 7, 8])
async def test_all_are_read_whatever_a_page_holds(keys: SdkKeys, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    """Every key once and whole, the newest first, where the last page is full and where it is not."""
    monkeypatch.setattr(repositories, "_AT_ONCE", at_once)
    found = [each async for each in keys.all()]
    assert found == [key(number, "staging" if number % 2 else "production") for number in range(6, -1, -1)]


async def test_what_changed_since_is_found_and_use_is_no_change(keys: SdkKeys) -> None:
    """Keys made or revoked at or after a moment, the earliest first; one that was only used is not among them."""
    assert await keys.changed_since(NOW + 5 * SECOND, 10) == [("sdk_05", 1), ("sdk_06", 1)]
    assert await keys.changed_since(NOW + 3 * SECOND, 2) == [("sdk_03", 1), ("sdk_04", 1)]

    assert await keys.save(structs.replace(key(1, "staging"), last_used_at=NOW + 7 * SECOND, revision=2))
    assert await keys.save(key(0).revoked(NOW + 8 * SECOND))

    assert await keys.changed_since(NOW + 6 * SECOND, 10) == [("sdk_06", 1), ("sdk_00", 2)]
    assert await keys.changed_since(NOW + timedelta(days=1), 10) == []


async def test_no_two_have_one_secret(keys: SdkKeys) -> None:
    """A second key with the hash of the first is not stored."""
    with pytest.raises(DuplicateKey):
        await keys.add(structs.replace(key(7), secret_hash=key(0).secret_hash))
