"""How long after its deadline a bake ends, through the queued job and through the sweep alone.

    uv run python -m benchmarks.bake_lateness [--bakes 40]

The bar: within 1 s of the deadline on an idle machine. The sweep ends what has no job: the queue is emptied to show it.
"""

import argparse
import asyncio
import contextlib
import statistics
import tempfile
from datetime import timedelta
from pathlib import Path

from app import worker
from app.api.auth import ADMINISTRATOR
from app.catalog import PhaseDraft
from app.domain.features import FeatureKind, FeatureSpec
from app.domain.pipelines import ReleaseRule
from app.domain.releases import Release, ReleaseEventType
from app.embedded import EmbeddedValkey
from app.logs import configure_logs
from app.services import Services, open_services
from app.settings import Settings
from benchmarks.bars import print_bar
from benchmarks.environment import print_environment

_BAKE = timedelta(seconds=2)


async def _start(services: Services, count: int, round: str) -> list[str]:
    ids = []
    pipeline = await services.catalog.create_pipeline(
        round, None, (PhaseDraft("Only", (ReleaseRule(("production",)),), _BAKE),), ADMINISTRATOR
    )
    for n in range(count):
        key = f"{round}-{n}"
        gate = FeatureKind.FEATURE_GATE
        await services.catalog.create_feature(key, gate, None, FeatureSpec((), False), pipeline.id, ADMINISTRATOR)
        _, release = await services.catalog.update_feature(key, FeatureSpec((), True), None, None, ADMINISTRATOR)
        ids.append(release.id)
        await asyncio.sleep(0.037)  # deadlines fall on all parts of a second
    return ids


def _lateness_ms(release: Release) -> float:
    at = {event.type: event.at for event in release.history}
    deadline = at[ReleaseEventType.PHASE_RELEASED] + _BAKE
    return (at[ReleaseEventType.PHASE_COMPLETED] - deadline) / timedelta(milliseconds=1)


async def _main(count: int) -> None:
    print_environment()
    configure_logs("error")
    with tempfile.TemporaryDirectory() as folder:
        async with EmbeddedValkey(Path(folder)) as valkey:
            settings = Settings(
                store_url=f"sqlite:///{folder}/bench.db", redis_url=valkey.url, admin_token="not-a-secret-here"
            )
            async with open_services(settings) as services:
                await services.store.prepare()
                await services.catalog.save_environment("production", True, ADMINISTRATOR)
                working = asyncio.create_task(worker.run(services))
                print(f"{count} bakes of {_BAKE.total_seconds():g} s    lateness in ms: median, p99, worst")
                for name in ("job", "sweep"):
                    ids = await _start(services, count, name)
                    if name == "sweep":
                        await services.redis.flushall()
                    await asyncio.sleep(_BAKE.total_seconds() + 2)
                    late = sorted([_lateness_ms(found) for found in (await services.releases.get_many(ids)).values()])
                    assert len(late) == count
                    p99 = late[min(count - 1, round(count * 0.99))]
                    print(f"  {name:<8}{statistics.median(late):>10.0f} {p99:>8.0f} {late[-1]:>8.0f}", flush=True)
                    print_bar(f"  ms of the latest, by the {name}", late[-1], most=1_000)
                working.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await working


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bakes", type=int, default=40, help="how many")
    asyncio.run(_main(parser.parse_args().bakes))
