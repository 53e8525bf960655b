"""How long a Redis that hangs is waited for: once in a while, not by everybody who needs it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.exceptions import TimeoutError as RedisTimeout

AGAIN_SECONDS = 2.0


class Patience:
    """What one kind of calls to Redis may take.

    A Redis that is gone refuses at once. One that hangs (stopped, or behind a network that swallows what is sent) costs
    each call all of its time; so after one that was given up, the next ones are given up at once, but for one every
    `AGAIN_SECONDS` that tries.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._hangs = False
        self._try_from = 0.0

    @asynccontextmanager
    async def limit(self) -> AsyncIterator[None]:
        """Give the block up in time. Raises TimeoutError, without beginning it while Redis is known to hang."""
        loop = asyncio.get_running_loop()
        if self._hangs:
            if loop.time() < self._try_from:
                raise TimeoutError("Redis did not answer a moment ago")
            self._try_from = loop.time() + self._seconds + AGAIN_SECONDS
        try:
            async with asyncio.timeout(self._seconds):
                yield
        except (TimeoutError, RedisTimeout):
            self._hangs, self._try_from = True, loop.time() + AGAIN_SECONDS
            raise
        self._hangs = False
