"""A process that is killed with -9 in the middle of a drain: `python -m tests.killed_drain`.

It dies when it is about to announce its third batch, which is on record; another one it has claimed and not settled.
"""

import asyncio
import os
import signal

from app.announcing import RedisAnnouncer
from app.domain.releases import Release
from app.services import open_services
from app.settings import Settings


async def main() -> None:
    """Settle what is due, to the end of this process."""
    batches = 0
    announce = RedisAnnouncer.announce

    async def announce_until_killed(self: RedisAnnouncer, *releases: Release) -> None:
        nonlocal batches
        batches += 1
        if batches == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        await announce(self, *releases)

    RedisAnnouncer.announce = announce_until_killed  # type: ignore[method-assign]
    async with open_services(Settings()) as services:
        await services.engine.settle_due()


if __name__ == "__main__":
    asyncio.run(main())
