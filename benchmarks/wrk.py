"""Load by wrk, a program in C that one core lets send far more than a Python server answers."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

# The requests are in a file beside it: as constants of a script they would be more than Lua takes.
_SCRIPT = """
local requests, at = {}, 0
init = function(args)
  for each in io.open("%s", "rb"):read("*a"):gmatch("[^%%z]+") do
    requests[#requests + 1] = each
  end
end
request = function()
  at = at %% #requests + 1
  return requests[at]
end
done = function(summary, latency, all)
  local e = summary.errors
  print(string.format('{"requests": %%d, "micros": %%d, "p50": %%f, "p99": %%f, "errors": %%d}', summary.requests,
    summary.duration, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    e.connect + e.read + e.write + e.timeout + e.status))
end
"""


class Request(Struct, frozen=True):
    """A request to be sent."""

    method: str
    path: str
    headers: dict[str, str] = {}
    body: str = ""


class Measured(Struct, frozen=True):
    """What one round of load gave; latencies in ms, and the server's processor time for a request in µs."""

    per_second: float
    p50: float
    p99: float
    cpu: float


class Server(Struct, frozen=True):
    """A server on this machine."""

    pid: int
    port: int

    def cpu_seconds(self) -> float:
        """The processor time that it has taken."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wrk_version() -> str:
    """Which wrk is installed; ends the program, saying what to do, if none is."""
    if shutil.which("wrk") is None:
        sys.exit("THIS BENCHMARK NEEDS wrk, which is not installed: apt-get install wrk (Debian), brew install wrk.")
    shown = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False).stdout
    return " ".join(shown.split()[:2])


def write_script(path: Path, requests: Sequence[Request]) -> Path:
    """A script with which wrk sends these requests, one after another and again from the first."""
    sent = path.with_suffix(".requests")
    sent.write_bytes(b"\0".join(map(_on_the_wire, requests)))
    path.write_text(_SCRIPT % sent, encoding="utf-8")
    return path


def measure(server: Server, script: Path, seconds: int, connections: int) -> Measured:
    """What a server gives under load. An error or a refusal is no measurement, and raises."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script)]
    before = server.cpu_seconds()
    run = subprocess.run([*command, f"http://127.0.0.1:{server.port}"], capture_output=True, text=True, check=True)
    cpu = server.cpu_seconds() - before
    found = json.loads(run.stdout.strip().splitlines()[-1])
    if found["errors"] or not found["requests"]:
        raise RuntimeError(f"wrk met errors:\n{run.stdout}")
    count = found["requests"]
    return Measured(count / found["micros"] * 1e6, found["p50"], found["p99"], cpu / count * 1e6)


def _on_the_wire(request: Request) -> bytes:
    headers = {"Host": "127.0.0.1", **request.headers}
    if request.body:
        headers["Content-Length"] = str(len(request.body.encode()))
    lines = [f"{request.method} {request.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", request.body]).encode()
