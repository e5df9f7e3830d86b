"""Trees that go live on a pod under the eyes of an Airflow, and code in them that waits for the test."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from support.pods import Pod
from support.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from support.bundles import Published, Simulator
    from support.pods import Running


class Deployment:
    """A simulator, and a pod whose puller runs.

    Args:
        directory: of the pod; gates and reports of DAG code are in it.
        simulator: publishes.
    """

    def __init__(self, directory: Path, simulator: Simulator) -> None:
        self.directory = directory
        self.simulator = simulator
        self.pod = Pod(directory, simulator)
        self.puller: Running | None = None
        self._count = 0

    @property
    def link(self) -> Path:
        """What Airflow gets as its DAGs folder."""
        return self.pod.root / "current"

    def start(self, **options: str) -> None:
        """Start the puller."""
        self.puller = self.pod.run(**{"period": "0.1", **options})

    def deploy(self, tree: dict[str, Any]) -> Published:
        """Publish a tree and wait until it is live."""
        self._count += 1
        return self._live(self.simulator.publish(tree, str(self._count)))

    def back_to(self, published: Published) -> Published:
        """Roll back and wait until that is live."""
        self._live(self.simulator.again(published))
        return published

    def _live(self, published: Published) -> Published:
        if self.puller is None:
            self.start()
        wait_for(lambda: self.pod.live() == published.version, f"{published.version[:12]} is live")
        return published

    def wait_retired(self, published: Published) -> None:
        """Wait until a version is gone."""
        wait_for(lambda: published.version not in self.pod.versions(), f"{published.version[:12]} is retired")

    # Code that waits: "gate(name)" in a tree says that it is there and goes on when it may.

    @property
    def prelude(self) -> str:
        """Lines that define ``gate(name)`` and ``report(text)`` in DAG code."""
        return f"""
import os, time
AT = {str(self.directory)!r}
def gate(name):
    open(f"{{AT}}/{{name}}.reached", "a").close()
    while not os.path.exists(f"{{AT}}/{{name}}.open"):
        time.sleep(0.02)
def report(text):
    fd = os.open(f"{{AT}}/report", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(fd, f"{{text}}\\n".encode())
    os.close(fd)
"""

    def wait_reached(self, gate: str) -> None:
        """Wait until code is at a gate."""
        wait_for((self.directory / f"{gate}.reached").exists, f"code is at {gate}", seconds=60)

    def open(self, gate: str) -> None:
        """Let code through a gate, for good."""
        (self.directory / f"{gate}.open").touch()

    def reports(self) -> list[str]:
        """Return what code reported."""
        path = self.directory / "report"
        return path.read_text().splitlines() if path.exists() else []

    def wait_report(self, start: str) -> str:
        """Wait until code reported something that begins so; returns the rest of the first one."""
        found = wait_for(
            lambda: [line.removeprefix(start) for line in self.reports() if line.startswith(start)],
            f"report {start!r}",
            seconds=60,
        )
        return found[0]

    def close(self) -> None:
        """End the puller."""
        self.pod.close()


def set_times(directory: Path, seconds: int) -> None:
    """Give all of a tree the same times, as an unpacked archive without stamps would have."""
    for path, _, names in os.walk(directory):
        for entry in (path, *(os.path.join(path, name) for name in names)):
            os.utime(entry, (seconds, seconds))
