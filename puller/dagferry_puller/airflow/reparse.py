"""Asks Airflow to parse at once what a new version changed, from the new version's directory.

By itself the dag-processor would take up to ``min_file_process_interval`` (30 s), and longer with files in its queue:

- a file counts as changed only if its modification time is later than its last parse; a sidecar stamps a version before
  the dag-processor looks, so a parse of the old one may have come between;
- a file that waits in the queue is parsed from the directory that was current when it was queued, and the result is
  labelled with the version that is current when it ends. So is one that is being parsed meanwhile.

A row in ``dag_priority_parsing_request``, as the API's "reparse" writes it, puts a file in front with its new path. It
is dropped for a file that is just being parsed, so those that are running are waited for, and asked for again.
"""

from __future__ import annotations

import importlib
import logging
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

log = logging.getLogger("dagferry_puller.airflow")

_LONGEST_SECONDS = 60.0  # a parse is ended after dag_file_processor_timeout, 50 s by default


class Reparse:
    """What is still to be parsed again in one bundle.

    Args:
        name: Airflow's name of the bundle.
        clock: monotonic seconds.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self._running: frozenset[int] = frozenset()  # processes that may parse, or have parsed, an older version
        self._since = 0
        self._until = 0.0

    @property
    def is_pending(self) -> bool:
        """Whether ``settle`` is to be called soon."""
        return bool(self._running)

    def switched(self, since: int, path: Path) -> None:
        """Ask for what a switch changed.

        Args:
            since: the stamp of the version before, nanoseconds since 1970: what changed since then is younger.
            path: the directory with the DAGs, of the new one.
        """
        self._since = min(since, self._since) if self.is_pending else since
        self._running |= children()
        self._until = self._clock() + _LONGEST_SECONDS
        self._ask(path)

    def settle(self, path: Path) -> None:
        """Ask again once the processes have ended that ran during the switch."""
        if self._running and (not self._running & children() or self._clock() > self._until):
            self._running = frozenset()
            self._ask(path)

    def _ask(self, path: Path) -> None:
        try:
            files = [file for file in dag_files(path) if _is_younger(path / file, self._since)]
            request(self._name, files)
            log.info("bundle %s: asked for %d changed files to be parsed now", self._name, len(files))
        except Exception as error:  # noqa: BLE001
            # Airflow's own models, which are not ours to know: without them files are parsed at their usual time.
            log.warning("bundle %s: cannot ask for changed files to be parsed now: %s", self._name, error)


def children() -> frozenset[int]:
    """Return the ids of this process's children, those that ended and were not waited for included."""
    found: set[int] = set()
    for thread in os.listdir("/proc/self/task"):
        with suppress(OSError), open(f"/proc/self/task/{thread}/children", encoding="ascii") as file:
            found.update(int(word) for word in file.read().split())
    return frozenset(found)


def _is_younger(path: Path, since: int) -> bool:
    try:
        return path.stat().st_mtime_ns > since
    except OSError:  # a link that leads nowhere
        return False


def dag_files(path: Path) -> list[str]:
    """Return the files below a directory that the dag-processor takes for DAG files, relative to it."""
    safe = _module("airflow.configuration").conf.getboolean("core", "dag_discovery_safe_mode", fallback=True)
    found = _module("airflow.utils.file").list_py_file_paths(path, safe_mode=safe)
    return [os.path.relpath(file, path) for file in found]


def request(bundle: str, files: Iterable[str]) -> None:
    """Put files in front of the queue of whichever dag-processor looks first; once, however often it is asked for."""
    model = _module("airflow.models.dagbag").DagPriorityParsingRequest
    select = _module("sqlalchemy").select
    with _module("airflow.utils.session").create_session() as session:
        there = set(session.scalars(select(model.relative_fileloc).where(model.bundle_name == bundle)))
        session.add_all(model(bundle, file) for file in files if file not in there)


def _module(name: str) -> Any:
    return importlib.import_module(name)
