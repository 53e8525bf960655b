"""What only the MongoDB store has to answer for: the URL, time limits, and what it asks the driver for."""

import asyncio
import socket
import time
from contextlib import closing
from uuid import uuid4

import pytest
from pymongo import MongoClient

from app.store.documents import INDEXES, Document, Query, StoreUnavailable
from app.store.mongo import MongoStore, filter_of, index_model
from tests.store.servers import free_port, with_database


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("mongodb://127.0.0.1:1", "slipway"),
        ("mongodb://127.0.0.1:1/", "slipway"),
        ("mongodb://127.0.0.1:1/?journal=true", "slipway"),
        ("mongodb://127.0.0.1:1/flags", "flags"),
        ("mongodb://u:p%2F%3F@127.0.0.1:1,127.0.0.1:2/flags?authSource=admin&replicaSet=rs", "flags"),
        ("mongodb://[::1]:1,[::1]:2/flags", "flags"),
    ],
)
async def test_the_path_of_the_url_names_the_database(url: str, name: str) -> None:
    """The database is the one in the path, or else "slipway"."""
    store = MongoStore(url)
    try:
        assert store.database_name == name
    finally:
        await store.close()


@pytest.mark.parametrize("url", ["mongodb://", "mongodb://host:99999999/", "mongodb://us/er@host/"])
def test_a_url_that_no_server_can_have_is_refused_at_once(url: str) -> None:
    """A malformed URL is a ValueError when the store is made, not a timeout later."""
    with pytest.raises(ValueError, match="Not a usable MongoDB URL"):
        MongoStore(url)


def test_a_store_can_be_made_before_any_event_loop_runs(mongodb_url: str) -> None:
    """The store takes the loop that runs at its first operation."""
    store = MongoStore(mongodb_url)

    async def use() -> None:
        await store.ping()
        await store.close()

    asyncio.run(use())


async def test_a_refused_connection_is_unavailable_within_five_seconds() -> None:
    """Nobody listens: each operation says so in seconds, at start as well as later."""
    store = MongoStore(f"mongodb://127.0.0.1:{free_port()}")
    began = time.monotonic()
    try:
        for asked in (store.prepare(), store.collection("pipelines").get("pip_1")):
            with pytest.raises(StoreUnavailable, match="refused"):
                await asyncio.wait_for(asked, 5)
            assert time.monotonic() - began < 5
            began = time.monotonic()
    finally:
        await store.close()


async def test_a_server_that_never_answers_is_unavailable_within_ten_seconds() -> None:
    """Something accepts connections and says nothing: the wait ends."""
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        store = MongoStore(f"mongodb://127.0.0.1:{silent.getsockname()[1]}")
        try:
            with pytest.raises(StoreUnavailable):
                await asyncio.wait_for(store.ping(), 10)
        finally:
            await store.close()


async def test_the_url_may_set_other_time_limits() -> None:
    """Our limits are defaults: what the URL says, in whatever case, wins."""
    store = MongoStore(f"mongodb://127.0.0.1:{free_port()}/?serverselectiontimeoutms=100")
    began = time.monotonic()
    try:
        with pytest.raises(StoreUnavailable):
            await store.ping()
    finally:
        await store.close()
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("options", ["", "?w=1&journal=false&readPreference=secondary", "?w=0"])
async def test_writes_are_durable_and_reads_from_the_primary_whatever_the_url_says(options: str) -> None:
    """A write is acknowledged by the majority's journals; a load after a lost race sees the winner."""
    store = MongoStore(f"mongodb://127.0.0.1:1/{options}")
    try:
        concern = store._database["releases"].write_concern.document
        assert (concern["w"], concern["j"]) == ("majority", True)
        assert concern["wtimeout"] > 0
        assert store._database["releases"].read_preference.mongos_mode == "primary"
    finally:
        await store.close()


def test_a_query_without_a_bound_asks_for_the_sort_key() -> None:
    """MongoDB would sort documents without the key as null: a bound excludes them, and else `$exists` does."""
    assert filter_of(Query("at", equal={"kind": "k"})) == {"at": {"$exists": True}, "kind": {"$eq": "k"}}
    assert filter_of(Query("at", above=1, at_most=9)) == {"at": {"$gt": 1, "$lte": 9}}
    assert filter_of(Query("at", equal={"at": 3}, below=0)) == {"at": {"$eq": 3, "$lt": 0}}


def test_unique_indexes_are_sparse_and_no_index_holds_the_id() -> None:
    """Sparse, so that documents without the key do not collide; and each index of a collection has its own name."""
    for indexes in INDEXES.values():
        models = [index_model(index).document for index in indexes]
        assert all(
            model.get("sparse", False) is model.get("unique", False) is index.unique
            for model, index in zip(models, indexes, strict=True)
        )
        assert len({model["name"] for model in models}) == len(models)
        assert not any("_id" in model["key"] for model in models)


async def test_a_document_is_stored_as_the_schema_says(mongodb_url: str) -> None:
    """Keys are at the top level, next to `_id`, `revision` and `body`; absent ones are absent, not null."""
    name = f"slipway_test_{uuid4().hex[:16]}"
    store = MongoStore(with_database(mongodb_url, name))
    try:
        await store.prepare()
        await store.collection("releases").insert(Document("rel_1", 1, {"changed_ms": 5}, "{}"))
    finally:
        await store.close()

    with MongoClient[dict[str, object]](mongodb_url) as client:
        assert client[name]["releases"].find_one({}) == {"_id": "rel_1", "revision": 1, "changed_ms": 5, "body": "{}"}
        client.drop_database(name)
