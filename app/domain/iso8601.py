"""Times and durations as text: the API and webhooks say them in the same way."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

import isodate


def time_text(at: datetime) -> str:
    """A moment in UTC with milliseconds: 2026-11-24T12:00:00.000Z."""
    if at.tzinfo is not UTC:
        at = at.astimezone(UTC)
    return at.isoformat(timespec="milliseconds")[:-6] + "Z"


@lru_cache(maxsize=1_000)
def duration_text(duration: timedelta) -> str:
    """A duration: PT1H30M."""
    return isodate.duration_isoformat(duration) if duration else "PT0S"
