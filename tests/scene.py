"""Environments, a pipeline, a feature and a release of it on real stores, in as few words as a test needs."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

from app import worker
from app.catalog import PhaseDraft
from app.domain.access import Principal
from app.domain.features import Feature, FeatureKind, FeatureSpec
from app.domain.pipelines import Phase, Pipeline
from app.domain.releases import Release, ReleaseAction
from app.domain.transitions import Decision
from app.services import Services
from app.store.repositories import milliseconds
from app.timers import QUEUE
from tests.conftest import Clock
from tests.domain.builders import ADMIN, OFF, ON, SUBMITTER, on_current

OPTED_OUT = "development"


def drafts(*phases: Phase) -> tuple[PhaseDraft, ...]:
    """The phases as a user writes them, without ids."""
    return tuple(
        PhaseDraft(
            each.name,
            each.rules,
            each.bake_time,
            each.required_approvals,
            each.prevent_self_approval,
            each.remind_every,
        )
        for each in phases
    )


async def make_environments(services: Services) -> None:
    """Development, which needs no pipeline, and staging and production, which do."""
    for name in (OPTED_OUT, "staging", "production"):
        await services.catalog.save_environment(name, name != OPTED_OUT, ADMIN)


async def make_pipeline(services: Services, *phases: Phase, name: str = "Careful") -> Pipeline:
    """A pipeline of those phases."""
    return await services.catalog.create_pipeline(name, None, drafts(*phases), ADMIN)


async def make_feature(
    services: Services, pipeline: Pipeline | None = None, key: str = "checkout", spec: FeatureSpec = OFF
) -> Feature:
    """A gate, attached to a pipeline or to none."""
    pipeline_id = pipeline.id if pipeline else None
    return await services.catalog.create_feature(key, FeatureKind.FEATURE_GATE, None, spec, pipeline_id, ADMIN)


async def start_release(services: Services, *phases: Phase, key: str = "checkout", spec: FeatureSpec = ON) -> Release:
    """Release #1 of a new gate, just started by Sam; without phases it goes through no pipeline."""
    await make_environments(services)
    pipeline = await make_pipeline(services, *phases, name=f"Pipeline of {key}") if phases else None
    await make_feature(services, pipeline, key)
    _, release = await services.catalog.update_feature(key, spec, None, None, SUBMITTER)
    return release


async def stored(services: Services, release: Release) -> Release:
    """The release as it is on record."""
    found = await services.releases.get(release.id)
    assert found is not None
    return found


async def act(
    services: Services,
    seen: Release,
    action: ReleaseAction,
    by: Principal = ADMIN,
    *,
    reason: str | None = None,
    bypass: bool = False,
    key: str | None = None,
) -> Decision:
    """Act as somebody does who sees the release as `seen`: skip and its like name the phase that is current there."""
    command = on_current(seen, action, reason=reason, bypass_review=bypass, idempotency_key=key)
    return await services.engine.act(seen.id, command, by)


async def eventually(holds: Callable[[], bool | Awaitable[bool]], within: float = 10.0) -> None:
    """Return as soon as something holds; fail if it does not in time."""
    give_up = time.monotonic() + within
    while True:
        answer = holds()
        if answer if isinstance(answer, bool) else await answer:
            return
        assert time.monotonic() < give_up, "it does not hold in time"
        await asyncio.sleep(0.005)


async def skip(services: Services, clock: Clock, by: timedelta) -> int:
    """Let time pass and do the jobs whose moment has come, while no other worker runs. Returns how many."""
    clock.advance(by)
    due = await services.redis.zrangebyscore(QUEUE, 0, milliseconds(clock.now()))
    if due:
        await services.redis.zadd(QUEUE, dict.fromkeys(due, 1))  # arq hands them out by the real time
    burst = worker.make_worker(services, burst=True)
    try:
        return await burst.run_check(max_burst_jobs=len(due))
    finally:
        await worker.close(burst)
