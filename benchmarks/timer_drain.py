"""How fast bakes that all end at one moment are settled, against a bare loop of the same writes and against BullMQ.

    uv run python -m benchmarks.timer_drain [--bakes 10000] [--log-level info] [--without-node]

The bar: settled per second at least 0.4 times what the bare loop writes.

Settled: `slipway worker` processes as they are shipped, on one SQLite file and the embedded Valkey, with a queued job
for each bake. Counted from the deadline to the moment that this process finds none due; it looks every 20 ms. Each
release has another phase, so that a bake that ends has its next timer set. Afterwards every release is read: it must
have gained exactly its two events.

Bare loop: the same documents, made before the clock starts, one `replace` after another through the same adapter in one
process, nothing else: no Redis, no reading, no deciding, no log. Each waits for its own commit on the disk. A worker's
changes share commits; so for fairness the loop is measured with 64 at a time too.

BullMQ: delayed jobs that do nothing, on the same Valkey, in one Node process with 100 at once. npm installs it in a
temporary folder.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path

from app.domain.access import Actor
from app.domain.features import Feature, FeatureKind, FeatureSpec
from app.domain.pipelines import Phase, Pipeline, ReleaseRule
from app.domain.releases import Release, ReleaseEventType, SpecChange
from app.domain.transitions import settle, start
from app.embedded import EmbeddedValkey
from app.engine import SystemClock, new_id
from app.logs import configure_logs
from app.services import Services, open_services
from app.settings import Settings
from app.store.documents import Document
from app.timers import QUEUE, BakeTimers, connect
from benchmarks.bars import print_bar
from benchmarks.environment import print_environment

_BAKE = timedelta(hours=1)
_AT_ONCE = 64
_SPECS = SpecChange(FeatureSpec((), False), FeatureSpec((), True))
_NODE_PROGRAM = Path(__file__).with_name("node") / "bullmq.mjs"
_PACKAGES = ("bullmq@6.7.0", "ioredis@5")


def _releases(count: int, deadline: datetime) -> list[Release]:
    """Releases of as many features, in their first of two phases, all of whose bakes end at one moment."""
    began = deadline - _BAKE
    rules = (ReleaseRule(("production",)),)
    phases = tuple(Phase(f"pha_{index}", f"Phase {index}", rules, _BAKE) for index in range(2))
    pipeline = Pipeline("pip_1", "Pipeline", None, phases, began)
    releases = []
    for n in range(count):
        gate = Feature(f"fea_{n}", f"feature-{n}", FeatureKind.FEATURE_GATE, None, _SPECS.before, pipeline.id, began)
        releases.append(start(new_id("rel", began), 1, gate, _SPECS, pipeline, Actor("a", "A"), began))
    return releases


@asynccontextmanager
async def _opened(folder: Path, name: str, valkey: EmbeddedValkey, log_level: str) -> AsyncIterator[Services]:
    settings = Settings(
        store_url=f"sqlite:///{folder / name}.db",
        redis_url=valkey.url,
        admin_token="not-a-secret-here",
        log_level=log_level,
    )
    async with open_services(settings) as services:
        await services.store.prepare()
        await services.redis.flushall()
        yield services


async def _add(services: Services, releases: list[Release]) -> list[Document]:
    documents = [services.releases._document(release) for release in releases]
    collection = services.store.collection("releases")
    for begin in range(0, len(documents), 1_000):
        await asyncio.gather(*map(collection.insert, documents[begin : begin + 1_000]))
    return documents


async def _bare_loop(services: Services, count: int, at_once: int) -> float:
    """Writes a second of what settling writes."""
    now = SystemClock().now()
    releases = _releases(count, now)
    await _add(services, releases)
    changed = [services.releases._document(settle(release, now)) for release in releases]
    # As an engine's writes: the next revision, by the one before.
    next = [Document(each.id, 2, each.keys, each.body) for each in changed]
    collection = services.store.collection("releases")
    begun = time.perf_counter()
    if at_once == 1:
        for document in next:
            assert await collection.replace(document, expected_revision=1)
    else:
        for begin in range(0, count, at_once):
            await asyncio.gather(*(collection.replace(each, 1) for each in next[begin : begin + at_once]))
    return count / (time.perf_counter() - begun)


@asynccontextmanager
async def _workers(services: Services, folder: Path, number: int) -> AsyncIterator[None]:
    """`slipway worker` processes that are at work; each logs to a file of its own."""
    settings = services.settings
    environment = os.environ | {
        "SLIPWAY_STORE_URL": settings.store_url,
        "SLIPWAY_REDIS_URL": settings.redis_url,
        "SLIPWAY_ADMIN_TOKEN": settings.admin_token.get_secret_value(),
        "SLIPWAY_LOG_LEVEL": settings.log_level,
    }
    command = [str(Path(sys.executable).with_name("slipway")), "worker"]
    logs = [folder / f"{number}-{each}.log" for each in range(number)]
    processes = []
    for path in logs:
        with path.open("wb") as log:
            processes.append(subprocess.Popen(command, env=environment, stderr=log))  # noqa: ASYNC220
    try:
        await _until(lambda: all("worker is at work" in path.read_text() for path in logs))
        await asyncio.sleep(2)
        yield
        assert all(process.poll() is None for process in processes), "a worker ended"
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()


def _percentiles(late: list[float]) -> str:
    late = sorted(late)
    shown = (late[min(len(late) - 1, int(len(late) * part))] for part in (0.5, 0.99, 1))
    return " ".join(f"{each:>9.0f}" for each in shown)


async def _drain(services: Services, folder: Path, count: int, workers: int) -> tuple[float, str]:
    """Bakes settled a second, and how late they were."""
    async with _workers(services, folder, workers):
        deadline = SystemClock().now() + timedelta(seconds=5 + count / 500)
        releases = _releases(count, deadline)
        await _add(services, releases)
        redis = connect(services.settings.redis_url)
        for begin in range(0, count, 1_000):
            await BakeTimers(redis).set(*releases[begin : begin + 1_000])
        await redis.aclose(close_connection_pool=True)
        ahead = (deadline - SystemClock().now()) / timedelta(seconds=1)
        assert ahead > 0, "the bakes were due before all were queued"
        await asyncio.sleep(ahead)
        while await services.releases.due(deadline, 1):  # noqa: ASYNC110 (other processes settle them)
            await asyncio.sleep(0.02)
        seconds = (SystemClock().now() - deadline) / timedelta(seconds=1)
        # Nor does a job stay behind.
        while await services.redis.zcount(QUEUE, 0, deadline.timestamp() * 1_000):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    late = []
    for begin in range(0, count, 1_000):
        ids = [release.id for release in releases[begin : begin + 1_000]]
        for found in (await services.releases.get_many(ids)).values():
            assert [event.sequence for event in found.history] == [1, 2, 3, 4]
            ended = found.history[2]
            assert ended.type is ReleaseEventType.PHASE_COMPLETED
            late.append((ended.at - deadline) / timedelta(milliseconds=1))
    assert len(late) == count
    return count / seconds, _percentiles(late)


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 (other processes make it so)
            await asyncio.sleep(0.02)


def _bullmq(folder: Path, valkey: EmbeddedValkey, count: int) -> tuple[float, str]:
    npm, node = shutil.which("npm"), shutil.which("node")
    assert npm is not None, "npm is needed, or --without-node"
    assert node is not None, "node is needed, or --without-node"
    install = [npm, "install", "--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"]
    subprocess.run([*install, *_PACKAGES], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    program = shutil.copy(_NODE_PROGRAM, folder)
    command = [node, program, valkey.url.removeprefix("unix://"), str(count), "100"]
    answer = json.loads(subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE).stdout)
    return count / answer["seconds"], " ".join(f"{answer[part]:>9.0f}" for part in ("p50", "p99", "worst"))


async def _main(count: int, log_level: str, with_node: bool) -> None:
    print_environment()
    configure_logs("error")
    print(f"{count} bakes that end at the same moment, on SQLite; workers log at {log_level}, to a file\n")
    print(f"  {'':<52}{'a second':>10} {'ratio':>7}    late in ms: p50, p99, worst")

    def tell(what: str, rate: float, against: float, late: str = "") -> None:
        print(f"  {what:<52}{rate:>10.0f} {rate / against:>7.2f}    {late}", flush=True)

    ratios: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with EmbeddedValkey(folder) as valkey:
            async with _opened(folder, "loop", valkey, log_level) as services:
                loop = await _bare_loop(services, count, 1)
            tell("bare loop: replace, one after another", loop, loop)
            async with _opened(folder, "together", valkey, log_level) as services:
                tell(f"bare loop: replace, {_AT_ONCE} at a time", await _bare_loop(services, count, _AT_ONCE), loop)
            for workers in (1, 2):
                async with _opened(folder, f"drain{workers}", valkey, log_level) as services:
                    rate, late = await _drain(services, folder, count, workers)
                settled = f"settled by {workers} worker process{'es' if workers > 1 else ''}"
                tell(settled, rate, loop, late)
                ratios[settled] = rate / loop
            if with_node:
                rate, late = await asyncio.to_thread(_bullmq, folder, valkey, count)
                tell(f"{_PACKAGES[0]}: delayed jobs that do nothing", rate, loop, late)
    print("\nAgainst the bare loop, one after another")
    for settled, ratio in ratios.items():
        print_bar(settled, ratio, least=0.4)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bakes", type=int, default=10_000, help="how many")
    parser.add_argument("--log-level", default="info", help="of the workers")
    parser.add_argument("--without-node", action="store_true", help="leave BullMQ out")
    given = parser.parse_args()
    asyncio.run(_main(given.bakes, given.log_level, not given.without_node))
