"""The two Airflows that the Makefile installed, each with dagferry beside it, as in an Airflow image."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.airflow3 import Airflow3
from support.bundles import Published, Simulator
from support.pods import Pod

if TYPE_CHECKING:
    from collections.abc import Iterator

CACHE = Path(__file__).parents[2] / ".cache"


def _python(version: str) -> Path:
    python = CACHE / f"airflow-{version}/bin/python"
    if not (CACHE / f"airflow-{version}/.ready").exists():
        pytest.fail(f"Airflow {version} is not installed for tests: make airflows")
    return Path(os.path.abspath(python))


@pytest.fixture(scope="session")
def airflow3_python() -> Path:
    """Return the interpreter of Airflow 3."""
    return _python("3")


@pytest.fixture(scope="session")
def airflow2_python() -> Path:
    """Return the interpreter of Airflow 2.11."""
    return _python("2")


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


@pytest.fixture
def stage(tmp_path: Path, airflow3_python: Path) -> Iterator[Stage]:
    """Return an empty stage."""
    made = Stage(tmp_path, airflow3_python)
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared_stage(tmp_path_factory: pytest.TempPathFactory, airflow3_python: Path) -> Iterator[Stage]:
    """Return a stage for all tests of a module."""
    made = Stage(tmp_path_factory.mktemp("stage"), airflow3_python)
    yield made
    made.close()
