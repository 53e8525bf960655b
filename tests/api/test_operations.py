"""Documents that are kept, and what is looked at anew for each request."""

import pytest
from graphql import get_operation_ast, parse

from app.api.limits import Limits
from app.api.operations import Document, Documents
from app.api.schema import schema

PAGE = (
    "query($first: Int, $filter: ReleaseFilter) { releases(first: $first, filter: $filter) { edges { node { id } } } }"
)


def document(source: str) -> Document:
    """A parsed document."""
    ast = parse(source)
    operation = get_operation_ast(ast)
    assert operation is not None
    document = Document(ast, operation, None)
    document.keep(source)
    return document


def key(name: str) -> tuple[str, None, Limits]:
    """What a document is kept under."""
    return name, None, Limits()


def test_documents_that_are_sent_once_push_none_out_that_is_sent_again() -> None:
    """However many there are; and there are never more than there is room for."""
    documents = Documents(most=8)
    kept = document("{ serverTime }")
    documents.keep(key("often"), kept)
    assert documents.get(key("often")) is kept
    for number in range(100):
        documents.keep(key(str(number)), document("{ serverTime }"))
        assert len(documents) <= 8
    assert documents.get(key("often")) is kept
    assert documents.get(key("3")) is None
    assert documents.get(key("99")) is not None


def test_the_room_for_documents_is_counted_in_bytes_too() -> None:
    """A large one takes the place of several, and one that is too large is not kept."""
    small, large = document("{ serverTime }"), document("{ serverTime " + "__typename " * 200 + "}")
    documents = Documents(most=1_000, most_bytes=4 * large.bytes)
    for number in range(20):
        documents.keep(key(str(number)), small)
    assert len(documents) == 20
    documents.keep(key("large"), large)
    assert len(documents) == 1
    assert Documents(most_bytes=large.bytes).get(key("large")) is None


def test_a_document_of_other_limits_or_another_operation_is_another() -> None:
    """The limits that it was found to keep are part of what it is kept under."""
    documents = Documents()
    documents.keep(key("{ serverTime }"), document("{ serverTime }"))
    assert documents.get(("{ serverTime }", None, Limits(max_depth=1))) is None
    assert documents.get(("{ serverTime }", "Q", Limits())) is None


@pytest.mark.parametrize(
    ("variables", "cost"),
    [
        ({}, 20),
        ({"first": 1}, 1),
        ({"first": 30}, 30),
        ({"first": None}, 20),
        ({"first": 10**30}, 100),
        ({"first": "many"}, 100),
        ({"first": 1.0}, 100),
        ({"first": 1, "filter": {"status": ["PAUSED"] * 3}}, 1),
    ],
)
def test_what_depends_on_variables_is_measured_for_each(variables: dict[str, object], cost: int) -> None:
    """The page that a variable asks for counts, whichever was asked for before."""
    limits = Limits(max_cost=3 * cost + 1)  # releases, and three fields for each
    seen = document(PAGE)
    for first in (1, 100, None, "x", 3):
        seen.exceeded(schema._schema, {"first": first}, Limits())
    for _ in range(2):
        assert not seen.exceeded(schema._schema, variables, limits)
        (error,) = document(PAGE).exceeded(schema._schema, variables, Limits(max_cost=limits.max_cost - 1))
        assert error.extensions == {
            "code": "LIMIT_EXCEEDED",
            "limit": "max_cost",
            "value": limits.max_cost,
            "allowed": limits.max_cost - 1,
        }


def test_values_within_variables_are_counted_for_each() -> None:
    """A longer list than before is measured, not taken for the one before."""
    seen, limits = document(PAGE), Limits(max_list_items=5)
    assert not seen.exceeded(schema._schema, {"filter": {"status": ["PAUSED"] * 2}}, limits)
    errors = seen.exceeded(schema._schema, {"filter": {"status": ["PAUSED"] * 6}}, limits)
    assert [error.extensions["limit"] for error in errors] == ["max_list_items"]
