"""A MongoDB wire-protocol server on a real socket, for tests where no real MongoDB is named."""

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from pymongo import MongoClient
from pymongo.errors import PyMongoError

START_SECONDS = 30


@contextlib.contextmanager
def mongodb_server(folder: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """The URL of a server of its own, and its process, ended at the end if it still runs."""
    port = free_port()
    url = f"mongodb://127.0.0.1:{port}/?journal=true"
    files = ("--data-dir", folder / "data", "--pid-file", folder / "pid", "--log-file", folder / "log")
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [Path(sys.executable).parent / "nx-27017", "--port", str(port), *files],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_for_ping(url, process, folder / "output")
        yield url, process
    finally:
        end(process)


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def end(process: "subprocess.Popen[bytes]") -> None:
    """End one process, kindly first."""
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def with_database(url: str, name: str) -> str:
    """The same URL with that database in its path."""
    place, _, options = url.partition("?")
    scheme, _, rest = place.partition("://")
    hosts = rest.partition("/")[0]
    if "@" in hosts and "authsource=" not in options.lower():
        # Without a path, a user is looked up in `admin`; with one, in that database.
        options = f"authSource=admin&{options}"
    return f"{scheme}://{hosts}/{name}?{options}"


def _wait_for_ping(url: str, process: "subprocess.Popen[bytes]", output: Path) -> None:
    give_up = time.monotonic() + START_SECONDS
    with MongoClient[dict[str, object]](url, serverSelectionTimeoutMS=500) as client:
        while True:
            if process.poll() is not None:
                raise RuntimeError(f"nx-27017 ended with {process.returncode}: {output.read_text()[-2000:]}")
            try:
                client.admin.command("ping")
                return
            except PyMongoError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.05)
