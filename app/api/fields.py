"""How the types declare their fields: Strawberry's own functions, typed for values of the domain.

A resolver gives a domain value while its annotation names the type that shows it, which no type checker can follow; so
these return Any, and `shown_as` tells Strawberry the type.
"""

from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any, ParamSpec, TypeVar

import strawberry

FOR_CALLER = "for_caller"

P = ParamSpec("P")
T = TypeVar("T")


def plain(description: str, shown_as: object = None) -> Any:
    """A field that is an attribute of the value."""
    return strawberry.field(description=description, graphql_type=shown_as)


def computed(resolver: Callable[..., object], description: str, *, for_caller: bool = False) -> Any:
    """A field that takes more than the value to answer; its type is the class's annotation.

    One that is `for_caller` answers each caller differently, so that its answers are never shared.
    """
    return strawberry.field(resolver=resolver, description=description, metadata={FOR_CALLER: for_caller})


def query(shown_as: object, description: str) -> Callable[[Callable[P, object]], Any]:
    """A field of Query."""

    def declare(resolver: Callable[P, object]) -> Any:
        return strawberry.field(resolver=resolver, graphql_type=shown_as, description=description)

    return declare


def subscription(shown_as: object, description: str) -> Callable[[Callable[P, Awaitable[AsyncIterable[T]]]], Any]:
    """A field of Subscription."""

    def declare(resolver: Callable[P, Awaitable[AsyncIterable[T]]]) -> Any:
        return strawberry.subscription(resolver=resolver, graphql_type=shown_as, description=description)

    return declare


def argument(description: str, name: str | None = None) -> Any:
    """The description of an argument, for `Annotated`."""
    return strawberry.argument(description=description, name=name)
