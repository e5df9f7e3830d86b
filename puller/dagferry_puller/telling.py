"""Making Airflow parse one version: who is told when, a look at a time. No thread and no waiting in here.

A look asks for DAGs and import errors, and tells the files that are still to be parsed. Every file is told, not only
changed ones, as a helper module may have changed that any DAG imports. So a start with all parsed tells nothing.

Airflow parses what it is told first, in no order of ours: 2.11 on SQLite one file a second. So the files that changed
are told alone, and the others once those are parsed. Airflow would find changed files by itself, but 2.11 only when its
queue is empty (2.11.2, ``prepare_file_path_queue``), which with thirty files takes half a minute.

Airflow 3 with DagferryBundle needs two steps. A request makes it refresh the bundle, but by then it has looked the
requested file up in the version before (3.3.2, ``_claim_priority_files``), as all that wait in its queue. So one file
is told until the new version shows, then all that are not parsed from its directory. A request for a file that is
being parsed is dropped, so what is late is told again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagferry_puller.stamped import Changed
from dagferry_shared import times
from dagferry_shared.airflowapi import parsed
from dagferry_shared.airflowapi.errors import AirflowError, Trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dagferry_shared.airflowapi.answers import Dag
    from dagferry_shared.airflowapi.client import Airflow
    from dagferry_shared.airflowapi.parsed import Snapshot, Target

FIRST_SECONDS = 10.0  # that changed files have before the others are told, too
NUDGE_SECONDS = 2.0  # Airflow takes requests once a second
_NOTHING = Changed()
_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 60.0  # seconds until what is late is told again


class Telling:
    """One version on its way through one Airflow.

    Args:
        target: what is to be parsed.
        bundle: Airflow's name of the bundle; empty: all there are.
        clock: monotonic seconds.
        stop: tells whether to give up, asked between requests.
        changed: files that the version changed.

    Attributes:
        told: requests that Airflow took.
        told_at: when it took the first one.
    """

    def __init__(
        self,
        target: Target,
        bundle: str,
        clock: Callable[[], float],
        stop: Callable[[], bool] = lambda: False,
        changed: Changed = _NOTHING,
    ) -> None:
        self._target = target
        self._bundle = bundle
        self._clock = clock
        self._stop = stop
        self._changed = changed
        self._begun = clock()
        self._next = self._begun  # when to tell (again)
        self._pause = _FIRST_PAUSE
        self._refreshed = False  # Airflow has the version of a bundle of ours
        self.told = 0
        self.told_at: str | None = None

    def look(self, airflow: Airflow, *, tell: bool = True) -> tuple[Snapshot, tuple[Dag, ...]]:
        """Look once; returns what Airflow has, and which DAGs are still to be parsed.

        Args:
            airflow: to ask.
            tell: whether it may be told.

        Raises:
            AirflowError: it did not answer; what was told stays told.
        """
        snapshot = parsed.take(airflow, self._bundle)
        waiting = parsed.pending(snapshot, self._target)
        if waiting and tell:
            waiting = self._go_on(airflow, snapshot, waiting)
        return snapshot, waiting

    def _go_on(self, airflow: Airflow, snapshot: Snapshot, waiting: tuple[Dag, ...]) -> tuple[Dag, ...]:
        ours = [dag for dag in snapshot.dags if parsed.has_our_versions(dag)]
        if ours and not self._refreshed:
            if not any(dag.version == self._target.version for dag in ours):
                if self._is_time(NUDGE_SECONDS):
                    self._tell(airflow, ours[:1])
                return waiting
            self._refreshed, self._next = True, self._clock()
        first = [dag for dag in waiting if self._changed.has(dag.file)]
        if first and self._clock() < self._begun + FIRST_SECONDS:
            if self._is_time(NUDGE_SECONDS):
                self._tell(airflow, first)
            return waiting
        if self._changed:
            self._changed, self._next = _NOTHING, self._clock()
        if self._is_time(self._pause):
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            self._tell(airflow, waiting)
        return waiting

    def _is_time(self, pause: float) -> bool:
        now = self._clock()
        due = now >= self._next
        if due:
            self._next = now + pause
        return due

    def _tell(self, airflow: Airflow, dags: Iterable[Dag]) -> None:
        for token in {(dag.bundle, dag.file): dag.token for dag in dags}.values():
            if self._stop():
                return
            try:
                airflow.reparse(token)
            except AirflowError as error:
                if error.trouble is not Trouble.NOT_FOUND:  # its DAGs are gone since we asked
                    raise
                continue
            self.told += 1
            self.told_at = self.told_at or times.show(times.now())
