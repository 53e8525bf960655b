"""Whether a worker is at work: asked every few seconds by a container's healthcheck, so it imports little."""

import socket

from redis.exceptions import RedisError

from app.timers import QUEUE, connect

# One for each machine or container, so that a worker that hangs is not taken for another that does not.
HEALTH_KEY = f"{QUEUE}:health:{socket.gethostname()}"


async def is_healthy(redis_url: str) -> bool:
    """Whether a worker of this machine or container was at work within the last seconds."""
    redis = connect(redis_url)
    try:
        return bool(await redis.exists(HEALTH_KEY))
    except (RedisError, OSError):
        return False
    finally:
        await redis.aclose(close_connection_pool=True)
