"""The side of a child (see `children.py`): says that it is ready, and reads its commands."""

import asyncio
import sys
from collections.abc import AsyncIterator

import msgspec


def say(**facts: object) -> None:
    """Print a line of JSON for the benchmark."""
    sys.stdout.buffer.write(msgspec.json.encode(facts) + b"\n")
    sys.stdout.buffer.flush()


async def commands() -> AsyncIterator[list[str]]:
    """Each command, split into words, until the benchmark ends."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield line.decode().split()
