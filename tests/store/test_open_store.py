"""Which URL opens which store."""

from pathlib import Path

import pytest

from app.store import open_store
from app.store.documents import Document
from app.store.mongo import MongoStore
from app.store.sqlite import SqliteStore


async def test_three_slashes_are_a_relative_path_and_four_an_absolute_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in SQLAlchemy; both URLs below open the same file, whose name has a space, a question and a percent mark."""
    monkeypatch.chdir(tmp_path)
    name = "my file%3F 100%25.db"
    relative, absolute = open_store(f"sqlite:///{name}"), open_store(f"sqlite:///{tmp_path}/{name}")
    try:
        await relative.prepare()
        await relative.collection("pipelines").insert(Document("pip_1", 1, {}, "{}"))
        monkeypatch.chdir("/")
        assert await absolute.collection("pipelines").get("pip_1") is not None
        assert await relative.collection("pipelines").get("pip_1") is not None
    finally:
        await relative.close()
        await absolute.close()

    assert isinstance(relative, SqliteStore)
    assert (tmp_path / "my file? 100%.db").exists()


@pytest.mark.parametrize("url", ["mongodb://127.0.0.1:1/", "mongodb+srv://slipway.invalid/x"])
async def test_mongodb_urls_open_a_mongodb(url: str) -> None:
    """Both schemes are accepted, and nothing is looked up or connected to yet."""
    store = open_store(url)
    try:
        assert isinstance(store, MongoStore)
    finally:
        await store.close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "slipway.db",
        "/tmp/slipway.db",
        "sqlite://",
        "sqlite:///",
        "sqlite://slipway.db",
        "sqlite:///folder/",
        "sqlite:///x.db?mode=ro",
        "mongodb://",
        "postgresql://localhost/slipway",
        "redis://:secret@localhost",
        "mongodb:secret@localhost",
        "sqlite:slipway.db",
    ],
)
def test_anything_else_is_refused_with_what_is_accepted(url: str) -> None:
    """A URL of no known kind is a ValueError that shows the accepted forms and repeats no password."""
    with pytest.raises(ValueError, match=r"mongodb://host:27017/database.*sqlite:////absolute") as refusal:
        open_store(url)

    assert "secret" not in str(refusal.value)
