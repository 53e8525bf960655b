"""Does this context match? A condition is made into a predicate once, and asked often.

A condition on an attribute that the context lacks (or has as null) matches only with NOT_EXISTS: who is not known to be
in a group is not counted in it, nor out of it. An attribute that is a list matches ANY_OF, CONTAINS and their like when
one element does, NONE_OF and NOT_EQUALS when no element is named. No predicate raises, whatever the context: an
attribute of a type that does not fit does not match. So that a large context holds up nobody, however many conditions
ask for it: of a list the first 1,000 elements count; where each value must be searched for (CONTAINS), the first 10,000
characters of the attribute; and a text longer than any value can be equals none of them without being read: of a
version or a date that is 100 characters.
"""

from collections.abc import Callable, Iterable
from operator import ge, gt, le, lt
from typing import TypeAlias, assert_never

from app.domain.comparing import Json, date_of, is_number, version_of
from app.domain.targeting import Condition, ConditionOperator, Context

Op = ConditionOperator
Predicate: TypeAlias = Callable[[Context], bool]

MAX_SEARCHED = 10_000
"""How many characters of an attribute CONTAINS looks at."""

MAX_ELEMENTS = 1_000
"""How many elements of an attribute that is a list are looked at."""

# No text has it: JSON in UTF-8 cannot carry half a surrogate pair.
_BETWEEN = "\ud800"

_SCALARS = (str, int, float)  # bool is an int

_ORDER = {Op.LESS_THAN: lt, Op.LESS_THAN_OR_EQUAL: le, Op.GREATER_THAN: gt, Op.GREATER_THAN_OR_EQUAL: ge}


def all_of(conditions: Iterable[Condition]) -> Predicate:
    """Whether every condition matches (AND); no conditions match every context."""
    predicates = tuple(predicate(condition) for condition in conditions)
    if len(predicates) == 1:
        return predicates[0]

    def all_match(context: Context) -> bool:
        # Not all(): its generator would cost as much as a predicate does, and bulk evaluation asks thousands.
        for matches in predicates:  # noqa: SIM110
            if not matches(context):
                return False
        return True

    return all_match


def predicate(condition: Condition) -> Predicate:
    """Whether a context matches the condition."""
    operator, attribute = condition.operator, condition.attribute
    if operator is Op.EXISTS:
        return lambda context: context.get(attribute) is not None
    if operator is Op.NOT_EXISTS:
        return lambda context: context.get(attribute) is None
    compare = _comparison(operator, condition.values)

    def matches(context: Context) -> bool:
        actual = context.get(attribute)
        return actual is not None and compare(actual)

    return matches


def _comparison(operator: ConditionOperator, values: tuple[Json, ...]) -> Callable[[Json], bool]:
    """Whether an attribute that is there compares as the operator says."""
    match operator:
        case Op.ANY_OF | Op.EQUALS:
            return _names(values)
        case Op.NONE_OF | Op.NOT_EQUALS:
            named = _names(values)
            return lambda actual: not named(actual)
        case Op.ANY_OF_IGNORE_CASE:
            return _names_folded(values)
        case Op.NONE_OF_IGNORE_CASE:
            named_folded = _names_folded(values)
            return lambda actual: not named_folded(actual)
        case Op.CONTAINS:
            return _contains(values)
        case Op.STARTS_WITH | Op.ENDS_WITH:
            return _begins_or_ends(operator, values)
        case Op.LESS_THAN | Op.LESS_THAN_OR_EQUAL | Op.GREATER_THAN | Op.GREATER_THAN_OR_EQUAL:
            order, number = _ORDER[operator], values[0]
            return lambda actual: is_number(actual) and bool(order(actual, number))
        case Op.VERSION_EQUALS | Op.VERSION_LESS_THAN | Op.VERSION_GREATER_THAN:
            return _compares_version(operator, values[0])
        case Op.BEFORE | Op.AFTER:
            return _compares_date(operator, values[0])
        case Op.EXISTS | Op.NOT_EXISTS:
            raise AssertionError("they compare with nothing")
        case _:
            assert_never(operator)


def _names(values: tuple[Json, ...]) -> Callable[[Json], bool]:
    """Whether the attribute, or an element of it, is one of the values."""
    # In Python True == 1; in JSON it is not.
    flags = frozenset(value for value in values if isinstance(value, bool))
    others = frozenset(v for v in values if isinstance(v, _SCALARS) and not isinstance(v, bool))

    def is_named(candidate: Json) -> bool:
        if isinstance(candidate, bool):
            return candidate in flags
        return isinstance(candidate, _SCALARS) and candidate in others

    either = flags | others

    def matches(actual: Json) -> bool:
        if not isinstance(actual, list):
            return is_named(actual)
        # A list or an object among them cannot be looked up in a set.
        elements = [each for each in actual[:MAX_ELEMENTS] if isinstance(each, _SCALARS)]
        # All at once first, which is ten times as fast: only where true may have passed for 1 is each looked at.
        return not either.isdisjoint(elements) and any(map(is_named, elements))

    return matches


def _names_folded(values: tuple[Json, ...]) -> Callable[[Json], bool]:
    wanted = frozenset(value.casefold() for value in values)
    # Folding makes some texts longer and none shorter: what is longer than all that is wanted need not be folded.
    longest = max(map(len, wanted), default=0)

    def matches(actual: Json) -> bool:
        return not wanted.isdisjoint([text.casefold() for text in _texts(actual) if len(text) <= longest])

    return matches


def _contains(values: tuple[Json, ...]) -> Callable[[Json], bool]:
    parts = tuple(f"{value}" for value in values)

    def matches(actual: Json) -> bool:
        # All texts as one, so that a long list of them is searched as fast as one long text.
        text = _BETWEEN.join([text[:MAX_SEARCHED] for text in _texts(actual)])[:MAX_SEARCHED]
        return any(part in text for part in parts)

    return matches


def _begins_or_ends(operator: ConditionOperator, values: tuple[Json, ...]) -> Callable[[Json], bool]:
    wanted = frozenset(f"{value}" for value in values)
    # However many values there are, they have few lengths.
    lengths = sorted({len(value) for value in wanted})
    starts = operator is Op.STARTS_WITH

    def matches(actual: Json) -> bool:
        for text in _texts(actual):
            for length in lengths:
                if length > len(text):
                    break
                if (text[:length] if starts else text[len(text) - length :]) in wanted:
                    return True
        return False

    return matches


def _texts(actual: Json) -> list[str]:
    if isinstance(actual, list):
        return [element for element in actual[:MAX_ELEMENTS] if isinstance(element, str)]
    return [actual] if isinstance(actual, str) else []


def _compares_version(operator: ConditionOperator, value: Json) -> Callable[[Json], bool]:
    right = version_of(value)

    def matches(actual: Json) -> bool:
        left = version_of(actual)
        if left is None or right is None:
            return False
        if operator is Op.VERSION_EQUALS:
            return left == right
        return left < right if operator is Op.VERSION_LESS_THAN else left > right

    return matches


def _compares_date(operator: ConditionOperator, value: Json) -> Callable[[Json], bool]:
    right = date_of(value)

    def matches(actual: Json) -> bool:
        left = date_of(actual)
        if left is None or right is None:
            return False
        return left < right if operator is Op.BEFORE else left > right

    return matches
