"""The kill test of notifications: releases run to their ends while worker and Valkey are killed, again and again.

`uv run python -m tests.e2e.notifying 200` plays it at full size and prints the counts; the suite plays a small one.
"""

import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.fernet import Fernet

from app.credential_commands import opened
from app.domain.deliveries import OPEN, Delivery, DeliveryStatus
from app.embedded import EmbeddedValkey
from app.store.documents import Store
from app.store.notifications import Channels, Deliveries, ToldReleases
from tests.e2e.client import Json, Slipway
from tests.e2e.processes import Running, serve, worker
from tests.notify.receiving import RESET, Hooks, hooks

TOKEN = "token-" * 4
BAKES = ("PT0.5S", "PT1S")
TOLD = {
    "RELEASE_STARTED": "RELEASE_STARTED",
    "PHASE_COMPLETED": "BAKE_ENDED",
    "RELEASE_COMPLETED": "RELEASE_COMPLETED",
}
PATHS = {"/all": set(TOLD.values()), "/ends": {"RELEASE_COMPLETED"}}
_CREATE = """
mutation ($input: CreateChannelInput!) {
  createChannel(input: $input) { ... on Problem { message } ... on CreateChannelPayload { secret } }
}"""


@dataclass
class Counts:
    """What came of it: `ends` by the record, the rest by the receiver. `wrong` must be empty."""

    releases: int = 0
    expected: int = 0
    arrived: int = 0
    again: int = 0
    failures: int = 0
    worker_kills: int = 0
    valkey_kills: int = 0
    seconds: float = 0.0
    ends: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class _Slipway:
    """An API and a worker on one SQLite file and one Valkey, and how to kill some of it."""

    def __init__(self, stack: AsyncExitStack, folder: Path, valkey: EmbeddedValkey) -> None:
        self._stack = stack
        self._folder = folder
        self._valkey = valkey
        self.environment = {
            "SLIPWAY_STORE_URL": f"sqlite:///{folder / 'slipway.db'}",
            "SLIPWAY_REDIS_URL": valkey.url,
            "SLIPWAY_ADMIN_TOKEN": TOKEN,
            "SLIPWAY_SECRETS_KEY": Fernet.generate_key().decode(),
            "SLIPWAY_ALLOWED_TARGETS": "127.0.0.1",
            "SLIPWAY_DELIVERY_SECONDS": "1",
            "SLIPWAY_LOG_LEVEL": "warning",
        }
        self.worker: Running

    async def start_worker(self) -> None:
        self.worker = await self._stack.enter_async_context(worker(self._folder, self.environment))

    async def kill_worker(self) -> None:
        """With -9, and start another."""
        await self.worker.end(signal.SIGKILL)
        await self.start_worker()

    def kill_valkey(self) -> bool:
        """With -9; our supervision starts another. False if it has not come back from the last time."""
        pid = self._valkey.pid
        if pid is None:
            return False
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True


@asynccontextmanager
async def _running(folder: Path) -> AsyncIterator[tuple[_Slipway, Slipway]]:
    async with AsyncExitStack() as stack:
        valkey = await stack.enter_async_context(EmbeddedValkey(folder))
        slipway = _Slipway(stack, folder, valkey)
        api = await stack.enter_async_context(serve(folder, slipway.environment))
        await api.ready()
        await slipway.start_worker()
        yield slipway, await stack.enter_async_context(Slipway(api.url, TOKEN))


async def play(folder: Path, releases: int, kills: int, seed: int, within: float) -> Counts:
    """Start so many releases, kill worker or Valkey so many times meanwhile, and count what arrived."""
    chance, counts, begun = random.Random(seed), Counts(releases=releases), time.monotonic()
    async with hooks() as receiver, _running(folder) as (slipway, client):
        for path, types in PATHS.items():
            # Of what arrives some fails, so that retries and kills meet.
            receiver.answers[path].extend(chance.choice([*[200] * 9, 500, RESET]) for _ in range(2 * releases))
            wanted = {"name": path, "kind": "WEBHOOK", "target": receiver.url(path), "types": sorted(types)}
            receiver.secrets[path] = [(await client.ask(_CREATE, input=wanted))["createChannel"]["secret"]]
        keys = [f"feature-{number:03}" for number in range(releases)]
        await client.make_features(keys, *BAKES)

        async def kill() -> None:
            for _ in range(kills):
                await asyncio.sleep(chance.uniform(0.3, 2))
                if chance.random() < 0.6:
                    await slipway.kill_worker()
                    counts.worker_kills += 1
                else:
                    counts.valkey_kills += slipway.kill_valkey()

        killing = asyncio.create_task(kill())
        ids = []
        for key in keys:
            ids.append((await client.start(key))["id"])
            await asyncio.sleep(0.02)
        await killing
        histories = [await client.completed(id, within) for id in ids]
        async with opened(slipway.environment["SLIPWAY_STORE_URL"]) as store:
            deadline = time.monotonic() + within
            while (outstanding := await _outstanding(store, histories)) and time.monotonic() < deadline:  # noqa: ASYNC110
                await asyncio.sleep(0.5)
            counts.wrong += outstanding
            counts.ends = Counter(each.status.value for each in await _deliveries(store))
        await asyncio.sleep(1)  # for what would come too often
        _judge(receiver, _expected(histories), counts)
    counts.seconds = time.monotonic() - begun
    return counts


def _expected(releases: list[Json]) -> dict[str, dict[str, list[tuple[int, str]]]]:
    """By path and release, what must arrive and in which order."""
    return {
        path: {
            release["id"]: [
                (event["sequence"], TOLD[event["type"]])
                for event in release["history"]
                if TOLD.get(event["type"]) in types
            ]
            for release in releases
        }
        for path, types in PATHS.items()
    }


async def _outstanding(store: Store, releases: list[Json]) -> list[str]:
    """What the record says is still to be told or to be sent."""
    told = await ToldReleases(store).get_many([release["id"] for release in releases])
    sequences = {id: each.sequence for id, each in told.items()}
    untold = [each["id"] for each in releases if sequences.get(each["id"], 0) < len(each["history"])]
    unsent = [each for status in OPEN for each in await _deliveries(store, status)]
    return [f"{id} is not told" for id in untold] + [f"{each.id}: {each.status}, {each.last_error}" for each in unsent]


async def _deliveries(store: Store, status: DeliveryStatus | None = None) -> list[Delivery]:
    """Those of every channel, or those that stand there."""
    pages = [await Deliveries(store).page(channel.id, 10_000, None, status) for channel in await Channels(store).all()]
    return [each for page in pages for each in page.values]


def _judge(receiver: Hooks, expected: dict[str, dict[str, list[tuple[int, str]]]], counts: Counts) -> None:
    """Compare what arrived with what must: everything, in order of first arrival, each under one id, and signed."""
    counts.wrong += receiver.failures
    for path, by_release in expected.items():
        arrived: dict[str, list[tuple[int, str]]] = defaultdict(list)
        ids: dict[tuple[str, int], set[str]] = defaultdict(set)
        for id, body in receiver.received[path]:
            release, sequence = body["data"]["release"]["id"], body["data"]["sequence"]
            if ids[release, sequence]:
                counts.again += 1
            else:
                arrived[release].append((sequence, body["type"]))
            ids[release, sequence].add(id)
        counts.failures += len(receiver.attempts[path]) - len(receiver.received[path])
        counts.expected += sum(map(len, by_release.values()))
        counts.arrived += sum(map(len, arrived.values()))
        counts.wrong += [f"{path} {key}: ids {found}" for key, found in ids.items() if len(found) > 1]
        counts.wrong += [
            f"{path} {release}: {arrived[release]} instead of {events}"
            for release, events in by_release.items()
            if arrived[release] != events
        ]


if __name__ == "__main__":
    many = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory(prefix="slipway-") as kept:
        print(asyncio.run(play(Path(kept), many, kills=max(2, many // 5), seed=7, within=600)))
