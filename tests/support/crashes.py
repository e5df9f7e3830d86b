"""The real ``dagctl`` in processes that are killed with SIGKILL, at a chosen change of a file or request to the store.

Processes are forked from one that has everything loaded, as a kill at each of hundreds of points takes a process each.
"""

from __future__ import annotations

import multiprocessing
import os
import secrets
import signal
import stat
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from multiprocessing import connection, forkserver
from typing import TYPE_CHECKING, Any

from dagferry_publisher.cli import main, session
from support.faultystore import FaultyStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.context import ForkServerProcess
    from pathlib import Path

    from dagferry_shared.store import Store
    from support.dagctl import Dagctl

KILLED = -signal.SIGKILL
_CALLS = ("mkdir", "open", "fsync", "rename", "unlink")
_LOADED = (
    "support.crashes",
    *(
        f"dagferry_publisher.cli.{name}"
        for name in ("publish", "rollback", "channel", "trust", "keygen", "people", "prune")
    ),
    "dagferry_publisher.s3store",
    "typer._adapters",  # which Typer loads late, with all of pydantic where that is installed
)


_ONE_AT_A_TIME = threading.Lock()  # each start asks for the exit codes of all that ended, and each is told only once


@dataclass(frozen=True)
class Kill:
    """Where a process dies.

    Attributes:
        of: "changes": just before a call that changes a file; "requests": just before a request to the store.
        at: number of that call or request, from 0; one that never comes lets the process end, and counts.
    """

    of: str = "changes"
    at: int = -1


@dataclass(frozen=True)
class Ended:
    """How a process ended, and which points it passed: what was called for "changes", method and key for "requests"."""

    code: int
    out: str
    err: str
    points: list[str]

    @property
    def killed(self) -> bool:
        """Tell whether it was killed."""
        return self.code == KILLED


class Points:
    """Counts points in a process, names each in a file, and kills the process at one of them."""

    def __init__(self, kill: Kill, log: Path) -> None:
        self._kill = kill
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self._count = 0

    def passed(self, name: str) -> None:
        """Pass a point."""
        if self._count == self._kill.at:
            os.kill(os.getpid(), signal.SIGKILL)
        self._count += 1
        os.write(self._log, f"{name}\n".encode())

    def watch(self) -> None:
        """Pass a point at each request to the store, or at each call that changes a file."""
        if self._kill.of == "requests":
            opened = session.open_store
            session.open_store = lambda url: self._counting(opened(url))
            return
        for name in _CALLS:
            setattr(os, name, self._watched(name, getattr(os, name)))

    def _counting(self, store: Store) -> FaultyStore:
        return FaultyStore(store, lambda _, method, key: self.passed(f"{method} {key}"))

    def _watched(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def watched(*arguments: Any, **named: Any) -> Any:
            if _changes(name, arguments, named):
                self.passed(name)
            return call(*arguments, **named)

        return watched


def _changes(name: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> bool:
    """Tell whether a call makes a difference to whoever looks after the kill."""
    if name == "open":
        created = arguments[1] & os.O_CREAT and arguments[1] & os.O_TMPFILE != os.O_TMPFILE
        return bool(created) and arguments[0] != ".lock"
    if name in {"mkdir", "unlink"}:
        try:
            os.stat(arguments[0], dir_fd=named.get("dir_fd"), follow_symlinks=False)
        except FileNotFoundError:
            return name == "mkdir"
        return name == "unlink"
    return name != "fsync" or stat.S_ISREG(os.fstat(arguments[0]).st_mode)


def run(environ: dict[str, str], arguments: Sequence[str], directory: Path, kill: Kill | None) -> None:
    """Be ``dagctl`` in this (new) process."""
    os.environ.clear()
    os.environ.update(environ)
    for fd, name in ((1, "out"), (2, "err")):
        file = os.open(directory / name, os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(file, fd)
    points = Points(kill, directory / "points") if kill else None
    sys.argv = ["dagctl", *arguments]
    if points:
        points.watch()
    main.main()


def start(dagctl: Dagctl, arguments: Sequence[object], directory: Path, kill: Kill | None) -> ForkServerProcess:
    """Start a process; ``directory`` (made here) takes what it prints."""
    directory.mkdir()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*_LOADED])
    with _search_path():
        forkserver.ensure_running()
    words = [str(word) for word in arguments]
    process = context.Process(target=run, args=(dagctl.environ, words, directory, kill))
    with _ONE_AT_A_TIME:
        process.start()
    return process


@contextmanager
def _search_path() -> Iterator[None]:
    """Let the process that forks find the modules to load before: Python 3.11 does not tell it where they are."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def ended(process: ForkServerProcess, directory: Path) -> Ended:
    """Wait until a process has ended."""
    connection.wait([process.sentinel])
    with _ONE_AT_A_TIME:
        process.join()
    points = directory / "points"
    passed = points.read_text().splitlines() if points.exists() else []
    assert process.exitcode is not None
    return Ended(process.exitcode, (directory / "out").read_text(), (directory / "err").read_text(), passed)


def dagctl_process(dagctl: Dagctl, *arguments: object, kill: Kill | None = None) -> Ended:
    """Run a command in a process of its own to its end, or to where it is killed."""
    directory = dagctl.cwd / f"process-{secrets.token_hex(8)}"
    return ended(start(dagctl, arguments, directory, kill), directory)
