"""What asking for the status of one release costs, against graphql-yoga with the same schema, side by side in one run.

    uv run python -m benchmarks.status_query [--seconds 4] [--rounds 5] [--connections 16]

The release has six phases and 20 events; the query (`STATUS` in scene.py) has about 150 leaf fields. Slipway has it
in SQLite, where it looks for commits of others before it answers with what it has read before, checks the token and
counts the request on Valkey, as always; yoga has it in memory, and does none of that. Nothing is written meanwhile.
Both answer the same, which is checked. The bar: at least as many requests per second as yoga.

Both servers are up at once on one core, the load comes from wrk on another and goes to one after the other. Needs
Linux, two cores, wrk, and Node with npm, by which it installs what it needs in ~/.cache/slipway-benchmarks.
"""

import argparse
import json
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from benchmarks.bars import print_bar
from benchmarks.children import Child, child, python, two_cores
from benchmarks.environment import print_environment
from benchmarks.node_packages import node_command, node_environment, node_versions
from benchmarks.scene import EVENTS, STATUS
from benchmarks.wrk import Measured, Request, Server, measure, write_script, wrk_version

_WARM_UP_SECONDS = 1


def _request(server: Child, release_id: str) -> Request:
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if token := server.facts.get("token"):
        headers["Authorization"] = f"Bearer {token}"
    return Request("POST", "/graphql", headers, json.dumps({"query": STATUS, "variables": {"id": release_id}}))


def _answer(server: Child, request: Request) -> dict[str, Any]:
    url = f"http://127.0.0.1:{server.facts['port']}{request.path}"
    answer = httpx.post(url, content=request.body, headers=request.headers).raise_for_status().json()
    assert "errors" not in answer, answer
    return answer["data"]["release"]


def _leaves(value: Any) -> int:
    if isinstance(value, dict):
        return sum(map(_leaves, value.values()))
    return sum(map(_leaves, value)) if isinstance(value, list) else 1


def _without_clock(release: dict[str, Any]) -> dict[str, Any]:
    """A release without what the time of asking changes."""
    phases = [{key: value for key, value in phase.items() if key != "bakeRemaining"} for phase in release["phases"]]
    return release | {"phases": phases}


def _main(seconds: int, rounds: int, connections: int) -> None:
    wrk = wrk_version()
    server_core, client_core = two_cores()
    node = node_environment()
    print_environment()
    print(f"node      {node_versions()}")
    print(f"cores     servers on {server_core}, client on {client_core}")
    print(f"load      {wrk}, {connections} connections, {rounds} rounds of {seconds} s each\n")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        slipway = stack.enter_context(child("Slipway", python("benchmarks.slipway_server", "status"), server_core))
        release_id = slipway.facts["releases"][0]["id"]
        release = _answer(slipway, _request(slipway, release_id))
        assert len(release["history"]) == EVENTS
        kept = folder / "release.json"
        kept.write_text(json.dumps(release), encoding="utf-8")
        node |= {"BENCHMARK_RELEASE": str(kept)}
        yoga = stack.enter_context(child("graphql-yoga", node_command("yoga.mjs"), server_core, node))
        other = _answer(yoga, _request(yoga, release_id))
        if _without_clock(other) != _without_clock(release):
            raise RuntimeError(f"the two answer differently:\n{json.dumps(release)}\n{json.dumps(other)}")
        print(f"{_leaves(release)} leaf fields, {len(json.dumps(release, separators=(',', ':'))):,} bytes of JSON")

        servers = (slipway, yoga)
        scripts = [
            write_script(folder / f"{number}.lua", [_request(server, release_id)])
            for number, server in enumerate(servers)
        ]
        found: tuple[list[Measured], ...] = ([], [])
        for turn in range(rounds + 1):
            for server, script, measured in zip(servers, scripts, found, strict=True):
                lasting = seconds if turn else _WARM_UP_SECONDS
                result = measure(Server(server.pid, server.facts["port"]), script, lasting, connections)
                if turn:
                    measured.append(result)
        _print(servers, found)


def _print(servers: tuple[Child, ...], found: tuple[list[Measured], ...]) -> None:
    print(f"\n{'':<16}{'requests/s':>12}{'lowest':>9}{'highest':>9}{'p50':>9}{'p99 ms':>9}{'CPU µs':>9}")
    for server, measured in zip(servers, found, strict=True):
        rates = [each.per_second for each in measured]
        p50, p99, cpu = (statistics.median(getattr(each, name) for each in measured) for name in ("p50", "p99", "cpu"))
        print(
            f"{server.name:<16}{statistics.median(rates):>12,.0f}{min(rates):>9,.0f}{max(rates):>9,.0f}"
            f"{p50:>9.1f}{p99:>9.1f}{cpu:>9.0f}"
        )
    ours, theirs = found
    ratio = statistics.median(a.per_second / b.per_second for a, b in zip(ours, theirs, strict=True))
    by_cpu = statistics.median(b.cpu / a.cpu for a, b in zip(ours, theirs, strict=True))
    print("\nSlipway against graphql-yoga")
    print_bar("requests/s", ratio, least=1)
    print_bar("requests for the same processor time of the server, not Valkey's", by_cpu)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=4, help="of load in each round, to each server")
    parser.add_argument("--rounds", type=int, default=5, help="how often each server has its turn")
    parser.add_argument("--connections", type=int, default=16, help="how many")
    given = parser.parse_args()
    _main(given.seconds, given.rounds, given.connections)
