"""What every store does: one suite, run on each adapter."""

import asyncio
import json

import pytest
from msgspec.structs import replace

from app.store.documents import INDEXES, Document, DuplicateKey, Key, Query, Store


def pipeline(id: str, *, revision: int = 1, body: str = "{}", **keys: Key) -> Document:
    return Document(id, revision, keys, body)


async def test_what_is_inserted_is_read_back_equal(store: Store) -> None:
    """A document comes back as it went in: id, revision, keys of both types, body."""
    keys: dict[str, Key] = {
        "page_key": "0001-rel_1",
        "status": "PAUSED",
        "deadline_ms": 1_800_000_000_000,
        "changed_ms": 7,
    }
    document = Document("rel_1", 3, keys, '{"a": 1}')
    await store.collection("releases").insert(document)

    found = await store.collection("releases").get("rel_1")

    assert found == document
    assert found is not None
    assert {key: type(value) for key, value in found.keys.items()} == {key: type(value) for key, value in keys.items()}
    assert type(found.revision) is int


@pytest.mark.parametrize("number", [0, -1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63)])
async def test_integers_of_64_bits_stay_exact(store: Store, number: int) -> None:
    """A key is a plain int of up to 64 bits, to the last digit."""
    releases = store.collection("releases")
    await releases.insert(Document("rel_1", 1, {"changed_ms": number}, "{}"))

    found = await releases.get("rel_1")

    assert found is not None
    assert found.keys == {"changed_ms": number}
    assert type(found.keys["changed_ms"]) is int


@pytest.mark.parametrize(
    "body",
    [
        "",
        "日本語 ü 🚀 \u2028 \ufeff",
        json.dumps({"nul": "\x00", "emoji": "👩‍👩‍👧", "a.b": 1, "$set": 2}),
        '{"wide": 123456789012345678901234567890, "exact": 0.10000000000000000555}',
        "raw \x00 nul",
        "é" * 500_000,
    ],
    ids=["empty", "unicode", "escapes", "numbers", "nul", "1 MB"],
)
async def test_bodies_are_text_and_never_changed(store: Store, body: str) -> None:
    """Any text survives an insert and a replace to the last character."""
    pipelines = store.collection("pipelines")
    await pipelines.insert(pipeline("pip_1", body=body))
    await pipelines.insert(pipeline("pip_2"))
    assert await pipelines.replace(pipeline("pip_2", revision=2, body=body), expected_revision=1)

    assert [each.body for each in await pipelines.get_many(["pip_1", "pip_2"])] == [body, body]


async def test_text_that_looks_like_a_statement_is_only_text(store: Store) -> None:
    """Ids and keys with quotes, dollars and dots are values, on both sides of a query."""
    features = store.collection("features")
    for number, key in enumerate(["'; DROP TABLE features; --", '"', "$ne", "a.b", "[x]", "%", "ключ"]):
        await features.insert(Document(key, 1, {"key": key, "kind": f"kind {number}"}, "{}"))
        assert [each.id for each in await features.find(Query("key", equal={"key": key}))] == [key]
        assert (await features.get(key)) is not None


async def test_what_is_not_there_is_none(store: Store) -> None:
    """An unknown id is no error: None from get, nothing from get_many."""
    pipelines = store.collection("pipelines")
    await pipelines.insert(pipeline("pip_1"))

    assert await pipelines.get("pip_2") is None
    assert await pipelines.get_many([]) == []
    assert await pipelines.get_many(["pip_2"]) == []


async def test_get_many_gives_each_document_once(store: Store) -> None:
    """Of more than a thousand ids, some unknown and some named twice, each document that exists comes once."""
    pipelines = store.collection("pipelines")
    for number in range(5):
        await pipelines.insert(pipeline(f"pip_{number}"))

    found = await pipelines.get_many([f"pip_{number}" for number in range(1200)] + ["pip_0", "pip_1"])

    assert sorted(each.id for each in found) == [f"pip_{number}" for number in range(5)]


async def test_collections_are_apart(store: Store) -> None:
    """The same id and the same key in two collections are two documents."""
    await store.collection("features").insert(Document("x", 1, {"key": "k"}, "feature"))
    await store.collection("releases").insert(Document("x", 1, {"lock_key": "k"}, "release"))

    feature = await store.collection("features").get("x")

    assert feature is not None
    assert feature.body == "feature"


async def test_an_id_is_inserted_once(store: Store) -> None:
    """A second document with the same id is refused and changes nothing."""
    pipelines = store.collection("pipelines")
    await pipelines.insert(pipeline("pip_1", body="first"))

    with pytest.raises(DuplicateKey):
        await pipelines.insert(pipeline("pip_1", body="second"))

    assert await pipelines.get("pip_1") == pipeline("pip_1", body="first")


async def test_replace_needs_the_revision_that_is_stored(store: Store) -> None:
    """The right revision is replaced; an older one, a newer one and an unknown id are False and change nothing."""
    pipelines = store.collection("pipelines")
    await pipelines.insert(pipeline("pip_1", revision=4))
    new = pipeline("pip_1", revision=5, body="new")

    assert not await pipelines.replace(replace(new, body="older"), expected_revision=3)
    assert not await pipelines.replace(replace(new, body="newer"), expected_revision=5)
    assert not await pipelines.replace(replace(new, id="pip_2"), expected_revision=4)
    assert await pipelines.replace(new, expected_revision=4)
    assert not await pipelines.replace(replace(new, body="again"), expected_revision=4)
    assert await pipelines.get_many(["pip_1", "pip_2"]) == [new]


async def test_changes_that_arrive_together_are_judged_one_by_one(store: Store) -> None:
    """Among many at once, a lost race is False and a taken key or id is refused, and every other change is done."""
    releases = store.collection("releases")
    for number in range(100):
        await releases.insert(Document(f"rel_{number}", 1, {"lock_key": f"feature {number}"}, "{}"))
    changes = [Document(f"rel_{number}", 2, {"lock_key": f"feature {number}"}, "new") for number in range(100)]
    changes[10] = replace(changes[10], keys={"lock_key": "feature 11"})

    answers = await asyncio.gather(
        *(releases.replace(change, 7 if number == 20 else 1) for number, change in enumerate(changes)),
        releases.insert(Document("rel_30", 1, {}, "{}")),
        releases.insert(Document("rel_100", 1, {}, "{}")),
        releases.delete("rel_40", expected_revision=9),
        return_exceptions=True,
    )

    refused, lost = (10, 100), (20, 102)
    assert [number for number, answer in enumerate(answers) if isinstance(answer, DuplicateKey)] == [*refused]
    assert [number for number, answer in enumerate(answers) if answer is False] == [*lost]
    assert [number for number, answer in enumerate(answers) if answer is not True] == [10, 20, 100, 101, 102]
    found = {each.id: each for each in await releases.get_many([f"rel_{number}" for number in range(101)])}
    assert len(found) == 101
    assert [found[change.id] for change in changes if found[change.id].revision == 2] == [
        change for number, change in enumerate(changes) if number not in (10, 20)
    ]


async def test_a_replace_with_the_same_content_counts(store: Store) -> None:
    """True says that the revision matched, even if nothing is different."""
    pipelines = store.collection("pipelines")
    await pipelines.insert(pipeline("pip_1"))

    assert await pipelines.replace(pipeline("pip_1"), expected_revision=1)


async def test_delete_needs_the_revision_that_is_stored(store: Store) -> None:
    """Only the stored revision is deleted, and only once."""
    pipelines = store.collection("pipelines")
    await pipelines.insert(pipeline("pip_1", revision=2))

    assert not await pipelines.delete("pip_1", expected_revision=1)
    assert await pipelines.get("pip_1") is not None
    assert await pipelines.delete("pip_1", expected_revision=2)
    assert await pipelines.get("pip_1") is None
    assert not await pipelines.delete("pip_1", expected_revision=2)


async def test_keys_appear_and_disappear(store: Store) -> None:
    """A replace sets the keys as a whole: new ones are found by, old ones are gone."""
    releases = store.collection("releases")
    await releases.insert(Document("rel_1", 1, {"lock_key": "feature", "deadline_ms": 5}, "{}"))

    over = Document("rel_1", 2, {"status": "COMPLETED", "page_key": "1"}, "{}")
    assert await releases.replace(over, expected_revision=1)

    assert await releases.get("rel_1") == over
    assert await releases.find(Query("deadline_ms")) == []
    assert await releases.find(Query("page_key", equal={"status": "COMPLETED"})) == [over]
    await releases.insert(Document("rel_2", 1, {"lock_key": "feature"}, "{}"))


async def test_a_unique_key_is_refused_to_a_second(store: Store) -> None:
    """Neither insert nor replace takes a unique key that another document has; the refused one changes nothing."""
    releases = store.collection("releases")
    first, second = (Document(f"rel_{number}", 1, {"lock_key": f"feature {number}"}, "{}") for number in (1, 2))
    await releases.insert(first)
    await releases.insert(second)

    with pytest.raises(DuplicateKey):
        await releases.insert(Document("rel_3", 1, {"lock_key": "feature 1"}, "{}"))
    with pytest.raises(DuplicateKey):
        await releases.replace(Document("rel_2", 2, {"lock_key": "feature 1"}, "{}"), expected_revision=1)

    assert await releases.get("rel_3") is None
    assert await releases.get("rel_2") == second
    # Keeping its own is no duplicate.
    assert await releases.replace(replace(second, revision=2), expected_revision=1)


async def test_documents_without_a_unique_key_do_not_collide(store: Store) -> None:
    """Any number of documents may lack a unique key, also after a replace took it away."""
    releases = store.collection("releases")
    for number in range(3):
        await releases.insert(Document(f"rel_{number}", 1, {"start_key": f"key {number}"}, "{}"))
        assert await releases.replace(Document(f"rel_{number}", 2, {}, "{}"), expected_revision=1)

    assert len(await releases.get_many([f"rel_{number}" for number in range(3)])) == 3


def test_unique_indexes_are_declared_on_one_key() -> None:
    """With several keys, "lacks its key" would mean different things on MongoDB (all) and SQLite (any)."""
    assert [index for indexes in INDEXES.values() for index in indexes if index.unique and len(index.keys) > 1] == []


async def test_keys_are_declared_strings_or_integers(store: Store) -> None:
    """A key without an index, or one that is null or a bool, is a slip of ours, refused before anything is sent."""
    pipelines = store.collection("pipelines")

    for write in (pipelines.insert, lambda document: pipelines.replace(document, 1)):
        with pytest.raises(ValueError, match="colour"):
            await write(pipeline("pip_1", colour="red"))
        for value in (None, True, 1.5):
            with pytest.raises(TypeError, match="name_key"):
                await write(Document("pip_1", 1, {"name_key": value}, "{}"))  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="colour"):
        await pipelines.find(Query("colour"))
    with pytest.raises(ValueError, match="colour"):
        await pipelines.revisions(Query("name_key", equal={"colour": "red"}))
    with pytest.raises(ValueError, match="colours"):
        store.collection("colours")


async def test_preparing_twice_and_at_once_is_safe(store: Store) -> None:
    """Prepare can be repeated, also ten at a time, and loses nothing."""
    await store.collection("pipelines").insert(pipeline("pip_1", name_key="a"))

    await store.prepare()
    await asyncio.gather(*(store.prepare() for _ in range(10)))

    assert await store.collection("pipelines").get("pip_1") == pipeline("pip_1", name_key="a")
    with pytest.raises(DuplicateKey):
        await store.collection("pipelines").insert(pipeline("pip_2", name_key="a"))


async def test_a_store_that_is_there_answers_a_ping(store: Store) -> None:
    """Ping returns while the store answers."""
    await store.ping()
