"""What pausing and unpausing costs over HTTP, beside a bare loop of the same store writes, for information.

    uv run python -m benchmarks.mutation [--seconds 3] [--rounds 5] [--connections 16] [--releases 400]

Half of the releases are paused and unpaused by mutation in turn: each is a request, with its token checked, counted on
Valkey, executed, announced and its bake timer set, and three writes to SQLite that are flushed to disk: the entry in
the audit log, the release, the entry's outcome. The loop, 16 at a time in the same process, makes those writes to the
other half and nothing else. The load comes from wrk on another core. Needs Linux, two cores and wrk.
"""

import argparse
import json
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.children import Child, child, python, two_cores
from benchmarks.environment import print_environment
from benchmarks.wrk import Measured, Request, Server, measure, write_script, wrk_version

_MUTATION = """
mutation Change($input: PhaseActionInput!) {
  %s(input: $input) {
    __typename
    ... on ReleaseActionPayload {
      release { id status revision currentPhase { id bakeEndsAt } }
      events { sequence type }
    }
    ... on Problem { message }
  }
}
"""


def _requests(server: Child) -> list[Request]:
    """Pause each of the first half of the releases, then unpause each."""
    releases = server.facts["releases"]
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {server.facts['token']}"}
    inputs = [{"releaseId": each["id"], "phaseId": each["phaseId"]} for each in releases[: len(releases) // 2]]
    return [
        Request(
            "POST",
            "/graphql",
            headers,
            json.dumps({"query": _MUTATION % mutation, "variables": {"input": given}}),
        )
        for mutation in ("pauseRelease", "unpauseRelease")
        for given in inputs
    ]


def _unpause(server: Child) -> tuple[int, int]:
    """How many transitions are on record now that nothing is paused, and how many of them were made for that."""
    server.say("unpause")
    told = server.hear(60)
    return told["transitions"], told["unpaused"]


def _main(seconds: int, rounds: int, connections: int, releases: int) -> None:
    wrk = wrk_version()
    server_core, client_core = two_cores()
    print_environment()
    print(f"cores     server on {server_core}, client on {client_core}")
    print(f"load      {wrk}, {connections} connections, {rounds} rounds of {seconds} s each, {releases} releases\n")
    mutations: list[Measured] = []
    writes: list[float] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        command = python("benchmarks.slipway_server", "mutations", str(releases))
        slipway = stack.enter_context(child("Slipway", command, server_core))
        script = write_script(folder / "mutations.lua", _requests(slipway))
        server = Server(slipway.pid, slipway.facts["port"])
        measure(server, script, 1, connections)
        changed = 0
        for _ in range(rounds):
            before, _ = _unpause(slipway)
            mutations.append(measure(server, script, seconds, connections))
            slipway.say(f"write {seconds}")
            loop = slipway.hear(seconds + 30)
            writes.append(loop["written"] / loop["seconds"])
            after, unpaused = _unpause(slipway)
            changed += after - unpaused - before - loop["written"]
    asked = round(sum(each.per_second for each in mutations) * seconds)

    print(f"{'':<28}{'a second':>10}{'lowest':>9}{'highest':>9}{'p50':>9}{'p99 ms':>9}")
    rates = [each.per_second for each in mutations]
    p50, p99 = (statistics.median(getattr(each, name) for each in mutations) for name in ("p50", "p99"))
    print(
        f"{'mutations':<28}{statistics.median(rates):>10,.0f}{min(rates):>9,.0f}{max(rates):>9,.0f}{p50:>9.1f}{p99:>9.1f}"
    )
    print(f"{'the store writes alone':<28}{statistics.median(writes):>10,.0f}{min(writes):>9,.0f}{max(writes):>9,.0f}")
    ratio = statistics.median(a / b for a, b in zip(rates, writes, strict=True))
    print(f"\n{ratio:.2f} x of the writes alone. About {asked:,} mutations made {changed:,} transitions,", end="")
    print(" those under way at the end of a round included.")
    if changed < 0.95 * asked:
        raise RuntimeError("too many mutations changed nothing: these figures are not those of transitions")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=3, help="of each in each round")
    parser.add_argument("--rounds", type=int, default=5, help="how often each has its turn")
    parser.add_argument("--connections", type=int, default=16, help="how many")
    parser.add_argument("--releases", type=int, default=400, help="how many")
    given = parser.parse_args()
    _main(given.seconds, given.rounds, given.connections, given.releases)
