"""Slipway as it is served, on stores of its own in a temporary folder, as a child of a benchmark.

    python -m benchmarks.slipway_server watched|status|mutations|under-way [COUNT]

Commands: `fire N` makes N transitions of the release, one after another; `pace N SECONDS` makes N a second, of all
releases in turn, and tells when it made each; `write SECONDS` makes the store writes of pausing and unpausing for so
long, and nothing else; `unpause` goes on with what is paused, and tells how many transitions there have been, and how
many of them it made itself. A command that fails ends the server.
"""

import asyncio
import sys
import tempfile
import time
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from pathlib import Path

import uvloop
from msgspec import structs
from pydantic import SecretStr

from app.api.auth import ADMIN_TOKEN, ADMINISTRATOR
from app.domain.audit import Outcome
from app.domain.problems import InvalidTransition
from app.domain.releases import Release, ReleaseStatus
from app.embedded import EmbeddedValkey
from app.logs import configure_logs
from app.server import Server, create_app, listening, server_config
from app.services import Services, open_services
from app.settings import Settings
from benchmarks import scene
from benchmarks.commands import commands, say

TOKEN = "not-a-secret-but-long-enough"
_WRITERS = 16


def _settings(folder: str, redis_url: str) -> Settings:
    """The defaults, but limits that a load test would meet: they count all the same."""
    return Settings(
        store_url=f"sqlite:///{folder}/bench.db",
        redis_url=redis_url,
        admin_token=SecretStr(TOKEN),
        log_level="warning",
        requests_per_minute=1_000_000_000,
        max_sockets_per_token=20_000,
    )


async def _releases(services: Services, what: str, count: int) -> list[Release]:
    if what == "under-way":
        # Bakes that are counted down in seconds.
        pipeline = await scene.make_pipeline(services, timedelta(minutes=59))
        return [await scene.start_release(services, pipeline, f"feature-{n}") for n in range(count)]
    pipeline = await scene.make_pipeline(services)
    if what == "mutations":
        return [await scene.start_release(services, pipeline, f"feature-{n}") for n in range(count)]
    return [await scene.release_with_history(services, pipeline, "checkout")]


async def _pace(services: Services, releases: list[Release], per_second: float, seconds: float) -> None:
    """Make transitions, and say of each the release, what its row shows from then on, and when it was asked for."""
    made = []
    began = time.monotonic()
    for n in range(round(per_second * seconds)):
        await asyncio.sleep(max(0, began + n / per_second - time.monotonic()))
        at, index = time.time(), n % len(releases)
        releases[index] = release = await scene.walk(services, releases[index])
        made.append((release.id, scene.shown(release), at))
    say(made=made, seconds=time.monotonic() - began)


async def _write(services: Services, releases: list[Release], seconds: float) -> int:
    """How often a release was saved between the two writes of its entry in the audit log."""
    waiting = await _now(services, releases)
    written, until = 0, time.monotonic() + seconds

    async def write() -> None:
        nonlocal written
        while time.monotonic() < until:
            release = waiting.pop(0)
            asked = {"releaseId": release.id, "phaseId": release.phases[0].id}
            entry = await services.auditor.attempt("pauseRelease", asked, ADMINISTRATOR, ADMIN_TOKEN, "127.0.0.1")
            at = release.changed_at + timedelta(milliseconds=1)
            release = structs.replace(release, revision=release.revision + 1, changed_at=at)
            assert await services.releases.save(release)
            await services.auditor.conclude(entry, Outcome.DONE, feature_key=release.feature_key, release_id=release.id)
            waiting.append(release)
            written += 1

    await asyncio.gather(*(write() for _ in range(_WRITERS)))
    return written


async def _obey(services: Services, releases: list[Release], server: Server) -> None:
    release = releases[0]
    pacing = None
    async for command in commands():
        match command:
            case ["fire", count]:
                for _ in range(int(count)):
                    release = await scene.toggle(services, release)
            case ["pace", per_second, seconds]:
                # Beside us, so that the end of the benchmark is heard of at once.
                pacing = asyncio.create_task(_pace(services, releases, float(per_second), float(seconds)))
            case ["write", seconds]:
                began = time.monotonic()
                written = await _write(services, releases[len(releases) // 2 :], float(seconds))
                say(written=written, seconds=time.monotonic() - began)
            case ["unpause"]:
                unpaused = await _unpause(services, releases)
                # The first revision is the start, each later one is one transition.
                say(transitions=sum(each.revision - 1 for each in await _now(services, releases)), unpaused=unpaused)
    if pacing:
        pacing.cancel()
        await asyncio.gather(pacing, return_exceptions=True)
    server.stop()


async def _unpause(services: Services, releases: list[Release]) -> int:
    """How many were paused and no longer are."""
    count = 0
    for each in await _now(services, releases):
        if each.status is ReleaseStatus.PAUSED:
            # A request whose client is gone may still be under way, and be first.
            with suppress(InvalidTransition):
                await scene.toggle(services, each)
                count += 1
    return count


async def _now(services: Services, releases: list[Release]) -> list[Release]:
    return list((await services.releases.get_many([release.id for release in releases])).values())


async def _main(what: str, count: int) -> None:
    configure_logs("warning")
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        valkey = await stack.enter_async_context(EmbeddedValkey(Path(folder)))
        settings = _settings(folder, valkey.url)
        services = await stack.enter_async_context(open_services(settings))
        await services.store.prepare()
        releases = await _releases(services, what, count)
        listener = stack.enter_context(listening("127.0.0.1", 0))
        server = Server(server_config(create_app(services), settings.log_level, settings.max_message_bytes))
        obeying = asyncio.create_task(_obey(services, releases, server))
        obeying.add_done_callback(server.stop_if_failed)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not (server.started or serving.done()):  # noqa: ASYNC110 (uvicorn tells no other way)
            await asyncio.sleep(0.01)
        say(
            port=listener.getsockname()[1],
            token=TOKEN,
            releases=[{"id": each.id, "phaseId": each.phases[0].id} for each in releases],
            after=releases[0].history[-1].sequence,
        )
        await serving
        obeying.cancel()
        with suppress(asyncio.CancelledError):
            await obeying  # raises what a command did


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1))
