"""Programs of Node that tests talk with. What they stand on is installed from npm, outside of the repository."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import msgspec
import pytest

# Seconds after which a script is taken to hang, on a machine that is busy.
PATIENCE = 30

Fact: TypeAlias = dict[str, Any]


def not_run(what: str, why: str) -> NoReturn:
    """Skip, so that nobody overlooks it, on a laptop; fail in CI."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{what}: {why}")
    raise AssertionError("unreachable")


def program(name: str, what: str) -> str:
    """The path of a program of Node; `what` is said if it is missing."""
    found = shutil.which(name)
    if found is None:
        not_run(what, f"{name} is not installed; install Node 20 or newer (https://nodejs.org)")
    return found


def install(packages: tuple[str, ...], folder: Path, what: str) -> Path:
    """Install packages of npm in an empty folder; `what` is said if that fails."""
    npm = program("npm", what)
    (folder / "package.json").write_text('{"private": true}')
    command = [npm, "install", "--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run([*command, *packages], cwd=folder, capture_output=True, text=True, timeout=120)
    if done.returncode:
        not_run(what, f"npm could not install {', '.join(packages)}: {done.stderr.strip()[-300:]}")
    return folder


class Talk:
    """A script that runs: it hears a line of JSON at a time, and says one."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    def say(self, fact: object) -> None:
        """Tell the script something."""
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(fact) + b"\n")

    async def told(self) -> AsyncGenerator[Fact, None]:
        """What the script tells, as it does, to its end: one that complains or fails fails the test."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        async for line in self._process.stdout:
            yield msgspec.json.decode(line)
        complaints = await self._process.stderr.read()
        assert (await self._process.wait(), complaints.decode()) == (0, "")

    def hang_up(self) -> None:
        """Let the script come to its end."""
        assert self._process.stdin is not None
        self._process.stdin.close()


@asynccontextmanager
async def talking(packages: Path, script: Path, url: str, token: str, *arguments: str) -> AsyncIterator[Talk]:
    """A script that runs, to the end of the block."""
    process = await asyncio.create_subprocess_exec(
        shutil.which("node") or "node",
        str(script),
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"SLIPWAY_URL": url, "SLIPWAY_TOKEN": token, "SLIPWAY_NODE_PACKAGES": str(packages)},
    )
    try:
        yield Talk(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


class Threads:
    """One process of Node, in which scripts run that only tell: each in a thread, for a tenth of a process's start."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._numbers = count()
        self._heard: dict[int, asyncio.Queue[Fact]] = {}

    async def listen(self) -> None:
        """Give each script's lines to who runs it, for ever."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            heard = msgspec.json.decode(line)
            if (told := self._heard.get(heard["number"])) is not None:
                told.put_nowait(heard)

    async def run(self, script: Path, url: str, token: str, *arguments: str) -> AsyncGenerator[Fact, None]:
        """What a script tells, as it does, to its end: one that complains, fails or hangs fails the test."""
        number = next(self._numbers)
        told = self._heard[number] = asyncio.Queue()
        env = {"SLIPWAY_URL": url, "SLIPWAY_TOKEN": token}
        self._say({"number": number, "script": str(script), "args": arguments, "env": env})
        try:
            async with asyncio.timeout(PATIENCE):
                while "code" not in (heard := await told.get()):
                    yield heard["fact"]
                assert (heard["code"], heard["complaints"]) == (0, "")
        finally:
            del self._heard[number]
            self._say({"number": number})

    def _say(self, line: Fact) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(line) + b"\n")


@asynccontextmanager
async def threads(packages: Path) -> AsyncIterator[Threads]:
    """A process for scripts that stand on these packages, to the end of the block."""
    process = await asyncio.create_subprocess_exec(
        shutil.which("node") or "node",
        str(Path(__file__).with_name("threads.mjs")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"SLIPWAY_NODE_PACKAGES": str(packages)},
    )
    threads = Threads(process)
    listening = asyncio.create_task(threads.listen())
    try:
        yield threads
    finally:
        process.kill()
        await process.wait()
        await listening
