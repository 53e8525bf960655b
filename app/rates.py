"""How often one caller may ask, counted on Redis by the `limits` library, so that all processes count together.

Counting takes a way to Redis and back. So where the limit is large a process counts a few requests of a caller at once,
a sixtieth of the limit, and lets that many in within the next seconds. Each process may hold that many counted
and unasked, by which a caller who reaches the limit through several is refused that much early; what is not asked for
in time has been counted all the same. In no minute are more let in than the limit and one such part for each process.
"""

import asyncio
import math
import time
from collections import OrderedDict
from typing import cast
from weakref import WeakValueDictionary

import structlog
from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.patience import Patience

log = structlog.get_logger()

_PATIENCE_SECONDS = 1.0
_PARTS = 60
_HELD_SECONDS = 5.0
_CALLERS = 10_000


class _Lease:
    """Requests of one caller that are counted and may still come."""

    __slots__ = ("ends_at", "left")

    def __init__(self, left: int, ends_at: float) -> None:
        self.left = left
        self.ends_at = ends_at


class Rates:
    """Counts requests a minute. While Redis is away each process counts for itself."""

    def __init__(self, redis: Redis, per_minute: int) -> None:
        self._part = per_minute // _PARTS
        self._leases: OrderedDict[str, _Lease] = OrderedDict()
        self._counting: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # by caller
        self._limit = RateLimitItemPerMinute(per_minute) if per_minute else None
        # The URL only names the kind: the connections are those of `redis`, which closes them.
        pool = cast(str, redis.connection_pool)
        storage = RedisStorage("async+redis://", implementation="redispy", connection_pool=pool)
        shared, own = SlidingWindowCounterRateLimiter(storage), SlidingWindowCounterRateLimiter(MemoryStorage())
        self._limiters = [(shared, Patience(_PATIENCE_SECONDS)), (own, Patience(_PATIENCE_SECONDS))]

    async def wait_seconds(self, caller: str) -> int:
        """0 if the caller may ask now, which is counted; else for how many whole seconds to wait."""
        if self._limit is None:
            return 0
        if self._takes_held(caller):
            return 0
        # One at a time: of a hundred that come at once, each would have a part counted, and all but one need none.
        async with self._counting.setdefault(caller, asyncio.Lock()):
            return 0 if self._takes_held(caller) else await self._count(caller, self._limit)

    def _takes_held(self, caller: str) -> bool:
        """Whether a request is let in as one of those that have been counted already."""
        lease = self._leases.get(caller)
        if lease is None or not lease.left or time.monotonic() >= lease.ends_at:
            return False
        lease.left -= 1
        return True

    async def _count(self, caller: str, limit: RateLimitItemPerMinute) -> int:
        for limiter, patience in self._limiters:
            try:
                async with patience.limit():
                    if self._part > 1 and await limiter.hit(limit, "slipway", caller, cost=self._part):
                        self._hold(caller, self._part - 1)
                        return 0
                    if await limiter.hit(limit, "slipway", caller):
                        return 0
                    window = await limiter.get_window_stats(limit, "slipway", caller)
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("requests counted by this process alone", error=str(error))
                continue
            return max(1, math.ceil(window.reset_time - time.time()))
        return 0

    def _hold(self, caller: str, requests: int) -> None:
        """Let so many more in, for a while."""
        self._leases.pop(caller, None)  # the dict keeps the order of counting
        self._leases[caller] = _Lease(requests, time.monotonic() + _HELD_SECONDS)
        if len(self._leases) > _CALLERS:
            self._leases.popitem(last=False)
