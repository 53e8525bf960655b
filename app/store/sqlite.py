"""The store on one SQLite file, with the standard library alone: the embedded default.

A collection is a table: id, revision, one column for each declared key, body. Several processes may open the same file:
it is in WAL mode, every change is one statement, and whoever comes second waits up to `BUSY_SECONDS`.

Each store has one thread and one connection in it, so the event loop never waits for the disk. What is asked while the
thread is at work is given to it together, in order: the way to a thread and back costs more than most answers. Changes
that arrive together share one commit, since waiting for the disk is most of what a change costs. Each still is compared
and set, and refused, on its own, and none is answered before that commit is on the disk.
"""

import asyncio
import os
import sqlite3
import time
from asyncio import Future
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeVar

from app.store.documents import (
    INDEXES,
    Collection,
    Document,
    DuplicateKey,
    Index,
    Key,
    Query,
    StoreUnavailable,
    declared_keys,
    require_declared,
    require_values,
)

Answer = TypeVar("Answer")
Values: TypeAlias = tuple[Key | None, ...]

BUSY_SECONDS = 5.0
IDS_PER_QUERY = 500
# So few that a reader who comes meanwhile waits for milliseconds.
CHANGES_PER_COMMIT = 64
# For how long answers may wait for those that follow.
_TOGETHER_SECONDS = 0.001


class _Change(NamedTuple):
    """A statement that waits to be carried out, and whoever waits for the number of rows that it changed."""

    sql: str
    values: Values
    answer: Future[int]


class _Question(NamedTuple):
    """What somebody waits for."""

    ask: Callable[[], Any]
    future: asyncio.Future[Any]

    def answer(self) -> tuple[Any, BaseException | None]:
        """The answer, or what was raised. Whoever has left is given none, and nothing is done for them."""
        if self.future.cancelled():
            return None, None
        try:
            return self.ask(), None
        except BaseException as error:  # it is for whoever asked
            return None, error


_Answered: TypeAlias = tuple[asyncio.Future[Any], Any, BaseException | None]


def _bring(answered: list[_Answered]) -> None:
    for future, answer, error in answered:
        if future.done():
            continue
        if error is None:
            future.set_result(answer)
        else:
            future.set_exception(error)


class SqliteStore:
    """A `Store` in one file, which `prepare` makes if it is missing. Its folder must exist."""

    def __init__(self, path: Path, indexes: Mapping[str, tuple[Index, ...]] = INDEXES) -> None:
        self._path = path.absolute()
        self._indexes = indexes
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite")
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._waiting: deque[_Change] = deque()
        self._committing = False
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked: list[_Question] = []
        self._is_asking = False

    def collection(self, name: str) -> Collection:
        """The collection of that name, one of the declared ones."""
        return SqliteCollection(self, name, declared_keys(name, self._indexes))

    async def prepare(self) -> None:
        """Make the file, the tables, the columns and the indexes that are missing."""
        await self.run(self._make_schema, create=True)

    async def ping(self) -> None:
        """Return if the file can be read; raise `StoreUnavailable` if not."""
        await self.run(lambda connection: connection.execute("SELECT count(*) FROM sqlite_master").fetchone())

    async def close(self) -> None:
        """Close the connection and end the thread. What is asked for later is refused."""
        if self._closed:
            return
        self._closed = True
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            self._begin(loop)  # what was asked before is answered
        await loop.run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown(wait=False)

    async def run(self, ask: Callable[[sqlite3.Connection], Answer], *, create: bool = False) -> Answer:
        """What `ask` answers, called with the connection in the store's thread."""
        if self._closed:
            raise self._is_closed()
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # whoever waited in another one is gone with it
            self._loop, self._asked, self._is_asking = loop, [], False
        answer: asyncio.Future[Answer] = loop.create_future()
        self._asked.append(_Question(lambda: self._ask(ask, create), answer))
        if not self._is_asking:
            self._is_asking = True
            loop.call_soon(self._begin, loop)
        return await answer

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give the thread all that was asked until now."""
        asked, self._asked = self._asked, []
        self._is_asking = bool(asked)
        if asked:
            self._thread.submit(self._answer_all, asked, loop)

    def _answer_all(self, asked: "list[_Question]", loop: asyncio.AbstractEventLoop) -> None:
        """In the thread: the answers, brought back together, but none later than it need be."""
        answered, since = [], time.monotonic()
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            for question in asked:
                answered.append((question.future, *question.answer()))
                if time.monotonic() - since > _TOGETHER_SECONDS:
                    loop.call_soon_threadsafe(_bring, answered)
                    answered, since = [], time.monotonic()
            loop.call_soon_threadsafe(self._end, answered, loop)

    def _end(self, answered: "list[_Answered]", loop: asyncio.AbstractEventLoop) -> None:
        _bring(answered)
        self._begin(loop)

    async def change(self, sql: str, values: Values) -> int:
        """How many rows a statement changed, as soon as that is on the disk."""
        if self._closed:
            raise self._is_closed()
        loop = asyncio.get_running_loop()
        change = _Change(sql, values, loop.create_future())
        self._waiting.append(change)
        if len(self._waiting) == 1:
            loop.call_soon(self._commit)  # once everybody who is about to ask has asked
        return await change.answer

    def _commit(self) -> None:
        """Hand what waits to the thread. While that commits, more may gather for the next time."""
        if self._committing:
            return
        changes: list[_Change] = []
        while self._waiting and len(changes) < CHANGES_PER_COMMIT:
            change = self._waiting.popleft()
            if self._closed and not change.answer.done():
                change.answer.set_exception(self._is_closed())
            elif not change.answer.done():  # who asked was not cancelled
                changes.append(change)
        if changes:
            self._committing = True
            done = asyncio.get_running_loop().run_in_executor(self._thread, self._carry_out, changes)
            done.add_done_callback(partial(self._answer, changes))

    def _answer(self, changes: list[_Change], done: "Future[list[int | Exception]]") -> None:
        self._committing = False
        self._commit()
        for change, outcome in zip(changes, done.result(), strict=True):
            if change.answer.done():
                continue
            if isinstance(outcome, Exception):
                change.answer.set_exception(outcome)
            else:
                change.answer.set_result(outcome)

    def _carry_out(self, changes: list[_Change]) -> list[int | Exception]:
        """The outcome of each change, all of them committed together."""
        try:
            with _answers(self._path):
                connection = self._connected(create=False)
                if len(changes) == 1:
                    return [connection.execute(changes[0].sql, changes[0].values).rowcount]
                with _transaction(connection):
                    return [self._outcome(connection, change) for change in changes]
        except StoreUnavailable as error:
            return [StoreUnavailable(*error.args) for _ in changes]  # an exception is raised to one only
        except Exception as error:
            return [error] * len(changes)

    def _outcome(self, connection: sqlite3.Connection, change: _Change) -> int | Exception:
        """What comes of one change among others. A refused statement undoes itself and leaves those as they are."""
        try:
            with _answers(self._path):
                return connection.execute(change.sql, change.values).rowcount
        except Exception as error:
            if not connection.in_transaction:  # a failing disk: SQLite has undone them all
                raise StoreUnavailable(f"SQLite store {self._path}: {error}") from error
            return error

    def _is_closed(self) -> StoreUnavailable:
        return StoreUnavailable(f"The SQLite store {self._path} is closed.")

    def _ask(self, ask: Callable[[sqlite3.Connection], Answer], create: bool) -> Answer:
        with _answers(self._path):
            return ask(self._connected(create))

    def _connected(self, create: bool) -> sqlite3.Connection:
        # On Unix an open file can be deleted or moved away and still be written to: every change would be answered with
        # yes and be lost. So the file is compared with the one that was opened, each time.
        if self._connection is not None and _identity(self._path) != self._file:
            self._disconnect()
        if self._connection is None:
            # Only `prepare` makes a file: a new, empty one in the place of one that vanished would hide the loss.
            uri = f"{self._path.as_uri()}?mode={'rwc' if create else 'rw'}"
            connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
            try:
                _switch_to_wal(connection)
                # FULL: a change that was answered with yes survives a power cut, not only a crash.
                connection.execute("PRAGMA synchronous=FULL")
            except BaseException:
                connection.close()
                raise
            self._connection, self._file = connection, _identity(self._path)
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection, self._file = self._connection, None, None
        if connection is not None:
            connection.close()

    def _make_schema(self, connection: sqlite3.Connection) -> None:
        with _transaction(connection):
            for name, indexes in self._indexes.items():
                _make_table(connection, name, declared_keys(name, self._indexes))
                for index in indexes:
                    _make_index(connection, name, index)


class SqliteCollection:
    """A `Collection` in a table of the same name."""

    def __init__(self, store: SqliteStore, name: str, keys: tuple[str, ...]) -> None:
        self._store = store
        self._name = name
        self._keys = keys
        self._columns = ("id", "revision", *keys, "body")

    async def insert(self, document: Document) -> None:
        """Add a document. Raises `DuplicateKey`."""
        values = self._values(document)
        places = ", ".join("?" * len(values))
        sql = f"INSERT INTO [{self._name}] ({_listed(self._columns)}) VALUES ({places})"  # noqa: S608 names from INDEXES
        await self._store.change(sql, values)

    async def get(self, id: str) -> Document | None:
        """The document of that id."""
        found = await self.get_many([id])
        return found[0] if found else None

    async def get_many(self, ids: Sequence[str]) -> list[Document]:
        """The documents of those ids that exist, in no particular order."""
        distinct = list(dict.fromkeys(ids))

        def rows(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
            found: list[tuple[Any, ...]] = []
            for start in range(0, len(distinct), IDS_PER_QUERY):  # SQLite limits the number of parameters
                part = distinct[start : start + IDS_PER_QUERY]
                places = ", ".join("?" * len(part))
                sql = f"SELECT {_listed(self._columns)} FROM [{self._name}] WHERE id IN ({places})"  # noqa: S608
                found += connection.execute(sql, part).fetchall()
            return found

        return [self._document(row) for row in await self._store.run(rows)]

    async def replace(self, document: Document, expected_revision: int) -> bool:
        """Put a document in the place of its `expected_revision`; False if that is not the one stored."""
        values = (*self._values(document), document.id, expected_revision)
        changes = ", ".join(f"[{column}] = ?" for column in self._columns)
        sql = f"UPDATE [{self._name}] SET {changes} WHERE id = ? AND revision = ?"  # noqa: S608 names from INDEXES
        return await self._store.change(sql, values) == 1

    async def delete(self, id: str, expected_revision: int) -> bool:
        """Remove a document at that revision; False if that is not the one stored."""
        sql = f"DELETE FROM [{self._name}] WHERE id = ? AND revision = ?"  # noqa: S608 names from INDEXES
        return await self._store.change(sql, (id, expected_revision)) == 1

    async def find(self, query: Query) -> list[Document]:
        """The documents that the query asks for, sorted, at most `query.limit`."""
        return [self._document(row) for row in await self._rows(self._columns, query)]

    async def revisions(self, query: Query) -> list[tuple[str, int]]:
        """Like `find`, but only id and revision, without reading bodies."""
        return [(id, revision) for id, revision in await self._rows(("id", "revision"), query)]

    async def _rows(self, columns: Sequence[str], query: Query) -> list[tuple[Any, ...]]:
        require_declared(self._name, self._keys, (query.sort, *query.equal))
        sql, values = select(self._name, columns, query)
        return await self._store.run(lambda connection: connection.execute(sql, values).fetchall())

    def _values(self, document: Document) -> Values:
        require_declared(self._name, self._keys, document.keys)
        require_values(self._name, document.keys)
        return (document.id, document.revision, *map(document.keys.get, self._keys), document.body)

    def _document(self, row: tuple[Any, ...]) -> Document:
        id, revision, *values, body = row
        keys = {key: value for key, value in zip(self._keys, values, strict=True) if value is not None}
        return Document(id=id, revision=revision, keys=keys, body=body)


def select(table: str, columns: Sequence[str], query: Query) -> tuple[str, list[Key]]:
    """The statement and its values for a query. The names in it are declared ones; values are never part of it."""
    bounds = {">": query.above, ">=": query.at_least, "<": query.below, "<=": query.at_most}
    conditions = [(f"[{key}] =", value) for key, value in query.equal.items()]
    conditions += [(f"[{query.sort}] {operator}", bound) for operator, bound in bounds.items() if bound is not None]
    # Documents that lack the sort key are not found. A condition on it excludes them, and else NOT NULL does, which
    # also lets a sort by a unique key use its partial index.
    named = any(condition.startswith(f"[{query.sort}] ") for condition, _ in conditions)
    present = [] if named else [f"[{query.sort}] IS NOT NULL"]
    where = " AND ".join([*present, *(f"{condition} ?" for condition, _ in conditions)])
    order = f"[{query.sort}] {'DESC' if query.descending else 'ASC'}"
    sql = f"SELECT {_listed(columns)} FROM [{table}] WHERE {where} ORDER BY {order} LIMIT ?"  # noqa: S608
    return sql, [*(value for _, value in conditions), max(query.limit, 0)]


def _listed(columns: Sequence[str]) -> str:
    # In brackets, not in double quotes: SQLite takes a double-quoted name that it does not know for a string.
    return ", ".join(f"[{column}]" for column in columns)


def _make_table(connection: sqlite3.Connection, name: str, keys: Sequence[str]) -> None:
    # Key columns have no type, so that a string stays a string and an integer an integer.
    columns = "".join(f"[{key}], " for key in keys)
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS [{name}]"
        f" (id TEXT PRIMARY KEY NOT NULL, revision INTEGER NOT NULL, {columns}body TEXT NOT NULL)"
    )
    there = {row[1] for row in connection.execute(f"PRAGMA table_info([{name}])")}
    for key in keys:
        if key not in there:
            connection.execute(f"ALTER TABLE [{name}] ADD COLUMN [{key}]")


def _make_index(connection: sqlite3.Connection, name: str, index: Index) -> None:
    title = "_".join((name, *index.keys, *(["unique"] if index.unique else [])))
    unique = "UNIQUE " if index.unique else ""
    present = " WHERE " + " AND ".join(f"[{key}] IS NOT NULL" for key in index.keys) if index.unique else ""
    connection.execute(f"CREATE {unique}INDEX IF NOT EXISTS [{title}] ON [{name}] ({_listed(index.keys)}){present}")


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """WAL mode stays with the file. SQLite does not wait its turn for this one switch, so we do."""
    give_up = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(0.02)
            continue
        if mode != "wal":
            raise sqlite3.OperationalError(f"the file system does not support WAL mode (it stays in {mode} mode)")
        return


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit at the end of the block; undo everything if that fails."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


@contextmanager
def _answers(path: Path) -> Iterator[None]:
    """Raise what the protocol promises in the place of what sqlite3 raises; ProgrammingError stays, a slip of ours."""
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise DuplicateKey(f"SQLite store {path}: {error}") from error
    except sqlite3.ProgrammingError:
        raise
    except sqlite3.Error as error:
        raise StoreUnavailable(f"SQLite store {path}: {error}") from error
