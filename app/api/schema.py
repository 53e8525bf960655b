"""The schema, and what becomes of errors that are no problems of a mutation."""

import asyncio
from collections.abc import Container, Iterable
from typing import Any
from uuid import uuid4

import strawberry
import structlog
from graphql import (
    GraphQLArgument,
    GraphQLError,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLObjectType,
    OperationType,
    Undefined,
    get_operation_ast,
    specified_rules,
)
from strawberry.exceptions import MissingQueryError
from strawberry.extensions.runner import SchemaExtensionsRunner
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.schema.schema import validate_document
from strawberry.types import ExecutionContext
from strawberry.types.execution import PreExecutionError
from strawberry.types.graphql import OperationType as StrawberryOperationType

from app.api import mutations, problems, queries, scalars, subscriptions, types
from app.api.context import Context
from app.api.execution import Executor
from app.api.limits import Limits, bounded_rules, check_variables, parse_bounded
from app.api.operations import Document, Documents, Prepared, timed_out
from app.engine import Contention
from app.store.documents import StoreUnavailable

log = structlog.get_logger()


class Schema(strawberry.Schema):
    """The schema: requests are bounded before Strawberry sees them, unexpected errors are shown by an id alone."""

    documents = Documents()

    def prepare(
        self,
        query: str,
        variables: dict[str, Any] | None,
        operation_name: str | None,
        context: Context,
        allowed: Container[OperationType] = frozenset(OperationType),
    ) -> Prepared | list[GraphQLError]:
        """The operation, ready to be executed; or what is wrong with it, as clients are shown it.

        Raises InvalidOperationTypeError for one of a kind that is not allowed.
        """
        document = self._admitted(query, variables, operation_name, context, allowed)
        if isinstance(document, Document):
            return Prepared(self, document, variables)
        self.process_errors(document)
        return document

    def _admitted(
        self,
        query: str,
        variables: dict[str, Any] | None,
        operation_name: str | None,
        context: Context,
        allowed: Container[OperationType],
    ) -> Document | list[GraphQLError]:
        """The document within the limits and valid, or what is wrong with it: parsed, measured, then validated."""
        limits = context.limits
        key = query, operation_name, limits
        kept = self.documents.get(key)
        document = kept or _parsed(query, operation_name, limits)
        if isinstance(document, list):
            return document
        if document.operation_type is OperationType.SUBSCRIPTION and context.is_http:
            message = "Subscribe over a websocket (graphql-transport-ws) at this URL; HTTP carries one answer only."
            return [GraphQLError(message)]
        if errors := check_variables(variables, limits) or document.exceeded(self._schema, variables or {}, limits):
            return errors
        if document.operation_type not in allowed:
            raise InvalidOperationTypeError(StrawberryOperationType(document.operation_type.value))
        if kept is None:
            if errors := validate_document(self._schema, document.ast, bounded_rules(specified_rules, limits)):
                return errors
            document.keep(query)
            self.documents.keep(key, document)
        return document

    async def _prepare_operation_async(
        self, context: ExecutionContext, extensions_runner: SchemaExtensionsRunner
    ) -> PreExecutionError | None:
        """What HTTP and websocket have in common. (What an extension's hook raises, a socket drops unanswered.)"""
        allowed = {OperationType(kind.value) for kind in context.allowed_operations}
        name = context._provided_operation_name
        document = self._admitted(context.query or "", context.variables, name, context.context, allowed)
        if isinstance(document, Document):
            context.graphql_document = document.ast
            return None
        context.pre_execution_errors = document
        return PreExecutionError(data=None, errors=document)

    async def _execute_operation(self, execution_context: ExecutionContext, *more: Any) -> Any:
        """Execute; a query over a socket no longer than an operation may take. (HTTP answers it with a status.)"""
        context: Context = execution_context.context
        if context.is_http or execution_context.operation_type is not StrawberryOperationType.QUERY:
            return await super()._execute_operation(execution_context, *more)
        seconds = context.services.settings.operation_seconds
        try:
            async with asyncio.timeout(seconds):
                return await super()._execute_operation(execution_context, *more)
        except TimeoutError:
            raise timed_out(seconds) from None

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Replace, in place, what callers may not see."""
        errors[:] = [_shown(error) for error in errors]


def _parsed(query: str, operation_name: str | None, limits: Limits) -> Document | list[GraphQLError]:
    """The document with the operation of that name, or what is wrong with it."""
    try:
        ast = parse_bounded(query, limits)
    except GraphQLError as error:
        return [error]
    operation = get_operation_ast(ast, operation_name)
    if operation is not None:
        return Document(ast, operation, operation_name)
    if operation_name is None:  # Strawberry would execute the first, which the specification forbids
        return [GraphQLError("Send one operation, or say with operationName which of several is meant.")]
    return [GraphQLError(f"There is no operation {operation_name!r} in the document.")]


def _shown(error: GraphQLError) -> GraphQLError:
    cause = error.original_error
    if _is_fault_of_request(error):
        return GraphQLError(
            error.message, error.nodes, error.source, error.positions, extensions={"code": "BAD_REQUEST"}
        )
    if cause is None or isinstance(cause, GraphQLError):
        return error
    if isinstance(cause, StoreUnavailable):
        log.warning("store unavailable", path=error.path, error=str(cause))
        message, extensions = "The store does not answer; try again.", {"code": "STORE_UNAVAILABLE"}
    elif isinstance(cause, Contention):
        message, extensions = str(cause), {"code": "CONTENTION"}
    else:
        id = uuid4().hex
        log.error("unexpected error", error_id=id, path=error.path, exc_info=cause)
        message = f"Something went wrong in Slipway. Its log tells more under the id {id}."
        extensions = {"code": "INTERNAL_SERVER_ERROR", "id": id}
    return GraphQLError(message, nodes=error.nodes, path=error.path, extensions=extensions)


def _is_fault_of_request(error: GraphQLError) -> bool:
    """Whether it is about the document or its variables, found before anything was executed."""
    if isinstance(error.original_error, MissingQueryError | CannotGetOperationTypeError | InvalidOperationTypeError):
        return True
    if error.path is not None or error.extensions:
        return False
    # A literal that a scalar does not take has its place in the document. What fails of itself has none.
    return error.original_error is None or isinstance(error.original_error, GraphQLError) or bool(error.nodes)


def _without_null_defaults(schema: Schema) -> Schema:
    """The schema with optional arguments and fields as clients know them: left out, not null by default."""
    for type_ in schema._schema.type_map.values():
        if isinstance(type_, GraphQLInputObjectType):
            inputs: Iterable[GraphQLArgument | GraphQLInputField] = type_.fields.values()
        elif isinstance(type_, GraphQLObjectType):
            inputs = [argument for field in type_.fields.values() for argument in field.args.values()]
        else:
            continue
        for given in inputs:
            if given.default_value is None:
                given.default_value = Undefined
    return schema


schema = _without_null_defaults(
    Schema(
        query=queries.Query,
        mutation=mutations.Mutation,
        subscription=subscriptions.Subscription,
        types=[types.Release, types.Feature, types.Pipeline, problems.Problem],
        execution_context_class=Executor,
        config=StrawberryConfig(scalar_map=scalars.SCALARS),
    )
)
