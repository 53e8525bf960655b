"""Which question a subscription asks: two that ask the same one can be answered together."""

from collections.abc import Hashable
from functools import lru_cache

import msgspec
from graphql import (
    DocumentNode,
    ExecutionResult,
    FieldNode,
    GraphQLError,
    OperationDefinitionNode,
    OperationType,
    VariableNode,
    Visitor,
    create_source_event_stream,
    execute_subscription_event,
    get_operation_ast,
    visit,
)
from msgspec import Struct

from app.api.context import Context
from app.api.execution import Executor
from app.api.fields import FOR_CALLER
from app.api.schema import Schema, schema
from app.api.sharing import Render
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
    document = await schema.accepted(query, variables, operation_name, context)
    if document is None:
        return None
    asked = _asked(document, operation_name)
    if asked is None:
        return None
    executor = _executor(document, variables, operation_name, context)
    if executor is None:
        return None
    source = create_source_event_stream(executor)
    if not isinstance(source, ExecutionResult) and executor.is_awaitable(source):
        source = await source
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
    shared = Context(context.services, None, context.limits, caller)
    common = _executor(document, variables, operation_name, shared)
    assert common is not None, "the variables have just been accepted"
    return Question(key, source, _render(common))


def _executor(
    document: DocumentNode, variables: dict[str, object] | None, operation_name: str | None, context: Context
) -> Executor | None:
    executor = Executor.build(
        schema._schema,
        document,
        context_value=context,
        raw_variable_values=variables,
        operation_name=operation_name,
    )
    return executor if isinstance(executor, Executor) else None


def _render(executor: Executor) -> Render:
    async def render(event: object) -> str:
        result = execute_subscription_event(executor.build_per_event_executor(event))
        if not isinstance(result, ExecutionResult):
            result = await result
        answer: dict[str, object] = {"data": result.data}
        if result.errors:
            errors = list(result.errors)
            schema.process_errors(errors)
            answer["errors"] = [error.formatted for error in errors]
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


@lru_cache(maxsize=256)
def _asked_of(document: "_ById", operation_name: str | None) -> _Asked | None:
    operation = get_operation_ast(document.document, operation_name)
    if operation is None or operation.operation is not OperationType.SUBSCRIPTION:
        return None
    selections = operation.selection_set.selections
    if len(selections) != 1 or not isinstance(selections[0], FieldNode) or selections[0].directives:
        return None  # nobody writes it, and what it means is graphql-core's to say
    seen = _Seen()
    visit(document.document, seen)
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


class _ById:
    """A document, compared by identity."""

    def __init__(self, document: DocumentNode) -> None:
        self.document = document

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ById) and self.document is other.document

    def __hash__(self) -> int:
        return id(self.document)


def _asked(document: DocumentNode, operation_name: str | None) -> _Asked | None:
    return _asked_of(_ById(document), operation_name)


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
