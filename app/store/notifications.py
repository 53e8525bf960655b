"""Channels, their secrets, deliveries and notifications as domain values: what can be asked for, by purpose."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import msgspec
from msgspec import structs

from app.domain.channels import Channel, ChannelSecrets
from app.domain.deliveries import Delivery, DeliveryStatus
from app.domain.notifications import Notification, ReadMark, Told, Watermark
from app.store.documents import DuplicateKey, Key, Query, Store
from app.store.repositories import Page, Repository, milliseconds, page_key
from app.store.sealing import Sealed, Sealer

_AT_ONCE = 1_000


class Channels(Repository[Channel]):
    """Channels; their names differ, letter case aside."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.collection("channels"), Channel)

    def _id(self, value: Channel) -> str:
        return value.id

    def _keys(self, value: Channel) -> dict[str, Key]:
        return {"page_key": page_key(value.created_at, value.id), "name_key": value.name.casefold()}

    async def all(self) -> list[Channel]:
        """Every channel that can be read, in the order of creation."""
        return (await self._page([Query(sort="page_key")], _AT_ONCE)).values


class _SealedSecrets(Repository[Sealed]):
    def __init__(self, store: Store) -> None:
        super().__init__(store.collection("channel_secrets"), Sealed)

    def _id(self, value: Sealed) -> str:
        return value.id

    def _keys(self, value: Sealed) -> dict[str, Key]:
        return {"sealed_ms": milliseconds(value.sealed_at)}


class Secrets:
    """What channels are reached with, sealed. It is read for sending and for nothing else."""

    def __init__(self, store: Store, sealer: Sealer) -> None:
        self._sealed = _SealedSecrets(store)
        self._sealer = sealer

    @property
    def has_key(self) -> bool:
        """Whether secrets can be kept here."""
        return self._sealer.has_key

    async def of(self, channel_id: str) -> ChannelSecrets | None:
        """The secrets of a channel. Raises `NotOpened` or `NoKey`."""
        sealed = await self._sealed.get(channel_id)
        return None if sealed is None else self._open(sealed)

    async def keep(self, channel_id: str, secrets: ChannelSecrets, now: datetime) -> None:
        """Seal the secrets of a new channel. Raises `NoKey`, or `DuplicateKey` where it has some already."""
        await self._sealed.add(Sealed(channel_id, self._seal(secrets), now))

    async def change(
        self, channel_id: str, changed: Callable[[ChannelSecrets], ChannelSecrets], now: datetime
    ) -> ChannelSecrets | None:
        """Change the secrets of a channel, whoever else does meanwhile; None if it has none.

        Raises `NotOpened` or `NoKey`.
        """
        while (sealed := await self._sealed.get(channel_id)) is not None:
            after = changed(self._open(sealed))
            if await self._sealed.save(Sealed(channel_id, self._seal(after), now, sealed.revision + 1)):
                return after
        return None

    async def forget(self, channel_id: str) -> None:
        """Keep the secrets of a channel no longer."""
        while (sealed := await self._sealed.get(channel_id)) is not None and not await self._sealed.remove(sealed):
            pass

    def _seal(self, secrets: ChannelSecrets) -> str:
        return self._sealer.seal(msgspec.json.encode(secrets).decode())

    def _open(self, sealed: Sealed) -> ChannelSecrets:
        return msgspec.json.decode(self._sealer.open(sealed.text), type=ChannelSecrets)


class Deliveries(Repository[Delivery]):
    """What is on its way to channels, and what was sent."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.collection("deliveries"), Delivery)

    def _id(self, value: Delivery) -> str:
        return value.id

    def _keys(self, value: Delivery) -> dict[str, Key]:
        keys: dict[str, Key] = {
            "channel_id": value.channel_id,
            "status": value.status.value,
            "page_key": self.cursor(value),
        }
        if value.due_at is not None:
            keys["due_ms"] = milliseconds(value.due_at)
        if value.is_open:
            keys["lane_key"] = f"{_lane(value.channel_id, value.release_id)}:{value.notice.place}"
        return keys

    @staticmethod
    def cursor(value: Delivery) -> str:
        """Where a delivery stands in the order of `page`."""
        return page_key(value.created_at, value.id)

    async def page(
        self, channel_id: str, first: int, after: str | None, status: DeliveryStatus | None = None
    ) -> Page[Delivery]:
        """Deliveries of a channel, the newest first."""
        equal: dict[str, Key] = {"channel_id": channel_id}
        if status is not None:
            equal["status"] = status.value
        return await self._page([Query(sort="page_key", descending=True, equal=equal, below=after)], first)

    async def is_any_due(self, now: datetime) -> bool:
        """Whether there is an attempt to make."""
        return bool(await self._collection.revisions(Query(sort="due_ms", at_most=milliseconds(now), limit=1)))

    async def channels_due(self, now: datetime, known: Sequence[str]) -> list[str]:
        """Channels besides those known that something is due to: as far as the 100 longest due tell."""
        found = (await self._page([Query(sort="due_ms", at_most=milliseconds(now))], 100)).values
        return list(dict.fromkeys(each.channel_id for each in found if each.channel_id not in known))

    async def is_due_to(self, channel_id: str, now: datetime) -> bool:
        """Whether there is an attempt to make for a channel."""
        query = Query(sort="due_ms", equal={"channel_id": channel_id}, at_most=milliseconds(now), limit=1)
        return bool(await self._collection.revisions(query))

    async def due_to(self, channel_id: str, now: datetime, limit: int) -> list[Delivery]:
        """What is due to a channel, the longest due first."""
        query = Query(sort="due_ms", equal={"channel_id": channel_id}, at_most=milliseconds(now))
        return (await self._page([query], limit)).values

    async def first_of(self, channel_id: str, release_id: str) -> Delivery | None:
        """The delivery that a channel must have before any other of that release; None if all have ended."""
        lane = _lane(channel_id, release_id)
        found = await self._find(Query(sort="lane_key", above=f"{lane}:", below=f"{lane};", limit=1))
        return next(iter(found), None)


def _lane(channel_id: str, release_id: str) -> str:
    """What must arrive in order: the deliveries of one release to one channel."""
    return f"{channel_id}:{release_id}"


class Notifications(Repository[Notification]):
    """What people are told inside of Slipway."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.collection("notifications"), Notification)

    def _id(self, value: Notification) -> str:
        return value.id

    def _keys(self, value: Notification) -> dict[str, Key]:
        return {"audience": value.audience, "page_key": self.cursor(value)}

    @staticmethod
    def cursor(value: Notification) -> str:
        """Where a notification stands in the order of `page`."""
        return page_key(value.created_at, value.id)

    async def page(self, audiences: Sequence[str], first: int, after: str | None) -> Page[Notification]:
        """Notifications of those audiences, the newest first."""
        query = Query(sort="page_key", descending=True, below=after)
        return await self._page([structs.replace(query, equal={"audience": each}) for each in set(audiences)], first)

    async def made_since(self, since: datetime, limit: int) -> list[Notification]:
        """Notifications made at or after a moment, the earliest first."""
        above = f"{milliseconds(since - timedelta(milliseconds=1)):014d};"
        return (await self._page([Query(sort="page_key", above=above)], limit)).values


class ReadMarks(Repository[ReadMark]):
    """Who has read what."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.collection("read_marks"), ReadMark)

    def _id(self, value: ReadMark) -> str:
        return ReadMark.id_of(value.actor_id, value.notification_id)

    def _keys(self, value: ReadMark) -> dict[str, Key]:
        return {"page_key": page_key(value.at, self._id(value))}

    async def read_by(self, actor_id: str, notification_ids: Sequence[str]) -> set[str]:
        """Those of the notifications that somebody has read."""
        marks = await self.get_many([ReadMark.id_of(actor_id, id) for id in notification_ids])
        return {mark.notification_id for mark in marks.values()}


class ToldReleases(Repository[Told]):
    """How far each release has been told of."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.collection("told"), Told)

    def _id(self, value: Told) -> str:
        return value.release_id

    def _keys(self, value: Told) -> dict[str, Key]:
        return {} if value.remind_at is None else {"remind_ms": milliseconds(value.remind_at)}

    async def put(self, value: Told) -> bool:
        """Store it as the next revision, the first one too; False if somebody else was faster."""
        if value.revision > 1:
            return await self.save(value)
        try:
            await self.add(value)
        except DuplicateKey:
            return False
        return True

    async def to_remind(self, now: datetime, limit: int) -> list[str]:
        """Ids of releases whose reviewers are to be reminded, the longest due first."""
        query = Query(sort="remind_ms", at_most=milliseconds(now), limit=limit)
        return [id for id, _ in await self._collection.revisions(query)]


class Watermarks(Repository[Watermark]):
    """How far in time everything has been told."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.collection("watermarks"), Watermark)

    def _id(self, value: Watermark) -> str:
        return value.id

    def _keys(self, value: Watermark) -> dict[str, Key]:
        return {"until_ms": milliseconds(value.until)}
