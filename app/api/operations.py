"""Operations made ready: a document is parsed, limited and validated once, then kept for whoever sends it again.

Two shelves keep documents, each bounded by their number and by their size. One sent for the first time comes to the
first; sent again, to the second, where only others that were sent again can take its place. So documents that are sent
once, as many as there may be, push none out that clients send all the time; those that are refused are never kept.

What of the limits depends on variables is measured anew for values that were not measured before.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from graphql import (
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    Node,
    OperationDefinitionNode,
    OperationType,
    Undefined,
    VariableDefinitionNode,
    VariableNode,
    coerce_input_value,
    default_field_resolver,
    default_type_resolver,
    get_nullable_type,
    is_leaf_type,
)
from graphql.execution import ExecutionResult as Executed
from graphql.execution import create_source_event_stream
from graphql.execution.collect_fields import FragmentDetails
from graphql.execution.get_variable_signature import GraphQLVariableSignature, get_variable_signature
from graphql.execution.values import VariableValues, VariableValueSource, get_variable_values
from strawberry.execution import optimized_is_awaitable
from strawberry.types import ExecutionResult
from strawberry.types.execution import PreExecutionError

from app.api.context import Context
from app.api.execution import Executor, Known, execute_whole
from app.api.limits import Limits, check, weigh
from app.api.measures import MAX_PAGE, measure
from app.api.plans import Choices, plans_of
from app.api.runs import Frame, Read

if TYPE_CHECKING:
    from app.api.schema import Schema

_MAX_COERCION_ERRORS = 50
_MEASURED = 64
_NODE_BYTES = 600  # of a parsed node, its tokens and its share of the plans

Key: TypeAlias = tuple[str, str | None, Limits]


class Document:
    """A document, and the operation of it that is to run."""

    bytes = 0  # about how much memory it takes
    is_new = True  # until it has been executed

    def __init__(self, ast: DocumentNode, operation: OperationDefinitionNode, name: str | None) -> None:
        self.ast = ast
        self.operation = operation
        self.fragment_definitions = {
            node.name.value: node for node in ast.definitions if isinstance(node, FragmentDefinitionNode)
        }
        self.fragments = {name: FragmentDetails(node) for name, node in self.fragment_definitions.items()}
        self._name = name
        self._paging: set[str] = set()
        self._declared: set[str] | None = None
        self._choices: Choices | None = None
        self._measured: set[tuple[object, ...]] = set()
        self._signatures: list[GraphQLVariableSignature | GraphQLError] | None = None

    @property
    def operation_type(self) -> OperationType:
        """Whether it is a query, a mutation or a subscription."""
        return self.operation.operation

    def keep(self, source: str) -> None:
        """Make it ready to be used again, once it is known to be good."""
        nodes = list(_nodes(self.ast))
        self.bytes = 2 * len(source) + _NODE_BYTES * len(nodes)
        self._declared = {node.variable.name.value for node in nodes if isinstance(node, VariableDefinitionNode)}
        self._paging = {name for node in nodes if isinstance(node, FieldNode) for name in _given(node, "first")}
        deciding = {name for node in nodes if isinstance(node, DirectiveNode) for name in _given(node, "if")}
        self._choices = Choices(self.operation, sorted(deciding))  # held: they are looked up by the operation

    def exceeded(self, schema: GraphQLSchema, variables: Mapping[str, object], limits: Limits) -> list[GraphQLError]:
        """An error for each limit that it exceeds with these variables."""
        if self._declared is None:
            return check(measure(self.ast, self._name, schema, variables), limits)
        seen = tuple(self._measure(name, variables.get(name, Undefined)) for name in self._declared)
        if seen in self._measured:
            return []
        errors = check(measure(self.ast, self._name, schema, variables), limits)
        if not errors and len(self._measured) < _MEASURED:
            self._measured.add(seen)
        return errors

    def coerced(self, schema: GraphQLSchema, given: dict[str, Any]) -> VariableValues | list[GraphQLError]:
        """The variables as the schema takes them, or an error for each that it does not."""
        declared = self.operation.variable_definitions or ()
        if self._signatures is None:
            self._signatures = [get_variable_signature(schema, node) for node in declared]
        sources, coerced = {}, {}
        for signature in self._signatures:
            taken: Any = Undefined
            if not isinstance(signature, GraphQLError) and is_leaf_type(get_nullable_type(signature.type)):
                # All that graphql-core does for a scalar or enum that is given and right.
                value = given.get(signature.name)
                if value is not None:
                    taken = coerce_input_value(value, signature.type)
            if taken is Undefined or isinstance(signature, GraphQLError):
                return get_variable_values(schema, declared, given, _MAX_COERCION_ERRORS)
            sources[signature.name] = VariableValueSource(signature, value)
            coerced[signature.name] = taken
        return VariableValues(sources, coerced)

    def _measure(self, name: str, value: object) -> object:
        """What `measure` makes of a variable: how many values it holds, and which page it asks for."""
        if value is Undefined:
            return None
        items = weigh(value).items if isinstance(value, list | dict) else 0
        if name not in self._paging:
            return items
        return items, min(max(value, 0), MAX_PAGE) if isinstance(value, int) else "" if value is None else MAX_PAGE


class _Shelf:
    """The documents used last, as many as there is room for."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self.documents: OrderedDict[Key, Document] = OrderedDict()
        self._most, self._most_bytes = most, most_bytes
        self._bytes = 0

    def put(self, key: Key, document: Document) -> None:
        """Keep a document; those that were not used for longest make room."""
        self.documents[key] = document
        self._bytes += document.bytes
        while len(self.documents) > self._most or self._bytes > self._most_bytes:
            _, dropped = self.documents.popitem(last=False)
            self._bytes -= dropped.bytes

    def take(self, key: Key) -> Document | None:
        """A document, which is not kept here any more."""
        document = self.documents.pop(key, None)
        if document is not None:
            self._bytes -= document.bytes
        return document


class Documents:
    """Documents that were found good."""

    def __init__(self, most: int = 500, most_bytes: int = 16 * 1024 * 1024) -> None:
        self._once = _Shelf(most // 4, most_bytes // 4)
        self._again = _Shelf(most - most // 4, most_bytes - most_bytes // 4)

    def get(self, key: Key) -> Document | None:
        """The document that was kept under a key."""
        document = self._again.documents.get(key)
        if document is not None:
            self._again.documents.move_to_end(key)
            return document
        document = self._once.take(key)
        if document is not None:
            self._again.put(key, document)
        return document

    def keep(self, key: Key, document: Document) -> None:
        """Keep a document that is not kept yet."""
        self._once.put(key, document)

    def __len__(self) -> int:
        return len(self._once.documents) + len(self._again.documents)


class Prepared:
    """An operation that may run, with its variables: a query or mutation once, a subscription for each event."""

    def __init__(self, schema: "Schema", document: Document, variables: dict[str, Any] | None) -> None:
        self.document = document
        self._schema = schema
        self._given = variables or {}
        self._coerced: VariableValues | list[GraphQLError] | None = None

    @property
    def operation_type(self) -> OperationType:
        """Whether it is a query, a mutation or a subscription."""
        return self.document.operation_type

    async def execute(self, root_value: object, context: Context) -> ExecutionResult:
        """The answer: of a subscription to an event, which is the root value; a query over a socket in limited time."""
        if self.operation_type is not OperationType.QUERY or context.is_http:
            return await self._execute(root_value, context)
        seconds = context.services.settings.operation_seconds
        try:
            async with asyncio.timeout(seconds):
                return await self._execute(root_value, context)
        except TimeoutError:
            return self._refused([timed_out(seconds)])

    async def subscribe(self, context: Context) -> AsyncIterable[Any] | ExecutionResult:
        """The events of a subscription, each to be executed as a root value; or why there are none."""
        executor = self._executor(None, context)
        if isinstance(executor, list):
            return self._refused(executor)
        try:
            stream: Any = create_source_event_stream(executor)
            if optimized_is_awaitable(stream):
                stream = await stream
        except Exception as error:
            return self._refused([_located(error)])
        return self._refused(stream.errors or []) if isinstance(stream, Executed) else stream

    async def _execute(self, root_value: object, context: Context) -> ExecutionResult:
        if self.document.is_new:  # parsing and validating it has held the loop: others have their turn now
            self.document.is_new = False
            await asyncio.sleep(0)
        known = None
        if (read := self._plan()) is not None:
            known = Known()
            with suppress(Exception):
                return ExecutionResult(await execute_whole(read, self._frame(root_value, context), known), None)
        executor = self._executor(root_value, context, known)
        if isinstance(executor, list):
            return ExecutionResult(data=None, errors=self._shown(executor))
        try:
            result: Any = executor.execute_operation()
            if optimized_is_awaitable(result):
                result = await result
        except Exception as error:
            return self._refused([_located(error)])
        return ExecutionResult(data=result.data, errors=self._shown(result.errors) if result.errors else None)

    def _variables(self) -> VariableValues | list[GraphQLError]:
        if self._coerced is None:
            self._coerced = self.document.coerced(self._schema._schema, self._given)
        return self._coerced

    def _plan(self) -> Read | None:
        """The plan of the whole query, if there is one."""
        variables = self._variables()
        return None if isinstance(variables, list) else plans_of(self.document.operation, variables).whole

    def _frame(self, root_value: object, context: Context) -> Frame:
        document, variables = self.document, self._variables()
        assert not isinstance(variables, list), "there is a plan"
        schema = self._schema._schema
        return Frame(schema, document.operation, document.fragment_definitions, variables, context, root_value)

    def _executor(
        self, root_value: object, context: Context, known: Known | None = None
    ) -> Executor | list[GraphQLError]:
        document, schema, variables = self.document, self._schema._schema, self._variables()
        if isinstance(variables, list):
            return variables
        return Executor(
            schema,
            document.fragment_definitions,
            document.fragments,
            root_value,
            context,
            document.operation,
            variables,
            default_field_resolver,
            default_type_resolver,
            default_field_resolver,
            middleware_manager=known,
            is_awaitable=optimized_is_awaitable,
        )

    def _refused(self, errors: list[GraphQLError]) -> PreExecutionError:
        return PreExecutionError(data=None, errors=self._shown(errors))

    def _shown(self, errors: list[GraphQLError]) -> list[GraphQLError]:
        shown = list(errors)
        self._schema.process_errors(shown)
        return shown


def timed_out(seconds: float) -> GraphQLError:
    """The error of an operation that took too long."""
    return GraphQLError(f"The operation took more than {seconds:g} s.", extensions={"code": "TIMEOUT"})


def _located(error: Exception) -> GraphQLError:
    return error if isinstance(error, GraphQLError) else GraphQLError(str(error), original_error=error)


def _nodes(document: DocumentNode) -> Iterator[Node]:
    """Every node, in no particular order."""
    pending: list[Node] = [document]
    while pending:
        node = pending.pop()
        yield node
        for name in node.keys:
            child = getattr(node, name, None)
            if isinstance(child, Node):
                pending.append(child)
            elif isinstance(child, tuple | list):
                pending.extend(child)


def _given(node: FieldNode | DirectiveNode, argument: str) -> Iterator[str]:
    """The variable that is given as an argument, if one is."""
    for given in node.arguments or ():
        if given.name.value == argument and isinstance(given.value, VariableNode):
            yield given.value.name.value
