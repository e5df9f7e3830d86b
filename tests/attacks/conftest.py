"""Prints how many attacks were tried; provides what is attacked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.attacker import Target
from support.podfixtures import pod, simulator
from support.tally import summary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["cold", "pod", "pytest_terminal_summary", "simulator", "target"]

pytest_terminal_summary = summary("attacks")


@pytest.fixture
def cold(tmp_path: Path) -> Iterator[Target]:
    """A pod without memory."""
    made = Target(tmp_path, no_fsync="true")  # nobody pulls the plug here
    yield made
    made.close()


@pytest.fixture
def target(cold: Target) -> Target:
    """A pod with a version live: sequence 1, commit "one"."""
    cold.warm()
    return cold
