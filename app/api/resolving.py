"""Fields with a resolver, as plans call it."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from graphql import (
    FieldNode,
    GraphQLBoolean,
    GraphQLField,
    GraphQLFloat,
    GraphQLID,
    GraphQLInt,
    GraphQLObjectType,
    GraphQLString,
    VariableNode,
    get_argument_values,
)
from strawberry.types.field import StrawberryField

from app.api.leaves import Value
from app.api.runs import Read, Run


class Computed(NamedTuple):
    """A field with a resolver."""

    definition: StrawberryField
    graphql: GraphQLField
    parent: GraphQLObjectType
    nodes: list[FieldNode]

    @property
    def is_lasting(self) -> bool:
        """Whether it depends on the value alone: without the info a resolver knows neither caller nor clock."""
        return self._resolver.info_parameter is None and not self.graphql.args and not self.is_awaited

    @property
    def is_awaited(self) -> bool:
        """Whether its answer is to be waited for."""
        return is_awaited(self.definition)

    @property
    def _resolver(self) -> Any:
        assert self.definition.base_resolver is not None
        return self.definition.base_resolver

    def caller(self) -> Read:
        """What calls the resolver for a value."""
        resolver = self._resolver
        call, root, info = resolver.wrapped_func, resolver.root_parameter, resolver.info_parameter
        match [name for name in inspect.signature(call).parameters if name != "self"]:
            case [first, second] if root and info and (first, second) == (root.name, info.name):
                return lambda source, run: call(source, run.info(self))
            case [only] if root and only == root.name:
                return lambda source, run: call(source)
        root_name, info_name = root and root.name, info and info.name
        is_method = resolver.self_parameter is not None
        arguments = self._arguments()

        def resolve(source: Any, run: Run) -> Any:
            given = arguments(run)
            if root_name is not None:
                given[root_name] = source
            if info_name is not None:
                given[info_name] = run.info(self)
            return call(source, **given) if is_method else call(**given)

        return resolve

    def _arguments(self) -> Callable[[Run], dict[str, Any]]:
        """What makes the arguments, by the names that the resolver has for them."""
        field, node = self.graphql, self.nodes[0]
        declared: Any = field.args
        names = {name: each.extensions["strawberry-definition"].python_name for name, each in declared.items()}
        given = {each.name.value: each.value for each in node.arguments or ()}
        variables = {names[name]: value.name.value for name, value in given.items() if isinstance(value, VariableNode)}

        def make(run: Run) -> dict[str, Any]:
            if len(variables) == len(names):
                coerced = run.frame.variables.coerced
                made = {name: coerced.get(variable) for name, variable in variables.items()}
                if None not in made.values():
                    return made
            values = get_argument_values(field, node, run.frame.variables)
            return {names[name]: value for name, value in values.items()}

        return make

    def reader(self, value: Value) -> Read:
        """What resolves the field of a value and completes it."""
        resolve = self.caller()
        as_it_is, complete, *_ = value

        def read(source: Any, run: Run) -> Any:
            given = resolve(source, run)
            return given if given.__class__ is as_it_is else complete(given, run)

        return read


TAKEN_AS_THEY_ARE = {GraphQLString, GraphQLID, GraphQLInt, GraphQLFloat, GraphQLBoolean}
"""Types of arguments that Strawberry converts no further."""


def is_callable(field: StrawberryField) -> bool:
    """Whether nothing stands between a field and its resolver."""
    resolver = field.base_resolver
    assert resolver is not None
    return not field.extensions and not field.permission_classes and resolver.parent_parameter is None


def is_awaited(field: StrawberryField) -> bool:
    """Whether the answer of a field's resolver is to be waited for."""
    resolver = field.base_resolver
    return field.is_async or (resolver is not None and inspect.iscoroutinefunction(resolver.wrapped_func))


def is_plain(field: StrawberryField) -> bool:
    """Whether a resolver answers at once, and takes no more than the value and the info."""
    resolver = field.base_resolver
    assert resolver is not None
    return not is_awaited(field) and resolver.self_parameter is None
