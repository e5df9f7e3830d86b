"""Logs: lines for people or JSON for machines, on stderr; a failure that repeats is told once an hour."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import TYPE_CHECKING

from dagferry_puller.backoff import BackedOff
from dagferry_puller.exits import line_for
from dagferry_shared.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("dagferry_puller")

REMIND_SECONDS = 3600.0


def fields(**values: object) -> dict[str, dict[str, object]]:
    """Attach structured fields to a record: ``log.info("…", extra=fields(version=v))``."""
    return {"fields": values}


def _moment(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.msecs):03d}Z"


class TextFormatter(logging.Formatter):
    """``2026-01-01T00:00:00.000Z INFO    what happened  name=value``, always one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        extra = getattr(record, "fields", {})
        tail = "".join(f"  {name}={value}" for name, value in extra.items() if value is not None)
        line = f"{_moment(record)} {record.levelname:7} {record.getMessage()}{tail}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """One object a line: ``time``, ``level``, ``message`` and the record's fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        document = {"time": _moment(record), "level": record.levelname.lower(), "message": record.getMessage()}
        document |= getattr(record, "fields", {})
        if record.exc_info:
            document["traceback"] = self.formatException(record.exc_info)
        return json.dumps(document, default=str, ensure_ascii=False)


def configure(style: str, level: str) -> None:
    """Send this package's records to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    log.handlers[:] = [handler]
    log.propagate = False
    log.setLevel(level.upper())


class Complaints:
    """Tells each failure once, and again every hour while it lasts; says when it is over.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: tuple[str, str] | None = None
        self._told = 0.0
        self._times = 0

    def failed(self, error: Exception) -> None:
        """Log a failure: at warning if it is new, else at debug."""
        cause = error.refusal if isinstance(error, BackedOff) else error
        # Without the part that changes from poll to poll: "…, it is 2026-01-01T…".
        key = (type(cause).__name__, line_for(cause).partition(", it is ")[0])
        self._times = self._times + 1 if key == self._last else 1
        again = self._clock() - self._told < REMIND_SECONDS
        level = logging.DEBUG if key == self._last and again else logging.WARNING
        if level == logging.WARNING:
            self._told = self._clock()
        self._last = key
        reason = cause.reason if isinstance(cause, Refused) else None
        log.log(level, "%s", line_for(cause), extra=fields(reason=reason, times=self._times))

    def well(self) -> None:
        """Note a success; logged if a failure ends with it."""
        if self._last is not None:
            log.info("well again after %d failed attempts", self._times, extra=fields(ended=self._last[1][:200]))
        self._last, self._times = None, 0
