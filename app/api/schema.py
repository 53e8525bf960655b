"""The schema, and what becomes of errors that are no problems of a mutation."""

from collections.abc import Iterable, Iterator
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
)
from strawberry.exceptions import MissingQueryError
from strawberry.extensions import SchemaExtension
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types import ExecutionContext

from app.api import mutations, problems, queries, scalars, subscriptions, types
from app.engine import Contention
from app.store.documents import StoreUnavailable

log = structlog.get_logger()


class Schema(strawberry.Schema):
    """The schema; unexpected errors are logged under an id and shown by it alone."""

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Replace, in place, what callers may not see."""
        errors[:] = [_shown(error) for error in errors]


class _OneOperation(SchemaExtension):
    """Refuses a document that does not say which operation is meant, and a subscription where one answer is awaited."""

    def on_parse(self) -> Iterator[None]:
        """Look at the document once it is parsed."""
        yield
        context = self.execution_context
        if context.graphql_document is None:
            return
        name = context._provided_operation_name
        operation = get_operation_ast(context.graphql_document, name)
        if operation is None and name is None:  # Strawberry would execute the first, which the specification forbids
            message = "Send one operation, or say with operationName which of several is meant."
        elif operation and operation.operation is OperationType.SUBSCRIPTION and context.context.is_http:
            message = "Subscribe over a websocket (graphql-transport-ws) at this URL; HTTP carries one answer only."
        else:
            return
        context.pre_execution_errors = [GraphQLError(message)]


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
        extensions=[_OneOperation],
        config=StrawberryConfig(scalar_map=scalars.SCALARS),
    )
)
