"""Bake timers on arq, and prompts to notify. The truth is the release's own deadline; a deferred job only prompts.

Jobs are written in arq's own format, many in one round trip: its `enqueue_job` takes three for each, to refuse an id
that is queued already, and ours may be set again, since the same timer always has the same job.

Besides `worker.py` this is the only module that knows arq, so that a successor can be hung in here.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import structlog
from arq.connections import ArqRedis
from arq.constants import expires_extra_ms, job_key_prefix
from arq.jobs import serialize_job
from arq.utils import timestamp_ms, to_unix_ms
from redis.asyncio import ConnectionPool
from redis.exceptions import RedisError

from app.domain.releases import Release
from app.patience import Patience

log = structlog.get_logger()

QUEUE = "slipway:timers"
END_BAKE = "end_bake"
NOTIFY_QUEUE = "slipway:notifications"
TELL = "tell"
DELIVER = "deliver"
# arq's default is pickle: whoever writes to Redis could run code here. A failed job's exception is written as its text.
SERIALIZERS: dict[str, Any] = {
    "job_serializer": msgspec.msgpack.Encoder(enc_hook=repr).encode,
    "job_deserializer": msgspec.msgpack.decode,
}
_SOCKET_SECONDS = 2.0
_PATIENCE_SECONDS = 1.0
_LINGER_MS = 60_000
_TELL_EVERY_MS = 100


def connect(redis_url: str) -> ArqRedis:
    """A client for arq's queue that connects when first used and again whenever the connection drops."""
    pool = ConnectionPool.from_url(redis_url, socket_connect_timeout=_SOCKET_SECONDS, socket_timeout=_SOCKET_SECONDS)
    return ArqRedis(pool, default_queue_name=QUEUE, **SERIALIZERS)


class BakeTimers:
    """Sets the timers of releases."""

    def __init__(self, redis: ArqRedis) -> None:
        self._redis = redis
        self._patience = Patience(_PATIENCE_SECONDS)

    async def set(self, *releases: Release, instead_of: Sequence[Release] = ()) -> None:
        """Queue the ends of the bakes that run. Never fails: without the job, the sweep ends the bake.

        Jobs of earlier timers stay queued and end silently, since their timer id no longer matches; those of releases
        as they were before, in `instead_of`, are taken out of the queue, since thousands would take long to end.
        """
        timed = [release for release in releases if release.timer is not None]
        if not timed and not instead_of:
            return
        try:
            async with self._patience.limit():
                await self._queue(timed, [_job_id(release) for release in instead_of if release.timer is not None])
        except (RedisError, OSError, TimeoutError) as error:
            log.warning(
                "timer not queued, the sweep will end the bake",
                releases=[release.id for release in timed],
                error=str(error) or type(error).__name__,
            )

    async def _queue(self, timed: Sequence[Release], ended: Sequence[str]) -> None:
        now = timestamp_ms()
        scores: dict[str, int] = {}
        async with self._redis.pipeline(transaction=True) as pipe:
            for release in timed:
                assert release.timer is not None
                id, score = _job_id(release), to_unix_ms(release.timer.deadline)
                job = serialize_job(
                    END_BAKE, (release.id, release.timer.id), {}, None, now, serializer=self._redis.job_serializer
                )
                # Never in the past, nor zero: a bake of milliseconds may be over by now.
                pipe.psetex(job_key_prefix + id, max(score - now, 0) + expires_extra_ms, job)
                scores[id] = score
            if scores:
                pipe.zadd(QUEUE, scores)
            if ended:
                pipe.zrem(QUEUE, *ended)
            for id in ended:
                # Not deleted: a worker that has just taken it reads it yet.
                pipe.pexpire(job_key_prefix + id, _LINGER_MS)
            await pipe.execute()


class NotifyPrompts:
    """Prompts to tell of what has changed, and to deliver. Never fails: what no job prompts, the next sweep finds."""

    def __init__(self, redis: ArqRedis) -> None:
        self._redis = redis
        self._patience = Patience(_PATIENCE_SECONDS)
        self._asked = 0

    async def tell(self) -> None:
        """Have somebody look at what has changed: within a tenth of a second, once for all that changes in it."""
        moment = timestamp_ms() // _TELL_EVERY_MS + 1
        if moment != self._asked:
            self._asked = moment
            await self._prompt({f"{TELL}:{moment}": (TELL, (), moment * _TELL_EVERY_MS)})

    async def deliver(self, channel_ids: Sequence[str]) -> None:
        """Have somebody deliver what is due to channels. A channel that somebody delivers to is left to them."""
        now = timestamp_ms()
        await self._prompt({f"{DELIVER}:{id}": (DELIVER, (id,), now) for id in channel_ids})

    async def _prompt(self, jobs: dict[str, tuple[str, tuple[str, ...], int]]) -> None:
        if not jobs:
            return
        try:
            async with self._patience.limit(), self._redis.pipeline(transaction=True) as pipe:
                for id, (name, arguments, _) in jobs.items():
                    job = serialize_job(
                        name, arguments, {}, None, timestamp_ms(), serializer=self._redis.job_serializer
                    )
                    pipe.psetex(job_key_prefix + id, expires_extra_ms, job)
                pipe.zadd(NOTIFY_QUEUE, {id: score for id, (_, _, score) in jobs.items()})
                await pipe.execute()
        except (RedisError, OSError, TimeoutError) as error:
            log.debug("notification not prompted, the sweep will find it", error=str(error) or type(error).__name__)


def _job_id(release: Release) -> str:
    assert release.timer is not None
    return f"bake:{release.id}:{release.timer.id}"
