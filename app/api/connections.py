"""Pages: lists behind opaque keyset cursors (GraphQL Cursor Connections Specification)."""

import base64
import binascii
from typing import Annotated, Any, Generic, TypeAlias, TypeVar

import strawberry
from msgspec import Struct

from app.api.context import bad_input
from app.store.repositories import Page

MAX_FIRST = 100

First: TypeAlias = Annotated[int | None, strawberry.argument(description=f"How many at most, 0 to {MAX_FIRST}.")]
After: TypeAlias = Annotated[str | None, strawberry.argument(description="The cursor after which the page begins.")]

Value = TypeVar("Value")
T = TypeVar("T")


@strawberry.type(description="Where a page lies among all pages.")
class PageInfo:
    """GraphQL's PageInfo."""

    has_next_page: bool = strawberry.field(description="Whether more follow.")
    has_previous_page: bool = strawberry.field(description="Whether the page began after a cursor.")
    start_cursor: str | None = strawberry.field(description="The first edge's cursor; null on an empty page.")
    end_cursor: str | None = strawberry.field(description="The last edge's cursor; null on an empty page.")


class Edge(Struct, Generic[Value], frozen=True):
    """A value and its cursor."""

    node: Value
    cursor: str


class Connection(Struct, Generic[Value], frozen=True):
    """A page as GraphQL shows it."""

    edges: list[Edge[Value]]
    page_info: PageInfo


def page_size(first: int | None) -> int:
    """The number of values asked for; null means 20, as leaving it out does."""
    size = 20 if first is None else first
    if not 0 <= size <= MAX_FIRST:
        raise bad_input(f"Ask for 0 to {MAX_FIRST}; page on with `after`.", "first")
    return size


def write_cursor(order: str, position: str) -> str:
    """A position in an order, opaque to clients."""
    return base64.urlsafe_b64encode(f"{order}:{position}".encode()).decode().rstrip("=")


def read_cursor(order: str, after: str | None) -> str | None:
    """The position that a cursor of that order stands for; anything else is an error that names the argument."""
    if after is None:
        return None
    try:
        written = base64.b64decode(after + "=" * (-len(after) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        written = ""
    of, _, position = written.partition(":")
    if of != order or not position:
        raise bad_input(f"This is not a cursor that a page of {order} gave.", "after")
    return position


def connection(
    order: str,
    page: Page[Value],  # type: ignore[type-var]
    positions: list[str],
    after: str | None,
) -> Connection[Value]:
    """A page with a cursor for each value."""
    edges = [Edge(value, write_cursor(order, at)) for value, at in zip(page.values, positions, strict=True)]
    return Connection(
        edges,
        PageInfo(
            has_next_page=page.has_next,
            has_previous_page=after is not None,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        ),
    )


def with_nodes(shown: Connection[Value], nodes: list[T]) -> Connection[Any]:
    """The same page with what is shown in the place of its values."""
    return Connection([Edge(node, edge.cursor) for node, edge in zip(nodes, shown.edges, strict=True)], shown.page_info)
