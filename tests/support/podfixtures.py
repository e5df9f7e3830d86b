"""A publishing simulator and a pod on its store, fresh for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.bundles import Simulator
from support.pods import Pod

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def simulator(tmp_path: Path) -> Simulator:
    return Simulator(tmp_path / "store")


@pytest.fixture
def pod(tmp_path: Path, simulator: Simulator) -> Iterator[Pod]:
    made = Pod(tmp_path, simulator)
    yield made
    made.close()
