"""Strawberry as it comes: its ASGI view, and a subscription over a broadcast in memory. A child of `fan_out.py`."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from enum import Enum

import strawberry
import uvloop
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from strawberry.asgi import GraphQL
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL

from benchmarks.plain_serving import serve
from benchmarks.scene import sample_event


@strawberry.enum
class Status(Enum):
    IN_PROGRESS = "IN_PROGRESS"
    PAUSED = "PAUSED"


@strawberry.enum
class EventType(Enum):
    BAKE_PAUSED = "BAKE_PAUSED"
    BAKE_UNPAUSED = "BAKE_UNPAUSED"


@strawberry.type
class Actor:
    name: str


@strawberry.type
class Phase:
    id: strawberry.ID
    name: str
    status: Status


@strawberry.type
class Release:
    id: strawberry.ID
    status: Status
    revision: int


@strawberry.type
class ReleaseEvent:
    sequence: int
    type: EventType
    at: datetime
    reason: str | None
    actor: Actor
    to_status: Status
    phase: Phase | None
    release: Release


_watching: dict[str, set["asyncio.Queue[ReleaseEvent]"]] = {}
_fired = 0


@strawberry.type
class Query:
    hello: str = "world"


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def release_events(
        self, release_id: strawberry.ID, after: int | None = 0
    ) -> AsyncGenerator[ReleaseEvent, None]:
        events: asyncio.Queue[ReleaseEvent] = asyncio.Queue()
        watching = _watching.setdefault(release_id, set())
        watching.add(events)
        try:
            while True:
                yield await events.get()
        finally:
            watching.discard(events)


def _event(sequence: int) -> ReleaseEvent:
    sample = sample_event(sequence)
    status = Status(sample["toStatus"])
    phase, release = sample["phase"], sample["release"]
    return ReleaseEvent(
        sequence=sequence,
        type=EventType(sample["type"]),
        at=datetime.now(UTC),
        reason=None,
        actor=Actor(**sample["actor"]),
        to_status=status,
        phase=Phase(id=phase["id"], name=phase["name"], status=status),
        release=Release(id=release["id"], status=status, revision=sequence),
    )


async def _fire() -> None:
    global _fired
    _fired += 1
    event = _event(_fired)
    for events in _watching.get(event.release.id, ()):
        events.put_nowait(event)


if __name__ == "__main__":
    schema = strawberry.Schema(Query, subscription=Subscription)
    view = GraphQL(schema, subscription_protocols=(GRAPHQL_TRANSPORT_WS_PROTOCOL,))
    uvloop.run(serve(Starlette(routes=[WebSocketRoute("/graphql", view)]), _fire))
