"""A desk for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.desks import Desk
from support.sitefixtures import keys, own_site, repo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.sites import Site

__all__ = ["keys", "own_site", "repo"]


@pytest.fixture
def desk(tmp_path: Path, own_site: Site) -> Iterator[Desk]:
    made = Desk(tmp_path / "desk", own_site)
    yield made
    made.close()
