"""A site with a developer's channel, and ``dagctl publish --watch`` as a process on it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dagferry_publisher import keyring
from dagferry_shared.trust import Role
from support.sitepods import SitePod
from support.sites import make_site, make_trust
from support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.gitrepos import GitRepo
    from support.sites import Site

CHANNEL = "dev-ann"


def make_dev_site(root: Path, keys: Path, repo: GitRepo, **changes: Any) -> Site:
    """Build a site: ``spare`` is the developer's key, for the channel ``dev-*`` alone; ``ci`` signs for both.

    Args:
        root: an empty directory.
        keys: of ``make_keys``.
        repo: the developer's clone.
        changes: of the developer's channel.
    """
    site = make_site(root, keys, repo)
    ci, developer = (keyring.public_key(str(keys / f"{name}.pub"), "key") for name in ("ci", "spare"))
    role = Role(1, (developer.id, ci.id))
    dev = {"allow_dev": True, "refs": ("**",), "release": role, "pointer": role, **changes}
    plain = {name: changes[name] for name in ("paths", "selection") if name in changes}
    trust = make_trust(keys, channels={"main": plain, "dev-*": dev})
    trust.keys[developer.id] = developer  # type: ignore[index]
    site.trust.write_bytes(trust.encode())
    key = str(keys / "spare.key")
    mine = {"CHANNEL": CHANNEL, "RELEASE_KEY": key, "POINTER_KEY": key, "ACTOR": "ann", "BUNDLE": "analytics"}
    site.dagctl.environ.update({f"DAGFERRY_{name}": value for name, value in mine.items()})
    return site


def by_ci(site: Site) -> dict[str, str]:
    """Return the variables of a CI job of the site, on the channel ``main``."""
    key = str(site.key("ci"))
    return {"DAGFERRY_RELEASE_KEY": key, "DAGFERRY_POINTER_KEY": key, "DAGFERRY_CHANNEL": "main"}


class DevPod(SitePod):
    """A pod of the developer's channel."""

    def __init__(self, directory: Path, site: Site) -> None:
        super().__init__(directory, site)
        self.settings["channel"] = CHANNEL


class Watch:
    """A running ``dagctl publish --watch --json``.

    Args:
        process: itself.
        directory: where its output goes.
    """

    def __init__(self, process: subprocess.Popen[bytes], directory: Path) -> None:
        self.process = process
        self._out, self._err = directory / "watch.out", directory / "watch.err"

    def text(self) -> str:
        """Return all that it printed."""
        return self._out.read_text()

    def lines(self) -> list[dict[str, Any]]:
        """Return the releases that it printed."""
        return [json.loads(line) for line in self.text().splitlines(keepends=True) if line.endswith("\n")]

    def errors(self) -> list[dict[str, Any]]:
        """Return what it said on stderr."""
        return [json.loads(line) for line in self._err.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def error(self, reason: str) -> dict[str, Any]:
        """Wait until it said an error of a reason, and return it."""

        def look() -> dict[str, Any] | None:
            self.check_runs()
            found = [line["error"] for line in self.errors() if "error" in line]
            return next((error for error in found if error["reason"] == reason), None)

        return wait_for(look, f"an error {reason} is said")

    def released(self, condition: Callable[[dict[str, Any]], object], what: str) -> dict[str, Any]:
        """Wait for a release that fulfils a condition, and return it."""

        def look() -> dict[str, Any] | None:
            self.check_runs()
            return next((line for line in self.lines() if condition(line)), None)

        return wait_for(look, what)

    def changed(self, *changes: str) -> dict[str, Any]:
        """Wait for a release with exactly these changes (``added x.py``) from the one before it, and return it."""
        return self.released(lambda line: _changes(line) == sorted(changes), f"a release of {changes}")

    def check_runs(self) -> None:
        """Fail if it ended."""
        assert self.process.poll() is None, f"ended with {self.process.returncode}: {self._err.read_text()}"

    def end(self, number: int = signal.SIGINT) -> int:
        """Send a signal; returns its exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=20)


def _changes(line: dict[str, Any]) -> list[str]:
    """Return the changes of a release, as words."""
    return sorted(f"{change['status']} {change['path']}" for change in line["changes"])


@contextmanager
def watching(site: Site, *arguments: str, as_json: bool = True, **environ: str) -> Iterator[Watch]:
    """Run ``dagctl publish --watch`` until the end of the block."""
    words = ["publish", "--watch", *arguments, *(["--json"] if as_json else [])]
    command = [sys.executable, "-m", "dagferry_publisher", *words]
    (site.root / "tmp").mkdir(exist_ok=True)
    environ = {"TMPDIR": str(site.root / "tmp"), **environ}
    with (site.root / "watch.out").open("wb") as out, (site.root / "watch.err").open("wb") as err:
        process = subprocess.Popen(command, cwd=site.root, env=site.dagctl.environ | environ, stdout=out, stderr=err)
    try:
        yield Watch(process, site.root)
    finally:
        process.send_signal(signal.SIGINT)  # nothing if it has ended
        try:
            process.wait(timeout=20)
        finally:
            process.kill()
