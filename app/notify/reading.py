"""What somebody is told and what waits for them, as they read it."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime

from msgspec import Struct, structs

from app.domain.access import Principal
from app.domain.notifications import Notification, ReadMark, audiences, review_request, waits_for
from app.domain.problems import NotFound
from app.domain.releases import Release, ReleasePhase, ReleaseStatus
from app.store.documents import DuplicateKey
from app.store.notifications import Notifications, ReadMarks
from app.store.repositories import Page, ReleaseFilter, Releases

WAITING = ReleaseFilter(statuses=(ReleaseStatus.WAITING_FOR_REVIEW,))
"""Releases that wait for somebody's review."""


class PendingReview(Struct, frozen=True):
    """A phase that waits for somebody's review, since when; `is_pending` is False once it does no longer."""

    release: Release
    phase: ReleasePhase
    requested_at: datetime
    is_pending: bool = True


async def unread_page(
    notifications: Notifications,
    marks: ReadMarks,
    reader: Principal,
    first: int,
    after: str | None,
    *,
    unread_only: bool,
) -> tuple[Page[Notification], set[str]]:
    """Notifications of a reader, the newest first, of which only the unread where asked for; and which are read."""
    found, read, more = list[Notification](), set[str](), True
    while more and len(found) <= first:
        page = await notifications.page(audiences(reader), first + 1, after)
        more = page.has_next
        if not page.values:
            break
        after = Notifications.cursor(page.values[-1])
        mine = [each for each in page.values if each.is_for(reader)]
        marked = await marks.read_by(reader.actor.id, [each.id for each in mine])
        read |= marked
        found += [each for each in mine if not (unread_only and each.id in marked)]
    return Page(found[:first], len(found) > first), read


async def mark_read(
    notifications: Notifications, marks: ReadMarks, id: str, reader: Principal, now: datetime
) -> Notification:
    """Mark a notification as read by one whom it concerns; twice is once. Raises NotFound."""
    notification = await notifications.get(id)
    if notification is None or not notification.is_for(reader):
        raise NotFound(f"There is no notification {id!r} for you.", id)
    with suppress(DuplicateKey):
        await marks.add(ReadMark(reader.actor.id, id, now))
    return notification


async def pending_page(
    releases: Releases, reader: Principal, first: int, after: str | None
) -> tuple[Page[Release], list[PendingReview]]:
    """Reviews that wait for a reader, of the newest release first; and their releases."""
    found, more = list[PendingReview](), True
    while more and len(found) <= first:
        page = await releases.page(WAITING, first + 1, after)
        more = page.has_next
        if not page.values:
            break
        after = Releases.cursor(page.values[-1])
        found += [review for each in page.values if (review := pending_review(each, reader)) is not None]
    shown = found[:first]
    return Page([each.release for each in shown], len(found) > first), shown


def pending_review(release: Release, reader: Principal) -> PendingReview | None:
    """The review of a release that waits for a reader."""
    request, phase = review_request(release), release.current_phase
    if request is None or phase is None or not waits_for(release, reader):
        return None
    return PendingReview(release, phase, request.at)


def changes_of(release: Release, told: dict[str, PendingReview], reader: Principal) -> Iterator[PendingReview]:
    """What a changed release is to one who was told of those reviews, by release: what waits no longer, then what does.

    `told` is kept up to date.
    """
    before, now = told.get(release.id), pending_review(release, reader)
    if before is not None and (now is None or now.phase.id != before.phase.id):
        del told[release.id]
        phase = release.phase(before.phase.id) or before.phase
        yield structs.replace(before, release=release, phase=phase, is_pending=False)
    if now is not None:
        told[release.id] = now
        yield now
