"""What `find` and `revisions` answer, on each adapter."""

import random
from collections.abc import Iterable
from typing import Any

import pytest

from app.store.documents import Document, Key, Query, Store


async def fill(store: Store, documents: Iterable[Document]) -> None:
    for document in documents:
        await store.collection("releases").insert(document)


async def ids(store: Store, query: Query) -> list[str]:
    return [each.id for each in await store.collection("releases").find(query)]


@pytest.fixture
async def five(store: Store) -> Store:
    """A store with five releases, deadlines 10 to 50, and one without a deadline."""
    shuffled = (3, 1, 5, 2, 4)
    await fill(store, (Document(str(n), n, {"deadline_ms": n * 10, "page_key": f"p{n}"}, "{}") for n in shuffled))
    await fill(store, [Document("none", 1, {"page_key": "p9"}, "{}")])
    return store


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({}, "12345"),
        ({"above": 20}, "345"),
        ({"at_least": 20}, "2345"),
        ({"below": 40}, "123"),
        ({"at_most": 40}, "1234"),
        ({"above": 10, "below": 50}, "234"),
        ({"at_least": 20, "at_most": 40}, "234"),
        ({"above": 20, "at_least": 20}, "345"),
        ({"above": 50}, ""),
        ({"above": 0, "below": -1}, ""),
    ],
)
async def test_bounds_are_on_the_sort_key(five: Store, bounds: dict[str, Any], expected: str) -> None:
    """Each bound alone and together, both ways; documents without the sort key are never found."""
    assert await ids(five, Query("deadline_ms", **bounds)) == list(expected)
    assert await ids(five, Query("deadline_ms", descending=True, **bounds)) == list(reversed(expected))


async def test_a_limit_cuts_what_comes_last(five: Store) -> None:
    """A limit keeps the first in the order asked for; zero keeps nothing."""
    assert await ids(five, Query("deadline_ms", limit=2)) == ["1", "2"]
    assert await ids(five, Query("deadline_ms", descending=True, limit=2)) == ["5", "4"]
    assert await ids(five, Query("deadline_ms", above=20, limit=1)) == ["3"]
    assert await ids(five, Query("deadline_ms", limit=0)) == []


async def test_strings_sort_by_code_point(store: Store) -> None:
    """The order of strings is that of their code points, not of a language, and is the same everywhere."""
    strings = ["", "10", "9", "A", "Z", "_", "a", "z", "Ä", "é", "\ue000", "🚀"]
    await fill(store, (Document(f"rel_{n}", 1, {"page_key": text}, "{}") for n, text in enumerate(strings)))

    found = await store.collection("releases").find(Query("page_key"))

    assert [each.keys["page_key"] for each in found] == sorted(strings)


async def test_a_filtered_page_follows_a_page(store: Store) -> None:
    """Equal on one key, newest first, from the last one seen: pages hold every document once."""
    statuses = ("PAUSED", "ABORTED")
    await fill(
        store,
        (Document(f"rel_{n:02}", 1, {"page_key": f"{n:02}", "status": statuses[n % 2]}, "{}") for n in range(21)),
    )

    pages: list[list[str]] = []
    below: Key | None = None
    while True:
        page = Query("page_key", descending=True, equal={"status": "PAUSED"}, below=below, limit=4)
        found = await store.collection("releases").find(page)
        if not found:
            break
        pages.append([each.id for each in found])
        below = found[-1].keys["page_key"]

    assert sum(pages, []) == [f"rel_{n:02}" for n in range(20, -1, -2)]  # noqa: RUF017 three short pages
    assert [len(page) for page in pages] == [4, 4, 3]


async def test_equal_on_several_keys(store: Store) -> None:
    """All of `equal` must match; a document that lacks one of the keys does not."""
    await fill(
        store,
        [
            Document("both", 1, {"page_key": "1", "status": "PAUSED", "feature_key": "f"}, "{}"),
            Document("other", 1, {"page_key": "2", "status": "PAUSED", "feature_key": "g"}, "{}"),
            Document("one", 1, {"page_key": "3", "status": "PAUSED"}, "{}"),
        ],
    )

    assert await ids(store, Query("page_key", equal={"status": "PAUSED", "feature_key": "f"})) == ["both"]
    assert await ids(store, Query("page_key", equal={"status": "PAUSED"}, above="1")) == ["other", "one"]


async def test_a_document_without_the_sort_key_is_not_found_by_a_unique_key(store: Store) -> None:
    """`equal` on a unique key does not bring back a document that lacks the sort key."""
    await fill(store, [Document("rel_1", 1, {"lock_key": "f"}, "{}")])

    assert await ids(store, Query("page_key", equal={"lock_key": "f"})) == []
    assert await ids(store, Query("lock_key", equal={"lock_key": "f"})) == ["rel_1"]


async def test_a_string_and_an_integer_are_never_equal(store: Store) -> None:
    """A query for the string 1 does not find the integer 1, nor the other way round."""
    await fill(store, [Document("text", 1, {"page_key": "1"}, "{}"), Document("number", 1, {"changed_ms": 1}, "{}")])

    assert await ids(store, Query("page_key", equal={"page_key": 1})) == []
    assert await ids(store, Query("changed_ms", equal={"changed_ms": "1"})) == []


async def test_revisions_are_those_that_find_gives(five: Store) -> None:
    """Revisions answers like find, with id and revision only."""
    query = Query("deadline_ms", descending=True, at_least=20, limit=3)

    assert await five.collection("releases").revisions(query) == [("5", 5), ("4", 4), ("3", 3)]
    assert await five.collection("releases").revisions(Query("deadline_ms", limit=0)) == []


async def test_more_than_one_batch_is_found(store: Store) -> None:
    """A limit above what a MongoDB sends at once, 101 documents, is filled."""
    await fill(store, (Document(f"rel_{n:03}", n, {"page_key": f"{n:03}"}, "{}") for n in range(250)))

    assert len(await ids(store, Query("page_key", limit=230))) == 230
    assert (await store.collection("releases").revisions(Query("page_key", limit=1000)))[-1] == ("rel_249", 249)


async def test_random_queries_answer_as_plain_python_does(store: Store) -> None:
    """Two hundred random queries over random documents find exactly what a filter and a sort of a list find."""
    chance = random.Random(17)
    documents = []
    for n in range(60):
        keys: dict[str, Key] = {"page_key": f"{n:02}", "status": chance.choice("ABC")}
        keys |= {"deadline_ms": n * 2} if chance.random() < 0.6 else {}
        keys |= {"feature_key": chance.choice("fg")} if chance.random() < 0.8 else {}
        documents.append(Document(f"rel_{n}", n, keys, f"body {n}"))
    chance.shuffle(documents)
    await fill(store, documents)

    for _ in range(200):
        query = random_query(chance)
        assert await store.collection("releases").find(query) == plainly_found(documents, query), query


def random_query(chance: random.Random) -> Query:
    sort = chance.choice(["page_key", "deadline_ms"])
    equal: dict[str, Key] = {"status": chance.choice("ABC")} if chance.random() < 0.5 else {}
    equal |= {"feature_key": chance.choice("fg")} if chance.random() < 0.3 else {}
    bounds: dict[str, Key] = {}
    for bound in ("above", "below", "at_least", "at_most"):
        if chance.random() < 0.3:
            number = chance.randrange(0, 120)
            bounds[bound] = number if sort == "deadline_ms" else f"{number // 2:02}"
    return Query(sort, chance.random() < 0.5, equal, limit=chance.choice([1, 5, 100]), **bounds)  # type: ignore[arg-type]


def plainly_found(documents: list[Document], query: Query) -> list[Document]:
    def matches(document: Document) -> bool:
        value: Any = document.keys.get(query.sort)
        return (
            value is not None
            and all(document.keys.get(key) == wanted for key, wanted in query.equal.items())
            and (query.above is None or value > query.above)
            and (query.below is None or value < query.below)
            and (query.at_least is None or value >= query.at_least)
            and (query.at_most is None or value <= query.at_most)
        )

    found = sorted(filter(matches, documents), key=lambda each: each.keys[query.sort], reverse=query.descending)
    return found[: query.limit]
