"""Logs: lines for people or JSON for machines, on stderr; a failure that repeats is told once an hour.

The standard ``logging`` loads traceback, tokenize, textwrap and string: 4 ms of CPU of each start, for lines to stderr.
So ``log`` is as much of a ``logging.Logger`` as a puller uses. Until ``configure`` says where to, it hands records to
the standard one of its name: in Airflow's processes they belong there.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from dagferry_puller.backoff import BackedOff
from dagferry_puller.exits import line_for
from dagferry_shared.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TextIO

    Extra = Mapping[str, Mapping[str, object]]
    Format = Callable[[int, str, Mapping[str, object], BaseException | None], str]

NAME = "dagferry_puller"
DEBUG, INFO, WARNING, ERROR = 10, 20, 30, 40  # the numbers of ``logging``
LEVELS = {"debug": DEBUG, "info": INFO, "warning": WARNING, "error": ERROR}
_NAMES = {number: name for name, number in LEVELS.items()}

REMIND_SECONDS = 3600.0


def fields(**values: object) -> dict[str, dict[str, object]]:
    """Attach structured fields to a record: ``log.info("…", extra=fields(version=v))``."""
    return {"fields": values}


def _moment() -> str:
    now = time.time()
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1000):03d}Z"


def _traceback(error: BaseException) -> str:
    import traceback  # noqa: PLC0415 - seldom needed

    return "".join(traceback.format_exception(error)).rstrip("\n")


def as_text(level: int, message: str, given: Mapping[str, object], error: BaseException | None) -> str:
    """Return ``2026-01-01T00:00:00.000Z INFO    what happened  name=value``, one line but for a traceback."""
    tail = "".join(f"  {name}={value}" for name, value in given.items() if value is not None)
    line = f"{_moment()} {_NAMES[level].upper():7} {message}{tail}"
    return f"{line}\n{_traceback(error)}" if error else line


def as_json(level: int, message: str, given: Mapping[str, object], error: BaseException | None) -> str:
    """Return one object: ``time``, ``level``, ``message`` and the record's fields."""
    document = {"time": _moment(), "level": _NAMES[level], "message": message, **given}
    if error:
        document["traceback"] = _traceback(error)
    return json.dumps(document, default=str, ensure_ascii=False)


class Log:
    """Where records go.

    Attributes:
        to: a stream; None: to the standard ``logging``.
        level: the least that is written to the stream.
        format: makes the line.
    """

    def __init__(self) -> None:
        self.to: TextIO | None = None
        self.level = INFO
        self.format: Format = as_text

    def debug(self, message: str, *args: object, extra: Extra | None = None) -> None:
        """Log what only helps to find a fault."""
        self.log(DEBUG, message, *args, extra=extra)

    def info(self, message: str, *args: object, extra: Extra | None = None) -> None:
        """Log what happened as it should."""
        self.log(INFO, message, *args, extra=extra)

    def warning(self, message: str, *args: object, extra: Extra | None = None) -> None:
        """Log what somebody should look at some day."""
        self.log(WARNING, message, *args, extra=extra)

    def error(
        self, message: str, *args: object, extra: Extra | None = None, exc_info: BaseException | None = None
    ) -> None:
        """Log what somebody should look at; ``exc_info``: an error whose traceback is to be shown."""
        self.log(ERROR, message, *args, extra=extra, exc_info=exc_info)

    def log(
        self,
        level: int,
        message: str,
        *args: object,
        extra: Extra | None = None,
        exc_info: BaseException | None = None,
    ) -> None:
        """Log at one of the four levels; the arguments are put into the message only if it is written."""
        if self.to is None:
            import logging  # noqa: PLC0415 - see above

            logging.getLogger(NAME).log(level, message, *args, extra=extra, exc_info=exc_info)
        elif level >= self.level:
            line = self.format(level, message % args if args else message, (extra or {}).get("fields", {}), exc_info)
            with suppress(OSError, ValueError):  # nobody reads it any more: no reason to stop
                self.to.write(line + "\n")
                self.to.flush()


log = Log()


def configure(style: str, level: str) -> None:
    """Send this package's records to stderr, as ``text`` or ``json``."""
    log.to, log.level, log.format = sys.stderr, LEVELS[level], as_json if style == "json" else as_text


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
        level = DEBUG if key == self._last and again else WARNING
        if level == WARNING:
            self._told = self._clock()
        self._last = key
        reason = cause.reason if isinstance(cause, Refused) else None
        log.log(level, "%s", line_for(cause), extra=fields(reason=reason, times=self._times))

    def well(self) -> None:
        """Note a success; logged if a failure ends with it."""
        if self._last is not None:
            log.info("well again after %d failed attempts", self._times, extra=fields(ended=self._last[1][:200]))
        self._last, self._times = None, 0
