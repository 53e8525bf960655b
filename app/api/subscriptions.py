"""The subscriptions: what is watched, as the socket's operation asks for it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing
from typing import Annotated

import strawberry

from app.api import inputs, types
from app.api.context import Info, bad_input, not_found
from app.api.fields import argument, subscription
from app.api.notifications import NotificationSubscriptions
from app.domain.problems import NotFound
from app.domain.releases import Release
from app.live import Hub
from app.store.repositories import ReleaseFilter


class EventsOf:
    """The events of a release beyond a sequence. Iterated, it serves one subscriber by itself."""

    def __init__(self, hub: Hub, release_id: str, after: int) -> None:
        self._hub = hub
        self.release_id = release_id
        self.after = after

    async def __aiter__(self) -> AsyncGenerator[types.RecordedEvent, None]:
        """See `Hub.release_events`."""
        async with aclosing(self._hub.release_events(self.release_id, self.after)) as events:
            try:
                async for release, event in events:
                    yield types.RecordedEvent(release, event)
            except NotFound as problem:
                raise not_found(problem.message) from None


class MatchingReleases:
    """The releases that match a filter. Iterated, it serves one subscriber by itself."""

    def __init__(self, hub: Hub, filter: ReleaseFilter) -> None:
        self._hub = hub
        self.filter = filter

    async def __aiter__(self) -> AsyncGenerator[Release, None]:
        """See `Hub.matching_releases`."""
        async with aclosing(self._hub.matching_releases(self.filter)) as matching:
            async for release in matching:
                yield release


@strawberry.type(description="What can be watched, over a websocket (graphql-transport-ws).")
class Subscription(NotificationSubscriptions):
    """The subscriptions."""

    @subscription(
        types.ReleaseEvent,
        "Every event after the given sequence, each once and in order: first those on record, then live "
        "ones. Completes with the release.",
    )
    async def release_events(
        self,
        info: Info,
        release_id: Annotated[strawberry.ID, argument("The release.")],
        after: Annotated[int | None, argument("The last sequence that the subscriber has seen; 0 for all.")] = 0,
    ) -> AsyncIterable[types.RecordedEvent]:
        """Its events, live."""
        seen = after or 0
        if seen < 0:
            raise bad_input("Give the last sequence that you have seen, or 0.", "after")
        return EventsOf(info.context.services.hub, release_id, seen)

    @subscription(
        types.Release,
        "Each matching release as it stands now, then each one again whenever it changes: all a dashboard "
        "needs. A change by which one stops matching is told once.",
    )
    async def releases(
        self,
        info: Info,
        filter: Annotated[inputs.ReleaseFilter | None, argument("Which ones.")] = None,
    ) -> AsyncIterable[Release]:
        """Those that match, live."""
        return MatchingReleases(info.context.services.hub, inputs.filter_of(filter))
