"""How values are completed: as they are, or by a function; and the functions for scalars and enums."""

import math
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from graphql import GraphQLEnumType, GraphQLScalarType

from app.api.runs import Read, Run, Unplanned


class Value(NamedTuple):
    """How a value is completed: as it is when it is exactly of that class, otherwise by a function."""

    as_it_is: type
    complete: Read
    fields: int = 0  # of an object
    is_lasting: bool = True  # the same each time for the same value

    def completing(self) -> Read:
        """What completes whatever is given."""
        as_it_is, complete, *_ = self
        return lambda given, run: given if given.__class__ is as_it_is else complete(given, run)


class Nothing:
    """The class of no value."""


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
    "String": Value(str, _unplanned),
    "ID": Value(str, _unplanned),
    "Boolean": Value(bool, _unplanned),
    "Int": Value(Nothing, _int),
    "Float": Value(Nothing, _float),
    "JSON": Value(Nothing, _json),
}
_CLASSES: dict[str, type] = {"DateTime": datetime, "Duration": timedelta}


def scalar(type_: GraphQLScalarType) -> Value | None:
    """How values of a scalar are completed; None for one that plans do not know."""
    if type_.name not in _CLASSES:
        return _SCALARS.get(type_.name)
    of_class, write = _CLASSES[type_.name], type_.coerce_output_value

    def complete(value: object, run: Run) -> Any:
        if value.__class__ is of_class:
            return write(value)
        raise Unplanned

    return Value(Nothing, complete)


def enum(type_: GraphQLEnumType) -> Value | None:
    """How members of an enum are completed; None for one that is none of Python's."""
    of_class = getattr(type_, "wrapped_cls", None)
    if of_class is None:
        return None
    names = {member._value_: type_.coerce_output_value(member) for member in of_class}

    def complete(value: Any, run: Run) -> Any:
        if value.__class__ is of_class:
            return names[value._value_]
        raise Unplanned

    return Value(Nothing, complete)
