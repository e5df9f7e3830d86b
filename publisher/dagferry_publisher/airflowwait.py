"""Waiting until Airflow has parsed what a channel's pointer names, and what came of it.

What it proves depends on how Airflow gets its DAGs (``airflowapi.parsed`` has the rules): with DagferryBundle, that
each DAG was last parsed from that very version. Behind a plain link, and on 2.11, that each file was parsed after the
version was live: exactly so if a puller says when that was, else after ``delivery``, which is an assumption.

A file that Airflow has not found yet cannot be waited for: 3.x finds new ones at once if a puller tells it (``run
--airflow``), else at its refresh interval; 2.11 every ``dag_dir_list_interval``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from dagferry_publisher.errors import Conflict
from dagferry_publisher.fleet.ask import NotAnswered
from dagferry_publisher.fleet.survey import ask_one
from dagferry_shared import times
from dagferry_shared.airflowapi import parsed
from dagferry_shared.airflowapi.errors import AirflowError, Trouble
from dagferry_shared.airflowapi.parsed import Target

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from dagferry_publisher.baseline import Baseline
    from dagferry_shared.airflowapi.answers import Dag, ImportFailure
    from dagferry_shared.airflowapi.client import Airflow
    from dagferry_shared.airflowapi.parsed import Snapshot
    from dagferry_shared.pointer import Pointer
    from dagferry_shared.targets import Target as Pods

_FIRST_LOOK, _LONGEST_LOOK = 0.3, 5.0  # seconds between looks
_SHARE = 0.1  # of the time so far: looks get rarer
_HEAD_SECONDS = 5.0  # how often the channel is looked at: somebody may move it on
_POD_SECONDS = 5.0  # for a puller's answer


@dataclass(frozen=True, slots=True)
class Plan:
    """How to wait.

    Attributes:
        bundle: Airflow's name of the bundle; empty: all there are.
        puller: whose ``/status`` says when the version is live; None: ``delivery`` is assumed.
        delivery: seconds from the pointer to live pods.
        settle: seconds that nothing may change after all is parsed.
        timeout: seconds for everything.
    """

    bundle: str
    puller: Pods | None
    delivery: float
    settle: float
    timeout: float


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it.

    Attributes:
        snapshot: Airflow at the last look; None if it never answered.
        waiting: DAGs that are not parsed yet.
        live_at: when the version was live, as far as is known.
        parsed_at: when all was first seen parsed; None if it was not.
        problem: why the last look failed; None if it did not.
    """

    snapshot: Snapshot | None = None
    waiting: tuple[Dag, ...] = ()
    live_at: datetime | None = None
    parsed_at: datetime | None = None
    problem: str | None = None

    def new_failures(self, baseline: Baseline) -> tuple[ImportFailure, ...]:
        """Return the files that cannot be imported and are not known to have been so before."""
        failures = self.snapshot.failures if self.snapshot else ()
        return tuple(one for one in failures if (one.bundle, one.file) not in baseline.failing)


def _live_since(puller: Pods, version: str) -> datetime | None:
    """Return when a puller swapped its link to a version; None if that is not live there.

    Raises:
        NotAnswered: nobody answers, or not as a puller does.
    """
    try:
        address = puller.addresses()[0]
    except (OSError, UnicodeError) as error:
        raise NotAnswered(f"the puller at {puller}: the name cannot be resolved") from error
    answer = ask_one(address, _POD_SECONDS)
    if answer.status is None:
        raise NotAnswered(f"the puller at {puller}: {answer.why}")
    live = answer.status.live
    return times.parse(live.since) if live and live.since and live.version == version else None


class AirflowWait:
    """One wait.

    Args:
        airflow: to ask.
        pointer: what is waited for.
        plan: how.
        head: reads the channel's pointer again.
        say: told of progress.
        clock: monotonic seconds.
        sleep: waits some seconds.
    """

    def __init__(  # noqa: PLR0913
        self,
        airflow: Airflow,
        pointer: Pointer,
        plan: Plan,
        head: Callable[[], Pointer],
        say: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._airflow = airflow
        self._pointer = pointer
        self._plan = plan
        self._head = head
        self._say = say
        self._clock = clock
        self._sleep = sleep
        self._said = ""
        self._live_at: datetime | None = None
        self._head_at = clock()

    def run(self) -> Result:
        """Look until all is parsed and nothing changes any more, or the time is over.

        Raises:
            Conflict: the channel moved on to another release.
            AirflowError: Airflow denies us, or is none.
        """
        begun = self._clock()
        result, before, quiet = Result(), None, begun
        while True:
            result = self._turn(result)
            now = self._clock()
            state = (result.parsed_at, result.snapshot.failing if result.snapshot else None, len(result.waiting))
            quiet = quiet if state == before else now
            before = state
            done = result.parsed_at is not None and not result.waiting and result.problem is None
            if (done and now - quiet >= self._plan.settle) or now - begun >= self._plan.timeout:
                return result
            self._sleep(min(max(_FIRST_LOOK, _SHARE * (now - begun)), _LONGEST_LOOK))

    def _turn(self, last: Result) -> Result:
        self._check_head()
        try:
            target = self._target()
            if target is None:
                self._progress("waiting until the puller has it live")
                return Result(problem="the puller does not have it live yet")
            snapshot = parsed.take(self._airflow, self._plan.bundle)
        except (AirflowError, NotAnswered) as error:
            if isinstance(error, AirflowError) and error.trouble in {Trouble.DENIED, Trouble.NOT_FOUND}:
                raise
            self._progress(str(error))
            return Result(last.snapshot, last.waiting, last.live_at, last.parsed_at, str(error))
        waiting = parsed.pending(snapshot, target)
        whole = bool(snapshot.dags) and not waiting
        self._progress(
            f"parsed {len(snapshot.dags) - len(waiting)} of {len(snapshot.dags)} DAGs, "
            f"{len(snapshot.failures)} files with import errors"
        )
        at = (last.parsed_at or times.now()) if whole else None
        return Result(snapshot, waiting, target.since, at)

    def _target(self) -> Target | None:
        """Return what to look for; None while the puller does not have it live."""
        issued, version = times.parse(self._pointer.issued), self._pointer.version
        if self._plan.puller is None:
            return Target(version, issued, issued + timedelta(seconds=self._plan.delivery))
        if self._live_at is None:
            self._live_at = _live_since(self._plan.puller, version)
            if self._live_at is None:
                return None
        return Target(version, self._live_at)

    def _check_head(self) -> None:
        now = self._clock()
        if now - self._head_at < _HEAD_SECONDS:
            return
        self._head_at = now
        head = self._head()
        if head.release != self._pointer.release:
            raise Conflict(f"the channel moved on while waiting: {head.action} to commit {head.commit[:12]}")

    def _progress(self, text: str) -> None:
        if text != self._said:
            self._said = text
            self._say(text)
