"""How conditions, rules, lists and durations read in a sentence."""

from collections.abc import Iterable, Sequence
from datetime import timedelta

import msgspec

from app.domain.comparing import Json
from app.domain.pipelines import ReleaseRule
from app.domain.targeting import Condition, ConditionOperator

_SHOWN = 5

Op = ConditionOperator

# For one value, and for several.
_VERBS = {
    Op.ANY_OF: ("is", "is one of"),
    Op.NONE_OF: ("is not", "is none of"),
    Op.ANY_OF_IGNORE_CASE: ("is, letter case aside,", "is, letter case aside, one of"),
    Op.NONE_OF_IGNORE_CASE: ("is not, letter case aside,", "is, letter case aside, none of"),
    Op.CONTAINS: ("contains", "contains one of"),
    Op.STARTS_WITH: ("begins with", "begins with one of"),
    Op.ENDS_WITH: ("ends with", "ends with one of"),
    Op.EQUALS: ("is", "is"),
    Op.NOT_EQUALS: ("is not", "is not"),
    Op.LESS_THAN: ("is less than", "is less than"),
    Op.LESS_THAN_OR_EQUAL: ("is at most", "is at most"),
    Op.GREATER_THAN: ("is greater than", "is greater than"),
    Op.GREATER_THAN_OR_EQUAL: ("is at least", "is at least"),
    Op.VERSION_EQUALS: ("is version", "is version"),
    Op.VERSION_LESS_THAN: ("is a version below", "is a version below"),
    Op.VERSION_GREATER_THAN: ("is a version above", "is a version above"),
    Op.BEFORE: ("is before", "is before"),
    Op.AFTER: ("is after", "is after"),
    Op.EXISTS: ("is there", "is there"),
    Op.NOT_EXISTS: ("is not there", "is not there"),
}


def condition_in_words(condition: Condition) -> str:
    """A condition as a clause: region is one of “us-west”, “us-east”."""
    verb = _VERBS[condition.operator][len(condition.values) > 1]
    shown = [value_in_words(value) for value in condition.values[:_SHOWN]]
    more = len(condition.values) - len(shown)
    values = ", ".join(shown) + (f" and {more} more" if more else "")
    return f"{cut(condition.attribute)} {verb} {values}".rstrip()


def conditions_in_words(conditions: Iterable[Condition]) -> str:
    """Conditions as a clause, all of which must match."""
    return " and ".join(condition_in_words(condition) for condition in conditions)


def rules_in_words(rules: Sequence[ReleaseRule]) -> str:
    """Whom one of several release rules admits in their environment."""
    if any(not rule.conditions for rule in rules):
        return "everyone"
    clauses = [conditions_in_words(rule.conditions) for rule in rules[:_SHOWN]]
    more = len(rules) - len(clauses)
    return f"contexts where {', or '.join(clauses)}" + (f", or one of {more} more rules admits them" if more else "")


def value_in_words(value: Json) -> str:
    """A value of a context or a condition, cut where it is long."""
    if isinstance(value, str):
        return f"“{cut(value)}”"
    return cut(msgspec.json.encode(value).decode())


def named(names: Iterable[str]) -> str:
    """Names in quotes, one after another."""
    return ", ".join(f"“{name}”" for name in names)


def duration_in_words(duration: timedelta) -> str:
    """A duration in its two largest units: 1 h 30 min, 45 s."""
    seconds = round(duration.total_seconds())
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    parts = []
    for name, size in units:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {name}")
    return " ".join(parts[:2]) or "less than a second"


def cut(text: str, longest: int = 60) -> str:
    """A text of at most so many characters, with … in the place of the rest."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
