"""What plans have read of values that never change, for as long as those values are there.

A release that many watch is decoded once (see `Repository`) and read again for each answer. What depends on nothing but
the value itself is the same each time.
"""

from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple, TypeAlias
from weakref import ref

MAX_FIELDS = 100_000
"""Of all answers that are kept together, some 10 MB: the values themselves are kept by others, or not at all."""

_Key: TypeAlias = tuple[Callable[..., Any], int]


class Reading(NamedTuple):
    """An answer, and how many fields it has; the value is held by others."""

    value: "ref[Any]"
    answer: dict[str, Any]
    fields: int


class Readings:
    """The answers that were used last. Nobody changes them: whoever puts more in takes a copy."""

    def __init__(self) -> None:
        self._kept: OrderedDict[_Key, Reading] = OrderedDict()
        self.fields = 0

    def get(self, read: Callable[..., Any], value: object) -> Reading | None:
        """What was read of a value in that way."""
        key = read, id(value)
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def keep(self, read: Callable[..., Any], value: object, answer: dict[str, Any], fields: int) -> None:
        """Keep what was read of a value that `lasts`, until the value is gone or others need the room."""
        key = read, id(value)
        self._forget(key)
        self._kept[key] = Reading(ref(value, partial(self._forget, key)), answer, fields)
        self.fields += fields
        while self.fields > MAX_FIELDS and self._kept:
            self._forget(next(iter(self._kept)))

    def __len__(self) -> int:
        return len(self._kept)

    def _forget(self, key: _Key, _: object = None) -> None:
        # With a reading goes its reference to the value, so that it is not told a second time.
        found = self._kept.pop(key, None)
        if found is not None:
            self.fields -= found.fields


readings = Readings()


@lru_cache(maxsize=1_000)
def lasts(of_class: type) -> bool:
    """Whether values of a class never change and are read again: those of the domain that say so by `weakref`."""
    config = getattr(of_class, "__struct_config__", None)
    return config is not None and bool(config.frozen and config.weakref)
