"""Subscriptions that are the same question are executed once for each event, whoever asks.

The same question: the same document, operation and variables, asked with the same role, and by the same caller where a
field depends on who asks. `after` is left out of it: each subscriber first reads what it has missed from the record, by
itself, and then joins the others. An event is executed once, encoded once and written to every socket; only the
operation's id differs.

A socket that does not take what is sent is not waited for. It leaves the others, catches up from the record in a task
of its own, and joins them again: slow never means lost, and holds up nobody.
"""

from collections.abc import Hashable
from typing import Any

from app.api.event_group import EventGroup
from app.api.group import Group, Render
from app.api.releases_group import ReleasesGroup
from app.api.subscriptions import EventsOf, MatchingReleases
from app.live import Hub
from app.store.repositories import Releases


class Groups:
    """The groups of one process."""

    def __init__(self, hub: Hub, releases: Releases) -> None:
        self._hub = hub
        self._releases = releases
        self._groups: dict[Hashable, Group[Any]] = {}

    def __len__(self) -> int:
        """How many questions are asked now."""
        return len(self._groups)

    def of(self, question: Hashable, source: EventsOf | MatchingReleases, render: Render) -> Group[Any]:
        """The group of a question, a new one if nobody asks it yet. It ends when its last member has left."""
        group = self._groups.get(question)
        if group is None:

            def emptied() -> None:
                del self._groups[question]

            if isinstance(source, EventsOf):
                group = EventGroup(self._hub, self._releases, render, emptied, source.release_id)
            else:
                group = ReleasesGroup(self._hub, self._releases, render, emptied)
            self._groups[question] = group
        return group
