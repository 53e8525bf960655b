"""The clients of OpenFeature, unmodified, against a real server: what they give while releases go their way.

Every value must be the one that the rules of releases give, at every step, by each client: Python's and Node's for
servers, which ask anew each time, and the one for browsers, which asks when the event stream tells it to.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from app.domain.features import FeatureKind
from app.domain.pipelines import Phase, ReleaseRule
from app.domain.releases import Release, ReleaseAction
from app.services import Services
from tests.api.serving import Api, serving
from tests.conftest import Clock
from tests.domain.builders import ADMIN, HOUR, SUBMITTER, condition, spec
from tests.ofrep.clients import Client, People, install_clients, node_client, python_client
from tests.scene import act, make_environments, make_pipeline, skip

Connect: TypeAlias = Callable[..., AbstractAsyncContextManager[Any]]

PEOPLE: People = {
    "Ann": {"targetingKey": "ann", "region": "NO"},
    "Ben": {"targetingKey": "ben", "region": "DE"},
    "Cid": {"targetingKey": "cid", "region": "US"},
}
ANN: People = {"Ann": PEOPLE["Ann"]}

# By flag: what it gives before and after its release, and what the code gives that asks for it.
GATE, CONFIG = "checkout", "theme"
FLAGS: dict[str, tuple[Any, Any, Any]] = {
    GATE: (False, True, False),
    CONFIG: ({"colour": "red", "steps": [1, 2]}, {"colour": "blue", "steps": []}, {"colour": "none"}),
}

# What people get: of each flag the value before or after, and the phase that admits them.
Given: TypeAlias = dict[str, str]
OLD: Given = dict.fromkeys(PEOPLE, "old")
NEW: Given = dict.fromkeys(PEOPLE, "new")
NORWAY = OLD | {"Ann": "new by Norway"}
GERMANY = NORWAY | {"Ben": "new by Germany"}
EVERYONE = GERMANY | {"Cid": "new by Everyone"}


@pytest.fixture(scope="session")
def node_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the clients of npm."""
    return install_clients(tmp_path_factory.mktemp("clients"))


@pytest.fixture(params=["python", "server", "web"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which client."""
    return str(request.param)


@pytest.fixture
def connect(kind: str, request: pytest.FixtureRequest) -> Connect:
    """Opens that client."""
    if kind == "python":
        return python_client
    return partial(node_client, request.getfixturevalue("node_packages"), f"{kind}.mjs")


@pytest.fixture
def web(node_packages: Path) -> Connect:
    """Opens the client for browsers."""
    return partial(node_client, node_packages, "web.mjs")


@pytest.fixture
def store_url(tmp_path: Path) -> str:
    """One adapter is enough: evaluating touches no store."""
    return f"sqlite:///{tmp_path / 'slipway.db'}"


@pytest.fixture
async def secret(services: Services) -> str:
    """An SDK key for production, where a gate and a config go through a pipeline of three phases."""
    await make_environments(services)
    regions = [
        _phase("Norway", condition("region", "ANY_OF", "NO")),
        _phase("Germany", condition("region", "ANY_OF", "DE"), approvals=1),
        _phase("Everyone"),
    ]
    pipeline = await make_pipeline(services, *regions)
    for flag, (old, _, _) in FLAGS.items():
        kind = FeatureKind.FEATURE_GATE if flag == GATE else FeatureKind.DYNAMIC_CONFIG
        await services.catalog.create_feature(flag, kind, None, spec(old), pipeline.id, ADMIN)
    _, secret = await services.sdk_keys.create("Shop", "production", None, ADMIN)
    return secret


@pytest.fixture
async def api(services: Services, secret: str) -> AsyncIterator[Api]:
    """A server of those features."""
    async with serving(services) as api:
        yield api


def _phase(name: str, *conditions: Any, approvals: int = 0, bake: timedelta = HOUR) -> Phase:
    return Phase("", name, (ReleaseRule(("production",), conditions),), bake, approvals)


def base(api: Api) -> str:
    """The address that clients are given."""
    return f"http://127.0.0.1:{port(api)}"


def port(api: Api) -> int:
    """The port of a server."""
    assert api.http.base_url.port is not None
    return api.http.base_url.port


async def start(services: Services) -> list[Release]:
    """A release of each flag, just started."""
    started = [
        await services.catalog.update_feature(flag, spec(FLAGS[flag][1]), None, None, SUBMITTER) for flag in FLAGS
    ]
    return [release for _, release in started]


async def on_each(services: Services, releases: list[Release], action: ReleaseAction) -> None:
    """Act on each of the releases."""
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


async def turns(client: Client, before: Given, after: Given) -> None:
    """Wait until people get of each flag what they must; until then each gets what they got before."""
    give_up = time.monotonic() + 15
    for flag in FLAGS:
        while (found := await given(client, flag)) != after:
            assert time.monotonic() < give_up, f"{flag}: {found}, not {after}"
            assert all(what in (before[name], after[name]) for name, what in found.items()), f"{flag}: {found}"


# --- releases on their way --------------------------------------------------------------------------------------------


async def test_values_change_as_a_release_does(
    services: Services, api: Api, secret: str, connect: Connect, kind: str, clock: Clock
) -> None:
    """Exposure grows phase by phase, waits for review, ends with an abort, and begins anew to the end of a release."""
    async with connect(base(api), secret, PEOPLE) as client:
        seen = OLD
        await turns(client, OLD, OLD)

        async def now(after: Given, what: str) -> None:
            nonlocal seen
            answered = time.time()
            await turns(client, seen, after)
            told = [fact["at"] for fact in getattr(client, "heard", ()) if "changed" in fact]
            at = max(told) / 1000 if told and after != seen else time.time()
            print(f"{kind} client, {what}: {after} after {(at - answered) * 1000:.0f} ms")  # for the report: pytest -rP
            seen = after

        releases = await start(services)
        await now(NORWAY, "started")
        await on_each(services, releases, ReleaseAction.PAUSE)
        await now(NORWAY, "paused")
        await on_each(services, releases, ReleaseAction.UNPAUSE)
        await on_each(services, releases, ReleaseAction.SKIP)
        await now(NORWAY, "Germany waits for review")
        await on_each(services, releases, ReleaseAction.APPROVE)
        await now(GERMANY, "Germany approved")
        await skip(services, clock, HOUR)
        await now(EVERYONE, "Germany baked")
        await on_each(services, releases, ReleaseAction.ABORT)
        await now(OLD, "aborted")

        releases = await start(services)
        await now(NORWAY, "started again")
        await on_each(services, releases, ReleaseAction.SKIP)
        await on_each(services, releases, ReleaseAction.APPROVE)
        await now(GERMANY, "Germany approved")
        await on_each(services, releases, ReleaseAction.SKIP)
        await now(EVERYONE, "Germany skipped")
        await on_each(services, releases, ReleaseAction.SKIP)
        await now(NEW, "completed")
