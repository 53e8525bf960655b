"""Slipway's commands as child processes, on free ports: started, waited for, listened to, and always ended by pid."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from tests.store.servers import free_port

SLIPWAY = Path(sys.executable).with_name("slipway")
START_SECONDS = 30.0
STOP_SECONDS = 15.0


class Running:
    """A command that was started. `url` is where it serves, if it does."""

    def __init__(self, process: "subprocess.Popen[bytes]", output: Path, url: str = "") -> None:
        self.process = process
        self.url = url
        self.started = time.monotonic()
        self._output = output

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        """What it has said so far, on either stream."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    @property
    def token(self) -> str:
        """The token that `slipway dev` printed."""
        return self._printed(r"^Token +(\S+)$")

    @property
    def printed_url(self) -> str:
        """The address that `slipway dev` printed."""
        return self._printed(r"^Slipway is up at (\S+)$")

    def _printed(self, pattern: str) -> str:
        found = re.search(pattern, self.output, re.MULTILINE)
        assert found, self.output
        return found[1]

    async def says(self, text: str, within: float = STOP_SECONDS) -> None:
        """Wait until it has said that."""
        await soon(lambda: text in self.output, within, lambda: f"{text!r} is not in: {self.output}")

    async def ready(self, within: float = START_SECONDS) -> None:
        """Wait until it serves and its stores answer."""
        async with httpx.AsyncClient(trust_env=False, verify=False, timeout=5) as client:
            deadline = time.monotonic() + within
            while True:
                assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.output}"
                try:
                    if (await client.get(f"{self.url}/readyz")).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                assert time.monotonic() < deadline, f"not ready within {within:g} s: {self.output}"
                await asyncio.sleep(0.05)

    async def end(self, sign: signal.Signals = signal.SIGTERM, within: float = STOP_SECONDS) -> int:
        """Send it a signal and wait for its end: the exit status, negative for a signal that ended it."""
        self.process.send_signal(sign)
        return await self.ended(within)

    async def ended(self, within: float = STOP_SECONDS) -> int:
        """Wait for its end."""
        await soon(lambda: self.process.poll() is not None, within, lambda: f"it still runs: {self.output}")
        assert self.process.returncode is not None
        return self.process.returncode


def run(*arguments: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a command that is expected to end by itself, in an environment without settings but for those given."""
    return subprocess.run(
        [SLIPWAY, *arguments],
        env=_environment(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )


@asynccontextmanager
async def started(
    folder: Path, *command: str | Path, url: str = "", environment: dict[str, str] | None = None
) -> AsyncIterator[Running]:
    """Any command, its output kept in a file of `folder`; it is not waited for, and killed at the end if it still runs.

    It leads a process group of its own, as a shell's job does: a Ctrl-C reaches it and not us.
    """
    running = Running(*_spawn(folder, command, environment or {}), url)
    try:
        yield running
    finally:
        running.process.terminate()
        try:
            await asyncio.to_thread(running.process.wait, STOP_SECONDS)
        except subprocess.TimeoutExpired:
            running.process.kill()
            running.process.wait()


def _spawn(
    folder: Path, command: Sequence[str | Path], environment: dict[str, str]
) -> tuple["subprocess.Popen[bytes]", Path]:
    folder.mkdir(parents=True, exist_ok=True)
    output = folder / f"output-{len(list(folder.glob('output-*')))}"
    with output.open("wb") as out:
        process = subprocess.Popen(
            command,
            env=_environment(environment),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
    return process, output


@asynccontextmanager
async def dev(
    data: Path, *options: str, port: int | None = None, environment: dict[str, str] | None = None
) -> AsyncIterator[Running]:
    """`slipway dev` on that data folder, ready."""
    port = port or free_port()
    command = (SLIPWAY, "dev", "--port", str(port), "--data", data, *options)
    async with started(
        data.parent / "outputs", *command, url=f"http://127.0.0.1:{port}", environment=environment
    ) as it:
        await it.ready()
        await it.says("Stop with Ctrl-C")
        yield it


@asynccontextmanager
async def serve(folder: Path, environment: dict[str, str]) -> AsyncIterator[Running]:
    """`slipway serve`, not yet ready."""
    port = free_port()
    command = (SLIPWAY, "serve", "--port", str(port))
    async with started(folder, *command, url=f"http://127.0.0.1:{port}", environment=environment) as it:
        yield it


@asynccontextmanager
async def worker(folder: Path, environment: dict[str, str]) -> AsyncIterator[Running]:
    """`slipway worker`, not yet at work."""
    async with started(folder, SLIPWAY, "worker", environment=environment) as it:
        yield it


async def soon(holds: Callable[[], bool], within: float, otherwise: Callable[[], str] = lambda: "") -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, otherwise() or "it did not come about in time"
        await asyncio.sleep(0.02)


def descendants(pid: int) -> dict[int, str]:
    """The pids of a process's children, their children and so on, with their programs' names. Zombies do not count."""
    table = subprocess.run(["ps", "-eo", "pid=,ppid=,stat=,comm="], capture_output=True, text=True, check=True).stdout
    rows = [row.split(None, 3) for row in table.splitlines()]
    found = {pid: ""}
    # Parents may come after their children: look until nothing is added.
    while new := {
        int(child): name
        for child, parent, state, name in rows
        if int(parent) in found and int(child) not in found and not state.startswith("Z")
    }:
        found |= new
    del found[pid]
    return found


def valkey_of(pid: int) -> int:
    """The pid of the Valkey server that runs under a `slipway dev`."""
    (found,) = (child for child, name in descendants(pid).items() if name.startswith("valkey-server"))
    return found


def is_running(pid: int) -> bool:
    """Whether that process is there and no zombie."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


def _environment(given: dict[str, str]) -> dict[str, str]:
    """Ours, without settings of a Slipway but for those given, and with bytecode kept as it is for a user."""
    left_out = ("SLIPWAY_", "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if not name.startswith(left_out)} | given
