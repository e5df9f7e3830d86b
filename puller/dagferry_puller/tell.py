"""``--airflow``: after a swap, tell Airflow to parse now, then watch until it has. In a thread of its own.

A hint, as ever: the swap does not wait for it and never fails by it. Only the newest version counts. What Airflow does
not take is tried again, with growing pauses, while that version is live. At a start the live version is looked after,
too: somebody may have restarted us between the swap and the telling. What is parsed already is not told again.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from dagferry_puller import stamped
from dagferry_puller.attempt import attempt
from dagferry_puller.backoff import Backoff, uniform
from dagferry_puller.exits import line_for
from dagferry_puller.logs import Complaints, fields, log
from dagferry_puller.root import VERSIONS
from dagferry_puller.tellinfo import AirflowInfo, Parse
from dagferry_puller.telling import Telling
from dagferry_shared import times
from dagferry_shared.airflowapi import credentials
from dagferry_shared.airflowapi.address import parse
from dagferry_shared.airflowapi.client import Airflow
from dagferry_shared.airflowapi.errors import AirflowError, Trouble
from dagferry_shared.airflowapi.parsed import Target
from dagferry_shared.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagferry_puller.options import Settings
    from dagferry_puller.recorder import Recorder
    from dagferry_puller.status import LiveInfo
    from dagferry_shared.airflowapi.answers import Dag
    from dagferry_shared.airflowapi.parsed import Snapshot

_FIRST_LOOK = 0.25  # seconds
_LONGEST_LOOK = 60.0  # seconds; also how often a parsed version is looked after
_SHARE = 0.15  # of the time since the swap: looks get rarer, and what they see is late by no more than this share
_SHOWN = 3  # files named in the detail


def connect(settings: Settings) -> Airflow:
    """Read the credentials, which may have been rotated, and make a client; nothing is asked yet.

    Raises:
        ValueError: they, or the CA file, are wrong.
    """
    file = settings.airflow_credentials_file
    who = credentials.from_file(file) if file else credentials.from_environ(os.environ)
    return Airflow(parse(settings.airflow), who, ca=settings.airflow_ca)


class Teller:
    """Tells one Airflow of what is live here.

    Args:
        settings: all options.
        recorder: what happened.
        clock: monotonic seconds.
    """

    def __init__(self, settings: Settings, recorder: Recorder, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._recorder = recorder
        self._clock = clock
        self._airflow: Airflow | None = None
        self._complaints = Complaints(clock)
        self._backoff = Backoff(1.0, longest=15.0)
        self._news = threading.Event()
        self._live: LiveInfo | None = None
        self._stopping = False
        self._since = times.now()  # when it was live
        self._begun = clock()
        self._heard: float | None = None  # when Airflow first answered since then
        recorder.update(airflow=AirflowInfo(str(parse(settings.airflow))))

    def start(self) -> None:
        """Begin to work, in a thread that ends with the process, or by ``stop``."""
        threading.Thread(target=self._work, name="airflow", daemon=True).start()

    def stop(self) -> None:
        """End the thread, at its next request at the latest."""
        self._stopping = True
        self._news.set()

    def looked(self) -> None:
        """Take in what is live; called after each sync, and quick."""
        status = self._recorder.standing()
        live = status.live if status.role == "owner" else None
        if live is not None and live.since and (self._live is None or self._live.since != live.since):
            self._live = live
            self._news.set()

    def _work(self) -> None:
        self._news.wait()
        while not self._stopping:
            self._news.clear()
            if self._live is not None:
                self._follow(self._begin(self._live))

    def _begin(self, live: LiveInfo) -> Telling:
        self._since, self._begun, self._heard = times.parse(live.since or ""), self._clock(), None
        self._note(version=live.version, state=Parse.TELLING, told_at=None, parsed_at=None, files_told=0,
                   swap_to_parsed_seconds=None, dags=0, pending=0, import_errors=0, detail="")  # fmt: skip
        target = Target(live.version, self._since)
        changed = stamped.changed(os.path.join(self._settings.root, VERSIONS, live.version))
        return Telling(target, self._settings.airflow_bundle, self._clock, self._news.is_set, changed)

    def _follow(self, telling: Telling) -> None:
        """Look after one version until there are news."""
        while not self._news.is_set():
            turn = self._clock()
            late = self._heard is not None and turn - self._heard > self._settings.airflow_timeout
            error = attempt(lambda late=late: self._look(telling, late=late))  # type: ignore[misc]
            if error is not None:
                self._failed(error)
                delay = self._backoff.delay(uniform())
            else:
                self._complaints.well()
                now = self._clock()
                delay = min(max(_FIRST_LOOK, (now - self._begun) * _SHARE, 2 * (now - turn)), _LONGEST_LOOK)
            self._news.wait(delay)

    def _look(self, telling: Telling, *, late: bool) -> None:
        try:
            self._airflow = self._airflow or connect(self._settings)
        except ValueError as error:
            raise AirflowError(Trouble.DENIED, f"--airflow-credentials-file or --airflow-ca: {error}") from error
        try:
            snapshot, waiting = telling.look(self._airflow, tell=not late)
        finally:
            self._note(told_at=telling.told_at, files_told=telling.told, program=self._airflow.version)
        self._backoff.failures = 0
        self._heard = self._clock() if self._heard is None else self._heard
        self._note(up=True, problem=None, failures=0, dags=len(snapshot.dags), pending=len(waiting),
                   import_errors=len(snapshot.failures), detail=_detail(snapshot, waiting))  # fmt: skip
        self._judge(snapshot, waiting, late=late)

    def _judge(self, snapshot: Snapshot, waiting: tuple[Dag, ...], *, late: bool) -> None:
        info = self._info()
        if info.parsed_at is not None:
            return
        if snapshot.dags and not waiting:
            self._parsed(info)
        elif late and info.state is not Parse.LATE:
            self._note(state=Parse.LATE)
            log.warning("Airflow has not parsed the live version in time: %s", self._info().detail)
        elif not late:
            self._note(state=Parse.WAITING)

    def _parsed(self, info: AirflowInfo) -> None:
        now = times.now()
        seconds = max(0.0, (now - self._since).total_seconds())
        self._note(state=Parse.PARSED, parsed_at=times.show(now), swap_to_parsed_seconds=seconds)
        words = f"Airflow has parsed the live version: {info.dags} DAGs, {info.import_errors} files with import errors"
        log.log(30 if info.import_errors else 20, "%s", words, extra=fields(version=info.version, seconds=seconds))

    def _failed(self, error: Exception) -> None:
        if not isinstance(error, AirflowError):
            log.error("a bug in dagferry: %s", line_for(error), exc_info=error)
        self._airflow = None  # the next attempt reads the credentials again
        self._backoff.failures += 1
        self._complaints.failed(error)
        self._note(up=False, problem=line_for(error)[:500], failures=self._info().failures + 1)

    def _info(self) -> AirflowInfo:
        info = self._recorder.standing().airflow
        assert info is not None  # noqa: S101 - set at the start
        return info

    def _note(self, **changes: object) -> None:
        """Change what is known; only this thread does."""
        self._recorder.update(airflow=replace(self._info(), **changes))


def _detail(snapshot: Snapshot, waiting: tuple[Dag, ...]) -> str:
    if not snapshot.dags:
        return "Airflow has no DAG of this bundle yet; it looks for new files by itself"
    names = [dag.dag_id for dag in waiting] or [f"{one.file}: {one.error}" for one in snapshot.failures]
    words = "not parsed yet: " if waiting else "cannot be imported: "
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return words + ", ".join(names[:_SHOWN]) + more if names else ""
