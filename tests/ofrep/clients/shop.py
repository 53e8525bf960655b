"""A shop that reads a gate and a config while both go through a pipeline of three phases, and what its people get."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, TypeAlias

from app.domain.features import FeatureKind
from app.domain.pipelines import Phase, ReleaseRule
from app.domain.releases import Release, ReleaseAction
from app.domain.targeting import Condition
from app.services import Services
from tests.api.serving import Api, serving
from tests.domain.builders import ADMIN, HOUR, SUBMITTER, condition, spec
from tests.ofrep.clients.sdks import Client, People
from tests.scene import act, eventually, make_environments, make_pipeline

PEOPLE: People = {
    "Ann": {"targetingKey": "ann", "region": "NO"},
    "Ben": {"targetingKey": "ben", "region": "DE"},
    "Cid": {"targetingKey": "cid", "region": "US"},
}
ANN: People = {"Ann": PEOPLE["Ann"]}

# By flag: what it gives before and after its release, and what the code gives that asks for it.
GATE, CONFIG = "checkout", "theme"
FLAGS: Mapping[str, tuple[Any, Any, Any]] = {
    GATE: (False, True, False),
    CONFIG: ({"colour": "red", "steps": [1, 2]}, {"colour": "blue", "steps": []}, {"colour": "none"}),
}

# What people get: of each flag the value before or after its release, and the phase that admits them.
Given: TypeAlias = dict[str, str]
OLD: Given = dict.fromkeys(PEOPLE, "old")
NEW: Given = dict.fromkeys(PEOPLE, "new")
NORWAY: Given = OLD | {"Ann": "new by Norway"}
GERMANY: Given = NORWAY | {"Ben": "new by Germany"}
EVERYONE: Given = GERMANY | {"Cid": "new by Everyone"}

# A client must see a change within a second: this is for a machine that is busy.
PATIENCE = 15


async def make_shop(services: Services) -> str:
    """The gate and the config, as they were created, and the secret of an SDK key for production."""
    await make_environments(services)
    pipeline = await make_pipeline(
        services,
        _phase("Norway", condition("region", "ANY_OF", "NO")),
        _phase("Germany", condition("region", "ANY_OF", "DE"), approvals=1),
        _phase("Everyone"),
    )
    for flag, (old, _, _) in FLAGS.items():
        kind = FeatureKind.FEATURE_GATE if flag == GATE else FeatureKind.DYNAMIC_CONFIG
        await services.catalog.create_feature(flag, kind, None, spec(old), pipeline.id, ADMIN)
    _, secret = await services.sdk_keys.create("Shop", "production", None, ADMIN)
    return secret


def _phase(name: str, *conditions: Condition, approvals: int = 0, bake: timedelta = HOUR) -> Phase:
    return Phase("", name, (ReleaseRule(("production",), conditions),), bake, approvals)


@asynccontextmanager
async def open_shop(services: Services) -> AsyncIterator[Api]:
    """A server that evaluates."""
    async with serving(services) as api:

        async def is_ready() -> bool:
            return (await api.http.get("/readyz")).status_code == 200

        await eventually(is_ready)
        yield api


async def start(services: Services, flag: str) -> Release:
    """A release of the flag, just started: Norway has it."""
    _, release = await services.catalog.update_feature(flag, spec(FLAGS[flag][1]), None, None, SUBMITTER)
    return release


async def start_all(services: Services) -> list[Release]:
    """A release of each flag, just started."""
    return [await start(services, flag) for flag in FLAGS]


async def on_each(services: Services, releases: list[Release], *actions: ReleaseAction) -> None:
    """Do actions on each of the releases."""
    for action in actions:
        releases[:] = [(await act(services, release, action)).release for release in releases]


async def given(client: Client, flag: str) -> Given:
    """What people get of a flag."""
    old, new, otherwise = FLAGS[flag]
    found = {}
    for name, details in (await client.read(flag, otherwise)).items():
        assert details.get("errorCode") is None, details
        assert details["value"] in (old, new)
        by = details["flagMetadata"].get("phaseName")
        found[name] = ("new" if details["value"] == new else "old") + (f" by {by}" if by else "")
    return found


async def turns(client: Client, flag: str, before: Given, after: Given) -> None:
    """Return when people get of a flag what they must; until then each gets what they got before."""
    give_up = time.monotonic() + PATIENCE
    while (found := await given(client, flag)) != after:
        assert all(what in (before[name], after[name]) for name, what in found.items()), f"{flag}: {found}"
        assert time.monotonic() < give_up, f"{flag}: {found}, not {after}"
