"""A pod for tests: a root, a trust file and the real ``dagferry-puller`` command as processes on them."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from support.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from support.bundles import Simulator

COMMAND = (sys.executable, "-m", "dagferry_puller")

# Another user may not be able to read this interpreter's modules: they are loaded before the user is changed.
_AS_USER = """
import os, sys, ctypes, encodings.idna, fnmatch, gettext, shutil, traceback, unicodedata
from dagferry_puller import check, cli, daemon, glance, history, httpd, once, patch, prepare, reuse
from dagferry_shared.store import directory
os.setgroups([]); os.setresgid(0, 0, 0); os.setresuid(*[int(sys.argv.pop(1))] * 3)
sys.exit(cli.main())
"""


def as_user(uid: int, command: list[str]) -> list[str]:
    """Return the command as run by another user with gid 0 (what OpenShift does); only root can."""
    return [sys.executable, "-c", _AS_USER, str(uid), *command[len(COMMAND) :]]


@dataclass(frozen=True)
class Result:
    """How a finished command ended."""

    code: int
    stderr: str


@dataclass(frozen=True)
class Reply:
    """An HTTP answer."""

    status: int
    body: str
    headers: dict[str, str]


class Running:
    """A ``run`` process, its log and its port."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, *, http: bool, host: str = "127.0.0.1") -> None:
        self.process = process
        self.host = host
        self._log = log
        self.port = wait_for(self._port, "the puller listens") if http else 0

    def _port(self) -> int:
        assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.text()}"
        return next((record["port"] for record in self.logs() if "port" in record), 0)

    def text(self) -> str:
        """Return all that it logged."""
        return self._log.read_text()

    def logs(self, level: str = "") -> list[dict[str, Any]]:
        """Return its log records."""
        lines = self.text().splitlines(keepends=True)
        records = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]
        return [record for record in records if not level or record["level"] == level]

    def request(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Reply:
        """Ask its HTTP port."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=10)
        try:
            connection.request(method, path, body, headers)
            reply = connection.getresponse()
            return Reply(reply.status, reply.read().decode(), dict(reply.getheaders()))
        finally:
            connection.close()

    def status(self) -> dict[str, Any]:
        """Return its /status."""
        return json.loads(self.request("/status").body)

    def metrics(self) -> dict[str, float]:
        """Return its /metrics: value by series as written."""
        lines = self.request("/metrics").body.splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}

    def ready(self) -> bool:
        """Tell what /readyz says."""
        return self.request("/readyz").status == 200

    def wait(self, what: str, condition: Any) -> dict[str, Any]:
        """Wait until the status fulfils a condition; returns it."""

        def look() -> dict[str, Any] | None:
            status = self.status()
            return status if condition(status) else None

        found = wait_for(look, what)
        assert found is not None
        return found

    def wait_live(self, version: str) -> dict[str, Any]:
        """Wait until a version is live and ready."""
        return self.wait(f"{version[:12]} is live", lambda s: s["ready"] and s["live"]["version"] == version)

    def wait_syncs(self, count: int = 2, outcome: str | None = None) -> dict[str, Any]:
        """Wait until so many more syncs ended (with an outcome)."""

        def total(status: dict[str, Any]) -> int:
            return status["syncs"][outcome] if outcome else sum(status["syncs"].values())

        start = total(self.status())
        return self.wait(f"{count} more syncs ({outcome})", lambda s: total(s) >= start + count)

    def wait_problem(self, reason: str) -> dict[str, Any]:
        """Wait until the last sync failed for a reason, or with an outcome."""
        return self.wait(
            f"problem {reason}", lambda s: s["problem"] and reason in (s["problem"]["reason"], s["problem"]["outcome"])
        )

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def stop(self) -> int:
        """End it with SIGTERM; returns its exit code."""
        self.process.terminate()
        return self.process.wait(timeout=20)

    def kill(self) -> None:
        """End it without a chance to clean up."""
        self.process.kill()
        self.process.wait(timeout=20)


class Pod:
    """A root with its settings.

    Args:
        directory: where root, trust file and logs are.
        simulator: the store.
    """

    def __init__(self, directory: Path, simulator: Simulator) -> None:
        self.directory = directory
        self.simulator = simulator
        self.root = directory / "root"
        self.trust = simulator.write_trust(directory / "trust.json")
        self.settings = {
            "store": simulator.url,
            "bundle": simulator.bundle,
            "channel": simulator.channel,
            "trust": str(self.trust),
            "root": str(self.root),
        }
        self._running: list[Running] = []

    # What is on disk

    def live(self, link: str = "current") -> str | None:
        """Return the version id that the link names."""
        path = self.root / link
        return os.path.basename(os.readlink(path)) if path.is_symlink() else None

    def read(self, name: str) -> str:
        """Read a file through the link."""
        return (self.root / "current" / name).read_text()

    def version(self, version: str) -> Path:
        """Return a version's directory."""
        return self.root / "versions" / version

    def versions(self) -> set[str]:
        """Return the names in ``versions/``, leftovers included."""
        return {path.name for path in (self.root / "versions").iterdir()}

    def state(self) -> dict[str, Any]:
        """Return the puller's memory."""
        return json.loads((self.root / ".dagferry" / "state.json").read_text())

    # Processes

    def arguments(self, mode: str, *more: str, **settings: str | None) -> list[str]:
        """Return a command line; a setting of None is left out."""
        merged = {**self.settings, **settings}
        options = [(f"--{name.replace('_', '-')}", value) for name, value in merged.items() if value is not None]
        return [*COMMAND, mode, *(word for option in options for word in option), *more]

    def once(self, *more: str, environ: dict[str, str] | None = None, **settings: str | None) -> Result:
        """Run ``once`` to its end."""
        done = subprocess.run(
            self.arguments("once", *more, **{"timeout": "20s", **settings}),
            capture_output=True,
            env={**os.environ, **(environ or {})},
            timeout=60,
        )
        return Result(done.returncode, done.stderr.decode())

    def run(
        self,
        *more: str,
        environ: dict[str, str] | None = None,
        uid: int | None = None,
        **settings: str | None,
    ) -> Running:
        """Start ``run``, with a short period and JSON logs."""
        defaults = {"period": "0.2", "http": "127.0.0.1:0", "log_format": "json", "log_level": "debug"}
        log = self.directory / f"run-{len(self._running)}.log"
        merged = {**defaults, **settings}
        arguments = self.arguments("run", *more, **merged)
        with log.open("wb") as file:
            process = subprocess.Popen(
                as_user(uid, arguments) if uid else arguments,
                stdout=file,
                stderr=file,
                env={**os.environ, **(environ or {})},
            )
        try:
            host = str(merged["http"]).rpartition(":")[0].strip("[]")
            running = Running(process, log, http=merged["http"] != "none", host=host)
        except BaseException:
            process.kill()
            process.wait()
            raise
        self._running.append(running)
        return running

    def close(self) -> None:
        """End what still runs."""
        for running in self._running:
            if running.process.poll() is None:
                running.signal(signal.SIGTERM)
                try:
                    running.process.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    running.kill()
