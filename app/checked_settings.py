"""A command's settings, or its end with a line that says what is wrong with them."""

import os
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from pydantic import ValidationError

    from app.settings import Settings


def checked_settings() -> "Settings":
    """The settings of a server or worker. Ends the process unless each can be used."""
    from pydantic import ValidationError

    from app.settings import Settings
    from app.store import open_store
    from app.timers import connect

    try:
        settings = Settings()
    except ValidationError as error:
        fail_settings(error)
    try:
        open_store(settings.store_url)
    except ValueError as error:
        fail(f"SLIPWAY_STORE_URL: {error}")
    try:
        connect(settings.redis_url).connection_pool.make_connection()  # type: ignore[no-untyped-call]
    except (ValueError, TypeError):  # whose text may hold a part of the password
        fail(f"SLIPWAY_REDIS_URL: Not the URL of a Redis. {Settings.model_fields['redis_url'].description}.")
    if settings.oidc_issuer is not None:
        from app.api.issuer_keys import checked_issuer

        try:
            checked_issuer(settings.oidc_issuer)
        except ValueError as error:
            fail(f"SLIPWAY_OIDC_ISSUER: {error}")
    for name in sorted(os.environ):
        if name.startswith("SLIPWAY_") and name.removeprefix("SLIPWAY_").lower() not in Settings.model_fields:
            print(f"{name} is none of Slipway's settings and does nothing.", file=sys.stderr)
    return settings


_WRONG = {
    "missing": "is not set",
    "string_pattern_mismatch": "does not look like one",
    "too_short": "is too short",
}


def fail_settings(error: "ValidationError") -> NoReturn:
    """End the process with a line for each setting that is wrong."""
    from app.settings import Settings

    lines = []
    for problem in error.errors():
        if not problem["loc"]:
            lines.append(problem["msg"].removeprefix("Value error, ") + ".")
            continue
        field = str(problem["loc"][0])
        wrong = _WRONG.get(problem["type"], problem["msg"].removeprefix("Value error, "))
        lines.append(f"SLIPWAY_{field.upper()}: {wrong}. {Settings.model_fields[field].description}.")
    fail("\n".join(lines))


def fail(message: str) -> NoReturn:
    """End the process with a message and exit status 2."""
    print(message, file=sys.stderr)
    sys.exit(2)
