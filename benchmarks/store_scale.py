"""What reading costs with 100 and with 100,000 releases on record, on both adapters, side by side in one run.

    uv run python -m benchmarks.store_scale [--releases 100000]

The bar: each read costs at most twice as much with 100,000 as with 100. MongoDB is a server of the PyPI package
nx-27017 unless SLIPWAY_TEST_MONGODB_URL names a real one.
"""

import argparse
import asyncio
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pymongo import MongoClient

from app.domain.access import Actor
from app.domain.features import Feature, FeatureKind, FeatureSpec
from app.domain.pipelines import Phase, Pipeline, ReleaseRule
from app.domain.releases import Release, SpecChange
from app.domain.transitions import settle, start
from app.engine import new_id
from app.store import open_store
from app.store.documents import Store
from app.store.repositories import ReleaseFilter, Releases
from benchmarks.bars import print_bar
from benchmarks.environment import print_environment
from tests.store.servers import mongodb_server, with_database

_SMALL = 100
_FEATURES = 50
_UNDER_WAY = 20
_ROUNDS = 200
_NOW = datetime(2026, 11, 24, tzinfo=UTC)
_SPECS = SpecChange(FeatureSpec((), False), FeatureSpec((), True))


def _pipeline() -> Pipeline:
    phases = tuple(
        Phase(f"pha_{index}", f"Phase {index}", (ReleaseRule(("production",)),), timedelta(minutes=5))
        for index in range(3)
    )
    return Pipeline("pip_1", "Pipeline", None, phases, _NOW)


def _releases(count: int) -> Iterator[Release]:
    """Finished releases, one a minute; the last 20 are under way, whatever the count, and half of those are due."""
    features = [
        Feature(f"fea_{n}", f"feature-{n}", FeatureKind.FEATURE_GATE, None, _SPECS.before, "pip_1", _NOW)
        for n in range(max(_FEATURES, _UNDER_WAY))
    ]
    pipeline, by, numbers = _pipeline(), Actor("a", "A"), dict.fromkeys(range(len(features)), 0)
    for n in range(count):
        at = _NOW - timedelta(minutes=count - n)
        under_way = n >= count - _UNDER_WAY
        place = n % len(features)
        numbers[place] += 1
        began = _NOW - timedelta(minutes=10) if under_way and n % 2 else _NOW if under_way else at
        release = start(new_id("rel", at), numbers[place], features[place], _SPECS, pipeline, by, began)
        while not under_way and release.timer is not None:
            release = settle(release, release.timer.deadline)
        yield release


async def _fill(url: str, count: int) -> Releases:
    """A store with releases, written past the adapter: what is measured is reading."""
    store: Store = open_store(url)
    await store.prepare()
    repository = Releases(store)
    documents = [repository._document(release) for release in _releases(count)]
    if url.startswith("sqlite"):
        keys = sorted({key for document in documents for key in document.keys})
        with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
            columns = ", ".join(["id", "revision", "body", *keys])
            connection.executemany(
                f"INSERT INTO releases ({columns}) VALUES ({', '.join('?' * (3 + len(keys)))})",
                [(d.id, d.revision, d.body, *map(d.keys.get, keys)) for d in documents],
            )
    else:
        with MongoClient[dict[str, object]](url) as client:
            collection = client.get_default_database()["releases"]
            for begin in range(0, len(documents), 1_000):
                part = documents[begin : begin + 1_000]
                collection.insert_many([{"_id": d.id, "revision": d.revision, **d.keys, "body": d.body} for d in part])
    return repository


def _reads(releases: Releases, some_id: str, cursor: str) -> dict[str, Callable[[], Awaitable[object]]]:
    return {
        "page of 20, newest": lambda: releases.page(ReleaseFilter(), 20, None),
        "page of 20, from the middle": lambda: releases.page(ReleaseFilter(), 20, cursor),
        "one release": lambda: releases.get_many([some_id]),  # which is read anew each time
        "latest of a feature": lambda: releases.latest_of("feature-7"),
        "due timers": lambda: releases.due(_NOW, 100),
        "recently changed": lambda: releases.changed_since(_NOW - timedelta(seconds=1), 100),
        "page of 2 of a feature": lambda: releases.page(ReleaseFilter(feature_key="feature-7"), 2, None),
    }


async def _compare(name: str, urls: list[str], large: int) -> None:
    stores = [await _fill(url, count) for url, count in zip(urls, (_SMALL, large), strict=True)]
    reads = []
    for store in stores:
        page = await store.page(ReleaseFilter(), 100, None)
        middle = Releases.cursor(page.values[49])
        reads.append(_reads(store, page.values[50].id, middle))
    print(f"{name:<10}{'':<20}{_SMALL:>10} {large:>12}    ratio   (median of {_ROUNDS}, ms)")
    ratios = {}
    for read in reads[0]:
        times: list[list[float]] = [[], []]
        for _ in range(_ROUNDS):
            for which in (0, 1):  # side by side, so that a noisy moment hits both
                begun = time.perf_counter()
                await reads[which][read]()
                times[which].append((time.perf_counter() - begun) * 1_000)
        small, big = (statistics.median(measured) for measured in times)
        ratios[read] = big / small
        print(f"  {read:<28}{small:>10.3f} {big:>12.3f} {ratios[read]:>8.2f}", flush=True)
    worst = max(ratios, key=ratios.__getitem__)
    print_bar(f"{name}, the worst ratio: {worst}", ratios[worst], most=2)
    print()


async def _main(large: int) -> None:
    print_environment()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        await _compare("SQLite", [f"sqlite:///{folder}/{name}.db" for name in ("small", "large")], large)
        url = os.environ.get("SLIPWAY_TEST_MONGODB_URL")
        if url is None:
            url, _ = stack.enter_context(mongodb_server(folder))
        stamp = int(time.time())
        await _compare("MongoDB", [with_database(url, f"bench{stamp}{name}") for name in ("small", "large")], large)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--releases", type=int, default=100_000, help="how many releases the large store has")
    asyncio.run(_main(parser.parse_args().releases))
