"""The types of the schema. They read attributes of domain values; only what a value cannot know itself has a resolver.

No instance of them is made but of those that have no domain value (payloads, pages): see `mutations.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter

import strawberry
from msgspec import Struct

from app.api import enums  # noqa: F401  (describes the enums before a type names them)
from app.api.connections import After, Connection, First, PageInfo, connection, page_size, read_cursor
from app.api.context import Info
from app.api.exposures import Exposure
from app.api.fields import computed, plain
from app.api.parts import Actor, FeatureSpec, Phase, ReleasePhase, SpecChange
from app.domain import access, available, exposure, features, pipelines, releases
from app.domain.transitions import settle
from app.store.repositories import ReleaseFilter, Releases


def _of_event(name: str) -> property:
    return property(attrgetter(f"event.{name}"))


class RecordedEvent(Struct, frozen=True):
    """An event together with the release on whose record it is."""

    release: releases.Release
    event: releases.ReleaseEvent

    sequence = _of_event("sequence")
    type = _of_event("type")
    at = _of_event("at")
    actor = _of_event("actor")
    reason = _of_event("reason")
    from_status = _of_event("from_status")
    to_status = _of_event("to_status")

    @property
    def phase(self) -> releases.ReleasePhase | None:
        """The phase that the event is about, as it stands in the release."""
        return None if self.event.phase_id is None else self.release.phase(self.event.phase_id)

    @property
    def bypassed_review_of(self) -> list[releases.ReleasePhase]:
        """The phases whose review was bypassed."""
        return [phase for phase in self.release.phases if phase.id in self.event.bypassed_phase_ids]


def recorded(release: releases.Release, events: Sequence[releases.ReleaseEvent]) -> list[RecordedEvent]:
    """Events as the schema shows them."""
    return [RecordedEvent(release, event) for event in events]


# --- resolvers --------------------------------------------------------------------------------------------------------


async def _release_feature(root: releases.Release, info: Info) -> features.Feature | None:
    return await info.context.services.features.by_key(root.feature_key)


def _release_history(root: releases.Release) -> list[RecordedEvent]:
    return recorded(root, root.history)


def _available_actions(root: releases.Release, info: Info) -> tuple[available.AvailableAction, ...]:
    now = info.context.services.clock.now()
    return available.available_actions(settle(root, now), info.context.caller, now)


async def _exposure(root: releases.Release, info: Info) -> exposure.Exposure:
    settled = settle(root, info.context.services.clock.now())
    names, latest = await asyncio.gather(
        info.context.environment_names(), info.context.services.releases.latest_of(root.feature_key)
    )
    following = root.number + 1 if latest is not None and latest.number > root.number else None
    return exposure.exposure(settled, names, following)


def _expected_end_at(root: releases.Release, info: Info) -> datetime | None:
    now = info.context.services.clock.now()
    return releases.expected_end(settle(root, now), now)


async def _feature_spec(root: features.Feature, info: Info) -> features.FeatureSpec:
    return releases.spec_in_force(root, await info.context.latest_releases.load(root.key))


async def _feature_revision(root: features.Feature, info: Info) -> int:
    return releases.feature_revision(root, await info.context.latest_releases.load(root.key))


async def _feature_pipeline(root: features.Feature, info: Info) -> pipelines.Pipeline | None:
    return None if root.pipeline_id is None else await info.context.pipelines.load(root.pipeline_id)


async def _active_release(root: features.Feature, info: Info) -> releases.Release | None:
    latest = await info.context.latest_releases.load(root.key)
    return None if latest is None or latest.is_over else latest


async def _feature_releases(
    root: features.Feature, info: Info, first: First = 20, after: After = None
) -> Connection[releases.Release]:
    return await release_page(info, ReleaseFilter(feature_key=root.key), first, after)


async def _pipeline_features(
    root: pipelines.Pipeline, info: Info, first: First = 20, after: After = None
) -> Connection[features.Feature]:
    page = await info.context.services.features.page(
        page_size(first), read_cursor("features", after), pipeline_id=root.id
    )
    return connection("features", page, [feature.key for feature in page.values], after)


async def _pipeline_releases(root: pipelines.Pipeline, info: Info) -> list[releases.Release]:
    return await info.context.services.releases.under_way_in(root.id)


async def release_page(
    info: Info, filter: ReleaseFilter, first: int | None, after: str | None
) -> Connection[releases.Release]:
    """A page of releases, the newest first."""
    page = await info.context.services.releases.page(filter, page_size(first), read_cursor("releases", after))
    return connection("releases", page, [Releases.cursor(release) for release in page.values], after)


# --- types ------------------------------------------------------------------------------------------------------------


@strawberry.interface(description="Something with an id that `node` finds.")
class Node:
    """Relay's Node."""

    id: strawberry.ID = plain("Unique among all things.")


@strawberry.type(description="A feature gate or a dynamic config.")
class Feature(Node):
    """A feature."""

    key: str = plain("What applications ask for.")
    kind: features.FeatureKind = plain("Gate or config.")
    description: str | None = plain("What it is for.")
    spec: FeatureSpec = computed(
        _feature_spec,
        "The spec in force: that of the latest completed release, or the one that it was created with.",
    )
    pipeline: Pipeline | None = computed(
        _feature_pipeline, "The pipeline that its changes go through; null where none is attached, or it was deleted."
    )
    pipeline_id: strawberry.ID | None = plain(
        "The id of the pipeline attached. Of a deleted one it stays: the feature then takes no change until another is "
        "attached or it is detached."
    )
    active_release: Release | None = computed(_active_release, "The release under way, if there is one.")
    releases: ReleaseConnection = computed(_feature_releases, "Its history: every change, the newest first.")
    revision: int = computed(
        _feature_revision,
        "Counts its changes: 1 when it is created, and one more each time a pipeline is attached or detached, a "
        "release of it starts, and one ends. What happens to a release in between does not count, nor does an edit of "
        "the pipeline. It is that of the `spec` and the `pipelineId` beside it.",
    )

    @classmethod
    def is_type_of(cls, value: object, _info: object) -> bool:
        """Whether a value is shown as this type."""
        return isinstance(value, features.Feature)


@strawberry.type(description="A feature on a page.")
class FeatureEdge:
    """A feature and its cursor."""

    node: Feature = plain("The feature.")
    cursor: str = plain("Where it stands.")


@strawberry.type(description="A page of features, by key.")
class FeatureConnection:
    """A page of features."""

    edges: list[FeatureEdge] = plain("The features.")
    page_info: PageInfo = plain("Where the page lies.")


@strawberry.type(description="An ordered list of phases that changes of its features go through.")
class Pipeline(Node):
    """A release pipeline."""

    name: str = plain("Unlike those of all other pipelines.")
    description: str | None = plain("What it is for.")
    phases: list[Phase] = plain("In order.")
    features: FeatureConnection = computed(_pipeline_features, "The features attached to it, by key.")
    active_releases: list[Release] = computed(
        _pipeline_releases, "The releases under way through it, the oldest first, 100 at most."
    )
    revision: int = plain("Counts its writes: of two answers the one with the higher revision is newer.")

    @classmethod
    def is_type_of(cls, value: object, _info: object) -> bool:
        """Whether a value is shown as this type."""
        return isinstance(value, pipelines.Pipeline)


@strawberry.type(description="A pipeline on a page.")
class PipelineEdge:
    """A pipeline and its cursor."""

    node: Pipeline = plain("The pipeline.")
    cursor: str = plain("Where it stands.")


@strawberry.type(description="A page of pipelines, by name.")
class PipelineConnection:
    """A page of pipelines."""

    edges: list[PipelineEdge] = plain("The pipelines.")
    page_info: PageInfo = plain("Where the page lies.")


@strawberry.type(description="What the caller could do now, for a menu: every action is listed, those refused say why.")
class AvailableAction:
    """One entry of the menu."""

    action: releases.ReleaseAction = plain("The action.")
    allowed: bool = plain("Whether it would be carried out.")
    reason: str | None = plain("Why it would be refused.")
    confirmation: str = plain("What it would do, for a confirm dialog.")
    bypasses_review_of: list[ReleasePhase] = plain(
        "The phases whose review it would pass by: it then needs ADMIN, bypassReview and a reason."
    )


@strawberry.type(description="One change of one feature on its way through one pipeline.")
class Release(Node):
    """A release."""

    number: int = plain("Counts the feature's releases from 1.")
    feature: Feature = computed(_release_feature, "What it changes.")
    pipeline_id: strawberry.ID | None = plain(
        "null for a change that needed no pipeline: it has no phases and was completed at once"
    )
    pipeline_name: str | None = plain("The pipeline's name when the release started.")
    description: str | None = plain("What the change is for.")
    status: releases.ReleaseStatus = plain("Where it stands.")
    phases: list[ReleasePhase] = plain("In order.")
    current_phase: ReleasePhase | None = plain("The phase whose turn it is; null when the release is over.")
    change: SpecChange = plain("The spec before and after.")
    available_actions: list[AvailableAction] = computed(
        _available_actions, "What the caller could do now.", for_caller=True
    )
    exposure: Exposure = computed(
        _exposure,
        "Who gets the new spec now, environment by environment; of a release that is over, what its end left, until "
        "the feature's next one.",
    )
    expected_end_at: datetime | None = computed(
        _expected_end_at,
        "When it is completed if nobody acts; null where a review or a pause is in the way, or it is over.",
    )
    history: list[ReleaseEvent] = computed(_release_history, "Every event, the first first.")
    started_by: Actor = plain("Who started it.")
    started_at: datetime = plain("When.")
    ended_at: datetime | None = plain("When it was completed or aborted.")
    revision: int = plain("Counts its writes: of two answers the one with the higher revision is newer.")

    @classmethod
    def is_type_of(cls, value: object, _info: object) -> bool:
        """Whether a value is shown as this type."""
        return isinstance(value, releases.Release)


@strawberry.type(description="A release on a page.")
class ReleaseEdge:
    """A release and its cursor."""

    node: Release = plain("The release.")
    cursor: str = plain("Where it stands.")


@strawberry.type(description="A page of releases, the newest first.")
class ReleaseConnection:
    """A page of releases."""

    edges: list[ReleaseEdge] = plain("The releases.")
    page_info: PageInfo = plain("Where the page lies.")


@strawberry.type(description="One fact in the history of a release.")
class ReleaseEvent:
    """An event of a release."""

    sequence: int = plain("1, 2, 3, ... within the release, without gaps.")
    type: releases.ReleaseEventType = plain("What happened.")
    at: datetime = plain("When.")
    actor: Actor = plain("Who did it.")
    reason: str | None = plain("Why, if it was said.")
    phase: ReleasePhase | None = plain("The phase that it is about, as it stands in `release`.")
    from_status: releases.ReleaseStatus | None = plain("The release's status before; null at the start.")
    to_status: releases.ReleaseStatus = plain(
        "The release's status after it. What the next phase makes of it comes with the next event, in the same write."
    )
    bypassed_review_of: list[ReleasePhase] = plain("The phases whose review was bypassed.")
    release: Release = plain("The release as it stood when the event was read: at the event or later.")


@strawberry.type(description="Who is asking.")
class Viewer:
    """The caller."""

    actor: Actor = plain("As they stay on record.")
    role: access.Role = plain("What they may do.")
