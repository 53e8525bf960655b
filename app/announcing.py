"""Announcements of what changed, on a Redis channel: which document and to which revision, nothing more."""

from collections.abc import Sequence
from typing import Protocol

import msgspec
import structlog
from msgspec import Struct
from redis.asyncio import ConnectionPool, Redis
from redis.exceptions import RedisError

from app.domain.releases import Release
from app.patience import Patience

log = structlog.get_logger()

CHANNEL = "slipway:releases"
_CONNECT_SECONDS = 2.0
_PATIENCE_SECONDS = 1.0


def connect(redis_url: str) -> Redis:
    """A client that connects when first used and again whenever the connection drops.

    It pings an idle connection, since a server that vanished without a word would be waited on for ever.
    """
    pool = ConnectionPool.from_url(redis_url, socket_connect_timeout=_CONNECT_SECONDS, health_check_interval=5)
    return Redis.from_pool(pool)


class Announcement(Struct, frozen=True):
    """Which release, feature or SDK key changed, and its revision now."""

    id: str
    revision: int


class Announcer(Protocol):
    """Tells everyone that a release has changed."""

    async def announce(self, *releases: Release) -> None:
        """Tell of changes that are on record. Never fails: the poll finds what was not announced."""

    async def announce_other(self, id: str, revision: int) -> None:
        """Tell likewise of a feature or an SDK key."""


class RedisAnnouncer:
    """Announces on the Redis channel."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._patience = Patience(_PATIENCE_SECONDS)

    async def announce(self, *releases: Release) -> None:
        """Publish each release's id and revision, in one round trip."""
        await self._publish([Announcement(release.id, release.revision) for release in releases])

    async def announce_other(self, id: str, revision: int) -> None:
        """Publish id and revision."""
        await self._publish([Announcement(id, revision)])

    async def _publish(self, announcements: Sequence[Announcement]) -> None:
        try:
            async with self._patience.limit(), self._redis.pipeline(transaction=False) as pipe:
                for announcement in announcements:
                    pipe.publish(CHANNEL, msgspec.json.encode(announcement))
                await pipe.execute()
        except (RedisError, OSError, TimeoutError) as error:
            ids = [announcement.id for announcement in announcements]
            log.warning(
                "change not announced, the poll will find it", ids=ids, error=str(error) or type(error).__name__
            )
