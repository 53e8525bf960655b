"""The documents of each kind as domain values: what can be asked for, by purpose.

Only here is decided which keys a document is found by; `documents.INDEXES` declares them.
"""

import asyncio
import heapq
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

import msgspec
import structlog
from msgspec import Struct, structs

from app.domain.audit import AuditEntry
from app.domain.channels import Channel
from app.domain.deliveries import Delivery
from app.domain.environments import Environment
from app.domain.features import Feature, FeatureKind
from app.domain.notifications import Notification, ReadMark, Told, Watermark
from app.domain.pipelines import Pipeline
from app.domain.releases import Release, ReleaseStatus
from app.domain.sdk_keys import SdkKey
from app.domain.tokens import Token
from app.store.documents import Collection, Document, Key, Query, Store
from app.store.sealing import Sealed

_AT_ONCE = 500
_REMEMBERED_CHARACTERS = 4 * 1024 * 1024  # of bodies of one kind
log = structlog.get_logger()

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Value = TypeVar(
    "Value",
    Environment,
    Pipeline,
    Feature,
    Release,
    Token,
    SdkKey,
    AuditEntry,
    Channel,
    Sealed,
    Delivery,
    Notification,
    ReadMark,
    Told,
    Watermark,
)


def milliseconds(at: datetime) -> int:
    """Whole milliseconds since 1970-01-01 UTC."""
    return (at - _EPOCH) // timedelta(milliseconds=1)


class Page(Struct, Generic[Value], frozen=True):
    """Some values in order, and whether more follow."""

    values: list[Value]
    has_next: bool


class Repository(Generic[Value]):
    """Values of one kind in one collection."""

    def __init__(self, collection: Collection, kind: type[Value]) -> None:
        self._collection = collection
        self._decoder: msgspec.json.Decoder[Value] = msgspec.json.Decoder(kind)
        self._read: OrderedDict[str, tuple[str, Value]] = OrderedDict()  # by id: body and value, the last used last
        self._read_characters = 0

    def _keys(self, value: Value) -> dict[str, Key]:
        raise NotImplementedError

    def _id(self, value: Value) -> str:
        raise NotImplementedError

    def _document(self, value: Value) -> Document:
        return Document(self._id(value), value.revision, self._keys(value), msgspec.json.encode(value).decode())

    def _value(self, document: Document) -> Value:
        return self._decoder.decode(document.body)

    async def _find(self, query: Query) -> list[Value]:
        found = await self._collection.find(query)
        if query.limit == 1:
            return [self._remembered(document) for document in found]
        return [self._value(document) for document in found]

    async def _page(self, queries: Sequence[Query], first: int) -> Page[Value]:
        """The first values of several queries with one order, merged; those that cannot be read are left out."""
        while True:
            found = await asyncio.gather(
                *(self._collection.find(structs.replace(query, limit=first + 1)) for query in queries)
            )
            sort, descending = queries[0].sort, queries[0].descending
            merged = list(heapq.merge(*found, key=lambda document: document.keys[sort], reverse=descending))
            page = merged[:first]
            values = [value for document in page if (value := self._readable(document)) is not None]
            if values or not page:
                return Page(values, len(merged) > first)
            beyond = {"below" if descending else "above": page[-1].keys[sort]}
            queries = [structs.replace(query, **beyond) for query in queries]

    async def _each(self, sort: str) -> AsyncIterator[Value]:
        """Every value that can be read, the last in order first, in pages: as many as there are, never all at once."""
        query = Query(sort=sort, descending=True, limit=_AT_ONCE)
        while found := await self._collection.find(query):
            for document in found:
                if (value := self._readable(document)) is not None:
                    yield value
            query = structs.replace(query, below=found[-1].keys[sort])

    async def get(self, id: str) -> Value | None:
        """The value of that id."""
        document = await self._collection.get(id)
        return None if document is None else self._remembered(document)

    def _remembered(self, document: Document) -> Value:
        """The value of a document that has just been read; decoded only where its body is another than last time."""
        body, value = self._read.get(document.id, (None, None))
        if value is not None and body == document.body:
            self._read.move_to_end(document.id)
            return value
        value = self._value(document)
        self._remember(document, value)
        return value

    def _remember(self, document: Document, value: Value) -> None:
        body, _ = self._read.pop(document.id, ("", None))
        self._read[document.id] = document.body, value
        self._read_characters += len(document.body) - len(body)
        while self._read_characters > _REMEMBERED_CHARACTERS:
            _, (body, _) = self._read.popitem(last=False)
            self._read_characters -= len(body)

    async def get_many(self, ids: Sequence[str]) -> dict[str, Value]:
        """Those of the ids that exist, by id."""
        return {document.id: self._value(document) for document in await self._collection.get_many(ids)}

    async def readable(self, ids: Sequence[str]) -> dict[str, Value]:
        """Those of the ids that exist and can be read: whoever follows all must not lose them for one."""
        found = ((document.id, self._readable(document)) for document in await self._collection.get_many(ids))
        return {id: value for id, value in found if value is not None}

    def _readable(self, document: Document) -> Value | None:
        try:
            return self._value(document)
        except msgspec.MsgspecError as error:  # written by a newer version, say
            log.warning("document cannot be read, left out", id=document.id, error=str(error))
            return None

    async def add(self, value: Value) -> None:
        """Store a new value. Raises `DuplicateKey` if its id or a unique key is taken."""
        document = self._document(value)
        await self._collection.insert(document)
        self._remember(document, value)

    async def save(self, value: Value) -> bool:
        """Put the next revision of a value in the place of the one before; False if that is no longer stored."""
        document = self._document(value)
        is_saved = await self._collection.replace(document, expected_revision=value.revision - 1)
        if is_saved:
            self._remember(document, value)
        return is_saved

    async def remove(self, value: Value) -> bool:
        """Delete a value at its revision; False if that is no longer the one stored."""
        return await self._collection.delete(self._id(value), value.revision)


class Environments(Repository[Environment]):
    """Environments, known by name."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.collection("environments"), Environment)

    def _id(self, value: Environment) -> str:
        return value.name

    def _keys(self, value: Environment) -> dict[str, Key]:
        return {"page_key": page_key(value.created_at, value.name)}

    async def all(self) -> list[Environment]:
        """Every environment, in the order of creation."""
        return await self._find(Query(sort="page_key", limit=1_000))


class Pipelines(Repository[Pipeline]):
    """Release pipelines; their names differ, letter case aside."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.collection("pipelines"), Pipeline)

    def _id(self, value: Pipeline) -> str:
        return value.id

    def _keys(self, value: Pipeline) -> dict[str, Key]:
        return {"name_key": self.cursor(value)}

    @staticmethod
    def cursor(value: Pipeline) -> str:
        """Where a pipeline stands in the order of `page`."""
        return value.name.casefold()

    async def by_name(self, name: str) -> Pipeline | None:
        """The pipeline of that name, letter case aside."""
        key = name.casefold()
        return next(iter(await self._find(Query(sort="name_key", at_least=key, at_most=key, limit=1))), None)

    async def page(self, first: int, after: str | None) -> Page[Pipeline]:
        """Pipelines by name."""
        return await self._page([Query(sort="name_key", above=after)], first)


class Features(Repository[Feature]):
    """Feature gates and dynamic configs; their keys differ."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.collection("features"), Feature)

    def _id(self, value: Feature) -> str:
        return value.id

    def _keys(self, value: Feature) -> dict[str, Key]:
        keys: dict[str, Key] = {
            "key": value.key,
            "kind": value.kind.value,
            "created_ms": milliseconds(value.created_at),
        }
        if value.pipeline_id is not None:
            keys["pipeline_id"] = value.pipeline_id
        return keys

    async def by_key(self, key: str) -> Feature | None:
        """The feature with that key."""
        return next(iter(await self._find(Query(sort="key", at_least=key, at_most=key, limit=1))), None)

    async def by_keys(self, keys: Sequence[str]) -> dict[str, Feature]:
        """Those of the keys that exist, by key."""
        found = await asyncio.gather(*(self.by_key(key) for key in keys))
        return {feature.key: feature for feature in found if feature is not None}

    async def page(
        self, first: int, after: str | None, kind: FeatureKind | None = None, pipeline_id: str | None = None
    ) -> Page[Feature]:
        """Features by key, of one kind or attached to one pipeline where asked for."""
        equal: dict[str, Key] = {}
        if kind is not None:
            equal["kind"] = kind.value
        if pipeline_id is not None:
            equal["pipeline_id"] = pipeline_id
        return await self._page([Query(sort="key", equal=equal, above=after)], first)

    def all(self) -> AsyncIterator[Feature]:
        """Every feature that can be read, by key, the last first."""
        return self._each("key")

    async def created_since(self, since: datetime, limit: int) -> list[tuple[str, int]]:
        """Ids and revisions of features created at or after a moment, the earliest first."""
        return await self._collection.revisions(Query(sort="created_ms", at_least=milliseconds(since), limit=limit))


class ReleaseFilter(Struct, frozen=True):
    """Which releases; what is None does not matter. Times exclude the moment itself."""

    statuses: tuple[ReleaseStatus, ...] | None = None
    feature_key: str | None = None
    pipeline_id: str | None = None
    started_after: datetime | None = None
    started_before: datetime | None = None

    def admits(self, release: Release) -> bool:
        """Whether a release is one of them, as it stands."""
        return (
            (self.statuses is None or release.status in self.statuses)
            and (self.feature_key is None or release.feature_key == self.feature_key)
            and (self.pipeline_id is None or release.pipeline_id == self.pipeline_id)
            and (self.started_after is None or release.started_at > self.started_after)
            and (self.started_before is None or release.started_at < self.started_before)
        )

    def _queries(self, after: str | None) -> list[Query]:
        """One query for each status, since an index can only be walked in order for one of them."""
        equal: dict[str, Key] = {}
        if self.feature_key is not None:
            equal["feature_key"] = self.feature_key
        if self.pipeline_id is not None:
            equal["pipeline_id"] = self.pipeline_id
        # ";" and "" enclose every id that follows the ":" of one millisecond.
        above = None if self.started_after is None else f"{milliseconds(self.started_after):014d};"
        before = None if self.started_before is None else f"{milliseconds(self.started_before):014d}:"
        below = min((bound for bound in (before, after) if bound is not None), default=None)
        query = Query(sort="page_key", descending=True, equal=equal, above=above, below=below)
        if self.statuses is None:
            return [query]
        return [structs.replace(query, equal={**equal, "status": status.value}) for status in set(self.statuses)]


class Releases(Repository[Release]):
    """Releases. At most one of a feature is under way, and no two of a feature have one number: unique keys say so."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.collection("releases"), Release)

    def _id(self, value: Release) -> str:
        return value.id

    def _keys(self, value: Release) -> dict[str, Key]:
        keys: dict[str, Key] = {
            "page_key": self.cursor(value),
            "feature_key": value.feature_key,
            "number_key": f"{value.feature_key}:{value.number:09d}",
            "status": value.status.value,
            "changed_ms": milliseconds(value.changed_at),
        }
        if value.pipeline_id is not None:
            keys["pipeline_id"] = value.pipeline_id
        if value.start_key is not None:
            keys["start_key"] = f"{value.feature_key}:{value.start_key}"
        if value.timer is not None:
            keys["deadline_ms"] = milliseconds(value.timer.deadline)
        if not value.is_over:
            keys["lock_key"] = value.feature_key
            if value.pipeline_id is not None:
                keys["pipeline_lock"] = value.pipeline_id
        return keys

    @staticmethod
    def cursor(value: Release) -> str:
        """Where a release stands in the order of `page`: by (started, id)."""
        return page_key(value.started_at, value.id)

    async def page(self, filter: ReleaseFilter, first: int, after: str | None) -> Page[Release]:
        """Releases, the newest first."""
        queries = filter._queries(after)
        return await self._page(queries, first) if queries else Page([], False)

    async def latest_of(self, feature_key: str) -> Release | None:
        """The feature's release with the highest number, whatever its status: it decides what the feature gives."""
        found = await self._latest(feature_key)
        return None if found is None else self._remembered(found)

    async def latest_readable_of(self, feature_keys: Sequence[str]) -> dict[str, Release | None]:
        """The latest release of each feature, None where it has none; features whose latest cannot be read are left
        out, since an earlier one must not pass for it.
        """
        latest: dict[str, Release | None] = {}
        for key, found in zip(feature_keys, await asyncio.gather(*map(self._latest, feature_keys)), strict=True):
            release = self._readable(found) if found else None
            if found is None or release is not None:
                latest[key] = release
        return latest

    async def _latest(self, feature_key: str) -> Document | None:
        query = Query(sort="number_key", descending=True, above=f"{feature_key}:", below=f"{feature_key};", limit=1)
        return next(iter(await self._collection.find(query)), None)

    async def started_with(self, feature_key: str, start_key: str) -> Release | None:
        """The feature's release that was started with that idempotency key."""
        key = f"{feature_key}:{start_key}"
        return next(iter(await self._find(Query(sort="start_key", at_least=key, at_most=key, limit=1))), None)

    async def under_way_in(self, pipeline_id: str, limit: int = 100) -> list[Release]:
        """Releases under way through a pipeline, the oldest first."""
        return await self._find(Query(sort="page_key", equal={"pipeline_lock": pipeline_id}, limit=limit))

    async def features_under_way(self, after: str | None, limit: int) -> list[str]:
        """Keys of features with a release under way, in order, from beyond `after`."""
        found = await self._collection.find(Query(sort="lock_key", above=after or "", limit=limit))
        return [str(document.keys["lock_key"]) for document in found]

    async def under_way_among(self, feature_keys: Sequence[str]) -> set[str]:
        """Those of the features that have a release under way."""
        found = await asyncio.gather(
            *(
                self._collection.revisions(Query(sort="lock_key", at_least=key, at_most=key, limit=1))
                for key in feature_keys
            )
        )
        return {key for key, revisions in zip(feature_keys, found, strict=True) if revisions}

    async def due(self, now: datetime, limit: int) -> list[tuple[str, int]]:
        """Ids and revisions of releases whose bake timer is due, the earliest deadline first. No body is read: one that
        cannot be decoded must not keep the others from being found.
        """
        return await self._collection.revisions(Query(sort="deadline_ms", at_most=milliseconds(now), limit=limit))

    async def changed_since(self, since: datetime, limit: int) -> list[tuple[str, int]]:
        """Ids and revisions of releases changed at or after a moment, the earliest change first."""
        return await self._collection.revisions(Query(sort="changed_ms", at_least=milliseconds(since), limit=limit))


def page_key(at: datetime, id: str) -> str:
    """A moment and an id as one string that sorts by both."""
    return f"{milliseconds(at):014d}:{id}"
