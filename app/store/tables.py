"""The tables of a SQLite file: a collection each, with a column for each declared key."""

import sqlite3
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from app.store.documents import Document, Index, Key, Query, require_declared, require_values

if TYPE_CHECKING:
    from app.store.sqlite import SqliteStore

Values: TypeAlias = tuple[Key | None, ...]
Rows: TypeAlias = list[tuple[Any, ...]]

IDS_PER_QUERY = 500


class Table:
    """A `Collection` in a table of the same name."""

    def __init__(self, store: "SqliteStore", name: str, keys: tuple[str, ...]) -> None:
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
        return await self._one(id, lambda: self._store.run(lambda connection: self._by_ids(connection, [id])))

    async def get_many(self, ids: Sequence[str]) -> list[Document]:
        """The documents of those ids that exist, in no particular order."""
        distinct = list(dict.fromkeys(ids))
        return [self._document(row) for row in await self._store.run(lambda each: self._by_ids(each, distinct))]

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
        if query.limit != 1:
            return [self._document(row) for row in await self._rows(self._columns, query)]
        bounds = query.above, query.below, query.at_least, query.at_most
        question = query.sort, query.descending, bounds, *query.equal.items()
        found = await self._one(question, lambda: self._rows(self._columns, query))
        return [] if found is None else [found]

    async def revisions(self, query: Query) -> list[tuple[str, int]]:
        """Like `find`, but only id and revision, without reading bodies."""
        return [(id, revision) for id, revision in await self._rows(("id", "revision"), query)]

    async def _rows(self, columns: Sequence[str], query: Query) -> Rows:
        require_declared(self._name, self._keys, (query.sort, *query.equal))
        sql, values = select(self._name, columns, query)
        return await self._store.run(lambda connection: connection.execute(sql, values).fetchall())

    async def _one(self, question: Hashable, read: Callable[[], Awaitable[Rows]]) -> Document | None:
        """The one document that a question asks for: as it was read where that is current."""
        current = self._store.current
        document = current.get((self._name, question))
        if document is None:
            era = current.era
            for row in await read():
                document = self._document(row)
                current.keep((self._name, question), document, era)
        return document

    def _by_ids(self, connection: sqlite3.Connection, ids: Sequence[str]) -> Rows:
        found: Rows = []
        for start in range(0, len(ids), IDS_PER_QUERY):  # SQLite limits the number of parameters
            part = ids[start : start + IDS_PER_QUERY]
            places = ", ".join("?" * len(part))
            sql = f"SELECT {_listed(self._columns)} FROM [{self._name}] WHERE id IN ({places})"  # noqa: S608
            found += connection.execute(sql, part).fetchall()
        return found

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


def make_table(connection: sqlite3.Connection, name: str, keys: Sequence[str]) -> None:
    """Make a table, or the columns that it lacks."""
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


def make_index(connection: sqlite3.Connection, name: str, index: Index) -> None:
    """Make an index if it is missing."""
    title = "_".join((name, *index.keys, *(["unique"] if index.unique else [])))
    unique = "UNIQUE " if index.unique else ""
    present = " WHERE " + " AND ".join(f"[{key}] IS NOT NULL" for key in index.keys) if index.unique else ""
    connection.execute(f"CREATE {unique}INDEX IF NOT EXISTS [{title}] ON [{name}] ({_listed(index.keys)}){present}")
