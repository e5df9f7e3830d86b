"""The desk of whoever is on call: a clone, keys and settings, pods that run beside it, and a shell to type into."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.sitepods import SitePod, wait_commit
from support.sites import make_trust

if TYPE_CHECKING:
    from pathlib import Path

    from support.pods import Running
    from support.sites import Site

_STARTED_BY = {
    "dagctl": "-m dagferry_publisher",
    "dagferry-puller": "-m dagferry_puller",
    "dagferry-check": "-c 'import sys; from dagferry_puller.airflow.check.command import main; sys.exit(main())'",
}
_EXIT = re.compile(r"^(?P<command>.*?\S)\s+#(?:.*\W)?exit (?P<code>\d+)\b.*$")
BRING = "bring trust.json to the pods"
_SECONDS = 120.0  # for a block; its waits are shorter


def commands_on_path(directory: Path) -> str:
    """Make our commands as a shell finds them, whether or not the package is installed; return the PATH."""
    directory.mkdir()
    for command, how in _STARTED_BY.items():
        script = directory / command
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {how} "$@"\n')
        script.chmod(0o755)
    return f"{directory}:{os.environ['PATH']}"


def with_exit_codes(script: str) -> str:
    """Demand of each command with a comment ``# exit N`` that it ends so; all others must end with 0."""
    lines = re.sub(r"\s*\\\n\s*", " ", script).splitlines()
    return "\n".join(_checked(found) if (found := _EXIT.match(line)) else line for line in lines) + "\n"


def _checked(found: re.Match[str]) -> str:
    code, command = found["code"], found["command"]
    return f'code=0; {command} || code=$?; [ "$code" = {code} ] || {{ echo "exit $code, and not {code}"; false; }}'


@dataclass(frozen=True)
class Printed:
    """How a block ended."""

    code: int
    text: str


class Desk:
    """The desk; keys ``ci`` and ``operator``, and ``trust.json``, lie in the clone.

    Args:
        directory: for what belongs to it.
        site: whose store and clone it is about; channels ``main`` and ``canary``.
    """

    def __init__(self, directory: Path, site: Site) -> None:
        directory.mkdir()
        self.directory, self.site, self.clone = directory, site, site.repo.path
        self.pods: list[SitePod] = []
        self.running: list[Running] = []
        self.ending = ExitStack()
        self.trust = self.clone / "trust.json"
        channels = {name: {"refs": ("**",)} for name in ("main", "canary")}
        site.trust.write_bytes(make_trust(site.keys, channels=channels).encode())
        shutil.copy(site.trust, self.trust)
        for name, key in (("ci", "ci"), ("operator", "ops")):
            for end in ("key", "pub"):
                shutil.copy(site.keys / f"{key}.{end}", self.clone / f"{name}.{end}")
        (self.clone / ".git/info/exclude").write_text("*.key\n*.pub\n*.json\n*.env\n/pod/\n")
        self.environ = site.dagctl.environ | {
            "PATH": commands_on_path(directory / "bin"),
            "DAGFERRY_TRUST": str(self.trust),
            "DAGFERRY_BUNDLE": "analytics",
            "DAGFERRY_POINTER_KEY": str(self.clone / "operator.key"),
            "DAGFERRY_REPO": str(self.clone),
            "DAGFERRY_ACTOR": "ann",
            **{f"GIT_{who}_{what}": "ann" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        }
        del self.environ["DAGFERRY_RELEASE_KEY"]

    # What has happened before somebody sits down

    def publish(self, *words: str, text: str = "") -> str:
        """Commit a change and have CI publish it; returns the commit."""
        commit = self.site.repo.commit({"dags/etl.py": text or f"A = {len(self.commits()) + 1}\n"}, "change")
        self.ci("publish", "--commit", commit, "--ref", "main", *words)
        return commit

    def commits(self) -> list[str]:
        """The clone's commits, oldest first."""
        return self.site.repo.git("rev-list", "--reverse", "HEAD").split()

    def ci(self, *words: str, code: int = 0) -> None:
        """Run a command as CI does, which has its own keys."""
        self.site.dagctl(*words, code=code, DAGFERRY_TRUST=str(self.trust), DAGFERRY_ACTOR="ci")

    def start(self, number: int = 1, *words: str, environ: dict[str, str] | None = None, **settings: str) -> Running:
        """Start pods more, and name them all; returns the last one."""
        for _ in range(number):
            shutil.copy(self.trust, self.site.trust)
            self.pods.append(SitePod(self.directory / f"pod-{len(self.pods)}", self.site))
            self.running.append(self.pods[-1].run(*words, environ=environ, **settings))
        self.environ["DAGFERRY_TARGETS"] = ",".join(f"http://127.0.0.1:{running.port}" for running in self.running)
        self.environ["POD"] = f"127.0.0.1:{self.running[-1].port}"
        return self.running[-1]

    def wait_live(self, commit: str) -> None:
        """Wait until every pod has a commit live."""
        for running in self.running:
            wait_commit(running, commit)

    def bring_trust(self) -> None:
        """Do what updates the ConfigMap."""
        for pod in self.pods:
            shutil.copy(self.trust, f"{pod.trust}.new")
            os.replace(f"{pod.trust}.new", pod.trust)

    # Sitting down

    def run(self, script: str) -> Printed:
        """Run a block with bash, in the clone; what it exports is there for the next one."""
        kept = self.directory / "exported.env"
        words = f'set -euo pipefail\n[ ! -e "{kept}" ] || . "{kept}"\n{with_exit_codes(script)}export -p > "{kept}"\n'
        with subprocess.Popen(
            ["bash", "-c", words],
            cwd=self.clone,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as shell:
            try:
                printed, _ = shell.communicate(timeout=_SECONDS)
            except BaseException:
                os.killpg(shell.pid, signal.SIGKILL)
                raise
        if BRING in script:
            self.bring_trust()
        return Printed(shell.returncode, printed)

    def close(self) -> None:
        """End what runs."""
        for pod in self.pods:
            pod.close()
        self.ending.close()


_PLAIN = (
    (re.compile(r"\b[0-9a-f]{7,64}\b"), "H"),  # commits, digests, key ids
    (re.compile(r"\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?Z?"), "T"),
    (re.compile(r"\d+(\.\d+)?"), "0"),
    (re.compile(r"\b(0\.0\.0\.0|0\.0):0\b"), "A"),
    (re.compile(r"[─━-]{3,}"), "-"),
    (re.compile(r"\s+"), " "),
)


def plain(line: str) -> str:
    """Return a line without what differs from day to day: digests, times, numbers, addresses, this machine's name."""
    line = re.sub(rf"(?<![\w.]){re.escape(socket.gethostname())}(?![\w.])", "dag-processor-0", line)
    for pattern, instead in _PLAIN:
        line = pattern.sub(instead, line)
    return line.strip()


def missing(expected: str, printed: str) -> str:
    """Return the first line of a page that was not printed after the ones before it; ``…`` is anything."""
    lines = iter([plain(line) for line in printed.splitlines()])
    for line in filter(None, expected.splitlines()):
        wanted = ".*".join(re.escape(plain(part)) for part in line.split("…"))
        if not any(re.fullmatch(wanted, got) for got in lines):
            return line
    return ""
