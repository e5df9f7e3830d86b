"""Instants as documents hold them: RFC 3339, UTC, milliseconds, always ``YYYY-MM-DDTHH:MM:SS.mmmZ``."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from dagferry_shared.errors import Reason, Refused

_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}T(?!24)\d{2}:\d{2}:\d{2}\.\d{3}Z", re.ASCII)
_DURATION = re.compile(r"(\d{1,9})([smhdw]?)", re.ASCII)
LAST = datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)  # the last instant that can be written
MAX_DURATION = 100 * 366 * 86400  # seconds
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def now() -> datetime:
    """Return the current instant, cut to milliseconds as documents hold it."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def show(moment: datetime) -> str:
    """Write an aware instant as documents hold it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def instant(value: str, where: str) -> str:
    """Accept an instant in the one form (a check for ``Fields.text``)."""
    parse(value, where)
    return value


def parse(value: str, where: str = "time") -> datetime:
    """Read an instant; Refused(MALFORMED) for any other form or a date that does not exist."""
    if not _INSTANT.fullmatch(value):
        raise Refused(Reason.MALFORMED, f"{where} {value[:40]!r} is not YYYY-MM-DDTHH:MM:SS.mmmZ")
    try:
        return datetime.fromisoformat(value)
    except ValueError as error:
        raise Refused(Reason.MALFORMED, f"{where} {value!r} is not a date") from error


def duration(value: str, where: str = "duration") -> timedelta:
    """Read ``90``, ``90s``, ``15m``, ``12h``, ``7d`` or ``2w``; Refused(MALFORMED) for anything else or zero."""
    match = _DURATION.fullmatch(value.strip())
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 0 < seconds <= MAX_DURATION:
        raise Refused(Reason.MALFORMED, f"{where} {value[:40]!r} is not a duration such as 90s, 15m, 12h, 7d")
    return timedelta(seconds=seconds)
