"""What only the SQLite store has to answer for: the file, its schema, and that indexes are used."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from app.store.documents import INDEXES, Document, DuplicateKey, Index, Query, StoreUnavailable
from app.store.sqlite import SqliteStore
from app.store.tables import select


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """The file of a store that was prepared and closed."""
    store = SqliteStore(tmp_path / "slipway.db")
    await store.prepare()
    await store.close()
    return tmp_path / "slipway.db"


@pytest.fixture
async def opened(path: Path) -> AsyncIterator[SqliteStore]:
    """A store on that file."""
    store = SqliteStore(path)
    yield store
    await store.close()


def plan(path: Path, table: str, query: Query) -> str:
    """How SQLite goes about a query, one step a line."""
    sql, values = select(table, ("id", "revision", "body"), query)
    with closing(sqlite3.connect(path)) as connection:
        return "\n".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values))


DECLARED = [(table, index) for table, indexes in INDEXES.items() for index in indexes]


@pytest.mark.parametrize(
    ("table", "index"), DECLARED, ids=lambda each: each if isinstance(each, str) else "-".join(each.keys)
)
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("bound", [None, "x"])
def test_every_declared_index_serves_its_pages(
    path: Path, table: str, index: Index, bound: str | None, *, descending: bool
) -> None:
    """Equal on all keys of an index but the last, sorted by the last, bounded or not: no sort, no table scan."""
    *equal, sort = index.keys
    steps = plan(path, table, Query(sort, descending, dict.fromkeys(equal, "x"), below=bound, limit=20))

    name = "_".join((table, *index.keys)) + ("_unique" if index.unique else "")
    assert f"USING INDEX {name} " in f"{steps} "
    assert steps.startswith("SEARCH" if equal or bound else ("SEARCH", "SCAN")), steps
    assert "TEMP B-TREE" not in steps


@pytest.mark.parametrize(("table", "index"), [each for each in DECLARED if each[1].unique], ids=str)
def test_a_unique_key_is_looked_up(path: Path, table: str, index: Index) -> None:
    """Equal on a unique key goes through its index, although that is a partial one."""
    (key,) = index.keys
    steps = plan(path, table, Query(key, equal={key: "x"}))

    assert f"SEARCH {table} USING INDEX {table}_{key}_unique ({key}=?" in steps
    assert "TEMP B-TREE" not in steps


async def test_a_new_index_and_its_key_are_added_to_an_old_file(tmp_path: Path) -> None:
    """When INDEXES declares more, prepare adds it, old documents stay, and a process that runs the old code goes on."""
    old_indexes = {"things": (Index(("size",)),)}
    added = (Index(("key", "size")), Index(("name",), unique=True))
    new_indexes = {"things": (*old_indexes["things"], *added), "more": (Index(("at",)),), "plain": ()}
    old, new = SqliteStore(tmp_path / "x.db", old_indexes), SqliteStore(tmp_path / "x.db", new_indexes)
    document = Document("1", 1, {"size": 3}, "old")
    try:
        await old.prepare()
        await old.collection("things").insert(document)
        await new.prepare()
        named = Document("2", 1, {"size": 4, "key": "k", "name": "n"}, "new")
        await new.collection("things").insert(named)

        assert await new.collection("things").find(Query("size")) == [document, named]
        assert await new.collection("things").find(Query("size", equal={"key": "k"})) == [named]
        with pytest.raises(DuplicateKey):
            await new.collection("things").insert(Document("3", 1, {"name": "n"}, ""))
        assert await old.collection("things").replace(Document("1", 2, {"size": 5}, "still"), expected_revision=1)
        assert await old.collection("things").get("2") == Document("2", 1, {"size": 4}, "new")
    finally:
        await old.close()
        await new.close()


async def test_a_query_before_prepare_is_no_silent_nothing(tmp_path: Path) -> None:
    """A file whose schema is older than the code is StoreUnavailable, not an empty answer."""
    old = SqliteStore(tmp_path / "x.db", {"things": (Index(("size",)),)})
    new = SqliteStore(tmp_path / "x.db", {"things": (Index(("size",)), Index(("key",))), "more": (Index(("at",)),)})
    try:
        await old.prepare()
        with pytest.raises(StoreUnavailable, match="key"):
            await new.collection("things").find(Query("key"))
        with pytest.raises(StoreUnavailable, match="more"):
            await new.collection("more").get("1")
    finally:
        await old.close()
        await new.close()


async def test_an_acknowledged_change_is_on_the_disk(opened: SqliteStore) -> None:
    """WAL with synchronous=FULL (2): each commit is flushed before it is acknowledged."""

    def settings(connection: sqlite3.Connection) -> list[str | int]:
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]

    assert await opened.run(settings) == ["wal", 2]


async def test_changes_that_arrive_together_share_a_commit(opened: SqliteStore, path: Path) -> None:
    """None is answered before another process sees it, and together they take one turn of the disk, not fifty."""
    commits: list[str] = []
    await opened.run(lambda connection: connection.set_trace_callback(commits.append))
    pipelines = opened.collection("pipelines")

    async def inserted(number: int) -> int:
        await pipelines.insert(Document(f"pip_{number}", 1, {}, "{}"))
        with closing(sqlite3.connect(path)) as other:
            count: int = other.execute("SELECT count(*) FROM pipelines WHERE id = ?", [f"pip_{number}"]).fetchone()[0]
            return count

    assert await asyncio.gather(*map(inserted, range(50))) == [1] * 50
    assert commits.count("COMMIT") == 1


async def test_changes_that_cannot_be_committed_are_all_unavailable(opened: SqliteStore) -> None:
    """When the disk fails under some that share a commit, none is answered with yes, and none is on record."""
    pipelines = opened.collection("pipelines")
    await opened.run(lambda connection: connection.execute("PRAGMA max_page_count = 60").fetchone())
    large = [Document(f"pip_{number}", 1, {}, "x" * 40_000) for number in range(20)]

    answers = await asyncio.gather(*map(pipelines.insert, large), return_exceptions=True)

    assert {type(answer) for answer in answers} <= {StoreUnavailable, type(None)}
    assert StoreUnavailable in map(type, answers)
    found = {each.id for each in await pipelines.get_many([each.id for each in large])}
    assert found == {each.id for each, answer in zip(large, answers, strict=True) if answer is None}


async def test_a_cancelled_change_holds_up_no_other(opened: SqliteStore) -> None:
    """Of changes that wait for one commit, some are given up; the others are answered, and so are later ones."""
    pipelines = opened.collection("pipelines")
    waiting = [asyncio.create_task(pipelines.insert(Document(f"pip_{number}", 1, {}, "{}"))) for number in range(200)]
    await asyncio.sleep(0)
    for task in waiting[::2]:
        task.cancel()

    answers = await asyncio.gather(*waiting, return_exceptions=True)

    assert {type(answer) for answer in answers[::2]} == {asyncio.CancelledError}
    assert set(answers[1::2]) == {None}
    await pipelines.insert(Document("pip_last", 1, {}, "{}"))


async def test_what_waits_when_the_store_closes_is_refused_or_done(opened: SqliteStore) -> None:
    """Nobody waits for ever, and who is answered with yes finds it on record later."""
    pipelines = opened.collection("pipelines")
    waiting = [asyncio.create_task(pipelines.insert(Document(f"pip_{number}", 1, {}, "{}"))) for number in range(200)]
    await asyncio.sleep(0)
    await opened.close()

    async with asyncio.timeout(5):
        answers = await asyncio.gather(*waiting, return_exceptions=True)

    assert {type(answer) for answer in answers} <= {StoreUnavailable, type(None)}


async def test_a_lock_that_is_held_briefly_is_waited_for(opened: SqliteStore, path: Path) -> None:
    """A writer in another process delays a change and does not fail it, and the event loop goes on meanwhile."""
    ticks = 0
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        change = asyncio.create_task(opened.collection("pipelines").insert(Document("pip_1", 1, {}, "{}")))
        while ticks < 20:
            await asyncio.sleep(0.01)
            ticks += 1
        assert not change.done()
        other.execute("COMMIT")
        await change


async def test_a_lock_that_is_held_long_is_unavailable(
    opened: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change that cannot get its turn in time says that the store is locked; reading goes on."""
    monkeypatch.setattr("app.store.sqlite.BUSY_SECONDS", 0.1)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match=r"slipway\.db: database is locked"):
            await opened.collection("pipelines").insert(Document("pip_1", 1, {}, "{}"))
        assert await opened.collection("pipelines").get("pip_1") is None


async def test_a_file_that_is_no_database_is_unavailable_and_left_alone(tmp_path: Path) -> None:
    """A path that names something else is refused with its name; not a byte of it changes."""
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but somebody's notes " * 100)
    before = path.read_bytes()
    store = SqliteStore(path)
    try:
        with pytest.raises(StoreUnavailable, match=r"notes\.txt: file is not a database"):
            await store.prepare()
        with pytest.raises(StoreUnavailable, match="not a database"):
            await store.ping()
    finally:
        await store.close()
    assert path.read_bytes() == before


async def test_only_prepare_makes_a_file(tmp_path: Path) -> None:
    """Without prepare a missing file is unavailable and stays missing; a missing folder is unavailable even so."""
    store, lost = SqliteStore(tmp_path / "x.db"), SqliteStore(tmp_path / "no" / "x.db")
    try:
        with pytest.raises(StoreUnavailable, match="unable to open"):
            await store.ping()
        assert not (tmp_path / "x.db").exists()
        with pytest.raises(StoreUnavailable, match="unable to open"):
            await lost.prepare()
        await store.prepare()
        await store.ping()
    finally:
        await store.close()
        await lost.close()


async def test_a_file_that_was_moved_away_and_back_is_used_again(opened: SqliteStore, path: Path) -> None:
    """While the file is elsewhere nothing is written to it; when it is back the store works without a restart."""
    await opened.collection("pipelines").insert(Document("pip_1", 1, {}, "{}"))
    await opened.run(lambda connection: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone())

    await asyncio.to_thread(path.rename, path.with_name("elsewhere.db"))
    with pytest.raises(StoreUnavailable):
        await opened.collection("pipelines").replace(Document("pip_1", 2, {}, "lost?"), expected_revision=1)
    await asyncio.to_thread(path.with_name("elsewhere.db").rename, path)

    assert await opened.collection("pipelines").get("pip_1") == Document("pip_1", 1, {}, "{}")


async def test_a_slow_disk_does_not_hold_up_the_event_loop(opened: SqliteStore) -> None:
    """What the store's thread is busy with, the event loop does not feel."""
    busy = asyncio.create_task(opened.run(lambda _: time.sleep(0.3)))
    began = time.monotonic()
    await asyncio.sleep(0.01)

    assert time.monotonic() - began < 0.25
    await busy
