"""Who settles what, where several processes find the same releases due: each takes some, and leaves those of others be.

A claim is a key in Redis that lapses by itself. Nothing but effort rests on it: the write by revision decides. Without
Redis everything is ours; what a killed process had claimed is free again after `LAPSE_SECONDS`.
"""

from collections.abc import Sequence
from typing import Any, cast

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.patience import Patience

log = structlog.get_logger()

LAPSE_SECONDS = 2.0
_PATIENCE_SECONDS = 0.5
_KEY = "slipway:due:"
# One round trip for many, where a pipeline of SETs would cost this process twenty times as much.
_TAKE = """
local taken = {}
for place, key in ipairs(KEYS) do
  if redis.call('SET', key, '', 'NX', 'PX', ARGV[1]) then taken[#taken + 1] = place end
end
return taken
"""


class Claims:
    """What this process has taken upon itself."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._take = redis.register_script(_TAKE)
        self._patience = Patience(_PATIENCE_SECONDS)

    async def take(self, due: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
        """Those releases, at those revisions, that are nobody else's, in their order. Never fails."""
        try:
            async with self._patience.limit():
                places = await self._take(keys=_keys(due), args=[int(LAPSE_SECONDS * 1000)])
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("due bakes not shared with other workers", error=str(error) or type(error).__name__)
            return list(due)
        return [due[place - 1] for place in cast(list[int], places)]

    async def give_back(self, due: Sequence[tuple[str, int]]) -> None:
        """Leave to others, at once, what was taken and not done. Never fails: it lapses anyway."""
        try:
            async with self._patience.limit():
                await cast(Any, self._redis).unlink(*_keys(due))
        except (RedisError, OSError, TimeoutError):
            log.debug("claims left to lapse", claims=len(due))


def _keys(due: Sequence[tuple[str, int]]) -> list[str]:
    return [f"{_KEY}{id}:{revision}" for id, revision in due]
