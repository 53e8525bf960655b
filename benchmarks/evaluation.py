"""What evaluating one feature over OFREP costs, against a plain Starlette endpoint, side by side in one run.

    uv run python -m benchmarks.evaluation [--seconds 2] [--rounds 20]

The bar, with 1,000 features and 50 releases under way: at least half the requests per second of an endpoint that gives
a constant JSON body, and at most three times its p99. The endpoint is sent the same requests, and as a harder measure a
bare GET. Both servers are up at once on one core, the load comes from another and goes to one after the other.

Bulk evaluation, 304s and the time to load the features are printed for information. Needs wrk and two cores.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import httpx

from app.api.auth import ADMINISTRATOR
from app.catalog import PhaseDraft
from app.domain.comparing import Json
from app.domain.features import FeatureKind, FeatureSpec, TargetingRule
from app.domain.pipelines import ReleaseRule
from app.domain.targeting import Condition
from app.domain.targeting import ConditionOperator as Op
from app.embedded import EmbeddedValkey
from app.logs import configure_logs
from app.ofrep.answers import success
from app.services import Services, open_services
from app.settings import Settings
from app.snapshot import Snapshot
from benchmarks.bars import print_bar
from benchmarks.environment import print_environment
from benchmarks.wrk import Measured, Request, Server, measure, write_script, wrk_version

_FEATURES = 1_000
_UNDER_WAY = 50
_REQUESTS = 5_000
_CONNECTIONS = 32
_COUNTRIES = ("CH", "DE", "AT", "FR", "IT", "US", "BR", "JP")
_PLANS = ("free", "team", "business", "enterprise")
_FLAGS = "/ofrep/v1/evaluate/flags"


# --- what is evaluated ---


def _rules(number: int, values: tuple[Json, Json, Json]) -> tuple[TargetingRule, ...]:
    """Staff, then a plan in some countries, then a share of those with a new version of the app."""
    countries = tuple(_COUNTRIES[(number + step) % len(_COUNTRIES)] for step in range(3))
    plan = _PLANS[number % len(_PLANS)]
    return (
        TargetingRule("Staff", (), (Condition("email", Op.ENDS_WITH, ("@example.com",)),), 100, values[0]),
        TargetingRule(
            "Plan",
            ("production",),
            (Condition("country", Op.ANY_OF, countries), Condition("plan", Op.EQUALS, (plan,))),
            50,
            values[1],
        ),
        TargetingRule(
            "New app",
            (),
            (Condition("appVersion", Op.VERSION_GREATER_THAN, ("3.2",)), Condition("seats", Op.GREATER_THAN, (10,))),
            25,
            values[2],
        ),
    )


def _spec(number: int, kind: FeatureKind, edition: int) -> FeatureSpec:
    if kind is FeatureKind.FEATURE_GATE:
        return FeatureSpec(_rules(number + edition, (True, True, True)), False)
    values = [
        {"theme": theme, "pageSize": 20 + number % 5, "edition": edition, "columns": ["name", "price", "stock"]}
        for theme in ("staff", "dark", "wide", "plain")
    ]
    return FeatureSpec(_rules(number + edition, (values[0], values[1], values[2])), values[3])


async def _fill(services: Services) -> str:
    """Features, one in three a config, and releases whose first phase bakes; the secret of an SDK key."""
    for name in ("staging", "production"):
        await services.catalog.save_environment(name, name == "production", ADMINISTRATOR)
    first = ReleaseRule(("staging", "production"), (Condition("country", Op.ANY_OF, _COUNTRIES[:2]),))
    phases = (
        PhaseDraft("First countries", (first,), timedelta(days=1)),
        PhaseDraft("All", (ReleaseRule(("staging", "production")),)),
    )
    pipeline = await services.catalog.create_pipeline("Usual", None, phases, ADMINISTRATOR)
    for number in range(_FEATURES):
        kind = FeatureKind.DYNAMIC_CONFIG if number % 3 == 0 else FeatureKind.FEATURE_GATE
        key, spec = _key(number), _spec(number, kind, 0)
        await services.catalog.create_feature(key, kind, None, spec, pipeline.id, ADMINISTRATOR)
        if number % (_FEATURES // _UNDER_WAY) == 0:
            await services.catalog.update_feature(key, _spec(number, kind, 1), None, None, ADMINISTRATOR)
    _, secret = await services.sdk_keys.create("Benchmark", "production", None, ADMINISTRATOR)
    return secret


def _key(number: int) -> str:
    return f"team-{number % 20}.feature-{number}"


def _context(random: random.Random) -> dict[str, Json]:
    user = random.randrange(1_000_000)
    return {
        "targetingKey": f"user-{user}",
        "email": f"user-{user}@{'example.com' if random.random() < 0.05 else 'customer.example'}",
        "country": random.choice(_COUNTRIES),
        "plan": random.choice(_PLANS),
        "appVersion": f"{random.randrange(2, 5)}.{random.randrange(10)}.{random.randrange(10)}",
        "seats": random.randrange(1, 100),
        "beta": random.random() < 0.1,
        "groups": random.sample(["sales", "support", "admins", "finance"], 2),
    }


def _requests(secret: str) -> tuple[list[Request], list[Request]]:
    """Single evaluations over all features, each of another user; bulk evaluations of some users."""
    drawn = random.Random(2026)
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
    bodies = [json.dumps({"context": _context(drawn)}) for _ in range(_REQUESTS)]
    single = [
        Request("POST", f"{_FLAGS}/{_key(number)}", headers, body)
        for number, body in zip((drawn.randrange(_FEATURES) for _ in bodies), bodies, strict=False)
    ]
    return single, [Request("POST", _FLAGS, headers, body) for body in bodies[:50]]


# --- the servers ---


@contextlib.contextmanager
def _on_core(core: int) -> Iterator[None]:
    """What is started within runs on that core alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def _served(core: int, command: list[str], path: str, **env: str) -> Iterator[Server]:
    """A server as a process of its own on that core, once it answers at that path."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    with _on_core(core):
        process = subprocess.Popen([*command, "--port", str(port)], env={**os.environ, **env})
    try:
        for _ in range(600):
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"http://127.0.0.1:{port}{path}").status_code == 200:
                    break
            time.sleep(0.05)
        else:
            raise RuntimeError(f"{command} did not come up")
        yield Server(process.pid, port)
    finally:
        process.terminate()
        process.wait(10)


def _plain_server(core: int) -> contextlib.AbstractContextManager[Server]:
    command = "uvicorn benchmarks.plain_endpoint:app --loop uvloop --http httptools --no-access-log --no-server-header"
    return _served(
        core,
        [sys.executable, "-m", *command.split(), "--log-level", "error", "--timeout-keep-alive", "75"],
        "/constant",
    )


def _slipway(core: int, settings: Settings) -> contextlib.AbstractContextManager[Server]:
    return _served(
        core,
        [str(Path(sys.executable).with_name("slipway")), "serve"],
        "/readyz",
        SLIPWAY_STORE_URL=settings.store_url,
        SLIPWAY_REDIS_URL=settings.redis_url,
        SLIPWAY_ADMIN_TOKEN=settings.admin_token.get_secret_value(),
        SLIPWAY_EVALUATIONS_PER_MINUTE="0",
        SLIPWAY_REQUESTS_PER_MINUTE="0",
        SLIPWAY_LOG_LEVEL="error",
    )


@contextlib.asynccontextmanager
async def _stores() -> AsyncIterator[tuple[Path, Settings, str]]:
    """A folder, settings for the filled stores in it, and the secret of an SDK key."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with EmbeddedValkey(folder) as valkey:
            settings = Settings(
                store_url=f"sqlite:///{folder}/bench.db", redis_url=valkey.url, admin_token="not-a-secret-here"
            )
            async with open_services(settings) as services:
                await services.store.prepare()
                secret = await _fill(services)
            async with open_services(settings) as services:
                print(f"loading {_FEATURES} features and their releases: {await _loading_ms(services):.0f} ms\n")
            yield folder, settings, secret


async def _loading_ms(services: Services) -> float:
    snapshot = Snapshot(services.hub, services.features, services.releases, services.sdk_key_list, 1, success)
    begun = time.perf_counter()
    async with services.hub.running(), snapshot.running():
        await snapshot.loaded()
        return (time.perf_counter() - begun) * 1_000


# --- what is measured ---


def _compare(servers: dict[str, Server], scripts: dict[str, Path], rounds: int, seconds: int) -> None:
    measured: dict[str, list[Measured]] = {name: [] for name in servers}
    print(
        f"{_CONNECTIONS} connections, {rounds} rounds of {seconds} s each    requests/s, p50 ms, p99 ms, processor µs"
    )
    for name, server in servers.items():
        measure(server, scripts[name], 1, _CONNECTIONS)  # what is made at a first request is made
    for round in range(rounds):
        for name in list(servers)[:: 1 if round % 2 else -1]:
            measured[name].append(measure(servers[name], scripts[name], seconds, _CONNECTIONS))
        each = "   ".join(f"{name} {_shown(found[-1])}" for name, found in measured.items())
        print(f"  {round + 1:>2}  {each}", flush=True)
    print()
    ours = measured.pop("evaluation")
    print(f"  {'median of rounds':<20}{_shown(_median(ours))}")
    for name, plain in measured.items():
        ratios = Measured(
            *(
                statistics.median(getattr(o, part) / getattr(p, part) for o, p in zip(ours, plain, strict=True))
                for part in Measured.__struct_fields__
            )
        )
        print(f"  against {name:<12}{_shown(_median(plain))}")
        print(f"{'':10}ratios: p50 {ratios.p50:.2f}, processor {ratios.cpu:.2f}")
        judged = name == "plain"  # the one that is sent the same requests
        print_bar(f"{'':10}ratio: requests/s", ratios.per_second, least=0.5 if judged else None)
        print_bar(f"{'':10}ratio: p99", ratios.p99, most=3 if judged else None)
    print()


def _median(rounds: list[Measured]) -> Measured:
    return Measured(*(statistics.median(getattr(each, part) for each in rounds) for part in Measured.__struct_fields__))


def _shown(found: Measured) -> str:
    return f"{found.per_second:>7.0f} {found.p50:>6.2f} {found.p99:>6.2f} {found.cpu:>6.0f}"


def _inform(server: Server, folder: Path, bulk: list[Request], seconds: int) -> None:
    """Print what bulk evaluation costs, one request at a time."""
    known = []
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}") as client:
        for each in bulk:
            answer = client.post(each.path, content=each.body, headers=each.headers)
            assert answer.json()["flags"][_FEATURES - 1]["key"]
            known.append(
                Request(each.method, each.path, {**each.headers, "If-None-Match": answer.headers["etag"]}, each.body)
            )
    print(f"bulk evaluation of {_FEATURES} features, one connection    requests/s, p50 ms, p99 ms, processor µs")
    for name, requests in (("all", bulk), ("304", known)):
        print(
            f"  {name:<8}{_shown(measure(server, write_script(folder / f'{name}.lua', requests), seconds, 1))}",
            flush=True,
        )


async def _main(seconds: int, rounds: int) -> None:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("This benchmark needs two cores: one for the servers, one for the load.")
    version = wrk_version()
    print_environment()
    print(f"load      {version}, on core {cores[-1]}; both servers on core {cores[0]}")
    configure_logs("error")
    with _on_core(cores[-1]):
        async with _stores() as (folder, settings, secret):
            single, bulk = _requests(secret)
            same = [Request(each.method, "/constant", each.headers, each.body) for each in single]
            scripts = {
                "evaluation": write_script(folder / "evaluation.lua", single),
                "plain": write_script(folder / "plain.lua", same),
                "plain GET": write_script(folder / "get.lua", [Request("GET", "/constant")]),
            }
            with _slipway(cores[0], settings) as slipway, _plain_server(cores[0]) as plain:
                _compare({"evaluation": slipway, "plain": plain, "plain GET": plain}, scripts, rounds, seconds)
                _inform(slipway, folder, bulk, seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=2, help="how long each round loads each server")
    parser.add_argument("--rounds", type=int, default=20, help="how many rounds")
    given = parser.parse_args()
    asyncio.run(_main(given.seconds, given.rounds))
