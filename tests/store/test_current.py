"""What is answered without reading it again is what reading it again would give."""

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from app.store.documents import Document, Query, StoreUnavailable
from app.store.sqlite import SqliteStore

ONE = Document("pip_1", 1, {"name_key": "one"}, "{}")
TWO = Document("pip_1", 2, {"name_key": "two"}, '"two"')
BY_NAME = Query("name_key", at_least="one", at_most="one", limit=1)
CHANGE = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as connection:
    connection.execute("UPDATE pipelines SET revision = 2, name_key = 'two', body = '\\"two\\"' WHERE id = 'pip_1'")
"""


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """A store with one document, which has been read by id and by its key."""
    store = SqliteStore(tmp_path / "s.db")
    await store.prepare()
    await store.collection("pipelines").insert(ONE)
    for _ in range(2):
        assert await store.collection("pipelines").get("pip_1") == ONE
        assert await store.collection("pipelines").find(BY_NAME) == [ONE]
    yield store
    await store.close()


async def test_what_is_current_needs_no_thread(store: SqliteStore) -> None:
    """While the thread is busy with something else, what was read before is there at once, by id and by key."""
    done = threading.Event()
    busy = asyncio.create_task(store.run(lambda _: done.wait(30)))
    await asyncio.sleep(0)

    assert await store.collection("pipelines").get("pip_1") == ONE
    assert await store.collection("pipelines").find(BY_NAME) == [ONE]
    assert not busy.done()

    done.set()
    assert await busy


async def test_what_another_process_has_committed_is_read(store: SqliteStore, tmp_path: Path) -> None:
    """As soon as the other process says that it is done the new document is there, and none by the old key."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", CHANGE, str(tmp_path / "s.db"))
    assert await process.wait() == 0

    assert await store.collection("pipelines").get("pip_1") == TWO
    assert await store.collection("pipelines").find(BY_NAME) == []


async def test_what_this_process_has_committed_is_read(store: SqliteStore) -> None:
    """A change that was answered with yes is seen by the next question, a deletion too."""
    pipelines = store.collection("pipelines")
    assert await pipelines.replace(TWO, expected_revision=1)
    assert await pipelines.get("pip_1") == TWO

    assert await pipelines.delete("pip_1", expected_revision=2)
    assert await pipelines.get("pip_1") is None


async def test_a_commit_between_question_and_answer_is_seen_by_the_next_question(
    store: SqliteStore, tmp_path: Path
) -> None:
    """An answer that was read before a commit is not kept as one from after it."""
    pipelines = store.collection("pipelines")
    assert await pipelines.replace(TWO, expected_revision=1)
    asked = asyncio.create_task(pipelines.get("pip_1"))
    await asyncio.sleep(0)  # it is asked
    await asyncio.to_thread(_delete, tmp_path / "s.db")
    assert await asked in (TWO, None)

    assert await pipelines.get("pip_1") is None


async def test_what_was_read_before_the_first_look_is_not_kept(
    store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit between the first answer of a store and its first look for commits is not missed."""
    monkeypatch.setattr("app.store.sqlite._TOGETHER_SECONDS", 60.0)  # both answers come together
    other = SqliteStore(tmp_path / "s.db")
    read, _ = await asyncio.gather(
        other.collection("pipelines").get("pip_1"), other.run(lambda _: _delete(tmp_path / "s.db"))
    )
    assert read == ONE
    assert await other.collection("pipelines").get("pip_1") is None
    await other.close()


def _delete(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM pipelines")


async def test_a_file_in_the_place_of_the_one_that_was_read_is_read(store: SqliteStore, tmp_path: Path) -> None:
    """What was read from a file that is gone is not taken for what is in the one that is there now."""
    await store.run(lambda connection: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
    for ending in ("", "-wal", "-shm"):
        await asyncio.to_thread((tmp_path / f"s.db{ending}").unlink)
    with pytest.raises(StoreUnavailable):
        await store.collection("pipelines").get("pip_1")

    other = SqliteStore(tmp_path / "s.db")
    await other.prepare()
    await other.collection("pipelines").insert(TWO)
    await other.close()

    assert await store.collection("pipelines").get("pip_1") == TWO
    assert await store.collection("pipelines").get("pip_1") == TWO


async def test_looking_for_commits_does_not_keep_the_log_from_being_cut(store: SqliteStore, tmp_path: Path) -> None:
    """After a look SQLite can carry its whole log over and truncate it."""
    await store.collection("pipelines").get("pip_1")

    assert await store.run(lambda each: each.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()) == (0, 0, 0)


async def test_what_is_kept_is_bounded(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more documents than there is room for the ones read first make room, and can be read all the same."""
    monkeypatch.setattr("app.store.current._MOST_CHARACTERS", 1_000)
    pipelines = store.collection("pipelines")
    many = [Document(f"pip_{n}", 1, {"name_key": f"{n}"}, "x" * 100) for n in range(10, 40)]
    for each in many:
        await pipelines.insert(each)
    for _ in range(2):
        assert [await pipelines.get(each.id) for each in many] == many
    assert 5 < len(store.current._documents) <= 10


async def test_a_store_is_used_in_one_loop_after_another(tmp_path: Path) -> None:
    """A commit between two runs of `asyncio.run` is seen in the second."""
    path = tmp_path / "s.db"

    def runs() -> list[Document | None]:
        store = SqliteStore(path)
        read = []

        async def first() -> None:
            await store.prepare()
            await store.collection("pipelines").insert(ONE)
            read.extend([await store.collection("pipelines").get("pip_1") for _ in range(2)])

        async def second() -> None:
            read.append(await store.collection("pipelines").get("pip_1"))
            await store.close()

        asyncio.run(first())
        subprocess.run([sys.executable, "-c", CHANGE, str(path)], check=True)
        asyncio.run(second())
        return read

    assert await asyncio.to_thread(runs) == [ONE, ONE, TWO]
