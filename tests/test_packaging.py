"""What the container image, the compose file and CI promise; and the compose file's commands, run for real."""

import asyncio
import os
import re
import socket
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import yaml

from app.embedded import EmbeddedValkey
from app.settings import Settings

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("api", "worker")
STORES = ("mongodb", "redis")


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """Every instruction as (name, the rest), comments dropped and continued lines joined."""
    bare = re.sub(r"^\s*#.*\n", "", dockerfile, flags=re.MULTILINE)
    joined = re.sub(r"\\\n\s*", "", bare)
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


STAGES: list[list[tuple[str, str]]] = []
for instruction in instructions(DOCKERFILE):
    if instruction[0] == "FROM":
        STAGES.append([])
    STAGES[-1].append(instruction)
IMAGE = STAGES[-1]


def only(name: str) -> str:
    found = [rest for instruction, rest in IMAGE if instruction == name]
    assert len(found) == 1, f"{name}: {found}"
    return found[0]


def test_compose_runs_the_four_services() -> None:
    """MongoDB, Redis, API and worker, and nothing else."""
    assert set(SERVICES) == {*STORES, *OURS}
    assert SERVICES["mongodb"]["image"] == "mongo:8"
    assert SERVICES["redis"]["image"].partition(":")[2] == "8"


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_says_how_it_is_and_comes_back(service: str) -> None:
    """Each has a healthcheck, and is started again when it dies."""
    assert SERVICES[service]["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert SERVICES[service]["restart"] == "unless-stopped"


@pytest.mark.parametrize("service", OURS)
def test_ours_wait_for_the_stores(service: str) -> None:
    """API and worker start once both stores are healthy."""
    waits = SERVICES[service]["depends_on"]
    assert waits == {store: {"condition": "service_healthy"} for store in STORES}


def test_data_lies_in_named_volumes() -> None:
    """Every folder with data of MongoDB and Redis is a volume with a name, so `docker compose down` keeps it."""
    named = {mount.split(":")[0]: mount.split(":")[1] for store in STORES for mount in SERVICES[store]["volumes"]}
    assert set(named) == set(COMPOSE["volumes"])
    assert {"/data/db", "/data"} <= set(named.values())


def test_redis_keeps_its_queue() -> None:
    """The append-only file is on."""
    command = SERVICES["redis"]["command"]
    assert command[command.index("--appendonly") + 1] == "yes"


@pytest.mark.parametrize("service", SERVICES)
def test_nothing_stands_in_the_way_of_scaling(service: str) -> None:
    """No container name, and no published port that a second container would want too."""
    assert "container_name" not in SERVICES[service]
    for port in SERVICES[service].get("ports", []):
        published, _, _ = port.partition(":")
        first, _, last = published.partition("-")
        assert int(last) - int(first) >= 2, "three containers must find a port each"


def test_stores_are_not_published() -> None:
    """They have no passwords: only the containers of the project reach them."""
    assert not any("ports" in SERVICES[store] for store in STORES)


def test_one_image_serves_api_and_worker() -> None:
    """Both run the same image, built by one of them from here."""
    assert SERVICES["api"]["image"] == SERVICES["worker"]["image"]
    assert [SERVICES[service].get("build") for service in OURS] == [".", None]


@pytest.mark.parametrize("service", OURS)
def test_every_variable_is_one_that_slipway_reads(service: str) -> None:
    """A misspelt SLIPWAY_ variable, or a required one left out, is noticed here and not at night."""
    known = {f"SLIPWAY_{name}".upper(): field.is_required() for name, field in Settings.model_fields.items()}
    given = set(SERVICES[service]["environment"])
    assert given <= set(known)
    assert {name for name, required in known.items() if required} <= given
    text = DOCKERFILE + (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"SLIPWAY_\w+", text)) <= set(known)


@pytest.mark.parametrize("service", OURS)
def test_the_token_has_no_default(service: str) -> None:
    """`docker compose up` without a token refuses and says what to set."""
    assert re.fullmatch(r"\$\{SLIPWAY_ADMIN_TOKEN:\?.+\}", SERVICES[service]["environment"]["SLIPWAY_ADMIN_TOKEN"])


def test_the_image_is_slim_and_holds_no_build_tools() -> None:
    """Stages on slim bases; the last starts from Python alone, without uv, Node and what development needs."""
    assert all(re.match(r"(python:3\.\d+-slim|node:\d+-slim|build)( |$)", stage[0][1]) for stage in STAGES)
    assert IMAGE[0][1] == STAGES[0][0][1].removesuffix(" AS build")
    assert not any(rest.startswith("--from=node") for _, rest in IMAGE)
    syncs = [rest for name, rest in STAGES[0] if name == "RUN" and "uv sync" in rest]
    assert syncs
    assert all("--no-dev" in sync for sync in syncs)
    assert not any(name == "RUN" and re.search(r"\b(uv|pip)\b", rest) for name, rest in IMAGE)


def test_the_image_brings_graphiql() -> None:
    """A stage with npm fetches its files into the folder that the image's server is told to look in."""
    folder = only("ENV").partition("SLIPWAY_GRAPHIQL_DIR=")[2]
    assert folder.startswith("/")
    assert any(f"slipway graphiql --folder {folder}" in rest for name, rest in STAGES[-2] if name == "RUN")
    assert ("COPY", f"--from=graphiql {folder} {folder}") in IMAGE
    assert STAGES[-2][0][1] == "build AS graphiql"


def test_the_image_does_not_run_as_root() -> None:
    """The user is a number other than 0, which Kubernetes can check without looking into the image."""
    user = only("USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert f"--uid {user.split(':')[0]} " in "".join(rest for name, rest in IMAGE if name == "RUN")


def test_the_image_is_the_command() -> None:
    """`docker run IMAGE` serves, `docker run IMAGE worker` works, and both get signals themselves: exec form."""
    assert yaml.safe_load(only("ENTRYPOINT")) == ["slipway"]
    assert yaml.safe_load(only("CMD")) == SERVICES["api"]["command"]
    assert only("EXPOSE") == "8000"
    assert "PYTHONUNBUFFERED=1" in only("ENV")


def test_only_what_the_image_needs_goes_into_the_build() -> None:
    """The ignore file shuts everything out, then lets in what the Dockerfile copies from here."""
    ignore = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    copied = {
        source
        for name, rest in instructions(DOCKERFILE)
        if name == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    assert ignore[0] == "*"
    assert {line[1:] for line in ignore if line.startswith("!")} == copied
    assert all((ROOT / source).exists() for source in copied)


def test_ci_runs_every_check_and_the_tests_last() -> None:
    """The script stops at the first failure, and pytest's closing line is the last one."""
    script = ROOT / ".ci" / "run"
    lines = [line for line in script.read_text().splitlines() if line and not line.startswith("#")]
    assert script.stat().st_mode & stat.S_IXUSR
    assert lines[0] == "set -euo pipefail"
    assert {"uv run ruff check", "uv run ruff format --check", "uv run mypy", "uv run lint-imports"} <= set(lines)
    assert lines[-1] == "uv run pytest"


@asynccontextmanager
async def environment(folder: Path) -> AsyncIterator[dict[str, str]]:
    """The compose file's variables, with stores of this machine in place of the containers."""
    async with EmbeddedValkey(folder) as valkey:
        here = {
            "SLIPWAY_STORE_URL": f"sqlite:///{folder / 'slipway.db'}",
            "SLIPWAY_REDIS_URL": valkey.url,
            "SLIPWAY_ADMIN_TOKEN": "a-token-of-this-test",
            "SLIPWAY_SECRETS_KEY": "",
            "SLIPWAY_ALLOWED_TARGETS": "",
            "SLIPWAY_PUBLIC_URL": "http://localhost:8000",
        }
        assert set(here) == set(SERVICES["api"]["environment"])
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # the image has `slipway` on it too
        yield {**os.environ, **here, "PATH": path}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def check(service: str, port: int, env: dict[str, str]) -> int:
    """Run the service's healthcheck as Docker would, and return its exit status."""
    kind, *test = SERVICES[service]["healthcheck"]["test"]
    assert kind == "CMD"
    command = [part.replace(":8000/", f":{port}/") for part in test]
    ran = await asyncio.to_thread(subprocess.run, command, env=env, capture_output=True, check=False, timeout=30)
    return ran.returncode


async def test_the_commands_and_healthchecks_of_compose_work(tmp_path: Path) -> None:
    """Started by compose's commands, API and worker become healthy by compose's checks, and end when told to."""
    port = free_port()
    async with environment(tmp_path) as env:
        for service in OURS:
            assert await check(service, port, env) != 0, f"{service} is healthy before it runs"
        with ExitStack() as stack:
            running = {}
            for service in OURS:
                command = ["slipway", *(str(port) if part == "8000" else part for part in SERVICES[service]["command"])]
                running[service] = stack.enter_context(subprocess.Popen(command, env=env))  # noqa: ASYNC220 (at once)
                stack.callback(running[service].kill)
            for service in OURS:
                deadline = time.monotonic() + 30
                while await check(service, port, env) != 0:
                    assert running[service].poll() is None, f"{service} ended"
                    assert time.monotonic() < deadline, f"{service} did not become healthy"
                    await asyncio.sleep(0.5)  # each check is a process, which competes with what it waits for
            for service, process in running.items():
                process.terminate()
                assert process.wait(10) in (0, -15), service


def test_the_wheel_holds_the_status_page(tmp_path: Path) -> None:
    """Who installs the package has every file of the page, and no third party's."""
    built = subprocess.run(
        ["uv", "build", "--wheel", "--out-dir", tmp_path, ROOT],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    folder = "app/web/static"
    with ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith(f"{folder}/")}
    assert packed == {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*") if path.is_file()}
