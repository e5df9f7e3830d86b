"""The two Airflows that the Makefile installed, each with dagferry beside it, as in an Airflow image."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

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
