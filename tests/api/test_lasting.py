"""What is read once is what reading again would give, and is gone with the value that it was read of."""

import gc
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from app.api import lasting
from app.api.lasting import Readings, lasts, readings
from app.api.operations import Prepared
from app.api.schema import schema
from app.domain.releases import Release, ReleaseEvent, ReleasePhase
from app.services import Services
from app.store.repositories import ReleaseFilter
from tests.api.test_plans import context_of, running
from tests.conftest import Clock

SHOWN = """query ($id: ID!) { release(id: $id) {
  id status phases { id name bakeRemaining } history { sequence at actor { name } phase { id } } } }"""


async def answer(services: Services, id: str) -> dict[str, Any]:
    """The release as the query shows it."""
    context = context_of(services)
    prepared = schema.prepare(SHOWN, {"id": id}, None, context)
    assert isinstance(prepared, Prepared)
    result = await prepared.execute(None, context)
    assert result.data is not None
    release: dict[str, Any] = result.data["release"]
    return release


async def baking(services: Services) -> Release:
    """A release with a phase that bakes."""
    page = await services.releases.page(ReleaseFilter(), 10, None)
    return next(each for each in page.values if any(phase.bake_ends_at for phase in each.phases))


async def test_what_the_clock_decides_is_read_each_time(tmp_path: Path, redis_url: str, clock: Clock) -> None:
    """Two seconds later the remaining bake time is another, and all else is the same objects as before."""
    async with running(tmp_path, redis_url, clock) as services:
        id = (await baking(services)).id
        await answer(services, id)  # by graphql-core, and the whole is planned from then on
        first = await answer(services, id)
        clock.advance(timedelta(seconds=2))
        second = await answer(services, id)

    assert first["history"] is second["history"]
    assert [phase["bakeRemaining"] for phase in first["phases"]] != [p["bakeRemaining"] for p in second["phases"]]
    assert [phase["name"] for phase in first["phases"]] == [phase["name"] for phase in second["phases"]]


async def test_a_changed_release_is_read_anew(tmp_path: Path, redis_url: str, clock: Clock) -> None:
    """After the next revision the answer is that of the new one."""
    async with running(tmp_path, redis_url, clock) as services:
        release = await baking(services)
        before = await answer(services, release.id)
        shorter = structs.replace(release, revision=release.revision + 1, history=release.history[:-1])
        assert await services.releases.save(shorter)
        after = await answer(services, release.id)

    assert after["history"] == before["history"][:-1]


async def test_what_was_read_of_a_value_goes_with_it(tmp_path: Path, redis_url: str, clock: Clock) -> None:
    """Once nobody holds the releases nothing that was read of them is held either."""
    gc.collect()
    before = len(readings), readings.fields  # of values that other tests hold
    async with running(tmp_path, redis_url, clock) as services:
        await answer(services, (await baking(services)).id)
        assert len(readings) > before[0]
        services.releases._read.clear()
    del services
    gc.collect()

    assert (len(readings), readings.fields) == before


def test_the_readings_used_last_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no room for all, the one that was not used for longest makes room."""
    monkeypatch.setattr(lasting, "MAX_FIELDS", 20)
    kept, values = Readings(), [_Phase(n) for n in range(3)]
    for value in values[:2]:
        kept.keep(_read, value, {}, 10)
    assert kept.get(_read, values[0]) is not None
    kept.keep(_read, values[2], {}, 10)

    assert [kept.get(_read, value) is not None for value in values] == [True, False, True]
    assert kept.fields == 20


class _Phase:
    def __init__(self, number: int) -> None:
        self.number = number


def _read() -> None:
    """Some way to read."""


def test_only_frozen_values_that_can_be_followed_last() -> None:
    """Releases and their phases do; events within them go with them, and what can be changed never does."""
    known: list[type] = [Release, ReleasePhase]
    others: list[type] = [ReleaseEvent, _Phase, dict, type(None)]

    assert all(lasts(each) for each in known)
    assert not any(lasts(each) for each in others)
