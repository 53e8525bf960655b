"""The server that `test_fuzz` asks: a process of its own, so that nothing of the test's counts as the server's.

    python -m tests.api.fuzz_server <store url> <redis url>

It loads data, prints its port, and then answers each line on standard input with a line of JSON: `Figures`.
"""

import asyncio
import gc
import sys
import time
from datetime import timedelta

import msgspec
from msgspec import Struct
from pydantic import SecretStr

from app.domain.releases import Release, ReleaseAction
from app.logs import configure_logs
from app.server import Server, create_app, server_config
from app.services import Services, open_services
from app.settings import Settings
from tests.domain.builders import ADMIN, HOUR, ON, SUBMITTER, condition, phase, rule, spec
from tests.scene import act, make_environments, make_feature, make_pipeline

TOKEN = "fuzzed-" * 4
RELEASES = 100
LONG_HISTORY = 300
_BEAT_SECONDS = 0.005


class Figures(Struct):
    """What one part of a run took; `busiest` is since the figures before."""

    busiest: float  # seconds of its own CPU that the loop's thread used between two heartbeats, at most
    resident: int  # bytes, after a collection
    objects: int  # that the collector knows
    tasks: int


class Heart:
    """Beats in the server's loop, and notes what its thread consumed from beat to beat."""

    busiest = 0.0

    async def beat(self) -> None:
        """Beat for ever."""
        before = time.thread_time()
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            now = time.thread_time()
            self.busiest = max(self.busiest, now - before)
            before = now

    async def answer(self) -> None:
        """Tell the figures whenever they are asked for, until nobody can ask any more."""
        while await asyncio.to_thread(sys.stdin.readline):
            busiest = self.busiest
            gc.collect()
            with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: ASYNC230
                resident = int(statm.read().split()[1]) * 4096
            figures = Figures(busiest, resident, len(gc.get_objects()), len(asyncio.all_tasks()))
            print(msgspec.json.encode(figures).decode(), flush=True)
            await asyncio.sleep(3 * _BEAT_SECONDS)  # the collection is ours, and no block
            self.busiest = 0.0


async def load(services: Services) -> dict[str, list[str]]:
    """A hundred releases under way, in different places; the last has a long history. Returns ids by kind."""
    await make_environments(services)
    phases = [phase("canary", HOUR), phase("half", HOUR, 1), phase("most", HOUR, 2), phase("all", HOUR)]
    pipeline = await make_pipeline(services, *phases)
    targeted = spec(False, rule(True, condition("plan", "ANY_OF", "beta", "internal"), percentage=25.0))
    found = list[Release]()
    for n in range(RELEASES):
        feature = await make_feature(services, pipeline, f"feature-{n}", targeted)
        _, release = await services.catalog.update_feature(feature.key, ON, "Turn it on", None, SUBMITTER)
        if n % 3 == 1:
            release = (await act(services, release, ReleaseAction.SKIP)).release
        found.append(release)
    for n in range(LONG_HISTORY):
        action = ReleaseAction.UNPAUSE if n % 2 else ReleaseAction.PAUSE
        release = (await act(services, release, action)).release
    await services.tokens.create("A script", ADMIN.role, timedelta(days=1), ADMIN)
    return {
        "ids": [release.id, found[0].id, found[1].id, pipeline.id, feature.id],
        "names": [feature.key, "feature-0", "production", "development", pipeline.name, phases[0].name],
        "phases": [each.id for each in release.phases],
    }


async def main(store_url: str, redis_url: str) -> None:
    """Serve until standard input ends."""
    configure_logs("info")
    settings = Settings(
        store_url=store_url, redis_url=redis_url, admin_token=SecretStr(TOKEN), requests_per_minute=0, init_seconds=2
    )
    async with open_services(settings) as services:
        await services.store.prepare()
        known = await load(services)
        server = Server(server_config(create_app(services), "warning", host="127.0.0.1", port=0))
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        heart = Heart()
        beating = asyncio.create_task(heart.beat())
        port = server.servers[0].sockets[0].getsockname()[1]
        print(msgspec.json.encode({"port": port, **known}).decode(), flush=True)
        await heart.answer()
        beating.cancel()
        server.should_exit = True
        await serving


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
