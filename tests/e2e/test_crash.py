"""Whatever is killed in the middle of bakes: every release goes on, nothing is lost and nothing doubled."""

import asyncio
import os
import signal
from pathlib import Path

import httpx
from redis.asyncio import Redis

from tests.e2e.client import Json, Slipway, sequences, told, uninterrupted, until
from tests.e2e.processes import dev, soon, valkey_of

# Three phases, the first so short that many end around the moment of the crash.
BAKES = ("PT0.4S", "PT1S", "PT1.5S")
WHOLE = uninterrupted("A", "B", "C")
# From a crash to the end of every release: a start, and three bakes.
PATIENCE = 30.0


def assert_whole(releases: list[Json]) -> None:
    """Every release is completed and its history has each transition once, numbered without gaps, none early."""
    for release in releases:
        assert release["status"] == "COMPLETED"
        assert told(release["history"]) == WHOLE
        assert sequences(release["history"]) == list(range(1, len(WHOLE) + 1))
        assert [event["at"] for event in release["history"]] == sorted(event["at"] for event in release["history"])


async def start_what_goes(client: Slipway, keys: list[str], answered: dict[str, str]) -> None:
    """Start a release of each feature, each with a key of its own, and note those that were answered."""

    async def start(key: str) -> None:
        try:
            answer = await client.update(key, idempotency_key=f"start-{key}")
        except httpx.TransportError:  # the server was killed meanwhile
            return
        assert answer["__typename"] == "UpdateFeaturePayload", answer
        answered[key] = answer["release"]["id"]

    await asyncio.gather(*(start(key) for key in keys))


async def test_a_kill_in_the_middle_of_bakes_and_of_requests_loses_nothing(tmp_path: Path) -> None:
    """Killed with -9 while 40 releases start and bake, it takes them all to their ends after the next start.

    What was answered is on record, the same idempotency key again starts nothing twice, and who had seen N events gets
    exactly the rest.
    """
    keys = [f"feature-{n:02}" for n in range(40)]
    answered: dict[str, str] = {}
    async with dev(tmp_path / "data") as slipway, Slipway(slipway.url, slipway.token) as client:
        token = slipway.token
        await client.make_features(keys, *BAKES)
        await start_what_goes(client, keys[1:20], answered)
        await start_what_goes(client, keys[:1], answered)
        async with client.watching(answered[keys[0]]) as seen:
            await until(seen, lambda received: len(received) >= 3, within=10)
            starting = asyncio.create_task(start_what_goes(client, keys[20:], answered))
            await soon(lambda: len(answered) >= 25, within=10)
            await slipway.end(signal.SIGKILL)
            await starting
    before = dict(answered)

    async with dev(tmp_path / "data") as slipway, Slipway(slipway.url, token) as client:
        async with client.watching(before[keys[0]], after=len(seen)) as rest:
            await start_what_goes(client, keys, answered)
            releases = [await client.completed(id, PATIENCE) for id in answered.values()]
            await until(rest, lambda received: len(seen) + len(received) >= len(WHOLE), within=10)
        everything = await client.releases()

    assert len(before) >= 25
    assert answered.items() >= before.items()
    assert sorted(each["id"] for each in everything) == sorted(answered.values())
    assert_whole(releases)
    assert 3 <= len(seen) < len(WHOLE)
    assert sequences([*seen, *rest]) == list(range(1, len(WHOLE) + 1))
    assert told([*seen, *rest]) == WHOLE


async def test_without_its_valkey_or_its_jobs_it_goes_on(tmp_path: Path) -> None:
    """Valkey killed with -9, and later emptied, in the middle of bakes: every release ends, and who watches sees it."""
    async with dev(tmp_path / "data") as slipway, Slipway(slipway.url, slipway.token) as client:
        killed, emptied = ([f"{why}-{n:02}" for n in range(15)] for why in ("killed", "emptied"))
        await client.make_features([*killed, *emptied], *BAKES)

        releases = await asyncio.gather(*(client.start(key) for key in killed))
        async with client.watching(releases[0]["id"]) as seen_through_the_kill:
            await until(seen_through_the_kill, lambda received: len(received) >= 2, within=10)
            valkey = valkey_of(slipway.pid)
            os.kill(valkey, signal.SIGKILL)
            assert_whole([await client.completed(each["id"], PATIENCE) for each in releases])
            await until(seen_through_the_kill, lambda received: len(received) >= len(WHOLE), within=10)
        assert valkey_of(slipway.pid) != valkey

        releases = await asyncio.gather(*(client.start(key) for key in emptied))
        async with client.watching(releases[0]["id"]) as seen_through_the_flush:
            await until(seen_through_the_flush, lambda received: len(received) >= 2, within=10)
            async with Redis(unix_socket_path=socket_of(tmp_path / "data")) as redis:
                assert await redis.keys("*bake:*")
                await redis.flushall()
            assert_whole([await client.completed(each["id"], PATIENCE) for each in releases])
            await until(seen_through_the_flush, lambda received: len(received) >= len(WHOLE), within=10)
        assert (await client.http.get("/readyz")).json() == {"store": "ok", "redis": "ok", "features": "ok"}
        assert "Traceback" not in slipway.output

    for seen in (seen_through_the_kill, seen_through_the_flush):
        assert told(seen) == WHOLE
        assert sequences(seen) == list(range(1, len(WHOLE) + 1))


def socket_of(data: Path) -> str:
    """Where the Valkey of a data folder listens."""
    return (data / "valkey" / "socket").read_text()
