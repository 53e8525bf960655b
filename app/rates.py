"""How often one caller may ask, counted on Redis by the `limits` library, so that all processes count together.

Counting takes a way to Redis and back. So where the limit is large a process counts a few requests of a caller at once,
a sixtieth of the limit, and lets that many in within the next seconds. Each process may hold that many counted
and unasked, by which a caller who reaches the limit through several is refused that much early; what is not asked for
in time has been counted all the same. In no minute are more let in than the limit and one such part for each process.
"""

import math
import time
from collections import OrderedDict
from typing import cast

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
        lease = self._leases.get(caller)
        if lease is not None and lease.left and time.monotonic() < lease.ends_at:
            lease.left -= 1
            return 0
        for limiter, patience in self._limiters:
            try:
                async with patience.limit():
                    if self._part > 1 and await limiter.hit(self._limit, "slipway", caller, cost=self._part):
                        self._hold(caller, self._part - 1)
                        return 0
                    if await limiter.hit(self._limit, "slipway", caller):
                        return 0
                    window = await limiter.get_window_stats(self._limit, "slipway", caller)
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("requests counted by this process alone", error=str(error))
                continue
            return max(1, math.ceil(window.reset_time - time.time()))
        return 0

    def _hold(self, caller: str, requests: int) -> None:
        """Let so many more in, as well as those that another request has had counted meanwhile."""
        now = time.monotonic()
        held = self._leases.pop(caller, None)
        if held is not None and now < held.ends_at:
            requests += held.left
        self._leases[caller] = _Lease(requests, now + _HELD_SECONDS)
        if len(self._leases) > _CALLERS:
            self._leases.popitem(last=False)
