"""Many at once, between tasks and between processes, on each adapter; and a store that goes away."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app.store import open_store
from app.store.documents import Document, DuplicateKey, Query, Store, StoreUnavailable
from tests.store import increment
from tests.store.servers import end, mongodb_server

ROOT = Path(__file__).parents[2]


async def test_of_fifty_replaces_of_one_revision_one_wins(store: Store) -> None:
    """Whoever comes first gets True, all others False, and the winner's document is what is stored."""
    pipelines = store.collection("pipelines")
    await pipelines.insert(Document("pip_1", 1, {}, "start"))

    won = await asyncio.gather(
        *(pipelines.replace(Document("pip_1", 2, {}, f"task {n}"), expected_revision=1) for n in range(50))
    )

    assert won.count(True) == 1
    assert await pipelines.get("pip_1") == Document("pip_1", 2, {}, f"task {won.index(True)}")


async def test_of_fifty_inserts_of_one_unique_key_one_wins(store: Store) -> None:
    """Fifty releases for one feature at the same moment are one release and forty-nine refusals."""
    releases = store.collection("releases")

    answers = await asyncio.gather(
        *(releases.insert(Document(f"rel_{n}", 1, {"lock_key": "f", "page_key": f"{n}"}, "{}")) for n in range(50)),
        return_exceptions=True,
    )

    assert answers.count(None) == 1
    assert [type(answer) for answer in answers if answer is not None] == [DuplicateKey] * 49
    assert [each.id for each in await releases.find(Query("page_key"))] == [f"rel_{answers.index(None)}"]


async def test_fifty_tasks_that_try_again_all_get_through(store: Store) -> None:
    """Load, change, replace and again on False: fifty times one is fifty."""
    pipelines = store.collection("pipelines")
    await pipelines.insert(Document(increment.ID, 0, {}, "0"))

    await asyncio.gather(*(increment.increment(pipelines) for _ in range(50)))

    assert await pipelines.get(increment.ID) == Document(increment.ID, 50, {}, "50")


async def test_three_processes_lose_no_change(store: Store, store_url: str) -> None:
    """Three processes that each add fifty times to one document, prepare included, end at exactly 150."""
    await store.collection("pipelines").insert(Document(increment.ID, 0, {}, "0"))

    await finished(*(start_increments(store_url) for _ in range(3)))

    assert await store.collection("pipelines").get(increment.ID) == Document(increment.ID, 150, {}, "150")


async def test_processes_may_prepare_an_empty_store_at_once(store_url: str) -> None:
    """Four processes that meet at a store that nobody has prepared all find it ready."""
    await finished(*(start_increments(store_url, times=0) for _ in range(4)))


def start_increments(url: str, times: int = 50) -> "subprocess.Popen[str]":
    command = [sys.executable, "-W", "error", "-m", increment.__name__, url, str(times)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


async def finished(*processes: "subprocess.Popen[str]") -> None:
    try:
        outputs = [(await asyncio.to_thread(process.communicate, timeout=60))[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert [(process.returncode, output) for process, output in zip(processes, outputs, strict=True)] == [
        (0, "") for _ in processes
    ]


@asynccontextmanager
async def doomed(kind: str, folder: Path) -> AsyncIterator[tuple[Store, Callable[[], None]]]:
    """A store of its own, and a way to make it vanish."""
    if kind == "sqlite":
        store = open_store(f"sqlite:///{folder / 'slipway.db'}")
        await store.prepare()
        yield store, (folder / "slipway.db").unlink
        await store.close()
    else:
        with mongodb_server(folder) as (url, process):
            store = open_store(url)
            await store.prepare()
            yield store, lambda: end(process)
            await store.close()


@pytest.mark.parametrize("kind", ["sqlite", "mongodb"])
async def test_a_store_that_is_gone_is_unavailable(kind: str, tmp_path: Path) -> None:
    """When the server or the file goes away in use, every method says so within seconds, and nothing seems to work."""
    async with doomed(kind, tmp_path) as (store, vanish):
        pipelines = store.collection("pipelines")
        await pipelines.insert(Document("pip_1", 1, {}, "{}"))
        await asyncio.to_thread(vanish)

        began = time.monotonic()
        answers = await asyncio.gather(
            store.ping(),
            store.collection("features").insert(Document("fea_1", 1, {}, "{}")),
            pipelines.get("pip_1"),
            pipelines.get_many(["pip_1"]),
            pipelines.replace(Document("pip_1", 2, {}, "{}"), expected_revision=1),
            pipelines.delete("pip_1", expected_revision=1),
            pipelines.find(Query("name_key")),
            pipelines.revisions(Query("name_key")),
            return_exceptions=True,
        )

    assert [type(answer) for answer in answers] == [StoreUnavailable] * 8, answers
    assert time.monotonic() - began < 8


async def test_a_closed_store_is_unavailable(store: Store) -> None:
    """After close, which may be repeated, what is asked is refused."""
    await store.close()
    await store.close()

    with pytest.raises(StoreUnavailable):
        await store.ping()
    with pytest.raises(StoreUnavailable):
        await store.collection("pipelines").get("pip_1")
