"""How long to wait: pure arithmetic, with the random part handed in."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dagferry_shared.errors import DagferryError
from dagferry_shared.values import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagferry_shared.errors import Refused

JITTER = 0.2  # a share of the delay, either way: pods that started together drift apart


def uniform() -> float:
    """Return a random number in [0, 1). The ``random`` module would cost every pod half a megabyte."""
    return int.from_bytes(os.urandom(4), "big") / 2**32


def jittered(seconds: float, chance: float) -> float:
    """Return the delay with its jitter: between 0.8 and 1.2 of it.

    Args:
        seconds: the delay.
        chance: a random number in [0, 1).
    """
    return seconds * (1 + JITTER * (2 * chance - 1))


@dataclass(slots=True)
class Backoff:
    """Delays between polls: the period, and after failures in a row twice as long each time.

    Attributes:
        period: seconds between polls when all is well.
        longest: seconds; no delay is longer, jitter aside.
        failures: in a row.
    """

    period: float
    longest: float = 60.0
    failures: int = 0

    def delay(self, chance: float) -> float:
        """Return the seconds until the next poll; at most 1.2 times ``max(longest, period)``."""
        doubled = self.period * 2 ** min(self.failures, 30)
        return jittered(min(doubled, max(self.longest, self.period)), chance)


class BackedOff(DagferryError):
    """Something that failed a short time ago is not tried again yet.

    Attributes:
        refusal: why it failed then.
    """

    def __init__(self, refusal: Refused, seconds: float) -> None:
        super().__init__(f"{refusal} (tried again in {seconds:.0f} s)")
        self.refusal = refusal


@dataclass(slots=True)
class DigestBackoff:
    """Delays for each content that was refused, by its digest: bad bytes stay bad, but a store may be repaired.

    Attributes:
        first: seconds after the first refusal.
        longest: seconds.
        clock: monotonic seconds.
    """

    first: float
    clock: Callable[[], float]
    longest: float = 600.0
    _failed: dict[str, tuple[int, float, Refused]] = field(default_factory=dict)

    def check(self, digest: str) -> None:
        """Raise BackedOff if the content failed and its delay is not over."""
        if digest in self._failed:
            _, until, refusal = self._failed[digest]
            if self.clock() < until:
                raise BackedOff(refusal, until - self.clock())

    def failed(self, digest: str, refusal: Refused) -> None:
        """Remember a refusal. Only the last 16 contents are remembered."""
        times = self._failed.pop(digest, (0, 0.0, refusal))[0] + 1
        delay = min(self.first * 2 ** min(times - 1, 30), self.longest)
        self._failed[digest] = (times, self.clock() + delay, refusal)
        while len(self._failed) > 16:
            del self._failed[next(iter(self._failed))]

    def succeeded(self, digest: str) -> None:
        """Forget a content's refusals."""
        self._failed.pop(digest, None)
