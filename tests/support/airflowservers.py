"""A real Airflow of either version on loopback: API, DAG processing, SQLite, and a folder of DAGs behind a link."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dagferry_shared.airflowapi import address
from dagferry_shared.airflowapi.client import Airflow
from dagferry_shared.airflowapi.credentials import Credentials
from dagferry_shared.airflowapi.errors import AirflowError
from support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping

USER = "dagferry"
READY_SECONDS = 180.0  # two Airflows may start beside other tests on two cores


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _environ(home: Path, dags: Path, settings: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "DAGFERRY_", "COV"))}
    fixed = {
        "AIRFLOW_HOME": str(home),
        "HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__FERNET_KEY": "",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW__SCHEDULER__ENABLE_TRACEMALLOC": "False",
        "PYTHONWARNINGS": "ignore",
        "NO_PROXY": "*",
    }
    return {**kept, **fixed, **settings}


@dataclass
class AirflowServer:
    """A running Airflow.

    Attributes:
        python: interpreter of its environment.
        home: its directory; made here.
        major: 3 or 2.
        dags: its DAGs folder, as a link of a puller will be.
        password: of ``USER``.
        settings: further environment.
    """

    python: Path
    home: Path
    major: int
    dags: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    password: str = field(default_factory=lambda: secrets.token_hex(8))
    port: int = 0
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where its API is."""
        return f"http://127.0.0.1:{self.port}"

    def client(self, **changes: str) -> Airflow:
        """Return a client of it."""
        who = {"username": USER, "password": self.password, **changes}
        return Airflow(address.parse(self.url), Credentials(**who))

    def environ(self) -> dict[str, str]:
        """Return the variables that let dagferry in."""
        return {"DAGFERRY_AIRFLOW_USERNAME": USER, "DAGFERRY_AIRFLOW_PASSWORD": self.password}

    def start(self, *parts: str) -> None:
        """Make the database and start the API and what parses; returns when the API answers."""
        self.home.mkdir(parents=True)
        self.port = free_port()
        self.command("db", "migrate")
        if self.major == 2:
            person = ("--firstname", "a", "--lastname", "b", "--email", "a@example.org")
            self.command("sync-perm")  # makes the roles
            self.command("users", "create", "-u", USER, "-p", self.password, "-r", "User", *person)
        else:
            (self.home / "passwords.json").write_text(json.dumps({USER: self.password}))
        for part in parts or (("api-server", "dag-processor") if self.major == 3 else ("webserver", "scheduler")):
            self.run(part)
        wait_for(self._answers, f"Airflow {self.major} answers", seconds=READY_SECONDS)

    def command(self, *words: str) -> None:
        """Run a command of Airflow to its end."""
        done = subprocess.run(
            [self.python, "-m", "airflow", *words],
            env=self._variables(),
            cwd=self.home,
            capture_output=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr.decode()[-3000:]

    def run(self, part: str) -> None:
        """Start a part of Airflow, in a process group of its own."""
        with (self.home / f"{part}.log").open("ab") as log:
            self._processes[part] = subprocess.Popen(
                [self.python, "-m", "airflow", part],
                env=self._variables(),
                cwd=self.home,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def end(self, part: str) -> None:
        """End a part, and all of its processes."""
        process = self._processes.pop(part)
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
                process.wait(timeout=20)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        process.wait(timeout=20)

    def close(self) -> None:
        """End what still runs."""
        for part in list(self._processes):
            self.end(part)

    def _answers(self) -> bool:
        for part, process in self._processes.items():
            assert process.poll() is None, (self.home / f"{part}.log").read_text()[-3000:]
        try:
            self.client().dags()
        except AirflowError:
            return False
        return True

    def _variables(self) -> dict[str, str]:
        host, port = "127.0.0.1", str(self.port)
        mine = {
            "AIRFLOW__API__HOST": host,
            "AIRFLOW__API__PORT": port,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__SECRET_KEY": "s" * 32,
            "AIRFLOW__API_AUTH__JWT_SECRET": "j" * 64,
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:user",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.home / "passwords.json"),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://{host}:{port}/execution/",
        }
        if self.major == 2:
            backend = "airflow.providers.fab.auth_manager.api.auth.backend.basic_auth"
            mine = {
                "AIRFLOW__API__AUTH_BACKENDS": backend,
                "AIRFLOW__WEBSERVER__WEB_SERVER_HOST": host,
                "AIRFLOW__WEBSERVER__WEB_SERVER_PORT": port,
                "AIRFLOW__WEBSERVER__WORKERS": "1",
                "AIRFLOW__WEBSERVER__SECRET_KEY": "s" * 32,
            }
        return _environ(self.home, self.dags, {**mine, **self.settings})


def main() -> None:
    """Start one by hand: PYTHON HOME MAJOR DAGS; ends with its input."""
    python, home, major, dags = sys.argv[1:5]
    server = AirflowServer(Path(python), Path(home), int(major), Path(dags), password="password")
    try:
        server.start()
        print(server.url, flush=True)
        sys.stdin.read()
    finally:
        server.close()


if __name__ == "__main__":
    main()
