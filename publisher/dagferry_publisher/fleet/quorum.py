"""Whether a commit is live on enough pods: pure counting."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from dagferry_publisher.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagferry_publisher.fleet.judge import Row
    from dagferry_publisher.fleet.podstatus import Live

_QUORUM = re.compile(r"(\d{1,9}|\d{1,3}\.\d{1,3})(%?)", re.ASCII)


class Reached(StrEnum):
    """How far it is live."""

    ALL = "all"
    QUORUM = "quorum"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Quorum:
    """How many pods are enough: a number, a share of all, or all but a number."""

    number: int | None = None
    percent: float = 100.0
    missing: int | None = None

    def of(self, total: int) -> int:
        """Return how many of ``total`` pods are enough; one at least."""
        if self.number is not None:
            return self.number
        if self.missing is not None:
            return max(1, total - self.missing)
        return max(1, math.ceil(round(total * self.percent / 100, 6)))


def parse(text: str, option: str = "--quorum") -> Quorum:
    """Read ``90%`` or ``45``; UsageError for anything else, zero, or above 100 %."""
    match = _QUORUM.fullmatch(text.strip())
    if match and match[2] and 0 < float(match[1]) <= 100:
        return Quorum(percent=float(match[1]))
    if match and not match[2] and match[1].isdecimal() and int(match[1]):
        return Quorum(number=int(match[1]))
    raise UsageError(f"{option} {text[:40]!r} is neither a share, such as 90%, nor a number of pods")


def parse_limit(text: str, option: str = "--failure-limit") -> Quorum:
    """Read how many pods may fail, ``10%`` or ``2``, as how many are enough."""
    match = _QUORUM.fullmatch(text.strip())
    if match and match[2] and 0 <= float(match[1]) < 100:
        return Quorum(percent=100 - float(match[1]))
    if match and not match[2] and match[1].isdecimal():
        return Quorum(missing=int(match[1]))
    raise UsageError(f"{option} {text[:40]!r} is neither a share below 100%, such as 10%, nor a number of pods")


@dataclass(frozen=True, slots=True)
class Count:
    """How many pods have a commit live.

    Attributes:
        live: ready, trusted and whole, with that commit.
        total: pods, and names that have no address.
        missing: the others, with why.
    """

    live: int
    total: int
    missing: tuple[tuple[str, str], ...]

    def reached(self, quorum: Quorum) -> Reached:
        """Tell how far the commit is live."""
        if self.total and self.live == self.total and self.live >= (quorum.number or 0):
            return Reached.ALL
        return Reached.QUORUM if self.total and self.live >= quorum.of(self.total) else Reached.NONE


def count(rows: Sequence[Row], commit: str, bundle: str | None = None, channel: str | None = None) -> Count:
    """Count the pods that have a commit live. Uncommitted work on top of it is something else.

    Args:
        rows: the fleet; pods of another bundle or channel do not count.
        commit: its first digits, or a version id: this very release, whatever it is.
        bundle: None: any.
        channel: None: any.
    """
    missing, live = [], 0
    for row in rows:
        status = row.answer.status
        if status and (bundle not in {None, status.bundle} or channel not in {None, status.channel}):
            continue
        found = status.live if status else None
        if status and found and _is(found, commit) and status.ready and not status.revoked:
            live += 1
        else:
            missing.append((row.answer.pod, row.cause or _other(row)))
    return Count(live, live + len(missing), tuple(missing))


def _is(found: Live, wanted: str) -> bool:
    return found.version == wanted if "-" in wanted else found.commit.startswith(wanted) and not found.dev


def _other(row: Row) -> str:
    live = row.answer.status.live if row.answer.status else None
    work = "uncommitted work on " if live and live.dev else ""
    return f"has {work}{live.commit[:12]} live" if live else "has nothing live"
