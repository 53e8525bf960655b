"""Which question a subscription asks: two that ask the same one can be answered together."""

from collections.abc import Hashable
from functools import lru_cache
from weakref import WeakKeyDictionary

import msgspec
from graphql import (
    FieldNode,
    GraphQLError,
    OperationDefinitionNode,
    OperationType,
    VariableNode,
    Visitor,
    visit,
)
from msgspec import Struct

from app.api.context import Context
from app.api.fields import FOR_CALLER
from app.api.group import Render
from app.api.operations import Document, Prepared
from app.api.schema import Schema, schema
from app.api.subscriptions import EventsOf, MatchingReleases


class Question(Struct, frozen=True):
    """What a subscription asks: what is compared, what it watches for one subscriber, and how an event is answered."""

    key: Hashable
    source: EventsOf | MatchingReleases
    render: Render


async def question_of(
    query: str, variables: dict[str, object] | None, operation_name: str | None, context: Context
) -> Question | None:
    """The question that an operation asks; None if it is not plainly one that can be shared, or is wrong."""
    if "subscription" not in query:
        return None
    prepared = schema.prepare(query, variables, operation_name, context)
    if isinstance(prepared, list) or prepared.operation_type is not OperationType.SUBSCRIPTION:
        return None
    asked = _asked(prepared.document)
    if asked is None:
        return None
    source = await prepared.subscribe(context)
    if not isinstance(source, EventsOf | MatchingReleases):
        return None
    compared = {name: value for name, value in (variables or {}).items() if name != asked.individual_variable}
    caller = context.caller_session if asked.is_for_caller else None
    key = (
        query,
        operation_name,
        msgspec.json.encode(compared, order="deterministic"),
        context.caller.role,
        caller.principal if caller else None,
    )
    # Whoever's it was, what is executed for all must not know any one of them.
    return Question(key, source, _render(prepared, Context(context.services, None, context.limits, caller)))


def _render(prepared: Prepared, context: Context) -> Render:
    async def render(event: object) -> str:
        result = await prepared.execute(event, context)
        answer: dict[str, object] = {"data": result.data}
        if result.errors:
            answer["errors"] = [error.formatted for error in result.errors]
        return msgspec.json.encode(answer).decode()

    return render


def failure(error: Exception) -> str:
    """The payload of what ends a subscription, as graphql-core has it."""
    shown = [error if isinstance(error, GraphQLError) else GraphQLError(str(error), original_error=error)]
    schema.process_errors(shown)
    return msgspec.json.encode({"data": None, "errors": [each.formatted for each in shown]}).decode()


class _Asked(Struct, frozen=True):
    """What is to know of a document: which variable is each subscriber's own, and whether an answer depends on them."""

    individual_variable: str | None
    is_for_caller: bool


_looked_at: WeakKeyDictionary[Document, _Asked | None] = WeakKeyDictionary()  # as long as documents are kept


def _asked(document: Document) -> _Asked | None:
    if document not in _looked_at:
        _looked_at[document] = _look_at(document)
    return _looked_at[document]


def _look_at(document: Document) -> _Asked | None:
    selections = document.operation.selection_set.selections
    if len(selections) != 1 or not isinstance(selections[0], FieldNode) or selections[0].directives:
        return None  # nobody writes it, and what it means is graphql-core's to say
    seen = _Seen()
    visit(document.ast, seen)
    individual = next(
        (
            argument.value.name.value
            for argument in selections[0].arguments or ()
            if argument.name.value == "after" and isinstance(argument.value, VariableNode)
        ),
        None,
    )
    if individual is not None and seen.uses.count(individual) != 1:
        individual = None
    return _Asked(individual, not seen.fields.isdisjoint(_fields_for_caller(schema)))


class _Seen(Visitor):
    """The names of all fields, and of all variables where they are used."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: set[str] = set()
        self.uses: list[str] = []

    def enter_field(self, node: FieldNode, *_: object) -> None:
        self.fields.add(node.name.value)

    def enter_variable(self, node: VariableNode, *_: object) -> None:
        self.uses.append(node.name.value)

    def leave_operation_definition(self, node: OperationDefinitionNode, *_: object) -> None:
        for definition in node.variable_definitions or ():
            self.uses.remove(definition.variable.name.value)


@lru_cache(maxsize=1)
def _fields_for_caller(schema: Schema) -> frozenset[str]:
    """The names of fields that answer each caller differently, on whatever type."""
    return frozenset(
        schema.config.name_converter.get_graphql_name(field)
        for definition in schema.schema_converter.type_map.values()
        for field in getattr(definition.definition, "fields", ())
        if field.metadata.get(FOR_CALLER)
    )
