"""Tokens, SDK keys and the audit log as domain values: what can be asked for, by purpose."""

from collections.abc import AsyncIterator
from datetime import datetime

from msgspec import Struct

from app.domain.audit import AuditEntry
from app.domain.sdk_keys import SdkKey
from app.domain.tokens import Token
from app.store.documents import Key, Query, Store
from app.store.repositories import Page, Repository, milliseconds, page_key


class Tokens(Repository[Token]):
    """API tokens; no two have one secret."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.collection("tokens"), Token)

    def _id(self, value: Token) -> str:
        return value.id

    def _keys(self, value: Token) -> dict[str, Key]:
        return {"page_key": self.cursor(value), "secret_hash": value.secret_hash}

    @staticmethod
    def cursor(value: Token) -> str:
        """Where a token stands in the order of `page`."""
        return page_key(value.created_at, value.id)

    async def by_secret_hash(self, secret_hash: str) -> Token | None:
        """The token whose secret has that hash."""
        query = Query(sort="secret_hash", at_least=secret_hash, at_most=secret_hash, limit=1)
        return next(iter(await self._find(query)), None)

    async def page(self, first: int, after: str | None) -> Page[Token]:
        """Tokens, the newest first."""
        return await self._page([Query(sort="page_key", descending=True, below=after)], first)

    def all(self) -> AsyncIterator[Token]:
        """Every token, the newest first, read in pages."""
        return self._each("page_key")


class SdkKeys(Repository[SdkKey]):
    """SDK keys; no two have one secret."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.collection("sdk_keys"), SdkKey)

    def _id(self, value: SdkKey) -> str:
        return value.id

    def _keys(self, value: SdkKey) -> dict[str, Key]:
        return {
            "page_key": self.cursor(value),
            "secret_hash": value.secret_hash,
            "environment": value.environment,
            "changed_ms": milliseconds(value.changed_at),
        }

    @staticmethod
    def cursor(value: SdkKey) -> str:
        """Where a key stands in the order of `page`."""
        return page_key(value.created_at, value.id)

    async def by_secret_hash(self, secret_hash: str) -> SdkKey | None:
        """The key whose secret has that hash."""
        query = Query(sort="secret_hash", at_least=secret_hash, at_most=secret_hash, limit=1)
        return next(iter(await self._find(query)), None)

    async def page(self, first: int, after: str | None, environment: str | None = None) -> Page[SdkKey]:
        """Keys, the newest first, of one environment where asked for."""
        equal: dict[str, Key] = {} if environment is None else {"environment": environment}
        return await self._page([Query(sort="page_key", descending=True, equal=equal, below=after)], first)

    def all(self) -> AsyncIterator[SdkKey]:
        """Every key, the newest first, read in pages."""
        return self._each("page_key")

    async def changed_since(self, since: datetime, limit: int) -> list[tuple[str, int]]:
        """Ids and revisions of keys made or revoked at or after a moment, the earliest first. Use is no change."""
        return await self._collection.revisions(Query(sort="changed_ms", at_least=milliseconds(since), limit=limit))


class AuditFilter(Struct, frozen=True):
    """Which entries; what is None does not matter. Times exclude the moment itself."""

    actor_id: str | None = None
    feature_key: str | None = None
    after: datetime | None = None
    before: datetime | None = None

    def query(self, cursor: str | None) -> Query:
        """The query for the page beyond a cursor."""
        equal: dict[str, Key] = {}
        if self.actor_id is not None:
            equal["actor_id"] = self.actor_id
        if self.feature_key is not None:
            equal["feature_key"] = self.feature_key
        above = None if self.after is None else f"{milliseconds(self.after):014d};"
        before = None if self.before is None else f"{milliseconds(self.before):014d}:"
        below = min((bound for bound in (before, cursor) if bound is not None), default=None)
        return Query(sort="page_key", descending=True, equal=equal, above=above, below=below)


class AuditLog(Repository[AuditEntry]):
    """What was asked for, the newest first."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.collection("audit"), AuditEntry)

    def _id(self, value: AuditEntry) -> str:
        return value.id

    def _keys(self, value: AuditEntry) -> dict[str, Key]:
        keys: dict[str, Key] = {"page_key": self.cursor(value), "actor_id": value.actor.id}
        if value.feature_key is not None:
            keys["feature_key"] = value.feature_key
        return keys

    @staticmethod
    def cursor(value: AuditEntry) -> str:
        """Where an entry stands in the order of `page`."""
        return page_key(value.at, value.id)

    async def page(self, filter: AuditFilter, first: int, after: str | None) -> Page[AuditEntry]:
        """Entries, the newest first."""
        return await self._page([filter.query(after)], first)
