"""How often one caller may ask, counted on Redis by the `limits` library, so that all processes count together."""

import asyncio
import math
import time
from typing import cast

import structlog
from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import Redis
from redis.exceptions import RedisError

log = structlog.get_logger()

_PATIENCE_SECONDS = 1.0


class Rates:
    """Counts requests a minute. While Redis is away each process counts for itself."""

    def __init__(self, redis: Redis, per_minute: int) -> None:
        self._limit = RateLimitItemPerMinute(per_minute) if per_minute else None
        # The URL only names the kind: the connections are those of `redis`, which closes them.
        pool = cast(str, redis.connection_pool)
        storage = RedisStorage("async+redis://", implementation="redispy", connection_pool=pool)
        self._shared = SlidingWindowCounterRateLimiter(storage)
        self._own = SlidingWindowCounterRateLimiter(MemoryStorage())

    async def wait_seconds(self, caller: str) -> int:
        """0 if the caller may ask now, which is counted; else for how many whole seconds to wait."""
        if self._limit is None:
            return 0
        for limiter in (self._shared, self._own):
            try:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    if await limiter.hit(self._limit, "slipway", caller):
                        return 0
                    window = await limiter.get_window_stats(self._limit, "slipway", caller)
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("requests counted by this process alone", error=str(error))
                continue
            return max(1, math.ceil(window.reset_time - time.time()))
        return 0
