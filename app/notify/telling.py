"""From events on record to deliveries on record: nothing is sent here.

A release whose change has not been told is found by time, as the live path's poll finds it, from a watermark in the
store: so whatever was killed or away, and for how long, all of it is told in the end. Telling twice is harmless, since
ids follow from what is told; how far a release has been told of is written down last.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

import structlog
from msgspec import structs

from app.announcing import Announcer
from app.domain.channels import Channel
from app.domain.deliveries import new_delivery
from app.domain.messages import message
from app.domain.notifications import (
    Notice,
    Notification,
    Told,
    Watermark,
    audience,
    delivery_id,
    notification_id,
    phase_of,
    told_of,
    untold,
)
from app.domain.releases import Release
from app.engine import Clock
from app.store.documents import DuplicateKey, StoreUnavailable
from app.store.notifications import Channels, Deliveries, Notifications, ToldReleases, Watermarks
from app.store.repositories import Releases

log = structlog.get_logger()

# As in the live path: how far clocks may differ, and how much later than it was decided a change may be on record.
_CLOCK_SKEW = timedelta(seconds=10)
_WIDE = timedelta(minutes=2)
_MARK_EVERY = timedelta(seconds=30)
_MARK = "told"
_PAGE = 500
_TOGETHER = 20
_REMINDED_AT_A_TIME = 200
_KNOWN = 20_000
_STAND_ASIDE_SECONDS = 0.1


class Teller:
    """Writes down who is to be told of what has changed."""

    def __init__(
        self,
        releases: Releases,
        channels: Channels,
        deliveries: Deliveries,
        notifications: Notifications,
        told: ToldReleases,
        watermarks: Watermarks,
        announcer: Announcer,
        clock: Clock,
        base_url: str,
        is_busy: Callable[[], bool],
    ) -> None:
        """`is_busy` says whether this process has something more urgent to do."""
        self._releases = releases
        self._channels = channels
        self._deliveries = deliveries
        self._notifications = notifications
        self._told = told
        self._watermarks = watermarks
        self._announcer = announcer
        self._clock = clock
        self._base_url = base_url
        self._is_busy = is_busy
        self._seen_until: datetime | None = None
        self._known: OrderedDict[str, int] = OrderedDict()
        self._turn = asyncio.Lock()

    async def tell(self, *, wide: bool = False) -> set[str]:
        """Write down all that is to be told by now; the ids of channels that have something to deliver.

        A `wide` look finds what came on record much later than it was decided. Raises `StoreUnavailable`.
        """
        async with self._turn:
            begun = self._clock.now()
            mark = await self._mark(begun)
            since = (self._seen_until or mark.until) - (_WIDE if wide or self._seen_until is None else _CLOCK_SKEW)
            reached, is_whole = set[str](), True
            async for ids in self._changed(since):
                found, failed = await self._tell_each(ids, mark.since)
                reached |= found
                is_whole &= not failed
            to_remind = await self._told.to_remind(begun, _REMINDED_AT_A_TIME)
            reached |= (await self._tell_each(to_remind, mark.since))[0]
            if is_whole:
                self._seen_until = begun
                if begun - mark.until >= _MARK_EVERY:
                    # Who is slower than another process moves nothing back: its revision is no longer the one stored.
                    await self._watermarks.save(structs.replace(mark, until=begun, revision=mark.revision + 1))
            return reached

    async def _mark(self, now: datetime) -> Watermark:
        """The watermark. The first time that anything is told, it lies where the first channel was made."""
        while (mark := await self._watermarks.get(_MARK)) is None:
            until = min((now, *(channel.created_at for channel in await self._channels.all())))
            with suppress(DuplicateKey):
                await self._watermarks.add(Watermark(_MARK, now - _WIDE, until))
        return mark

    async def _changed(self, since: datetime) -> AsyncIterator[list[str]]:
        """Ids of releases changed since then that are not known to be told, in batches."""
        limit = _PAGE
        while True:
            found = await self._releases.changed_since(since, limit)
            fresh = [id for id, revision in found if self._known.get(id, 0) < revision]
            for start in range(0, len(fresh), _TOGETHER):
                yield fresh[start : start + _TOGETHER]
            if len(found) < limit:
                return
            last = (await self._releases.readable([found[-1][0]])).get(found[-1][0])
            if last is None or last.changed_at <= since:
                limit *= 2
            else:
                since = last.changed_at

    async def _tell_each(self, ids: Sequence[str], since: datetime) -> tuple[set[str], bool]:
        """Tell of releases, each by itself; the channels reached, and whether one of them could not be told of."""
        if not ids:
            return set(), False
        while self._is_busy():  # noqa: ASYNC110 (what it waits for is no event of ours)
            await asyncio.sleep(_STAND_ASIDE_SECONDS)
        releases = (await self._releases.readable(ids)).values()
        # Read after them, or a channel that was there before a change could miss it.
        channels = await self._channels.all()
        answers = await asyncio.gather(
            *(self._tell_of(release, since, channels) for release in releases), return_exceptions=True
        )
        reached, failed = set[str](), False
        for release, answer in zip(releases, answers, strict=True):
            if not isinstance(answer, BaseException):
                reached |= answer
            elif isinstance(answer, StoreUnavailable) or not isinstance(answer, Exception):
                raise answer
            else:
                log.error("release not told of, trying again", release=release.id, exc_info=answer)
                failed = True
        return reached, failed

    async def _tell_of(self, release: Release, since: datetime, channels: Sequence[Channel]) -> set[str]:
        now = self._clock.now()
        told = await self._told.get(release.id) or Told(release.id)
        reached = set[str]()
        for notice in untold(release, told, now):
            # One after another: a delivery that is found on record has all before it on record.
            reached |= await self._put_down(release, notice, channels, now, is_news=notice.at >= since)
        after = told_of(release, told, now)
        if after is told or await self._told.put(after):
            self._known[release.id] = release.revision
            self._known.move_to_end(release.id)
            if len(self._known) > _KNOWN:
                self._known.popitem(last=False)
        return reached

    async def _put_down(
        self, release: Release, notice: Notice, channels: Sequence[Channel], now: datetime, *, is_news: bool
    ) -> set[str]:
        """Write a notice down for everyone whom it concerns; the channels among them."""
        wanted = [channel.id for channel in channels if channel.wants(release, notice)]
        works = [self._deliver(release, notice, id, now) for id in wanted]
        if is_news:
            works.append(self._notify(release, notice, now))
        await asyncio.gather(*works)
        return set(wanted)

    async def _deliver(self, release: Release, notice: Notice, channel_id: str, now: datetime) -> None:
        id = delivery_id(release.id, notice, channel_id)
        with suppress(DuplicateKey):
            await self._deliveries.add(new_delivery(id, channel_id, release.id, release.feature_key, notice, now))

    async def _notify(self, release: Release, notice: Notice, now: datetime) -> None:
        whom = audience(release, notice)
        if whom is None:
            return
        said, event = message(release, notice, self._base_url, now), release.history[notice.sequence - 1]
        phase = phase_of(release, event)
        notification = Notification(
            id=notification_id(release.id, notice),
            type=notice.type,
            audience=whom,
            release_id=release.id,
            feature_key=release.feature_key,
            sequence=notice.sequence,
            reminder=notice.reminder,
            title=said.title,
            text=said.text,
            at=notice.at,
            created_at=now,
            phase_id=event.phase_id,
            not_for=release.started_by.id if phase is not None and phase.prevent_self_approval else None,
        )
        with suppress(DuplicateKey):
            await self._notifications.add(notification)
            await self._announcer.announce_other(notification.id, notification.revision)
