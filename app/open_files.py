"""How many files, and so connections, the system lets this process open."""

import structlog

from app.settings import Settings

log = structlog.get_logger()

_BESIDES = 1_000  # plain requests, stores, and files


def allow_open_files() -> int | None:
    """Raise this process' limit as far as it may by itself: how many it is then, or None where there is none.

    Shells and service managers allow 1,024 as a rule, for programs of old; who serves many connections is to ask.
    """
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard and soft != resource.RLIM_INFINITY:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as error:  # macOS has limits besides, and says so only then
            log.info("open files not raised", limit=soft, error=str(error))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def warn_of_few_open_files(limit: int | None, settings: Settings) -> None:
    """Say so when the system allows fewer connections than the settings do: then nobody at all could connect."""
    needed = settings.max_sockets + settings.max_event_streams + _BESIDES
    if limit is not None and limit < needed:
        log.warning(
            "fewer open files allowed than websockets and event streams may need: raise `ulimit -Hn`, or lower"
            " SLIPWAY_MAX_SOCKETS and SLIPWAY_MAX_EVENT_STREAMS",
            limit=limit,
            needed=needed,
        )
