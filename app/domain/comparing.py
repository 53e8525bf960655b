"""How values of a context are read for comparison: numbers, versions and dates."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from math import isfinite
from typing import Any, TypeAlias

Json: TypeAlias = Any

# Dotted numbers of any length, then SemVer 2's pre-release precedence (semver.org, section 11).
_VERSION = re.compile(r"v?(\d+(?:\.\d+)*)(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]+)?", re.ASCII)
# Of a context, whose texts may be of any length, no more is read.
_MAX_READ = 100

Version: TypeAlias = tuple[tuple[int, ...], tuple[tuple[int, int, str], ...]]
_NO_PRE_RELEASE = ((2, 0, ""),)


def is_number(value: Json) -> bool:
    """Whether it is a finite number. (In Python true is one; in JSON it is not.)"""
    return isinstance(value, int | float) and not isinstance(value, bool) and value - value == 0


def is_finite(value: Json) -> bool:
    """Whether every number in a value of any depth is finite, as JSON's are: in `1e999` one is not."""
    waiting: list[Json] = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            waiting += found.values()
        elif isinstance(found, list):
            waiting += found
        elif isinstance(found, float) and not isfinite(found):
            return False
    return True


def version_of(value: Json) -> Version | None:
    """A version such as 1.4, v2.0.0-rc.1 or 10, in a form that sorts; None for anything else."""
    return _parsed(value) if isinstance(value, str) and len(value) <= _MAX_READ else None


@lru_cache(maxsize=1_000)  # of all the users of an application few have another version than the rest
def _parsed(text: str) -> Version | None:
    found = _VERSION.fullmatch(text.strip())
    if found is None:
        return None
    numbers = [int(part) for part in found[1].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()  # 1.2 and 1.2.0 are the same version
    if found[2] is None:
        return tuple(numbers), _NO_PRE_RELEASE
    return tuple(numbers), tuple((0, int(p), "") if p.isdecimal() else (1, 0, p) for p in found[2].split("."))


def date_of(value: Json) -> datetime | None:
    """ISO 8601 (UTC where it names no offset), or a number of milliseconds since 1970-01-01 UTC; None for the rest."""
    try:
        if isinstance(value, str):
            if len(value) > _MAX_READ:
                return None
            date = datetime.fromisoformat(value)
            return date.replace(tzinfo=UTC) if date.tzinfo is None else date
        if is_number(value):
            return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=value)
    except (ValueError, OverflowError):
        return None
    return None
