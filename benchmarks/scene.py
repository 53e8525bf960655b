"""What is watched and asked for in the benchmarks: a release of six phases, made through the catalog and the engine."""

from datetime import timedelta

from msgspec import structs

from app.api.auth import ADMINISTRATOR
from app.catalog import PhaseDraft
from app.domain.access import Principal
from app.domain.commands import Command
from app.domain.features import FeatureKind, FeatureSpec
from app.domain.pipelines import Pipeline, ReleaseRule
from app.domain.releases import Release, ReleaseAction, ReleaseEventType, ReleaseStatus
from app.domain.targeting import Condition, ConditionOperator
from app.services import Services

EVENTS = 20
RELEASE_ID = "rel_01KAV3Y9M2T6Q8R4W5X7Z1B3C5"  # of the servers that keep no record
_BAKE = timedelta(days=1)

# What a dashboard shows of each event.
WATCH = """
subscription Watch($releaseId: ID!, $after: Int) {
  releaseEvents(releaseId: $releaseId, after: $after) {
    sequence type at reason actor { name } toStatus phase { id name status } release { id status revision }
  }
}
"""

# What a status page asks for: about 150 leaf fields of a release with six phases and 20 events.
STATUS = """
query Status($id: ID!) {
  release(id: $id) {
    id number status revision description pipelineName startedAt endedAt expectedEndAt
    feature { key kind }
    currentPhase { id }
    phases {
      id index name status bakeTime bakeEndsAt bakeRemaining requiredApprovals releasedAt endedAt
    }
    history { sequence type at actor { name } }
  }
}
"""


def _region(name: str) -> tuple[ReleaseRule, ...]:
    return (ReleaseRule(("production",), (Condition("region", ConditionOperator.ANY_OF, (name,)),)),)


_PHASES = (
    PhaseDraft("Staging", (ReleaseRule(("staging",)),), _BAKE),
    PhaseDraft("Canary", _region("canary"), _BAKE, required_approvals=1),
    *(PhaseDraft(f"Production {name}", _region(name), _BAKE) for name in ("us-west", "us-east", "eu-central", "asia")),
)


async def make_pipeline(services: Services, bake_time: timedelta = _BAKE) -> Pipeline:
    """Environments and a pipeline of six phases."""
    phases = tuple(structs.replace(phase, bake_time=bake_time) for phase in _PHASES)
    for name in ("staging", "production"):
        await services.catalog.save_environment(name, True, ADMINISTRATOR)
    return await services.catalog.create_pipeline("Progressive", None, phases, ADMINISTRATOR)


async def start_release(services: Services, pipeline: Pipeline, key: str) -> Release:
    """A release of a new gate, just started."""
    catalog = services.catalog
    gate = FeatureKind.FEATURE_GATE
    await catalog.create_feature(key, gate, None, FeatureSpec((), False), pipeline.id, ADMINISTRATOR)
    why = "Open the one-page checkout to everyone, region by region"
    _, release = await catalog.update_feature(key, FeatureSpec((), True), why, None, ADMINISTRATOR)
    return release


async def release_with_history(services: Services, pipeline: Pipeline, key: str) -> Release:
    """A release in its third phase, with 20 events on record."""
    release = await start_release(services, pipeline, key)
    for action in (ReleaseAction.SKIP, ReleaseAction.APPROVE, ReleaseAction.SKIP):
        release = await act(services, release, action)
    while len(release.history) < EVENTS:
        release = await toggle(services, release)
    assert len(release.history) == EVENTS
    return release


async def act(services: Services, release: Release, action: ReleaseAction, by: Principal = ADMINISTRATOR) -> Release:
    """The release after an action on its current phase."""
    phase = release.current_phase
    assert phase is not None
    return (await services.engine.act(release.id, Command(action, phase.id), by)).release


async def toggle(services: Services, release: Release) -> Release:
    """The release after one transition, which is one event: paused, or no longer."""
    paused = release.status is ReleaseStatus.PAUSED
    return await act(services, release, ReleaseAction.UNPAUSE if paused else ReleaseAction.PAUSE)


async def walk(services: Services, release: Release) -> Release:
    """The release after one transition on its way: phases are approved, paused, unpaused and, but the last, skipped."""
    at = release.phases.index(release.current_phase) if release.current_phase else 0
    paused_before = any(event.type is ReleaseEventType.BAKE_UNPAUSED for event in release.history[-1:])
    match release.status:
        case ReleaseStatus.WAITING_FOR_REVIEW:
            return await act(services, release, ReleaseAction.APPROVE)
        case ReleaseStatus.IN_PROGRESS if paused_before and at < len(release.phases) - 1:
            return await act(services, release, ReleaseAction.SKIP)
    return await toggle(services, release)


def shown(release: Release) -> str:
    """The statuses that the row of a release shows: of its phases and its own."""
    return " ".join(each.status.value for each in (*release.phases, release))


def sample_event(sequence: int) -> dict[str, object]:
    """An event as `WATCH` shows it, for the servers that keep no record."""
    paused = sequence % 2 == 1
    status = "PAUSED" if paused else "IN_PROGRESS"
    return {
        "sequence": sequence,
        "type": "BAKE_PAUSED" if paused else "BAKE_UNPAUSED",
        "at": "2026-11-24T12:00:00.000Z",
        "reason": None,
        "actor": {"name": "Administrator"},
        "toStatus": status,
        "phase": {"id": "pha_01KAV3Y9M2T6Q8R4W5X7Z1B3C5", "name": "Production us-west", "status": status},
        "release": {"id": RELEASE_ID, "status": status, "revision": sequence},
    }
