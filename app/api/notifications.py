"""What a caller is told and what waits for them, in the schema."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Annotated

import strawberry
from msgspec import Struct

from app.api import enums  # noqa: F401  (describes the enums before a type names them)
from app.api.audited import mutation
from app.api.connections import After, Connection, First, PageInfo, connection, page_size, read_cursor, with_nodes
from app.api.context import Info
from app.api.fields import argument, computed, plain, query, subscription
from app.api.parts import ReleasePhase
from app.api.problems import NotFound
from app.api.types import Release
from app.domain import notifications as domain
from app.domain import releases
from app.domain.access import Principal
from app.domain.messages import release_link
from app.domain.notifications import NotificationType
from app.live import Hub
from app.notify.feed import Feed
from app.notify.reading import WAITING, changes_of, mark_read, pending_page, unread_page
from app.notify.reading import PendingReview as Review
from app.store.notifications import Notifications
from app.store.repositories import Releases


class Told(Struct, frozen=True):
    """A notification as its reader sees it."""

    notification: domain.Notification
    is_read: bool

    def __getattr__(self, name: str) -> object:
        return getattr(self.notification, name)


def _link(root: Told, info: Info) -> str:
    return release_link(info.context.services.settings.public_url, root.notification.release_id)


def _waited_for(root: Review, info: Info) -> timedelta:
    return max(info.context.services.clock.now() - root.requested_at, timedelta(0))


@strawberry.type(description="Something that the caller is told.")
class Notification:
    """A notification."""

    id: strawberry.ID = plain("What `markNotificationRead` names it by.")
    type: NotificationType = plain("What it tells of.")
    title: str = plain("In one line.")
    text: str = plain("In a few lines: what is asked, by whom it was started, how long it had waited.")
    link: str = computed(_link, "Where the status page shows the release.")
    at: datetime = plain("When it happened.")
    release_id: strawberry.ID = plain("The release.")
    feature_key: str = plain("The release's feature.")
    phase_id: strawberry.ID | None = plain("The phase that it is about.")
    sequence: int = plain("The event's place in the release's history.")
    reminder: int = plain("Which reminder of that review it is; 0 for the event itself.")
    is_read: bool = plain("Whether the caller has marked it read.")


@strawberry.type(description="A notification on a page.")
class NotificationEdge:
    """A notification and its cursor."""

    node: Notification = plain("The notification.")
    cursor: str = plain("Where it stands.")


@strawberry.type(description="A page of notifications, the newest first.")
class NotificationConnection:
    """A page of notifications."""

    edges: list[NotificationEdge] = plain("The notifications.")
    page_info: PageInfo = plain("Where the page lies.")


@strawberry.type(description="A phase that waits for the caller's approval.")
class PendingReview:
    """A review that is to be given."""

    release: releases.Release = plain("The release.", shown_as=Release)
    phase: releases.ReleasePhase = plain("The phase.", shown_as=ReleasePhase)
    requested_at: datetime = plain("Since when it waits.")
    waited_for: timedelta = computed(_waited_for, "For how long.")
    is_pending: bool = plain("Whether it still waits for the caller; a subscription says once that it does not.")


@strawberry.type(description="A pending review on a page.")
class PendingReviewEdge:
    """A pending review and its cursor."""

    node: PendingReview = plain("The pending review.")
    cursor: str = plain("Where it stands.")


@strawberry.type(description="A page of pending reviews, of the newest release first.")
class PendingReviewConnection:
    """A page of pending reviews."""

    edges: list[PendingReviewEdge] = plain("The pending reviews.")
    page_info: PageInfo = plain("Where the page lies.")


@strawberry.type(description="The notification is marked as read.")
class MarkNotificationReadPayload:
    """A notification that was read."""

    notification: Told = plain("The notification.", shown_as=Notification)


MarkNotificationReadResult = Annotated[
    MarkNotificationReadPayload | NotFound,
    strawberry.union("MarkNotificationReadResult", description="What `markNotificationRead` answers."),
]


class NewsOf:
    """What a caller is told from now on. Iterated, it serves one subscriber by itself."""

    def __init__(self, feed: Feed, caller: Principal) -> None:
        self._feed = feed
        self._caller = caller

    async def __aiter__(self) -> AsyncGenerator[Told, None]:
        """See `Feed.news`."""
        async with aclosing(self._feed.news(self._caller)) as news:
            async for notification in news:
                yield Told(notification, False)


class ReviewsFor:
    """What waits for a caller. Iterated, it serves one subscriber by itself."""

    def __init__(self, hub: Hub, caller: Principal) -> None:
        self._hub = hub
        self._caller = caller

    async def __aiter__(self) -> AsyncGenerator[Review, None]:
        """See `reading.changes_of`."""
        told: dict[str, Review] = {}
        async with aclosing(self._hub.matching_releases(WAITING)) as matching:
            async for release in matching:
                for review in changes_of(release, told, self._caller):
                    yield review


@strawberry.type
class NotificationQueries:
    """What can be read."""

    @query(
        NotificationConnection,
        "What the caller is told, the newest first: reviews that they may give, and what became of the releases that "
        "they started.",
    )
    async def notifications(
        self,
        info: Info,
        unread: Annotated[bool, argument("Only those that the caller has not marked read.")] = False,
        first: First = 20,
        after: After = None,
    ) -> Connection[Told]:
        """A page of notifications."""
        services = info.context.services
        page, read = await unread_page(
            services.notifications,
            services.read_marks,
            info.context.caller,
            page_size(first),
            read_cursor("notifications", after),
            unread_only=unread,
        )
        shown = connection("notifications", page, [Notifications.cursor(each) for each in page.values], after)
        return with_nodes(shown, [Told(each, each.id in read) for each in page.values])

    @query(
        PendingReviewConnection,
        "Every phase that waits for a review which the caller may give, of the newest release first.",
    )
    async def pending_reviews(self, info: Info, first: First = 20, after: After = None) -> Connection[Review]:
        """A page of pending reviews."""
        size, position = page_size(first), read_cursor("pendingReviews", after)
        page, reviews = await pending_page(info.context.services.releases, info.context.caller, size, position)
        shown = connection("pendingReviews", page, [Releases.cursor(each) for each in page.values], after)
        return with_nodes(shown, reviews)


@strawberry.type
class NotificationMutations:
    """What changes them."""

    @mutation(MarkNotificationReadResult, "Mark a notification as read by the caller; twice is once.")
    async def mark_notification_read(
        self, info: Info, id: Annotated[strawberry.ID, argument("The notification.")]
    ) -> MarkNotificationReadPayload:
        """See `reading.mark_read`."""
        services = info.context.services
        read = await mark_read(
            services.notifications, services.read_marks, id, info.context.caller, services.clock.now()
        )
        return MarkNotificationReadPayload(notification=Told(read, True))


@strawberry.type
class NotificationSubscriptions:
    """What can be watched."""

    @subscription(Notification, "Each notification of the caller as it is made, from now on.")
    async def notifications(self, info: Info) -> AsyncIterable[Told]:
        """Live."""
        return NewsOf(info.context.services.feed, info.context.caller)

    @subscription(
        PendingReview,
        "Each phase that waits for a review which the caller may give, then each new one; and each once more, "
        "`isPending: false`, when it waits for them no longer.",
    )
    async def pending_reviews(self, info: Info) -> AsyncIterable[Review]:
        """Live."""
        return ReviewsFor(info.context.services.hub, info.context.caller)
