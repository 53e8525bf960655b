"""The schema, and what becomes of errors that are no problems of a mutation."""

from collections.abc import Iterable
from uuid import uuid4

import strawberry
import structlog
from graphql import (
    GraphQLArgument,
    GraphQLError,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLObjectType,
    Undefined,
)
from strawberry.schema.config import StrawberryConfig
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


def _shown(error: GraphQLError) -> GraphQLError:
    cause = error.original_error
    if cause is None or isinstance(cause, GraphQLError):
        return error
    if isinstance(cause, StoreUnavailable):
        message, extensions = f"The store does not answer; try again. {cause}", {"code": "STORE_UNAVAILABLE"}
    elif isinstance(cause, Contention):
        message, extensions = str(cause), {"code": "CONTENTION"}
    else:
        id = uuid4().hex
        log.error("unexpected error", error_id=id, path=error.path, exc_info=cause)
        message = f"Something went wrong in Slipway. Its log tells more under the id {id}."
        extensions = {"code": "INTERNAL_SERVER_ERROR", "id": id}
    return GraphQLError(message, nodes=error.nodes, path=error.path, extensions=extensions)


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
        config=StrawberryConfig(scalar_map=scalars.SCALARS),
    )
)
