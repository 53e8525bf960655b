"""Bake timers on arq: a deferred job for each deadline. The truth is the release's own deadline; a job only prompts.

Besides `worker.py` this is the only module that knows arq, so that a successor can be hung in here.
"""

import asyncio
from typing import Any

import msgspec
import structlog
from arq.connections import ArqRedis
from redis.asyncio import ConnectionPool
from redis.exceptions import RedisError

from app.domain.releases import Release

log = structlog.get_logger()

QUEUE = "slipway:timers"
END_BAKE = "end_bake"
# arq's default is pickle: whoever writes to Redis could run code here. A failed job's exception is written as its text.
SERIALIZERS: dict[str, Any] = {
    "job_serializer": msgspec.msgpack.Encoder(enc_hook=repr).encode,
    "job_deserializer": msgspec.msgpack.decode,
}
_PATIENCE_SECONDS = 2.0


def connect(redis_url: str) -> ArqRedis:
    """A client for arq's queue that connects when first used and again whenever the connection drops."""
    pool = ConnectionPool.from_url(
        redis_url, socket_connect_timeout=_PATIENCE_SECONDS, socket_timeout=_PATIENCE_SECONDS
    )
    return ArqRedis(pool, default_queue_name=QUEUE, **SERIALIZERS)


class BakeTimers:
    """Sets the timers of releases."""

    def __init__(self, redis: ArqRedis) -> None:
        self._redis = redis

    async def set(self, release: Release) -> None:
        """Queue the end of the running bake, if one runs. Never fails: without the job, the sweep ends the bake.

        Jobs of earlier timers stay queued and end silently, since their timer id no longer matches.
        """
        if release.timer is None:
            return
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._redis.enqueue_job(
                    END_BAKE,
                    release.id,
                    release.timer.id,
                    _job_id=f"bake:{release.id}:{release.timer.id}",
                    _defer_until=release.timer.deadline,
                )
        except (RedisError, OSError, TimeoutError) as error:
            log.warning(
                "timer not queued, the sweep will end the bake",
                release=release.id,
                error=str(error) or type(error).__name__,
            )
