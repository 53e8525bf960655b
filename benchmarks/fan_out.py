"""How fast one release's events reach everyone who watches it, against three other servers, side by side in one run.

    uv run python -m benchmarks.fan_out [--sockets 1000] [--subscriptions 1] [--rounds 5] [--servers slipway,node]

All watch one release (`WATCH` in scene.py). In each round each server in turn is given single events, each once the one
before has reached everybody (time to the last subscriber), then a burst (deliveries per second). The servers are up at
once, on one core, and idle but for the one whose turn it is; the client has another core. Slipway's events are
transitions through its engine, with their writes to the store; the others' come from memory.

    slipway    Slipway as `slipway serve` runs it, with embedded SQLite and Valkey
    node       graphql-yoga with graphql-ws on `ws`, of Slipway's schema (node/fan_out.mjs)
    bare       graphql-ws on `ws` alone, of the same schema: the least that Node can do, and no bar
    loop       a plain Starlette endpoint that sends ready text to one socket after another (starlette_loop.py)
    strawberry Strawberry's ASGI view as it comes (strawberry_plain.py)

Needs Linux, two cores, and Node with npm, by which it installs what it needs in ~/.cache/slipway-benchmarks.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack, closing

from msgspec import Struct

from benchmarks.bars import print_bar
from benchmarks.children import Child, allow_files, child, python, two_cores, wait_until_quiet
from benchmarks.environment import print_environment
from benchmarks.node_packages import node_command, node_environment, node_versions
from benchmarks.scene import WATCH
from benchmarks.sockets import Client, Sockets

_NAMES = {
    "slipway": "Slipway",
    "node": "Node yoga",
    "bare": "Node graphql-ws",
    "loop": "Starlette loop",
    "strawberry": "Strawberry",
}
_PATIENCE = 120.0
# At least and at most so many events, as many as take so long: turns are short, so that a noisy moment hits all.
_SINGLES = (2, 20)
_SINGLES_SECONDS = 1.0
_BURST = (2, 40)
_BURST_SECONDS = 1.0
_BUSY = 0.9


class Round(Struct):
    """What one server gave in one round."""

    per_second: float
    burst: int
    to_last: list[float]
    cpu_per_million: float
    client_share: float


class Watched:
    """A server, its watchers, and what was measured of it."""

    def __init__(self, name: str, server: Child, client: Client, subscriptions: int) -> None:
        facts = server.facts
        self.name, self.server = name, server
        variables = {"releaseId": facts["releases"][0]["id"], "after": facts["after"]}
        self.client = client
        self.sockets = Sockets(client, facts["port"], facts.get("token"), WATCH, variables, subscriptions)
        self.subscriptions = subscriptions
        self.events = 0
        self.kb_per_socket = 0.0
        self.bytes = 0
        self.rounds: list[Round] = []

    def connect(self, count: int) -> None:
        """Let everybody watch, and see what an idle watcher takes once the first ones have warmed the server up."""
        first = max(1, count // 20)
        self.sockets.open(first)
        wait_until_quiet(self.server, self.client.read)
        before = self.server.memory_kb()
        self.sockets.open(count - first)
        wait_until_quiet(self.server, self.client.read)
        self.kb_per_socket = (self.server.memory_kb() - before) / max(1, count - first)
        self.fire(2)

    def fire(self, count: int) -> float:
        """The seconds until that many events, made one after another, have reached everybody."""
        expected = self.sockets.received + count * len(self.sockets) * self.subscriptions
        began = time.monotonic()
        self.server.say(f"fire {count}")
        self.events += count
        return self.sockets.read_until(expected, _PATIENCE) - began

    def measure(self) -> Round:
        """Single events, then a burst as long as what they took allows for."""
        to_last: list[float] = []
        least, most = _SINGLES
        while len(to_last) < least or (len(to_last) < most and sum(to_last) < _SINGLES_SECONDS):
            to_last.append(self.fire(1))
        least, most = _BURST
        burst = min(most, max(least, round(_BURST_SECONDS / statistics.median(to_last))))
        deliveries = burst * len(self.sockets) * self.subscriptions
        server, client = self.server.cpu_seconds(), time.process_time()
        seconds = self.fire(burst)
        client = time.process_time() - client
        self.client.read(0.1)  # what is delivered twice would come now
        server = self.server.cpu_seconds() - server
        return Round(deliveries / seconds, burst, to_last, server / deliveries * 1e6, client / seconds)


def _command(name: str) -> tuple[list[str], dict[str, str]]:
    match name:
        case "slipway":
            return python("benchmarks.slipway_server", "watched"), {}
        case "node":
            return node_command("fan_out.mjs", "yoga"), node_environment()
        case "bare":
            return node_command("fan_out.mjs", "bare"), node_environment()
        case "loop":
            return python("benchmarks.starlette_loop"), {}
    return python("benchmarks.strawberry_plain"), {}


def _print_rounds(all: list[Watched]) -> None:
    columns = (
        "deliveries/s",
        "lowest",
        "highest",
        "last: p50",
        "p99",
        "max ms",
        "CPU s/M",
        "kB/socket",
        "bytes",
        "client",
    )
    print(f"{'':<16}{''.join(f'{column:>13}' for column in columns)}")
    for each in all:
        rates = [round.per_second for round in each.rounds]
        last = sorted(1_000 * seconds for round in each.rounds for seconds in round.to_last)
        cells = [
            *(f"{rate:,.0f}" for rate in (statistics.median(rates), min(rates), max(rates))),
            *(
                f"{ms:.1f}"
                for ms in (statistics.median(last), last[min(len(last) - 1, round(len(last) * 0.99))], last[-1])
            ),
            f"{statistics.median(round.cpu_per_million for round in each.rounds):.1f}",
            f"{each.kb_per_socket:.1f}",
            f"{each.bytes}",
            f"{statistics.median(round.client_share for round in each.rounds):.0%}",
        ]
        print(f"{_NAMES[each.name]:<16}{''.join(f'{cell:>13}' for cell in cells)}")
    ceiling = max(round.per_second / round.client_share for each in all for round in each.rounds)
    print(
        "\nlast: until the last subscriber has an event. CPU s/M: of the server and its children, for a million "
        "deliveries.\nbytes: of a delivery. client: how busy it was; by that it reads "
        f"{ceiling:,.0f} deliveries a second before it holds a server up.\n"
    )
    if any(round.client_share > _BUSY for each in all for round in each.rounds):
        print("THE CLIENT WAS BUSY ALL THE TIME: these servers may be faster than they look.\n")


def _print_bars(all: list[Watched]) -> None:
    by_name = {each.name: each for each in all}
    if "slipway" not in by_name:
        return
    ours = by_name["slipway"]

    def median(other: Watched, ratio: Callable[[Round, Round], float]) -> float:
        return statistics.median(map(ratio, ours.rounds, other.rounds))

    print("Slipway against")
    for name, bar in (("node", 5), ("bare", None), ("loop", 0.85), ("strawberry", 20)):
        if other := by_name.get(name):
            print_bar(
                f"{_NAMES[name]}, deliveries/s", median(other, lambda a, b: a.per_second / b.per_second), least=bar
            )
            by_cpu = median(other, lambda a, b: b.cpu_per_million / a.cpu_per_million)
            print_bar(f"{_NAMES[name]}, deliveries for the same processor time", by_cpu)
    if node := by_name.get("node"):
        ratio = median(node, lambda a, b: statistics.median(a.to_last) / statistics.median(b.to_last))
        print_bar(f"{_NAMES['node']}, p50 of the time to the last", ratio, most=0.2)
    # The bar is of a socket with one subscription; more of them take more.
    print_bar(
        "kB of memory for an idle subscribed socket", ours.kb_per_socket, most=40 if ours.subscriptions == 1 else None
    )


def _main(names: list[str], sockets: int, subscriptions: int, rounds: int) -> None:
    server_core, client_core = two_cores()
    allow_files(sockets * len(names) + 500)
    print_environment()
    if {"node", "bare"} & set(names):
        print(f"node      {node_versions()}")
    print(f"cores     servers on {server_core}, client on {client_core}")
    print(f"load      {sockets:,} sockets to each server, {subscriptions} subscription(s) on each, {rounds} rounds\n")
    with ExitStack() as stack:
        client = stack.enter_context(closing(Client()))
        all = []
        for name in names:
            command, environment = _command(name)
            server = stack.enter_context(child(_NAMES[name], command, server_core, environment))
            all.append(Watched(name, server, client, subscriptions))
        for watched in all:
            watched.connect(sockets)
        for _ in range(rounds):
            for watched in all:
                watched.rounds.append(watched.measure())
        for watched in all:
            watched.bytes = watched.sockets.check(watched.events, watched.server.facts["after"])
        _print_rounds(all)
        _print_bars(all)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sockets", type=int, default=1_000, help="how many, to each server")
    parser.add_argument("--subscriptions", type=int, default=1, help="how many on each socket")
    parser.add_argument("--rounds", type=int, default=5, help="how often each server has its turn")
    parser.add_argument("--servers", default=",".join(_NAMES), help="which, separated by commas")
    given = parser.parse_args()
    chosen = given.servers.split(",")
    if unknown := set(chosen) - _NAMES.keys():
        parser.error(f"there is no server {', '.join(sorted(unknown))}: choose of {', '.join(_NAMES)}")
    _main(chosen, given.sockets, given.subscriptions, given.rounds)
