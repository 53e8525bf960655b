"""A process that adds to one document again and again: `python -m tests.store.increment URL TIMES`."""

import asyncio
import sys

from msgspec.structs import replace

from app.store import open_store
from app.store.documents import Collection

ID = "pip_counted"


async def increment(collection: Collection) -> None:
    """Add one, however often others are faster."""
    while True:
        stored = await collection.get(ID)
        assert stored is not None
        added = replace(stored, revision=stored.revision + 1, body=str(int(stored.body) + 1))
        if await collection.replace(added, expected_revision=stored.revision):
            return


async def main(url: str, times: int) -> None:
    """Prepare the store, as every process of ours does, and add."""
    store = open_store(url)
    try:
        await store.prepare()
        for _ in range(times):
            await increment(store.collection("pipelines"))
    finally:
        await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
