"""Selections compiled to run without graphql-core, where all that they ask for is at hand.

graphql-core takes some ten steps for each field of each object: a path, an info, a resolver, a completion, and again
for each element of a list. Most of what Slipway answers are attributes of values that are in memory. A selection of
such fields is compiled once per document, and then only reads attributes and writes dicts.

A plan knows the way that goes well and nothing else. Whatever differs, a null where there may be none, a value of
another class than expected, a resolver that raises, too many fields in one go, ends it with an exception, and
`execution.Executor` has graphql-core execute the same selection from its start: reading values twice changes none.
So errors, their paths and the nulls that they leave are always graphql-core's own.

What of a value depends on nothing else is read once for as long as the value is there (see `lasting`).

What is compiled: fields without a resolver, and those of `fields.computed` whose resolver is no coroutine function and
takes no arguments; scalars, enums, lists and objects of them. Not compiled: arguments, interfaces and unions,
introspection.
"""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from weakref import WeakValueDictionary

from graphql import (
    FieldNode,
    GraphQLEnumType,
    GraphQLField,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLScalarType,
    OperationDefinitionNode,
    TypeNameMetaFieldDef,
)
from graphql.execution.collect_fields import CollectedFields, FieldDetailsList, GroupedFieldSet
from graphql.execution.values import VariableValues
from strawberry.types.field import StrawberryField
from strawberry.types.info import Info

from app.api.lasting import lasts, readings

if TYPE_CHECKING:
    from app.api.execution import Executor

_AT_ONCE = 2_000
"""How many fields are read in one go, about a millisecond: what is larger is left to graphql-core, piece by piece."""


class Unplanned(Exception):
    """What a plan does not know."""


class Run:
    """One execution: how many fields it has resolved, and where its plans must stop."""

    __slots__ = ("_executor", "_infos", "resolved", "stop")

    def __init__(self, executor: "Executor") -> None:
        self.resolved = 0
        self.stop = 0
        self._executor = executor
        self._infos: dict[int, Info[Any, None]] = {}

    def attempt(self, read: "Read", value: Any, most: int) -> Any:
        """What a plan makes of a value. Raises, with nothing counted, when graphql-core must."""
        before = self.resolved
        self.stop = min(before + _AT_ONCE, most)
        try:
            answer = read(value, self)
            if self.resolved > most:
                raise Unplanned
        except Exception:
            self.resolved = before
            raise
        return answer

    def info(self, field: "_Computed") -> Info[Any, None]:
        """What the resolver of a field is told, whichever value it is asked about."""
        info = self._infos.get(id(field))
        if info is None:
            info = Info(_raw_info=_RawInfo(self._executor, field), _field=field.definition)  # type: ignore[arg-type]
            self._infos[id(field)] = info
        return info


Read: TypeAlias = Callable[[Any, Run], Any]
Part: TypeAlias = tuple[Read, GroupedFieldSet]


class _RawInfo:
    """graphql-core's info of a field, but for the place in the answer: who asks for that is no case for a plan."""

    def __init__(self, executor: "Executor", field: "_Computed") -> None:
        self.field_name = field.nodes[0].name.value
        self.field_nodes = field.nodes
        self.return_type = field.graphql.type
        self.parent_type = field.parent
        self.schema = executor.schema
        self.fragments = executor.fragment_definitions
        self.root_value = executor.root_value
        self.operation = executor.operation
        self.variable_values = executor.variable_values.coerced
        self.context = executor.context_value
        self.is_awaitable = executor.is_awaitable
        self.abort_signal = executor.abort_signal
        self.async_helpers = executor.async_helpers
        self.operation_extensions = executor.operation_extensions

    @property
    def path(self) -> Any:
        raise Unplanned


class _Computed(NamedTuple):
    """A field with a resolver."""

    definition: StrawberryField
    graphql: GraphQLField
    parent: GraphQLObjectType
    nodes: list[FieldNode]

    @property
    def is_lasting(self) -> bool:
        """Whether it depends on the value alone: without the info a resolver knows neither caller nor clock."""
        resolver = self.definition.base_resolver
        return resolver is not None and resolver.info_parameter is None

    def reader(self, value: "_Value") -> Read:
        """What resolves the field of a value and completes it."""
        resolver = self.definition.base_resolver
        assert resolver is not None
        call: Any = resolver.wrapped_func
        as_it_is, complete, *_ = value
        root = resolver.root_parameter.name if resolver.root_parameter else None
        info = resolver.info_parameter.name if resolver.info_parameter else None

        def read(source: Any, run: Run) -> Any:
            given: dict[str, Any] = {}
            if root is not None:
                given[root] = source
            if info is not None:
                given[info] = run.info(self)
            resolved = call(**given)
            return resolved if resolved.__class__ is as_it_is else complete(resolved, run)

        return read


class Plans:
    """The plans of one document with one choice of what its @include and @skip leave."""

    def __init__(self) -> None:
        self.root: GroupedFieldSet | None = None
        # As graphql-core's executor has it, by the identity of the lists that it holds.
        self.sub_fields: dict[tuple[GraphQLObjectType, int], tuple[FieldDetailsList, CollectedFields]] = {}
        # By type and identity of the selection, which is held as well so that no other can have its place.
        self._objects: dict[tuple[GraphQLObjectType, int], tuple[GroupedFieldSet, Read | None]] = {}
        self._parts: dict[tuple[GraphQLObjectType, int], tuple[GroupedFieldSet, Part | None]] = {}
        self._fields: dict[tuple[GraphQLObjectType, int], tuple[FieldDetailsList, Read | None]] = {}
        self._lists: dict[tuple[int, int], tuple[FieldDetailsList, Read | None]] = {}

    def of_object(self, executor: "Executor", type_: GraphQLObjectType, selected: GroupedFieldSet) -> Read | None:
        """What reads these fields of a value; None for what only graphql-core can."""
        found = self._objects.get((type_, id(selected)))
        if found is None:
            value = _object(executor, type_, selected)
            found = selected, None if value is None else _begun_with(value)
            self._objects[(type_, id(selected))] = found
        return found[1]

    def of_part(self, executor: "Executor", type_: GraphQLObjectType, selected: GroupedFieldSet) -> "Part | None":
        """What reads those fields of a value that can be planned, and the others; None where none can be."""
        found = self._parts.get((type_, id(selected)))
        if found is None:
            planned = {key: each for key, each in selected.items() if self.of_field(executor, type_, each) is not None}
            rest = {key: each for key, each in selected.items() if key not in planned}
            value = _object(executor, type_, planned) if planned else None
            found = selected, None if value is None else (_begun_with(value), rest)
            self._parts[(type_, id(selected))] = found
        return found[1]

    def of_field(self, executor: "Executor", parent: GraphQLObjectType, details: FieldDetailsList) -> Read | None:
        """What reads one field of a value."""
        found = self._fields.get((parent, id(details)))
        if found is None:
            found = details, _field(executor, parent, details)
            self._fields[(parent, id(details))] = found
        return found[1]

    def of_list(self, executor: "Executor", type_: GraphQLList[Any], details: FieldDetailsList) -> Read | None:
        """What completes a list."""
        key = id(type_), id(details)
        found = self._lists.get(key)
        if found is None:
            value = _completed(executor, type_, details)
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


class _Value(NamedTuple):
    """How a value is completed: as it is when it is exactly of that class, otherwise by a function."""

    as_it_is: type
    complete: Read
    fields: int = 0  # of an object
    is_lasting: bool = True  # the same each time for the same value


class _Nothing:
    """The class of no value."""


def _completed(executor: "Executor", type_: GraphQLOutputType, details: FieldDetailsList) -> _Value | None:
    """How a value of a type is completed; null where it may be null."""
    if isinstance(type_, GraphQLNonNull):
        return _present(executor, type_.of_type, details)
    value = _present(executor, type_, details)
    if value is None:
        return None
    complete = value.complete
    return value._replace(complete=lambda given, run: None if given is None else complete(given, run))


def _present(executor: "Executor", type_: GraphQLOutputType, details: FieldDetailsList) -> _Value | None:
    """How a value is completed that may not be null."""
    if isinstance(type_, GraphQLScalarType):
        return _scalar(type_)
    if isinstance(type_, GraphQLEnumType):
        return _enum(type_)
    if isinstance(type_, GraphQLList):
        return _list(executor, type_, details)
    if isinstance(type_, GraphQLObjectType):
        selected = executor.collect_subfields(type_, details).grouped_field_set
        return _object(executor, type_, selected)
    return None


# --- leaves -----------------------------------------------------------------------------------------------------------


def _unplanned(value: object, run: Run) -> Any:
    raise Unplanned


def _int(value: Any, run: Run) -> Any:
    if value.__class__ is int and -(2**31) <= value < 2**31:
        return value
    raise Unplanned


def _float(value: Any, run: Run) -> Any:
    if value.__class__ is float and math.isfinite(value):
        return value
    raise Unplanned


def _json(value: object, run: Run) -> Any:
    if value.__class__ in _JSON_CLASSES:
        return value
    raise Unplanned


_JSON_CLASSES = {str, int, float, bool, dict, list, tuple}
_SCALARS = {
    "String": _Value(str, _unplanned),
    "ID": _Value(str, _unplanned),
    "Boolean": _Value(bool, _unplanned),
    "Int": _Value(_Nothing, _int),
    "Float": _Value(_Nothing, _float),
    "JSON": _Value(_Nothing, _json),
}
_CLASSES: dict[str, type] = {"DateTime": datetime, "Duration": timedelta}


def _scalar(type_: GraphQLScalarType) -> _Value | None:
    if type_.name not in _CLASSES:
        return _SCALARS.get(type_.name)
    of_class, write = _CLASSES[type_.name], type_.coerce_output_value

    def complete(value: object, run: Run) -> Any:
        if value.__class__ is of_class:
            return write(value)
        raise Unplanned

    return _Value(_Nothing, complete)


def _enum(type_: GraphQLEnumType) -> _Value | None:
    of_class = getattr(type_, "wrapped_cls", None)
    if of_class is None:
        return None
    names = {member._value_: type_.coerce_output_value(member) for member in of_class}

    def complete(value: Any, run: Run) -> Any:
        if value.__class__ is of_class:
            return names[value._value_]
        raise Unplanned

    return _Value(_Nothing, complete)


# --- lists and objects ------------------------------------------------------------------------------------------------


def _list(executor: "Executor", type_: GraphQLList[Any], details: FieldDetailsList) -> _Value | None:
    item = _completed(executor, type_.of_type, details)
    if item is None:
        return None
    as_it_is, complete, fields, is_lasting = item

    def leaves(values: Any, run: Run) -> Any:
        if values.__class__ is not tuple and values.__class__ is not list:
            raise Unplanned
        return [value if value.__class__ is as_it_is else complete(value, run) for value in values]

    def objects(values: Any, run: Run) -> Any:
        if values.__class__ is not tuple and values.__class__ is not list:
            raise Unplanned
        if run.resolved + len(values) * fields > run.stop:
            raise Unplanned
        run.resolved += len(values)
        return [complete(value, run) for value in values]

    return _Value(_Nothing, objects if fields else leaves, is_lasting=is_lasting)


_HELD = _Value(_Nothing, lambda value, run: None)


def _object(executor: "Executor", type_: GraphQLObjectType, selected: GroupedFieldSet) -> _Value | None:
    """What reads fields of a value."""
    plain: list[tuple[str, str, _Value]] = []  # key, attribute
    computed: list[tuple[str, Read]] = []
    passing: list[tuple[str, Read]] = []
    for key, details in selected.items():
        found = _resolved(executor, type_, details)
        if found is None:
            return None
        resolved, value = found
        if isinstance(resolved, str) and value.is_lasting:
            plain.append((key, resolved, value))
            continue
        is_lasting = value.is_lasting and not isinstance(resolved, str) and resolved.is_lasting
        (computed if is_lasting else passing).append((key, _field_reader(resolved, value)))
        plain.append((key, "__class__", _HELD))  # the keys have the order of the selection
    lasting = _reading(plain, computed, len(selected) - 1, _type_check(type_))
    if not passing:
        return _Value(_Nothing, lasting, len(selected))
    begin = _reading_once(lasting)

    def read(source: Any, run: Run) -> Any:
        answer = begin(source, run).copy()
        for key, resolve in passing:
            answer[key] = resolve(source, run)
        return answer

    return _Value(_Nothing, read, len(selected), is_lasting=False)


def _begun_with(value: _Value) -> Read:
    """What reads a value that is within no other: then what is the same each time is kept."""
    return _reading_once(value.complete) if value.is_lasting else value.complete


def _reading_once(read: Read) -> Read:
    """Reading once what is the same each time."""

    def kept(source: Any, run: Run) -> Any:
        if not lasts(source.__class__):
            return read(source, run)
        found = readings.get(read, source)
        if found is not None:
            run.resolved += found.fields
            return found.answer
        before = run.resolved
        answer = read(source, run)
        readings.keep(read, source, answer, run.resolved - before)
        return answer

    return kept


def _reading(
    plain: Iterable[tuple[str, str, _Value]],
    computed: list[tuple[str, Read]],
    charge: int,
    is_of_type: Callable[[Any], bool] | None,
) -> Read:
    steps = tuple((key, value.as_it_is, value.complete) for key, _, value in plain)
    # One call for all attributes. It gives a tuple only for two and more.
    attributes = attrgetter(*(attribute for _, attribute, _ in plain), "__class__")

    def read(source: Any, run: Run) -> Any:
        if is_of_type is not None and not is_of_type(source):
            raise Unplanned
        run.resolved += charge  # the first field was counted with the list that the object is in
        values = attributes(source)
        answer = {
            key: value if value.__class__ is as_it_is else complete(value, run)
            for (key, as_it_is, complete), value in zip(steps, values, strict=False)
        }
        for key, resolve in computed:
            answer[key] = resolve(source, run)
        return answer

    return read


def _type_check(type_: GraphQLObjectType) -> Callable[[Any], bool] | None:
    is_type_of = type_.is_type_of
    if is_type_of is None:
        return None
    return lambda value: is_type_of(value, None) is True  # type: ignore[arg-type]


def _field(executor: "Executor", parent: GraphQLObjectType, details: FieldDetailsList) -> Read | None:
    """What reads one field of a value."""
    found = _resolved(executor, parent, details)
    return None if found is None else _field_reader(*found)


def _field_reader(resolved: "str | _Computed", value: _Value) -> Read:
    if not isinstance(resolved, str):
        return resolved.reader(value)
    as_it_is, complete, *_ = value
    attribute = attrgetter(resolved)

    def read(source: Any, run: Run) -> Any:
        given = attribute(source)
        return given if given.__class__ is as_it_is else complete(given, run)

    return read


def _resolved(
    executor: "Executor", parent: GraphQLObjectType, details: FieldDetailsList
) -> tuple[str | _Computed, _Value] | None:
    """How a field is resolved, by an attribute or a resolver, and what comes of it is completed."""
    first = details[0]
    field = executor.schema.get_field(parent, first.node.name.value)
    if field is None or any(each.fragment_variable_values for each in details):
        return None
    if field is TypeNameMetaFieldDef:
        return "__class__", _Value(_Nothing, lambda value, run: _type_name(value, parent.name))
    definition: Mapping[str, Any] = field.extensions or {}
    strawberry_field = definition.get("strawberry-definition")
    if field.args or not isinstance(strawberry_field, StrawberryField):
        return None
    resolver = strawberry_field.base_resolver
    if resolver is not None and not _is_plain(strawberry_field):
        return None
    if resolver is None and not strawberry_field.is_basic_field:
        return None
    value = _completed(executor, field.type, details)
    if value is None:
        return None
    if resolver is None:
        return strawberry_field.python_name, value
    return _Computed(strawberry_field, field, parent, [each.node for each in details]), value


def _type_name(of_class: type, name: str) -> str:
    # All other fields need an attribute of the value, which these lack.
    if issubclass(of_class, Exception) or hasattr(of_class, "__await__"):
        raise Unplanned
    return name


def _is_plain(field: StrawberryField) -> bool:
    """Whether a resolver answers at once, and takes no more than the value and the info."""
    resolver = field.base_resolver
    return (
        resolver is not None
        and not field.is_async
        and not field.extensions
        and not field.permission_classes
        and resolver.self_parameter is None
        and resolver.parent_parameter is None
        and not inspect.iscoroutinefunction(resolver.wrapped_func)
    )
