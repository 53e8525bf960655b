"""How times, durations and JSON travel."""

from datetime import UTC, datetime, timedelta
from typing import Any, NewType

import isodate
import strawberry
from strawberry.types.scalar import ScalarDefinition

from app.domain.iso8601 import duration_text, time_text

JSON = NewType("JSON", object)


def _read_time(value: Any) -> datetime:
    """UTC in whole milliseconds; a time without an offset is taken as UTC. Raises ValueError, to which GraphQL adds."""
    try:
        time = datetime.fromisoformat(value)
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("use an ISO 8601 time such as 2026-11-24T12:00:00Z") from None
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def _read_duration(value: Any) -> timedelta:
    """Whole milliseconds. Years and months have no fixed length, so they are refused: with ValueError, as above."""
    try:
        duration = isodate.parse_duration(value)
    except OverflowError:
        return timedelta.max  # valid ISO 8601; what is too long is for validation to say
    except (TypeError, ValueError, AttributeError):
        duration = None
    # "PT" and "P1DT" say that something follows: isodate takes them for nothing, which may be a whole bake time.
    if not isinstance(duration, timedelta) or value.strip().endswith("T"):
        raise ValueError("use an ISO 8601 duration such as PT1H30M, without years or months")
    return timedelta(milliseconds=duration // timedelta(milliseconds=1))


SCALARS: dict[object, ScalarDefinition] = {
    datetime: strawberry.scalar(
        name="DateTime",
        description="A moment as ISO 8601 in UTC with milliseconds: 2026-11-24T12:00:00.000Z",
        serialize=time_text,
        parse_value=_read_time,
    ),
    timedelta: strawberry.scalar(
        name="Duration",
        description="ISO 8601, e.g. PT1H30M",
        serialize=duration_text,
        parse_value=_read_duration,
    ),
    JSON: strawberry.scalar(
        name="JSON",
        description="Any JSON value",
        serialize=lambda value: value,
        parse_value=lambda value: value,
    ),
}
