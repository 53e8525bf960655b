"""Servers under measure: child processes on a core of their own that end with us, however we end.

A child prints one line of JSON once it can be asked, takes commands as lines on its standard input, and ends when that
is closed: so nothing is left behind by Ctrl-C, nor by a `kill -9` of the benchmark.
"""

import json
import os
import resource
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

_START_SECONDS = 60
_STOP_SECONDS = 10
_QUIET_SECONDS = 0.5
_QUIET_SHARE = 0.06  # of a core; a server that looks at its store once a second is quiet
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def two_cores() -> tuple[int, int]:
    """One core for the servers and another for the client, to which this process is bound from now on."""
    if not hasattr(os, "sched_setaffinity") or not Path("/proc/self/stat").exists():
        sys.exit("THIS BENCHMARK NEEDS LINUX: it binds processes to cores and reads what they cost from /proc.")
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("THIS BENCHMARK NEEDS TWO CORES: one for the server, one for the client.")
    os.sched_setaffinity(0, {cores[1]})
    return cores[0], cores[1]


def allow_files(count: int) -> None:
    """Let this process and its children open that many files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= count:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, max(hard, count)))
    except (ValueError, OSError):
        sys.exit(f"THIS BENCHMARK NEEDS {count} OPEN FILES: run `ulimit -n {count}` first, or ask for fewer --sockets.")


class Child:
    """A server under measure."""

    def __init__(self, name: str, process: "subprocess.Popen[bytes]", stderr: IO[bytes]) -> None:
        self.name = name
        self.pid = process.pid
        self._process = process
        self._stderr = stderr
        self._waiting = b""
        self.facts: dict[str, Any] = {}

    def say(self, command: str) -> None:
        """Give it a command."""
        assert self._process.stdin is not None
        os.write(self._process.stdin.fileno(), f"{command}\n".encode())

    def hear(self, seconds: float) -> dict[str, Any]:
        """The next line that it prints."""
        assert self._process.stdout is not None
        until = time.monotonic() + seconds
        look = select.poll()  # which takes descriptors above 1,024
        look.register(self._process.stdout, select.POLLIN | select.POLLHUP)
        while b"\n" not in self._waiting:
            readable = look.poll(max(0, until - time.monotonic()) * 1_000)
            part = os.read(self._process.stdout.fileno(), 65_536) if readable else b""
            if not part:
                raise RuntimeError(f"{self.name} {'ended' if readable else 'said nothing'}: {self.complaints()}")
            self._waiting += part
        line, _, self._waiting = self._waiting.partition(b"\n")
        return json.loads(line)

    def complaints(self) -> str:
        """The end of what it wrote on standard error."""
        self._stderr.seek(0)
        return self._stderr.read().decode(errors="replace")[-2_000:] or "no complaint was written"

    def cpu_seconds(self) -> float:
        """The processor time that it and its children have taken."""
        return sum(_cpu_ticks(pid) for pid in self.pids()) / _CLOCK_TICKS

    def pids(self) -> list[int]:
        """The process and all that it started (Slipway's Valkey)."""
        found = [self.pid]
        for pid in found:  # which grows meanwhile
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                found += map(int, children.read_text().split())
        return found

    def memory_kb(self) -> int:
        """The memory that the process itself holds (RSS)."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise RuntimeError(f"{self.name} has ended: {self.complaints()}")

    def stop(self) -> None:
        """End it, and wait until it is gone."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        for end in (self._process.terminate, self._process.kill):
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                end()
        self._process.wait()


@contextmanager
def child(name: str, command: Sequence[str], core: int, environment: dict[str, str] | None = None) -> Iterator[Child]:
    """A server on a core, from when it can be asked to the end of the block."""
    with tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=os.environ | (environment or {}),
            start_new_session=True,  # Ctrl-C is for us, and we end it
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
        started = Child(name, process, stderr)
        try:
            started.facts = started.hear(_START_SECONDS)
            yield started
        except Exception:
            print(f"{name} wrote: {started.complaints()}", file=sys.stderr)
            raise
        finally:
            started.stop()


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of ours."""
    return [sys.executable, "-m", module, *arguments]


def wait_until_quiet(server: Child, wait: Callable[[float], None]) -> None:
    """Return once a server has come to rest; `wait` for so many seconds is what we do meanwhile."""
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        before, began = server.cpu_seconds(), time.monotonic()
        wait(_QUIET_SECONDS)
        if server.cpu_seconds() - before < _QUIET_SHARE * (time.monotonic() - began):
            return
    raise RuntimeError(f"{server.name} did not come to rest within {_START_SECONDS} s")


def _cpu_ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0
    return int(fields[11]) + int(fields[12])
