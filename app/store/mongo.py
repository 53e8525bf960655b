"""The store on MongoDB 7 or 8, through motor: standalone, replica set or sharded, all the same.

A document is `{_id, revision, ...keys, body}`. Only insert_one, find, find_one, replace_one, delete_one and
createIndexes are used.

What an answer can mean when the network fails in the middle of a write:

- The driver sends a write once more when the connection breaks. A replica set and a sharded cluster recognise the
  second one and answer it as they did the first, so `False` and `DuplicateKey` normally mean that somebody else was
  faster. A standalone server has no such memory, and the driver does not send again: that is `StoreUnavailable`.
- A proxy or a server that only speaks the protocol may not keep that promise: then `False` from `replace` or `delete`,
  and `DuplicateKey` from `insert`, can also mean that our own first try went through. A caller to whom it matters
  loads the document and looks whether what it finds is its own.
- `StoreUnavailable` says nothing about whether the write was done, or, where the majority of a replica set did not
  answer in time, whether it will last.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection, AsyncIOMotorDatabase
from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import ConfigurationError, DuplicateKeyError, OperationFailure, PyMongoError

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

DEFAULT_DATABASE = "slipway"

# What our meaning rests on, whatever the URL says: a write that was acknowledged survives a crash and a failover, and a
# load after a lost race sees who won it, which only the primary can promise.
ALWAYS: dict[str, Any] = {"w": "majority", "journal": True, "readPreference": "primary"}

# An absent or stuck server answers in seconds rather than half a minute. The URL may say otherwise.
UNLESS_THE_URL_SAYS: dict[str, Any] = {
    "appName": "slipway",
    "serverSelectionTimeoutMS": 3_000,
    "connectTimeoutMS": 3_000,
    "socketTimeoutMS": 10_000,
    "wTimeoutMS": 8_000,
}

PREPARE_TRIES = 5


class MongoStore:
    """A `Store` in one database of a MongoDB: the one in the path of the URL, or else "slipway"."""

    def __init__(self, url: str) -> None:
        try:
            # Neither connects nor looks for an event loop: motor takes the one that runs at the first operation.
            self._client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(url, **_options(url))
            self._database: AsyncIOMotorDatabase[dict[str, Any]] = self._client.get_default_database(DEFAULT_DATABASE)
        except (ConfigurationError, ValueError) as error:
            raise ValueError(f"Not a usable MongoDB URL: {error}") from error

    @property
    def database_name(self) -> str:
        """The database that the documents are in."""
        return self._database.name

    def collection(self, name: str) -> Collection:
        """The collection of that name, one of `INDEXES`."""
        return MongoCollection(self._database, name)

    async def prepare(self) -> None:
        """Make the declared indexes. Safe to repeat and to run from several processes."""
        with _answers():
            for name, indexes in INDEXES.items():
                await self._make_indexes(name, [index_model(index) for index in indexes])

    async def _make_indexes(self, name: str, models: list[IndexModel]) -> None:
        """Ask for indexes, again if need be: that they are there is no error, but a race to make them can be."""
        for tries_left in reversed(range(PREPARE_TRIES)):
            try:
                await self._database[name].create_indexes(models)
                return
            except DuplicateKeyError:
                raise
            except OperationFailure:
                if not tries_left:
                    raise
                await asyncio.sleep(0.2)

    async def ping(self) -> None:
        """Return if the primary answers; raise `StoreUnavailable` if not."""
        with _answers():
            await self._database.command("ping")

    async def close(self) -> None:
        """Let go of the connections."""
        # It says goodbye to the server, which may be slow to hear it.
        await asyncio.to_thread(self._client.close)


class MongoCollection:
    """A `Collection` in a MongoDB collection of the same name."""

    def __init__(self, database: AsyncIOMotorDatabase[dict[str, Any]], name: str) -> None:
        self._name = name
        self._keys = declared_keys(name)
        self._collection: AsyncIOMotorCollection[dict[str, Any]] = database[name]

    async def insert(self, document: Document) -> None:
        """Add a document. Raises `DuplicateKey`."""
        stored = self._stored(document)
        with _answers():
            await self._collection.insert_one(stored)

    async def get(self, id: str) -> Document | None:
        """The document of that id."""
        with _answers():
            found = await self._collection.find_one({"_id": id})
        return None if found is None else self._read(found)

    async def get_many(self, ids: Sequence[str]) -> list[Document]:
        """The documents of those ids that exist, in no particular order."""
        if not ids:
            return []
        with _answers():
            found = await self._collection.find({"_id": {"$in": list(ids)}}).to_list(None)
        return [self._read(each) for each in found]

    async def replace(self, document: Document, expected_revision: int) -> bool:
        """Put a document in the place of its `expected_revision`; False if that is not the one stored."""
        stored = self._stored(document)
        with _answers():
            result = await self._collection.replace_one({"_id": document.id, "revision": expected_revision}, stored)
        return result.matched_count == 1

    async def delete(self, id: str, expected_revision: int) -> bool:
        """Remove a document at that revision; False if that is not the one stored."""
        with _answers():
            result = await self._collection.delete_one({"_id": id, "revision": expected_revision})
        return result.deleted_count == 1

    async def find(self, query: Query) -> list[Document]:
        """The documents that the query asks for, sorted, at most `query.limit`."""
        return [self._read(each) for each in await self._found(query, None)]

    async def revisions(self, query: Query) -> list[tuple[str, int]]:
        """Like `find`, but only id and revision, without sending bodies."""
        return [(each["_id"], int(each["revision"])) for each in await self._found(query, {"revision": 1})]

    async def _found(self, query: Query, projection: dict[str, int] | None) -> list[dict[str, Any]]:
        require_declared(self._name, self._keys, (query.sort, *query.equal))
        if query.limit < 1:  # MongoDB takes 0 for "no limit"
            return []
        direction = DESCENDING if query.descending else ASCENDING
        with _answers():
            cursor = self._collection.find(filter_of(query), projection).sort(query.sort, direction).limit(query.limit)
            return await cursor.to_list(None)

    def _stored(self, document: Document) -> dict[str, Any]:
        require_declared(self._name, self._keys, document.keys)
        require_values(self._name, document.keys)
        return {"_id": document.id, "revision": document.revision, **document.keys, "body": document.body}

    def _read(self, stored: Mapping[str, Any]) -> Document:
        keys = {key: _plain(stored[key]) for key in self._keys if key in stored}
        return Document(id=stored["_id"], revision=int(stored["revision"]), keys=keys, body=stored["body"])


def _plain(value: Key) -> Key:
    """A wide integer comes back as bson's Int64; callers get a Python int."""
    return value if isinstance(value, str) else int(value)


def filter_of(query: Query) -> dict[str, Any]:
    """The MongoDB filter of a query."""
    bounds = {"$gt": query.above, "$gte": query.at_least, "$lt": query.below, "$lte": query.at_most}
    bounds = {operator: bound for operator, bound in bounds.items() if bound is not None}
    # Without a bound, documents that lack the sort key would be found too, sorted as null. A bound excludes them.
    conditions: dict[str, dict[str, Any]] = {query.sort: bounds or {"$exists": True}}
    for key, value in query.equal.items():
        conditions.setdefault(key, {})["$eq"] = value
    return conditions


def index_model(index: Index) -> IndexModel:
    """The MongoDB index of a declaration."""
    # The names are ours so that two declarations of the same keys cannot meet under one name.
    name = "_".join(index.keys) + ("_unique" if index.unique else "")
    keys = [(key, ASCENDING) for key in index.keys]
    # Sparse: documents without the key do not collide on its absence.
    return IndexModel(keys, name=name, unique=True, sparse=True) if index.unique else IndexModel(keys, name=name)


def _options(url: str) -> dict[str, Any]:
    """The options for the client: motor lets them win over the URL, so what the URL says is left out by hand."""
    said = {pair.partition("=")[0].lower() for pair in url.partition("?")[2].replace(";", "&").split("&")}
    return ALWAYS | {name: value for name, value in UNLESS_THE_URL_SAYS.items() if name.lower() not in said}


@contextmanager
def _answers() -> Iterator[None]:
    """Raise what the protocol promises in the place of what the driver raises."""
    try:
        yield
    except DuplicateKeyError as error:
        raise DuplicateKey(f"MongoDB: {error}") from error
    except PyMongoError as error:
        raise StoreUnavailable(f"MongoDB did not answer as expected: {error}") from error
