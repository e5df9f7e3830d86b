"""A yard for the ``scenario`` that a test is given; the helper process is one for a whole session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.wrecks import Scenario, Yard
from support.zygote import Zygote

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    with Zygote(tmp_path_factory.mktemp("zygote")) as made:
        yield made


@pytest.fixture
def yard(tmp_path: Path, scenario: Scenario, zygote: Zygote) -> Yard:
    return Yard(tmp_path, scenario, zygote)
