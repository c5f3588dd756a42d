"""The log: structlog, for people on a terminal, as JSON lines otherwise; on standard error."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import Literal

import structlog

from syncd.config import Log

Level = Literal["debug", "info", "warning", "error"]
REPEAT_PAUSE = 60.0
"""Seconds between two lines of the same text from a library."""

MESSAGES_REMEMBERED = 100

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure(log: Log) -> None:
    """Set up the log; may be called again to change it."""
    console = log.format == "console" or (log.format == "auto" and sys.stderr.isatty())
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Tracebacks without the values of variables, which both renderers show by default: they may be secrets.
    if console:
        processors.append(
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        )
    else:
        tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        processors += [
            structlog.processors.ExceptionRenderer(tracebacks),
            structlog.processors.JSONRenderer(),
        ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[log.level]),
        # Not `sys.stderr` itself: a progress display may stand in its place for a while.
        logger_factory=lambda *_: _Stderr(),
        cache_logger_on_first_use=False,
    )
    # asyncio and aiohttp: a malformed request of some local process is none of the operator's troubles.
    logging.basicConfig(handlers=[_ToStructlog()], level=logging.WARNING, force=True)
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)


class _Stderr:
    """Writes whole lines to what standard error is now."""

    def msg(self, message: str) -> None:
        with suppress(OSError):  # a full disk or a reader that went away is no reason to stop serving
            print(message, file=sys.stderr, flush=True)  # noqa: T201 - this is the log's own output

    debug = info = warning = error = critical = exception = msg


class _ToStructlog(logging.Handler):
    """Hands what libraries log to the one log, but not the same sentence again and again.

    asyncio says a thousand times a second, each with a traceback, that there are too many open files.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.created - self._said.get(message, 0.0) < REPEAT_PAUSE:
            return
        if len(self._said) >= MESSAGES_REMEMBERED:
            self._said.clear()
        self._said[message] = record.created
        log = structlog.get_logger(record.name)
        log.log(max(record.levelno, logging.DEBUG), message, exc_info=record.exc_info)
