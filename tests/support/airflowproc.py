"""Processes of a real Airflow, of either version: a home of their own, the environment, logs, start and end."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING, Any

from support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FERNET_KEY = "ZGFnZmVycnkgdGVzdHMsIG5vdCBzZWNyZXQsIDMyYi4="
START_SECONDS = 120.0  # a whole Airflow on two busy cores

# Of our own environment nothing reaches Airflow but these: it would read the tests' coverage, paths and settings.
_KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE")


class Running:
    """A process of an Airflow and its log."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.process = process
        self._log = log

    def text(self) -> str:
        """Return all that it logged."""
        return self._log.read_text(errors="replace")

    def wait_log(self, text: str, *, after: int = 0, seconds: float = START_SECONDS) -> int:
        """Wait until it logs a text, ``after`` so many characters; returns where it ends."""

        def look() -> int:
            assert self.process.poll() is None or text in self.text(), f"ended: {self.text()[-3000:]}"
            return self.text().find(text, after) + 1

        return wait_for(look, f"the log says {text!r}", seconds=seconds) - 1 + len(text)

    def stop(self) -> int:
        """End it and all that it started; returns its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.returncode

    def kill(self) -> None:
        """End it and its process group without a chance to clean up."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=20)


class AirflowHome:
    """An ``AIRFLOW_HOME`` with an SQLite database, and the processes on it.

    Args:
        home: directory to make.
        python: interpreter of the Airflow's environment.
        settings: Airflow's, as ``section__key``.
    """

    def __init__(self, home: Path, python: Path, settings: Mapping[str, object]) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        self.python = python
        self.database = home / "airflow.db"
        common = {
            "core__load_examples": False,
            "core__fernet_key": FERNET_KEY,
            "database__sql_alchemy_conn": f"sqlite:///{self.database}",
        }
        names = {f"AIRFLOW__{name.upper()}": str(value) for name, value in {**common, **settings}.items()}
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        self.environ = {**kept, "HOME": str(home), "AIRFLOW_HOME": str(home), "NO_COLOR": "1", **names}
        self._running: list[Running] = []

    def command(self, *words: str) -> list[str]:
        """Return the command line of an ``airflow`` command."""
        return [str(self.python), "-m", "airflow", *words]

    def call(self, *words: str, environ: Mapping[str, str] | None = None, code: int = 0) -> str:
        """Run an ``airflow`` command to its end; returns what it printed."""
        return self.execute(self.command(*words), environ=environ, code=code)

    def execute(self, command: list[str], *, environ: Mapping[str, str] | None = None, code: int = 0) -> str:
        """Run any command in Airflow's environment; returns what it printed, on both channels."""
        done = subprocess.run(
            command,
            env={**self.environ, **(environ or {})},
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=START_SECONDS,
        )
        text = done.stdout.decode(errors="replace")
        assert done.returncode == code, f"{command[-3:]} ended with {done.returncode}: {text[-3000:]}"
        return text

    def start(self, *words: str, environ: Mapping[str, str] | None = None) -> Running:
        """Start an ``airflow`` process."""
        log = self.home / f"{words[0]}-{len(self._running)}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                self.command(*words),
                env={**self.environ, **(environ or {})},
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        running = Running(words[0], process, log)
        self._running.append(running)
        return running

    def ask(self, query: str, *values: object) -> list[dict[str, Any]]:
        """Read the database."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=20)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query, values)]

    def close(self) -> None:
        """End what still runs."""
        for running in reversed(self._running):
            running.stop()

    def running(self, command: str) -> Running:
        """Return the process of a command that was started last."""
        return next(running for running in reversed(self._running) if running.name == command)
