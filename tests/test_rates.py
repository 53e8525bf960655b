"""Requests counted by several processes together, one by one and in parts."""

import asyncio

import pytest
from redis.asyncio import Redis

from app import rates
from app.rates import Rates


class Ticks:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        """Seconds."""
        return self.now


async def admitted(counting: Rates, most: int) -> int:
    """How many requests are let in one after the other, of so many."""
    return sum([await counting.wait_seconds("tok_1") == 0 for _ in range(most)])


@pytest.mark.parametrize("per_minute", [5, 119, 120, 600])
async def test_one_process_lets_in_exactly_the_limit(per_minute: int, redis_url: str) -> None:
    """Whether it counts one by one or in parts; then the caller must wait."""
    async with Redis.from_url(redis_url) as redis:
        counting = Rates(redis, per_minute)
        assert await admitted(counting, per_minute + 20) == per_minute
        assert 1 <= await counting.wait_seconds("tok_1") <= 60
        assert await counting.wait_seconds("tok_2") == 0


async def test_those_who_come_at_once_use_up_no_more_than_they_ask(redis_url: str) -> None:
    """Hundreds of requests of one caller at the same moment, as after a restart: the limit is theirs, to the last."""
    async with Redis.from_url(redis_url) as redis:
        counting = Rates(redis, 1_200)
        for _ in range(6):
            assert not any(await asyncio.gather(*(counting.wait_seconds("tok_1") for _ in range(200))))
        assert all(await asyncio.gather(*(counting.wait_seconds("tok_1") for _ in range(50))))


async def test_processes_together_let_in_no_more_than_the_limit(redis_url: str) -> None:
    """In turns, and then one alone: by what the others hold a caller is refused early, and never late."""
    async with Redis.from_url(redis_url) as redis:
        processes = [Rates(redis, 600) for _ in range(4)]
        together = sum([await admitted(process, 45) for process in processes])
        alone = await admitted(processes[0], 600)
        rest = sum([await admitted(process, 600) for process in processes])
        assert together == 4 * 45
        assert 600 - together - 4 * 10 <= alone
        assert 600 - 4 * 10 < together + alone + rest <= 600


async def test_what_is_counted_and_not_asked_for_in_time_is_not_let_in_later(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that held a part for long counts anew, so that no minute has more than was counted in it."""
    ticks = Ticks()
    monkeypatch.setattr(rates.time, "monotonic", ticks.monotonic)
    async with Redis.from_url(redis_url) as redis:
        counting = Rates(redis, 120)
        assert await counting.wait_seconds("tok_1") == 0  # the other of two is held
        ticks.now += 5
        assert await admitted(counting, 200) == 118
