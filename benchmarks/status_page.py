"""What a person at the status page feels while 1,000 releases are under way and 50 transitions are made a second.

    uv run python -m benchmarks.status_page [--seconds 300] [--releases 1000] [--per-second 50] [--loads 7]

A real Chromium shows the list of Slipway as `slipway serve` runs it, with embedded SQLite and Valkey. First the list is
loaded, cold (a profile that never saw it) and warm (loaded anew). Then, while transitions are made through the engine
and every bake is counted down, it is scrolled with each frame, filtered by status, by feature, and by none again.

    task     long tasks of the page's main thread, by the browser's own account (from 50 ms on)
    behind   from when a transition is asked for, before its write, until the row shows it, while nothing is filtered
    heap     the JavaScript heap after a forced collection, each time that all releases are shown again
    refill   from when no filter is chosen any more until all rows are there again
    paint    from the end of the HTML until the browser has painted something, rows of the list, and all of them

No release ends meanwhile. Needs Linux, two cores (the server is bound to one, Chromium to none), and Chromium.
"""

import argparse
import asyncio
import math
import os
import shutil
import statistics
import sys
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from msgspec import Struct, field
from playwright.async_api import Browser, CDPSession, Page

from benchmarks.bars import print_bar
from benchmarks.children import Child, child, python, two_cores
from benchmarks.environment import print_environment
from tests.browsing import CLOSED_NETWORK, chromium

_NOT_TRIED = "THE STATUS PAGE IS NOT MEASURED"
_SCRIPT = Path(__file__).with_name("status_page.js").read_text(encoding="utf-8")
_SCREEN = {"width": 1280, "height": 800}
_WARM_UP_SECONDS = 8.0
# What comes so shortly before a filter is set may be shown after it, and is not counted.
_GRACE_SECONDS = 1.0
_PATIENCE_MS = 60_000

Window: TypeAlias = tuple[float, float]


class Felt(Struct):
    """What was noted of the page: milliseconds by its clock, but seconds since 1970 in `windows` and `shown`."""

    tasks: list[tuple[float, float]] = field(default_factory=list)
    frames: list[float] = field(default_factory=list)
    shown: list[tuple[str, str, float]] = field(default_factory=list)
    own: list[Window] = field(default_factory=list)  # when we measured, so that tasks are ours
    windows: list[Window] = field(default_factory=list)  # when nothing was filtered
    refilled: list[float] = field(default_factory=list)  # seconds from no filter until all rows were there
    heap: list[tuple[float, float, int]] = field(default_factory=list)  # seconds, MB, nodes

    def take(self, noted: dict[str, Any]) -> None:
        """Add what the page noted."""
        self.tasks += [(start, duration) for start, duration in noted["tasks"]]
        self.frames += noted["frames"]
        self.shown += [(release, statuses, at / 1_000) for release, statuses, at in noted["shown"]]

    def of_the_page(self) -> list[float]:
        """The durations of long tasks, but those that measuring made."""
        return [
            duration
            for start, duration in self.tasks
            if not any(start < end and start + duration > begin for begin, end in self.own)
        ]


class Reader:
    """Somebody who reads the list: who filters it while it scrolls."""

    def __init__(self, page: Page, cdp: CDPSession, felt: Felt, releases: int) -> None:
        self.page, self.cdp, self.felt, self.releases = page, cdp, felt, releases

    async def filter(self, name: str, value: str) -> None:
        """Choose by a field, and wait until the list has settled."""
        await self.page.evaluate("([name, value]) => measured.choose(name, value)", [name, value])
        await settled(self.page)

    async def cycle(self, feature: str) -> None:
        """Scroll all, filter by status and by feature, and see how much memory it takes when all are shown again."""
        began = time.time()
        await asyncio.sleep(9)
        self.felt.windows.append((began, time.time()))
        await self.filter("status", "PAUSED")
        await asyncio.sleep(3)
        await self.show_all("status")
        await self.filter("feature", feature)
        await asyncio.sleep(1)
        await self.show_all("feature")
        await self.weigh()

    async def show_all(self, name: str) -> None:
        """Choose by a field no more, and wait until the last row is there again."""
        began = time.monotonic()
        await self.filter(name, "")
        while await self.page.locator("li.row").count() < self.releases:
            if time.monotonic() - began > _PATIENCE_MS / 1_000:
                sys.exit(f"of {self.releases:,} releases, not all were shown again within {_PATIENCE_MS / 1_000:g} s")
            await asyncio.sleep(0.25)
        self.felt.refilled.append(time.monotonic() - began)

    async def weigh(self) -> None:
        """Note the memory, and all that the page noted."""
        begin = (await self._take())["now"]
        await self.cdp.send("HeapProfiler.collectGarbage")
        told = await self.cdp.send("Performance.getMetrics")
        metrics = {each["name"]: each["value"] for each in told["metrics"]}
        self.felt.heap.append((time.time(), metrics["JSHeapUsedSize"] / 1e6, int(metrics["Nodes"])))
        self.felt.own.append((begin, (await self._take())["now"]))

    async def _take(self) -> dict[str, Any]:
        noted = await self.page.evaluate("measured.take()")
        self.felt.take(noted)
        return noted


async def settled(page: Page) -> None:
    """Return once the list has what is seen of it first."""
    await page.locator("[aria-busy=false]").wait_for(state="attached", timeout=_PATIENCE_MS)


async def _open(browser: Browser, releases: int) -> Page:
    context = await browser.new_context(viewport=_SCREEN)
    await context.add_init_script(f"window.expectedRows = {releases};\n{_SCRIPT}")
    return await context.new_page()


async def _paint(page: Page) -> list[float]:
    async with asyncio.timeout(_PATIENCE_MS / 1_000):
        return await page.evaluate("measured.paint()")


async def _load(browser: Browser, url: str, releases: int, loads: int) -> tuple[list[list[float]], list[list[float]]]:
    """What it took to paint, cold and warm."""
    cold, warm = [], []
    for _ in range(loads):
        page = await _open(browser, releases)
        await page.goto(url)
        cold.append(await _paint(page))
        await page.reload()
        warm.append(await _paint(page))
        await page.context.close()
    return cold, warm


async def _read(browser: Browser, url: str, server: Child, given: argparse.Namespace) -> tuple[Felt, dict[str, Any]]:
    """What is felt in so many seconds, and what was made meanwhile."""
    page = await _open(browser, given.releases)
    await page.goto(url)
    await _paint(page)
    cdp = await page.context.new_cdp_session(page)
    await cdp.send("Performance.enable")
    felt = Felt()
    reader = Reader(page, cdp, felt, given.releases)
    paced = given.seconds + _WARM_UP_SECONDS
    server.say(f"pace {given.per_second:g} {paced:g}")
    # Heard as it is said: what it says is more than a pipe holds, and until it is read the server stands still.
    hearing = asyncio.create_task(asyncio.to_thread(server.hear, paced + _PATIENCE_MS / 1_000))
    await asyncio.sleep(_WARM_UP_SECONDS)
    await page.evaluate("measured.scroll(), measured.take()")
    until = time.monotonic() + given.seconds
    number = 0
    while time.monotonic() < until:
        await reader.cycle(f"feature-{number % given.releases}")
        number += 1
    made = await hearing
    await page.context.close()
    return felt, made


def _behind(felt: Felt, made: dict[str, Any]) -> tuple[list[float], int]:
    """The milliseconds from each transition to the row that shows it, and how many were not shown."""
    shown: dict[tuple[str, str], list[float]] = defaultdict(list)
    for release, statuses, at in felt.shown:
        shown[release, statuses].append(at)
    behind, never = [], 0
    for release, statuses, at in made["made"]:
        window = next((end for begin, end in felt.windows if begin <= at < end - _GRACE_SECONDS), None)
        if window is None:
            continue
        times = shown[release, statuses]
        found = bisect_left(times, at)
        if found < len(times) and times[found] < window:
            behind.append(1_000 * (times[found] - at))
        else:
            never += 1
    return sorted(behind), never


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, math.ceil(len(ordered) * share) - 1)] if ordered else math.nan


def _print_paint(name: str, loads: list[list[float]]) -> float:
    """Print the medians, and return that of the first rows."""
    first, rows, all = (statistics.median(column) for column in zip(*loads, strict=True))
    worst = max(each[1] for each in loads)
    print(f"{name:<10}something {first:.0f} ms, rows {rows:.0f} ms (worst {worst:.0f}), all rows {all:.0f} ms")
    return rows


def _print_felt(felt: Felt, made: dict[str, Any], server_share: float) -> tuple[float, float]:
    """Print it, and return the longest task and by how many MB the heap grows in five minutes."""
    tasks, frames, (behind, never) = felt.of_the_page(), sorted(felt.frames), _behind(felt, made)
    longest = max(tasks, default=0.0)
    over_100 = sum(duration > 100 for duration in tasks)
    print(f"tasks     longest {longest:.0f} ms (0: none of 50); over 50 ms: {len(tasks)}, over 100 ms: {over_100}")
    print(
        f"frames    {len(frames):,}; between two: {', '.join(f'{n} {_quantile(frames, s):.0f} ms' for n, s in _SHARES)}"
    )
    behind_by = ", ".join(f"{name} {_quantile(behind, share):.0f} ms" for name, share in _SHARES)
    print(f"behind    {len(behind):,} transitions shown: {behind_by}; not shown: {never}")
    print(f"refill    all rows again {statistics.median(felt.refilled):.1f} s (worst {max(felt.refilled):.1f})")
    began = felt.heap[0][0]
    slope = 0.0
    if len(felt.heap) > 1:
        slope = statistics.linear_regression([at - began for at, _, _ in felt.heap], [mb for _, mb, _ in felt.heap])[0]
    (_, first_mb, first_nodes), (_, last_mb, last_nodes) = felt.heap[0], felt.heap[-1]
    print(
        f"heap      first {first_mb:.2f} MB, last {last_mb:.2f} MB, {len(felt.heap)} samples, "
        f"{slope * 300:+.2f} MB in five minutes by their slope; nodes {first_nodes:,}, then {last_nodes:,}"
    )
    print(f"server    {len(made['made']) / made['seconds']:.1f} transitions a second, {server_share:.0%} of a core")
    return longest, slope * 300


_SHARES = (("p50", 0.5), ("p99", 0.99), ("max", 1.0))


async def _main(given: argparse.Namespace) -> None:
    if shutil.which("chromium") is None:
        sys.exit(f"{_NOT_TRIED}: chromium is not installed (Debian: apt-get install chromium)")
    server_core, _ = two_cores()
    os.sched_setaffinity(0, set(range(os.cpu_count() or 1)))  # the browser has all, as at a desk
    print_environment()
    command = python("benchmarks.slipway_server", "under-way", str(given.releases))
    with child("Slipway", command, server_core) as server:
        async with chromium(_NOT_TRIED, *CLOSED_NETWORK) as browser:
            print(f"browser   Chromium {browser.version}; server on core {server_core}")
            print(f"load      {given.releases:,} releases under way, {given.per_second:g} transitions a second\n")
            url = f"http://127.0.0.1:{server.facts['port']}/#token={server.facts['token']}"
            cold, warm = await _load(browser, url, given.releases, given.loads)
            paint = {"cold": _print_paint("cold", cold), "warm": _print_paint("warm", warm)}
            cpu, began = server.cpu_seconds(), time.monotonic()
            felt, made = await _read(browser, url, server, given)
            share = (server.cpu_seconds() - cpu) / (time.monotonic() - began)
    longest, growth = _print_felt(felt, made, share)
    print()
    print_bar("ms of the longest task while scrolled and filtered", longest, most=100)
    print_bar("MB that the heap grows in five minutes", growth, most=1)
    for name, rows in paint.items():
        print_bar(f"ms to the first rows after the HTML, {name}", rows, most=300)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300, help="how long it is scrolled and filtered")
    parser.add_argument("--releases", type=int, default=1_000, help="how many are under way")
    parser.add_argument("--per-second", type=float, default=50, help="how many transitions are made")
    parser.add_argument("--loads", type=int, default=7, help="how often it is loaded cold, and as often warm")
    asyncio.run(_main(parser.parse_args()))
