"""Two API processes and two workers on one store and one Valkey, for each kind of store."""

import asyncio
import signal
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from app.embedded import EmbeddedValkey
from app.worker_health import is_healthy
from tests.e2e.client import sequences, told, uninterrupted, until
from tests.e2e.processes import run
from tests.e2e.production import POLL_SECONDS, MongoServer, Production, SqliteFile, Store
from tests.store.servers import mongodb_server

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module", params=["sqlite", "mongodb"])
def store_of_our_own(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """An empty store that a test may make go away."""
    folder = tmp_path_factory.mktemp("store")
    if request.param == "sqlite":
        yield SqliteFile(folder / "slipway.db")
        return
    with mongodb_server(folder) as (url, process):
        yield MongoServer(url, process.pid)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def production(store_of_our_own: Store, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Production]:
    """All of it running; at the end none of it has ended by itself or logged a traceback."""
    with tempfile.TemporaryDirectory(prefix="slipway-") as short:  # pytest's paths are too long for a socket
        async with AsyncExitStack() as stack:
            valkey = await stack.enter_async_context(EmbeddedValkey(Path(short)))
            production = Production(stack, tmp_path_factory.mktemp("outputs"), valkey, store_of_our_own)
            await production.start_workers()
            await production.start_apis()
            yield production
            production.assert_untouched()
            for running in (*production.apis, *production.workers):
                assert "Traceback" not in running.output, running.output


async def test_a_hundred_skips_of_one_phase_advance_one(production: Production) -> None:
    """100 at the same moment, over both API processes, that name the same phase: one is done, 99 are stale."""
    one, other = production.clients
    await one.make_features(["skipped"], "PT1H", "PT1H", "PT1H")
    release = await one.start("skipped")

    answers = await asyncio.gather(*(client.skip(release) for client in [one, other] * 50))

    assert Counter(answer["__typename"] for answer in answers) == {"ReleaseActionPayload": 1, "StalePhase": 99}
    assert {answer["release"]["currentPhase"]["name"] for answer in answers} == {"B"}
    history = (await other.release(release["id"]))["history"]
    assert told(history) == [
        ("RELEASE_STARTED", None),
        ("PHASE_RELEASED", "A"),
        ("PHASE_SKIPPED", "A"),
        ("PHASE_RELEASED", "B"),
    ]
    assert sequences(history) == [1, 2, 3, 4]


async def test_a_hundred_changes_of_one_feature_start_one_release(production: Production) -> None:
    """100 at the same moment, over both API processes: one starts a release, 99 are told of that one."""
    one, other = production.clients
    await one.make_features(["changed"], "PT1H")

    answers = await asyncio.gather(*(client.update("changed") for client in [one, other] * 50))

    assert Counter(answer["__typename"] for answer in answers) == {"UpdateFeaturePayload": 1, "ReleaseInProgress": 99}
    assert len({answer["release"]["id"] for answer in answers}) == 1
    found = await other.ask('{ feature(key: "changed") { releases { edges { node { number } } } } }')
    assert [edge["node"]["number"] for edge in found["feature"]["releases"]["edges"]] == [1]


async def test_a_change_through_one_process_is_pushed_by_the_other(production: Production) -> None:
    """Six changes, each made when the one before has been seen by the other process's subscriber, in less time than
    five looks for changes take that no announcement told of.
    """
    one, other = production.clients
    await one.make_features(["watched"], *["PT1H"] * 7)
    release = await one.start("watched")
    async with other.watching(release["id"]) as events:
        await until(events, lambda received: len(received) == 2, within=10)
        began = time.monotonic()
        for n in range(6):
            release = (await one.skip(release))["release"]
            await until(events, lambda received, n=n: len(received) == 2 * n + 4, within=10)
        seconds = time.monotonic() - began

    assert sequences(events) == list(range(1, 15))
    assert seconds < 5 * POLL_SECONDS


async def test_killed_workers_lose_no_transition(production: Production) -> None:
    """Both killed with -9 in the middle of bakes and away until a check misses them: their successors catch up, each
    release by one phase at a time, and the phase that follows bakes in full.
    """
    one, other = production.clients
    keys = [f"killed-{n:02}" for n in range(20)]
    await one.make_features(keys, "PT0.5S", "PT1.5S", "PT0.5S")
    checked = await asyncio.to_thread(run, "worker", "--check", **production.environment)
    assert checked.returncode == 0, checked.stderr
    ids = [release["id"] for release in await asyncio.gather(*(one.start(key) for key in keys))]

    async with other.watching(ids[0]) as events:
        await until(events, lambda received: len(received) >= 3, within=10)
        for each in production.workers:
            assert await each.end(signal.SIGKILL) == -signal.SIGKILL
        gone = time.monotonic()
        while await is_healthy(production.valkey.url):  # as the check does, which is a process
            assert time.monotonic() - gone < 15
            await asyncio.sleep(0.1)
        missed = await asyncio.to_thread(run, "worker", "--check", **production.environment)
        assert missed.returncode == 1, missed.stderr
        before = [await other.release(id) for id in ids]
        assert all(release["status"] == "IN_PROGRESS" for release in before)
        await production.start_workers()
        after = [await other.completed(id, within=30) for id in ids]
        await until(events, lambda received: len(received) == 8, within=10)

    assert told(events) == uninterrupted("A", "B", "C")
    for release in after:
        assert told(release["history"]) == uninterrupted("A", "B", "C")
        assert sequences(release["history"]) == list(range(1, 9))
        at = [datetime.fromisoformat(event["at"]) for event in release["history"]]
        # Released and completed, phase by phase.
        baked = [at[2] - at[1], at[4] - at[3], at[6] - at[5]]
        assert all(took >= timedelta(seconds=bake) for took, bake in zip(baked, (0.5, 1.5, 0.5), strict=True))


async def test_without_valkey_it_goes_on_and_finds_it_again(production: Production) -> None:
    """While Valkey is away `/readyz` says so and mutations are done; when it is back they are announced and timed.

    No process is started again.
    """
    one, other = production.clients
    await one.make_features(["early"], "PT1H", "PT1H")
    await one.make_features(["meanwhile"], "PT0.5S", "PT0.5S")
    await one.make_features(["late"], "PT0.5S", "PT0.5S")
    early = await one.start("early")
    async with other.watching(early["id"]) as events:
        await until(events, lambda received: len(received) == 2, within=10)

        await production.valkey.stop()
        without_redis = {"store": "ok", "redis": "does not answer", "features": "ok"}
        assert await production.readiness() == [(503, without_redis)] * 2
        assert (await one.skip(early))["__typename"] == "ReleaseActionPayload"
        meanwhile = await other.start("meanwhile")
        assert (await other.release(early["id"]))["currentPhase"]["name"] == "B"
        await production.valkey.start()
        await production.all_ready(within=15)

        await until(events, lambda received: len(received) == 4, within=15)
        assert sequences(events) == [1, 2, 3, 4]
    assert told((await one.completed(meanwhile["id"], within=20))["history"]) == uninterrupted("A", "B")

    late = await one.start("late")
    async with other.watching(late["id"]) as events:
        assert told((await one.completed(late["id"], within=20))["history"]) == uninterrupted("A", "B")
        await until(events, lambda received: len(received) == 6, within=10)
    production.assert_untouched()


async def test_without_its_store_it_says_so_and_finds_it_again(production: Production) -> None:
    """While the store is away `/readyz` names it and a query ends in a clear answer; then all works again."""
    one, other = production.clients
    await one.make_features(["stored"], "PT0.5S")
    with production.store.away():
        for status, said in await production.readiness():
            assert (status, said["redis"]) == (503, "ok")
            assert said["store"] in ("does not answer", "no answer within 2 s")
        asked = [
            asyncio.create_task(client.http.post("/graphql", json={"query": "{ features { edges { node { key } } } }"}))
            for client in (one, other)
        ]
        await asyncio.wait(asked, timeout=1)
    await production.all_ready(within=15)
    for task in asked:
        answer = await task
        body = answer.json()
        assert answer.status_code == 200
        if body["data"] is None:
            assert body["errors"][0]["extensions"]["code"] == "STORE_UNAVAILABLE"
            assert "Traceback" not in answer.text
    release = await other.start("stored")
    assert told((await one.completed(release["id"], within=20))["history"]) == uninterrupted("A")
    production.assert_untouched()
