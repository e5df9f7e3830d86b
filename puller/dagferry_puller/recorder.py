"""The one holder of the puller's status: every thread that does something tells it what happened."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dagferry_puller.status import Outcome
from dagferry_shared import times
from dagferry_shared.errors import Reason
from dagferry_shared.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from dagferry_puller.status import Problem, Repair, Status, Step

_MOST_WAITING = 64  # notes; with one poll a second and nobody who asks, a minute's


class Recorder:
    """The one holder of the status; any thread may write or take a snapshot.

    What every poll tells (a step's time, a good end) is only noted, and worked into the status when somebody asks: a
    new status is forty fields that a poll finds in no cache.

    Args:
        status: where it starts.
        clock: monotonic seconds.
    """

    def __init__(self, status: Status, clock: Callable[[], float] = time.monotonic) -> None:
        self._status = status
        self._clock = clock
        self._lock = threading.Lock()
        self._beat = clock()
        self._times: list[tuple[Step, float]] = []  # seconds of steps
        self._ends: list[tuple[Outcome, datetime]] = []  # of syncs that ended well

    def snapshot(self) -> Status:
        """Return the status as it is now."""
        with self._lock:
            self._work_in()
            return self._status

    def standing(self) -> Status:
        """Return it for what polls do not tell: their times, counts and ends may be behind by some."""
        return self._status

    def _work_in(self) -> None:
        """Work what was noted into the status."""
        old, changes = self._status, dict[str, object]()
        if self._times:
            steps = dict(old.steps)
            for step, seconds in self._times:
                steps[step] = steps[step].observed(seconds)
            changes["steps"] = steps
        if self._ends:
            syncs, success = dict(old.syncs), old.last_success
            for outcome, moment in self._ends:
                syncs[outcome] += 1
                success = success if outcome is Outcome.STANDBY else times.show(moment)
            changes |= {"syncs": syncs, "problem": None, "failures": 0, "last_success": success}
        if changes:
            self._status, self._times, self._ends = replace(old, **changes), [], []

    def update(self, **changes: object) -> None:
        """Replace fields of the status."""
        with self._lock:
            self._status = replace(self._status, **changes)

    def beat(self) -> None:
        """Say that the worker is alive."""
        self._beat = self._clock()

    def silence(self) -> float:
        """Return the seconds since the worker last said that it is alive."""
        return self._clock() - self._beat

    @contextmanager
    def step(self, step: Step) -> Iterator[None]:
        """Time a part of a sync, also one that fails."""
        self.beat()
        start = self._clock()
        try:
            yield
        finally:
            with self._lock:
                self._times.append((step, self._clock() - start))

    def fetched(self, count: int) -> None:
        """Count bytes from the store."""
        self.beat()
        with self._lock:
            self._status = replace(self._status, fetched_bytes=self._status.fetched_bytes + count)

    def notified(self) -> None:
        """Count a notification."""
        with self._lock:
            self._status = replace(self._status, notifications=self._status.notifications + 1)

    def tree_changed(self) -> None:
        """Count a glance that found the live tree changed."""
        with self._lock:
            self._status = replace(self._status, tree_changes=self._status.tree_changes + 1)

    def repaired(self, what: Repair, tampered: int = 0) -> None:
        """Count a repair and the entries that were not as signed."""
        with self._lock:
            repairs = self._status.repairs
            self._status = replace(
                self._status,
                repairs={**repairs, what: repairs[what] + 1},
                tampered=self._status.tampered + tampered,
            )

    def patched(self, result: str) -> None:
        """Count an attempt to make a version from the live one, by one of PATCHES."""
        with self._lock:
            patches = self._status.patches
            self._status = replace(self._status, patches={**patches, result: patches[result] + 1})

    def refused(self, reason: Reason) -> None:
        """Count a refusal; equivocation is an alarm of its own: a key or a publisher is broken."""
        with self._lock:
            refusals = {**self._status.refusals, reason: self._status.refusals.get(reason, 0) + 1}
            alarms = self._status.alarms + (reason is Reason.EQUIVOCATION)
            self._status = replace(self._status, refusals=refusals, alarms=alarms)

    def delivered(self, issued: datetime) -> None:
        """Record that the link was swapped to what was signed at that instant."""
        seconds = max(0.0, (times.now() - issued).total_seconds())
        with self._lock:
            self._status = replace(
                self._status,
                publish_to_live_seconds=seconds,
                deliveries=self._status.deliveries.observed(seconds),
            )

    def ended(self, outcome: Outcome, problem: Problem | None) -> None:
        """Record the end of a sync."""
        self.beat()
        with self._lock:
            if problem is None:
                self._ends.append((outcome, times.now()))
                if len(self._ends) >= _MOST_WAITING:
                    self._work_in()
                return
            self._work_in()
            old = self._status
            syncs = {**old.syncs, outcome: old.syncs[outcome] + 1}
            self._status = replace(old, syncs=syncs, problem=problem, failures=old.failures + 1)
