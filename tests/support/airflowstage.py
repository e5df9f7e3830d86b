"""A publisher, a root that a puller fills, and Airflows that read it: what the tests of the bundle stand on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from support.airflow3 import Airflow3
from support.bundles import Simulator
from support.pods import Pod

if TYPE_CHECKING:
    from pathlib import Path

    from support.bundles import Published


@dataclass
class Stage:
    """A publisher, a root that a puller fills, and Airflows that read it.

    Args:
        directory: for all of it.
        python: interpreter of Airflow 3.
    """

    directory: Path
    python: Path
    simulator: Simulator = field(init=False)
    pod: Pod = field(init=False)
    _airflows: list[Airflow3] = field(default_factory=list)
    _words: int = 0

    def __post_init__(self) -> None:
        self.simulator = Simulator(self.directory / "store")
        self.pod = Pod(self.directory, self.simulator)

    @property
    def own(self) -> dict[str, Any]:
        """The bundle's keyword arguments for pulling by itself."""
        return {"store": self.simulator.url, "channel": "main", "trust": str(self.pod.trust)}

    def publish(self, files: dict[str, Any], **changes: Any) -> Published:
        """Publish a new commit, to the store alone."""
        self._words += 1
        return self.simulator.publish(files, f"commit-{self._words}", **changes)

    def deliver(self, files: dict[str, Any], **settings: str) -> Published:
        """Publish a new commit and make it live on the pod's root."""
        published = self.publish(files)
        self.pull(**settings)
        return published

    def pull(self, **settings: str) -> None:
        """Make what the store has live on the pod's root."""
        done = self.pod.once(**settings)
        assert done.code == 0, done.stderr

    def airflow(self, kwargs: dict[str, Any], **settings: object) -> Airflow3:
        """Make an Airflow with a bundle of these keyword arguments."""
        made = Airflow3(self.directory / f"airflow-{len(self._airflows)}", self.python, kwargs, **settings)
        self._airflows.append(made)
        return made

    def close(self) -> None:
        """End all processes."""
        for airflow in self._airflows:
            airflow.close()
        self.pod.close()
