from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.fakeairflow2 import FakeAirflow
from support.handvolume import HandVolume

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def volume(tmp_path: Path) -> HandVolume:
    return HandVolume(tmp_path / "root")


@pytest.fixture
def airflow(tmp_path: Path, volume: HandVolume) -> FakeAirflow:
    return FakeAirflow(tmp_path / "site", volume.path / "current")
