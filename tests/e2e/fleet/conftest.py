"""Sites and fleets for the tests of what looks at a fleet."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from support.fleets import Fleet, fleet
from support.sitefixtures import keys, line, own_site, repo, shared_repo, site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.sites import Site

__all__ = ["keys", "line", "own_site", "repo", "shared_repo", "site"]


@pytest.fixture
def pods(tmp_path: Path, site: Site) -> Iterator[Fleet]:
    """A fleet of the site's, behind a DNS server; no pod runs yet."""
    if os.geteuid():
        pytest.skip("needs root: dagctl gets a resolv.conf of its own")
    with fleet(tmp_path / "fleet", site) as made:
        yield made
