"""A pod's clock that is wrong, or time that goes by."""

from __future__ import annotations

from datetime import timedelta
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

from dagferry_puller import daemon
from dagferry_shared import times

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    import pytest

DAY = 86400.0  # seconds


def shift(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Move the clock that documents are judged by; ``monkeypatch.undo`` sets it right."""
    real = times.now
    monkeypatch.setattr(times, "now", lambda: real() + timedelta(seconds=seconds))


class Hours(daemon.Clock):
    """A clock that jumps to what comes next: the end of a wait, or something that happens before."""

    def __init__(self) -> None:
        self.now = 0.0
        self._plans: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def at(self, moment: float, happens: Callable[[], None]) -> None:
        """Let something happen."""
        heappush(self._plans, (moment, next(self._numbers), happens))

    def monotonic(self) -> float:
        return self.now

    def wait(self, event: threading.Event, seconds: float) -> bool:
        end = self.now + seconds
        while not event.is_set() and self._plans and self._plans[0][0] <= end:
            moment, _, happens = heappop(self._plans)
            self.now = max(self.now, moment)
            happens()
        if not event.is_set():
            self.now = end
        return event.is_set()
