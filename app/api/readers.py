"""How selections are compiled: what reads fields of a value, elements of a list, one field."""

from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from graphql import (
    GraphQLEnumType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLScalarType,
    TypeNameMetaFieldDef,
    get_nullable_type,
)
from graphql.execution.collect_fields import FieldDetailsList, GroupedFieldSet
from strawberry.types.field import StrawberryField

from app.api.lasting import lasts, readings
from app.api.leaves import Nothing, Value, enum, scalar
from app.api.resolving import TAKEN_AS_THEY_ARE, Computed, is_callable, is_plain
from app.api.runs import Awaited, Read, Run, Unplanned, Waiting

if TYPE_CHECKING:
    from app.api.execution import Executor


class Scope(NamedTuple):
    """For whom a plan is made: whoever awaits its answer, or graphql-core, which takes it as it is."""

    executor: "Executor"
    may_wait: bool = False


def completed(scope: Scope, type_: GraphQLOutputType, details: FieldDetailsList) -> Value | None:
    """How a value of a type is completed; null where it may be null."""
    if isinstance(type_, GraphQLNonNull):
        return _present(scope, type_.of_type, details)
    value = _present(scope, type_, details)
    if value is None:
        return None
    complete = value.complete
    return value._replace(complete=lambda given, run: None if given is None else complete(given, run))


def _present(scope: Scope, type_: GraphQLOutputType, details: FieldDetailsList) -> Value | None:
    """How a value is completed that may not be null."""
    if isinstance(type_, GraphQLScalarType):
        return scalar(type_)
    if isinstance(type_, GraphQLEnumType):
        return enum(type_)
    if isinstance(type_, GraphQLList):
        return _list(scope, type_, details)
    if isinstance(type_, GraphQLObjectType):
        selected = scope.executor.collect_subfields(type_, details).grouped_field_set
        return object_value(scope, type_, selected)
    return None


def _list(scope: Scope, type_: GraphQLList[Any], details: FieldDetailsList) -> Value | None:
    item = completed(scope, type_.of_type, details)
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

    return Value(Nothing, objects if fields else leaves, is_lasting=is_lasting)


_HELD = Value(Nothing, lambda value, run: None)


def object_value(scope: Scope, type_: GraphQLObjectType, selected: GroupedFieldSet) -> Value | None:
    """What reads fields of a value."""
    plain: list[tuple[str, str, Value]] = []  # key, attribute
    computed: list[tuple[str, Read]] = []
    passing: list[tuple[str, Read]] = []
    awaited: list[tuple[str, Awaited]] = []
    for key, details in selected.items():
        found = _resolved(scope, type_, details)
        if found is None:
            return None
        resolved, value = found
        if isinstance(resolved, str) and value.is_lasting:
            plain.append((key, resolved, value))
            continue
        plain.append((key, "__class__", _HELD))  # the keys have the order of the selection
        if not isinstance(resolved, str) and resolved.is_awaited:
            awaited.append((key, Awaited(resolved.nodes[0], resolved.caller(), value.completing())))
            continue
        is_lasting = value.is_lasting and not isinstance(resolved, str) and resolved.is_lasting
        (computed if is_lasting else passing).append((key, _reader_of(resolved, value)))
    lasting = _reading(plain, computed, len(selected) - 1, _type_check(type_))
    if not passing and not awaited:
        return Value(Nothing, lasting, len(selected))
    begin = _reading_once(lasting)

    def read(source: Any, run: Run) -> Any:
        answer = begin(source, run).copy()
        for key, resolve in passing:
            answer[key] = resolve(source, run)
        for key, field in awaited:
            run.waiting.append(Waiting(field, source, answer, key))
        return answer

    return Value(Nothing, read, len(selected), is_lasting=False)


def begun_with(value: Value) -> Read:
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
    plain: Iterable[tuple[str, str, Value]],
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


def field_reader(scope: Scope, parent: GraphQLObjectType, details: FieldDetailsList) -> Read | None:
    """What reads one field of a value."""
    found = _resolved(scope, parent, details)
    return None if found is None else _reader_of(*found)


def _reader_of(resolved: "str | Computed", value: Value) -> Read:
    if not isinstance(resolved, str):
        return resolved.reader(value)
    as_it_is, complete, *_ = value
    attribute = attrgetter(resolved)

    def read(source: Any, run: Run) -> Any:
        given = attribute(source)
        return given if given.__class__ is as_it_is else complete(given, run)

    return read


def _resolved(
    scope: Scope, parent: GraphQLObjectType, details: FieldDetailsList
) -> tuple[str | Computed, Value] | None:
    """How a field is resolved, by an attribute or a resolver, and what comes of it is completed."""
    first = details[0]
    field = scope.executor.schema.get_field(parent, first.node.name.value)
    if field is None or any(each.fragment_variable_values for each in details):
        return None
    if field is TypeNameMetaFieldDef:
        return "__class__", Value(Nothing, lambda value, run: _type_name(value, parent.name))
    definition: Mapping[str, Any] = field.extensions or {}
    strawberry_field = definition.get("strawberry-definition")
    if not isinstance(strawberry_field, StrawberryField):
        return None
    resolver = strawberry_field.base_resolver
    if resolver is not None and not is_callable(strawberry_field):
        return None
    if not scope.may_wait and (field.args or (resolver is not None and not is_plain(strawberry_field))):
        return None
    if not all(get_nullable_type(each.type) in TAKEN_AS_THEY_ARE for each in field.args.values()):
        return None
    if resolver is None and not strawberry_field.is_basic_field:
        return None
    value = completed(scope, field.type, details)
    if value is None:
        return None
    if resolver is None:
        return strawberry_field.python_name, value
    return Computed(strawberry_field, field, parent, [each.node for each in details]), value


def _type_name(of_class: type, name: str) -> str:
    # All other fields need an attribute of the value, which these lack.
    if issubclass(of_class, Exception) or hasattr(of_class, "__await__"):
        raise Unplanned
    return name
