"""The store on one SQLite file, with the standard library alone: the embedded default.

A collection is a table: id, revision, one column for each declared key, body. Several processes may open the same file:
it is in WAL mode, every change is one statement, and whoever comes second waits up to `BUSY_SECONDS`.

Each store has one thread and a connection in it, so the event loop never waits for the disk. What is asked while the
thread is at work is given to it together, in order: the way to a thread and back costs more than most answers. Single
documents that were read and are current are answered without it (see `current`). Changes that arrive together share one
commit, since waiting for the disk is most of what a change costs. Each still is compared and set, and refused, on its
own, and none is answered before that commit is on the disk.
"""

import asyncio
import sqlite3
import time
from asyncio import Future
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeVar

from app.store.current import CurrentDocuments, Identity, identity
from app.store.documents import INDEXES, Collection, DuplicateKey, Index, StoreUnavailable, declared_keys
from app.store.tables import Table, Values, make_index, make_table

Answer = TypeVar("Answer")

BUSY_SECONDS = 5.0
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
        self.current = CurrentDocuments(self._path)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite")
        self._connection: sqlite3.Connection | None = None
        self._file: Identity | None = None
        self._waiting: deque[_Change] = deque()
        self._committing = False
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked: list[_Question] = []
        self._is_asking = False

    def collection(self, name: str) -> Collection:
        """The collection of that name, one of the declared ones."""
        return Table(self, name, declared_keys(name, self._indexes))

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
        self.current.close()
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
        if self._connection is not None and not self._closed:
            self.current.watch()
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
        if self._connection is not None and identity(self._path) != self._file:
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
            self._connection, self._file = connection, identity(self._path)
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection, self._file = self._connection, None, None
        if connection is not None:
            connection.close()

    def _make_schema(self, connection: sqlite3.Connection) -> None:
        with _transaction(connection):
            for name, indexes in self._indexes.items():
                make_table(connection, name, declared_keys(name, self._indexes))
                for index in indexes:
                    make_index(connection, name, index)


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
