"""How a process logs: one line per fact, as key=value for people on a terminal and as JSON elsewhere."""

import logging
import sys

import structlog


def configure_logs(level: str) -> None:
    """Log to standard error from `level` (debug, info, warning, error) on; libraries from warning on."""
    number = getattr(logging, level.upper())
    terminal = sys.stderr.isatty()
    logging.basicConfig(
        level=max(number, logging.WARNING), stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *(() if terminal else (structlog.processors.format_exc_info,)),
            structlog.dev.ConsoleRenderer(sort_keys=False) if terminal else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
