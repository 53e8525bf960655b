"""Selections compiled to run without graphql-core, where all that they ask for is at hand or can be waited for.

graphql-core takes some ten steps for each field of each object: a path, an info, a resolver, a completion, and again
for each element of a list. Most of what Slipway answers are attributes of values that are in memory. A selection of
such fields is compiled once per document (see `readers`), and then only reads attributes and writes dicts.

A plan knows the way that goes well and nothing else. Whatever differs, a null where there may be none, a value of
another class than expected, a resolver that raises, too many fields in one go, ends it with an exception, and
`execution` has graphql-core execute the same selection from its start: reading values twice changes none, and what was
waited for is not asked again. So errors, their paths and the nulls that they leave are always graphql-core's own.

What of a value depends on nothing else is read once for as long as the value is there (see `lasting`).

What is compiled: fields without a resolver, and those of `fields.computed` whose resolver answers at once and takes no
arguments; scalars, enums, lists and objects of them. Of a query that is compiled as a whole also fields whose resolver
is waited for, and arguments that are plain scalars. Not compiled: other arguments, interfaces and unions,
introspection, mutations.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakValueDictionary

from graphql import GraphQLList, GraphQLObjectType, OperationDefinitionNode, OperationType
from graphql.execution.collect_fields import CollectedFields, FieldDetailsList, GroupedFieldSet
from graphql.execution.values import VariableValues

from app.api.readers import Scope, begun_with, completed, field_reader, object_value
from app.api.runs import Read

if TYPE_CHECKING:
    from app.api.execution import Executor

Part: TypeAlias = tuple[Read, GroupedFieldSet]


class Plans:
    """The plans of one document with one choice of what its @include and @skip leave."""

    whole: Read | None = None
    """What answers the operation as a whole, once it has been executed before."""

    def __init__(self) -> None:
        self.root: GroupedFieldSet | None = None
        # As graphql-core's executor has it, by the identity of the lists that it holds.
        self.sub_fields: dict[tuple[GraphQLObjectType, int], tuple[FieldDetailsList, CollectedFields]] = {}
        # By type and identity of the selection, which is held as well so that no other can have its place.
        self._objects: dict[tuple[GraphQLObjectType, int], tuple[GroupedFieldSet, Read | None]] = {}
        self._parts: dict[tuple[GraphQLObjectType, int], tuple[GroupedFieldSet, Part | None]] = {}
        self._fields: dict[tuple[GraphQLObjectType, int], tuple[FieldDetailsList, Read | None]] = {}
        self._lists: dict[tuple[int, int], tuple[FieldDetailsList, Read | None]] = {}

    def begin(self, executor: "Executor", type_: GraphQLObjectType, selected: GroupedFieldSet) -> GroupedFieldSet:
        """Plan an operation by the fields of its root type, which are these from now on."""
        self.root = selected
        if executor.operation.operation is OperationType.QUERY:
            value = object_value(Scope(executor, may_wait=True), type_, selected)
            self.whole = None if value is None else value.complete
        return selected

    def of_object(self, executor: "Executor", type_: GraphQLObjectType, selected: GroupedFieldSet) -> Read | None:
        """What reads these fields of a value; None for what only graphql-core can."""
        found = self._objects.get((type_, id(selected)))
        if found is None:
            value = object_value(Scope(executor), type_, selected)
            found = selected, None if value is None else begun_with(value)
            self._objects[(type_, id(selected))] = found
        return found[1]

    def of_part(self, executor: "Executor", type_: GraphQLObjectType, selected: GroupedFieldSet) -> "Part | None":
        """What reads those fields of a value that can be planned, and the others; None where none can be."""
        found = self._parts.get((type_, id(selected)))
        if found is None:
            planned = {key: each for key, each in selected.items() if self.of_field(executor, type_, each) is not None}
            rest = {key: each for key, each in selected.items() if key not in planned}
            value = object_value(Scope(executor), type_, planned) if planned else None
            found = selected, None if value is None else (begun_with(value), rest)
            self._parts[(type_, id(selected))] = found
        return found[1]

    def of_field(self, executor: "Executor", parent: GraphQLObjectType, details: FieldDetailsList) -> Read | None:
        """What reads one field of a value."""
        found = self._fields.get((parent, id(details)))
        if found is None:
            found = details, field_reader(Scope(executor), parent, details)
            self._fields[(parent, id(details))] = found
        return found[1]

    def of_list(self, executor: "Executor", type_: GraphQLList[Any], details: FieldDetailsList) -> Read | None:
        """What completes a list."""
        key = id(type_), id(details)
        found = self._lists.get(key)
        if found is None:
            value = completed(Scope(executor), type_, details)
            found = details, None if value is None else value.complete
            self._lists[key] = found
        return found[1]


class Choices:
    """The plans of one operation, for each choice that its @include and @skip make by variables."""

    def __init__(self, operation: OperationDefinitionNode, deciding: Iterable[str]) -> None:
        self.operation = operation
        self._deciding = tuple(deciding)
        self._plans: dict[tuple[object, ...], Plans] = {}
        _kept[id(operation)] = self

    def of(self, variables: VariableValues) -> Plans:
        """The plans for these values of the variables."""
        choice = tuple(variables.coerced.get(name) for name in self._deciding)
        plans = self._plans.get(choice)
        if plans is None:
            plans = Plans()
            if len(self._plans) < _CHOICES:
                self._plans[choice] = plans
        return plans


_CHOICES = 16
_kept: WeakValueDictionary[int, Choices] = WeakValueDictionary()


def plans_of(operation: OperationDefinitionNode, variables: VariableValues) -> Plans:
    """The plans of an operation: those that are kept with its document, or new ones."""
    kept = _kept.get(id(operation))
    return kept.of(variables) if kept is not None and kept.operation is operation else Plans()
