"""`slipway dev`: one command, with nothing to set up, whose data stay."""

import os
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import pytest_asyncio

from app.data_folder import DataFolder
from tests.e2e.client import Slipway, told
from tests.e2e.processes import Running, dev, is_running, run, valkey_of

DEMO = """{
  environments { name pipelineRequired }
  pipelines { edges { node { name
    phases { name bakeTime requiredApprovals rules { environments conditions { attribute values } } }
    features { edges { node { key kind } } } } } }
  releases { edges { node { number status description pipelineName feature { key } currentPhase { name }
    availableActions { action allowed } } } }
}"""
PAUSE = """mutation ($release: ID!, $phase: ID!) {
  pauseRelease(input: {releaseId: $release, phaseId: $phase}) { __typename }
}"""


class Demo(NamedTuple):
    """A demo that runs, and how long its first answer took."""

    slipway: Running
    client: Slipway
    data: Path
    seconds: float


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Demo]:
    """`slipway dev --demo` on an empty folder."""
    data = tmp_path_factory.mktemp("demo") / "data"
    began = time.monotonic()
    async with dev(data, "--demo") as slipway, Slipway(slipway.url, slipway.token) as client:
        await client.ask("{ releases { edges { node { status } } } }")
        yield Demo(slipway, client, data, time.monotonic() - began)


def nodes(connection: dict[str, Any]) -> list[dict[str, Any]]:
    return [edge["node"] for edge in connection["edges"]]


@pytest.mark.asyncio(loop_scope="module")
async def test_the_demo_is_a_pipeline_with_two_releases_under_way(demo: Demo) -> None:
    """--demo loads three environments, the pipeline with a review, a gate and a config on it, and a release of each."""
    found = await demo.client.ask(DEMO)

    environments = {each["name"]: each["pipelineRequired"] for each in found["environments"]}
    assert environments == {"development": False, "staging": True, "production": True}
    (pipeline,) = nodes(found["pipelines"])
    assert pipeline["name"] == "Progressive production"
    assert [(each["name"], each["requiredApprovals"]) for each in pipeline["phases"]] == [
        ("Staging", 0),
        ("Production us-west", 1),
        ("Production us-east", 0),
        ("Production eu-central", 0),
    ]
    assert [each["rules"] for each in pipeline["phases"]] == [
        [{"environments": ["staging"], "conditions": []}],
        *(
            [{"environments": ["production"], "conditions": [{"attribute": "region", "values": [region]}]}]
            for region in ("us-west", "us-east", "eu-central")
        ),
    ]
    assert {each["kind"] for each in nodes(pipeline["features"])} == {"FEATURE_GATE", "DYNAMIC_CONFIG"}
    releases = nodes(found["releases"])
    assert {each["feature"]["key"] for each in releases} == {each["key"] for each in nodes(pipeline["features"])}
    for release in releases:
        assert (release["number"], release["pipelineName"]) == (1, "Progressive production")
        # A machine so slow that the first phase has baked by now finds it at the review.
        assert (release["status"], release["currentPhase"]["name"]) in (
            ("IN_PROGRESS", "Staging"),
            ("WAITING_FOR_REVIEW", "Production us-west"),
        )
        assert release["description"]
        assert {"SKIP", "ABORT"} <= {each["action"] for each in release["availableActions"] if each["allowed"]}


@pytest.mark.asyncio(loop_scope="module")
async def test_the_first_command_says_where_to_go_and_answers(demo: Demo, capsys: pytest.CaptureFixture[str]) -> None:
    """`slipway dev --demo` prints the page's link, GraphiQL and token, and answers whoever has the token alone."""
    slipway, port = demo.slipway, demo.slipway.url.rpartition(":")[2]
    assert slipway.printed_url == f"http://localhost:{port}"
    assert f"Status page  http://localhost:{port}/#token={slipway.token}\n" in slipway.output
    assert f"GraphiQL     http://localhost:{port}/graphql\n" in slipway.output
    assert "Secrets      of channels are sealed with the key in " in slipway.output
    assert (await demo.client.ask("{ viewer { role } }"))["viewer"]["role"] == "ADMIN"
    async with httpx.AsyncClient(base_url=slipway.url, trust_env=False, verify=False) as stranger:
        page = await stranger.get("/graphql", headers={"accept": "text/html"})
        refused = await stranger.post("/graphql", json={"query": "{ viewer { role } }"})

    assert page.status_code == 200
    assert "graphiql" in page.text.lower()
    assert (refused.status_code, refused.json().get("data")) == (401, None)
    assert "Traceback" not in slipway.output
    with capsys.disabled():
        print(f"\n  slipway dev --demo: its first query was answered {demo.seconds:.2f} s after the command")
    assert demo.seconds < 30


@pytest.mark.asyncio(loop_scope="module")
async def test_a_second_start_on_the_same_data_says_so_and_harms_nothing(demo: Demo) -> None:
    """The second one ends with status 2 and names pid and address of the first, which goes on with its Valkey."""
    await demo.client.make_features(["checkout"], "PT3S")
    release = await demo.client.start("checkout")
    valkey = valkey_of(demo.slipway.pid)

    second = run("dev", "--demo", "--data", demo.data, "--port", demo.slipway.url.rpartition(":")[2])

    assert second.returncode == 2
    assert f"process {demo.slipway.pid} at {demo.slipway.printed_url}" in second.stderr
    assert "--data" in second.stderr
    assert "Traceback" not in second.stderr + second.stdout
    assert valkey_of(demo.slipway.pid) == valkey
    assert is_running(valkey)
    completed = await demo.client.completed(release["id"], within=10)
    assert told(completed["history"])[-1] == ("RELEASE_COMPLETED", None)


async def test_data_and_token_stay(tmp_path: Path) -> None:
    """The next start opens the same data with the same token, --demo or not; SLIPWAY_ADMIN_TOKEN goes before it."""
    data = tmp_path / "data"
    async with dev(data, "--demo") as slipway, Slipway(slipway.url, slipway.token) as client:
        kept, (one, other) = slipway.token, await client.releases()
        skipped = (await client.skip(one))["release"]
        answer = await client.ask(PAUSE, release=other["id"], phase=other["currentPhase"]["id"])
        assert answer["pauseRelease"]["__typename"] == "ReleaseActionPayload"

    async with dev(data, "--demo") as slipway, Slipway(slipway.url, slipway.token) as client:
        assert slipway.token == kept
        assert "loaded before" in slipway.output
        after = {each["id"]: each for each in await client.releases()}
        assert after.keys() == {one["id"], other["id"]}
        assert after[one["id"]] == skipped
        assert after[other["id"]]["status"] == "PAUSED"
        found = await client.ask("{ features { edges { node { key } } } pipelines { edges { node { id } } } }")
        assert (len(nodes(found["features"])), len(nodes(found["pipelines"]))) == (2, 1)

    mine = "mine-" * 5
    async with dev(data, environment={"SLIPWAY_ADMIN_TOKEN": mine}) as slipway:
        assert slipway.token == mine
        async with Slipway(slipway.url, mine) as client, Slipway(slipway.url, kept) as outdated:
            assert len(await client.releases()) == 2
            assert (await outdated.http.post("/graphql", json={"query": "{ serverTime }"})).status_code == 401
    with DataFolder.open(data, url="http://here") as folder:
        assert folder.admin_token() == kept


def test_a_taken_port_is_told(tmp_path: Path) -> None:
    """Where somebody else listens it ends with status 2, names the address and the way out, and lets go of the data."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        refused = run("dev", "--data", tmp_path / "data", "--port", str(port))
    assert refused.returncode == 2
    assert f"127.0.0.1:{port}" in refused.stderr
    assert "--port" in refused.stderr
    assert "Traceback" not in refused.stderr + refused.stdout
    DataFolder.open(tmp_path / "data", url="http://here").close()


@pytest.mark.parametrize(
    ("options", "environment", "told"),
    [
        pytest.param(["--data", "{locked}"], {}, ["{locked}", "--data"], id="data folder not ours to write"),
        pytest.param(["--log-level", "loud"], {}, ["--log-level loud", "debug, info, warning or error"], id="level"),
        pytest.param(["--port", "70000"], {}, ["--port", "65535"], id="port"),
        pytest.param([], {"SLIPWAY_ADMIN_TOKEN": "short"}, ["SLIPWAY_ADMIN_TOKEN", "at least 16 char"], id="token"),
    ],
)
def test_what_cannot_be_is_told_with_the_remedy(
    tmp_path: Path, options: list[str], environment: dict[str, str], told: list[str]
) -> None:
    """A wrong option or setting ends it at once with status 2 and names what is wrong and what to use instead."""
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    if os.access(locked, os.W_OK):  # for root, only the system's own folders are not to be written
        locked = Path("/proc")
    options = [option.format(locked=locked) for option in options]
    # Of an option that is given twice the last one counts.
    refused = run("dev", "--data", tmp_path / "data", "--port", "0", *options, **environment)

    assert refused.returncode == 2, refused.stderr
    for text in told:
        assert text.format(locked=locked) in refused.stderr
    assert "Traceback" not in refused.stderr + refused.stdout
