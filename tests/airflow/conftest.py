"""The two Airflows that the Makefile installed, each with dagferry beside it, as in an Airflow image."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.airflowstage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

CACHE = Path(__file__).parents[2] / ".cache"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep what shares a running Airflow on one worker: a module, unless it names its group (``--dist loadgroup``)."""
    for item in items:
        shares = {"running", "shared_stage"} & {*getattr(item, "fixturenames", ())}
        if shares and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


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
