"""Documents and where they live: the protocol that both adapters keep, the declared indexes, the small query type.

A document is an id, a revision, a body (JSON text) and the keys that it is found by. Keys are strings or integers at
the top level, present or absent, never null: so a query means the same on MongoDB 7 and 8, standalone, replica set or
sharded, and on SQLite. The body is text because what users put into a spec (names with dots and dollars, numbers of any
width) must come back exactly as it went in, which BSON does not promise.

Every change is one `replace` where id and revision match. There are no transactions, change streams or find-and-modify.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeAlias

from msgspec import Struct

Key: TypeAlias = str | int


class Document(Struct, frozen=True):
    """One stored value."""

    id: str
    revision: int
    keys: dict[str, Key]
    body: str


class Index(Struct, frozen=True):
    """An index over keys. A unique one ignores documents that lack its key, so give it keys that tell that story."""

    keys: tuple[str, ...]
    unique: bool = False


class Query(Struct, frozen=True):
    """Documents whose keys equal all of `equal` and lie in `range`, sorted by one key.

    `above` and `below` bound the sort key, `at_least` and `at_most` do so inclusively. Documents without the sort key
    are not found. Sort by a key that is unique, or the order of equals is open.
    """

    sort: str
    descending: bool = False
    equal: dict[str, Key] = {}
    above: Key | None = None
    below: Key | None = None
    at_least: Key | None = None
    at_most: Key | None = None
    limit: int = 100


class DuplicateKey(Exception):
    """A document with that id, or with the same keys of a unique index, is there already."""


class StoreUnavailable(Exception):
    """The store does not answer. What was asked may or may not have been done; load and look."""


class Collection(Protocol):
    """Documents of one kind. All methods raise `StoreUnavailable` when the store does not answer."""

    async def insert(self, document: Document) -> None:
        """Add a document. Raises `DuplicateKey`."""

    async def get(self, id: str) -> Document | None:
        """The document of that id."""

    async def get_many(self, ids: Sequence[str]) -> list[Document]:
        """The documents of those ids that exist, in no particular order."""

    async def replace(self, document: Document, expected_revision: int) -> bool:
        """Put a document in the place of its `expected_revision`; False if that is not the one stored.

        Raises `DuplicateKey` when the new keys break a unique index.
        """

    async def delete(self, id: str, expected_revision: int) -> bool:
        """Remove a document at that revision; False if that is not the one stored."""

    async def find(self, query: Query) -> list[Document]:
        """The documents that the query asks for, sorted, at most `query.limit`."""

    async def revisions(self, query: Query) -> list[tuple[str, int]]:
        """Like `find`, but only id and revision, without reading bodies."""


class Store(Protocol):
    """A place with collections."""

    def collection(self, name: str) -> Collection:
        """The collection of that name, one of `INDEXES`."""

    async def prepare(self) -> None:
        """Make what is missing: tables and the declared indexes. Safe to repeat and to run from several processes."""

    async def ping(self) -> None:
        """Return if the store answers; raise `StoreUnavailable` if not."""

    async def close(self) -> None:
        """Let go of connections and threads."""


# `page_key` is started (or created) milliseconds and id in one sortable string: a keyset page needs one comparison, one
# index, and no `$or`.
INDEXES: Mapping[str, tuple[Index, ...]] = {
    "environments": (Index(("page_key",)),),
    "pipelines": (Index(("name_key",), unique=True),),
    "features": (
        Index(("key",), unique=True),
        Index(("kind", "key")),
        Index(("pipeline_id", "key")),
        Index(("created_ms",)),
    ),
    "releases": (
        Index(("lock_key",), unique=True),
        Index(("start_key",), unique=True),
        Index(("number_key",), unique=True),
        Index(("page_key",)),
        Index(("status", "page_key")),
        Index(("feature_key", "page_key")),
        Index(("pipeline_id", "page_key")),
        Index(("pipeline_lock", "page_key")),
        Index(("deadline_ms",)),
        Index(("changed_ms",)),
    ),
    "tokens": (Index(("secret_hash",), unique=True), Index(("page_key",))),
    "sdk_keys": (
        Index(("secret_hash",), unique=True),
        Index(("page_key",)),
        Index(("environment", "page_key")),
        Index(("changed_ms",)),
    ),
    "channels": (Index(("name_key",), unique=True), Index(("page_key",))),
    "channel_secrets": (Index(("sealed_ms",)),),
    "deliveries": (
        Index(("lane_key",)),
        Index(("due_ms",)),
        Index(("channel_id", "due_ms")),
        Index(("channel_id", "page_key")),
        Index(("channel_id", "status", "page_key")),
    ),
    "notifications": (Index(("page_key",)), Index(("audience", "page_key"))),
    "read_marks": (Index(("page_key",)),),
    "told": (Index(("remind_ms",)),),
    "watermarks": (Index(("until_ms",)),),
    "audit": (Index(("page_key",)), Index(("actor_id", "page_key")), Index(("feature_key", "page_key"))),
}


def declared_keys(collection: str, indexes: Mapping[str, tuple[Index, ...]] = INDEXES) -> tuple[str, ...]:
    """The keys that documents of a collection can carry: those that an index is declared for, each once."""
    if collection not in indexes:
        raise ValueError(f"No collection {collection!r} in INDEXES: declare it there. There are {', '.join(indexes)}.")
    return tuple(dict.fromkeys(key for index in indexes[collection] for key in index.keys))


def require_declared(collection: str, declared: Sequence[str], keys: Iterable[str]) -> None:
    """Raise ValueError for a key that no index is declared for: a slip in our code, never in what a user sent."""
    if undeclared := [key for key in keys if key not in declared]:
        raise ValueError(f"{collection}: no index in INDEXES has the key {', '.join(undeclared)}. Declare it there.")


def require_values(collection: str, keys: Mapping[str, Key]) -> None:
    """Raise TypeError for a key that is null, a bool or anything else that is no string or integer."""
    for key, value in keys.items():
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise TypeError(f"{collection}: the key {key} is {value!r}; keys are strings or integers, or absent.")
