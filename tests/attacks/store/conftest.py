"""A pod whose store is an HTTP server that tells lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.bundles import Published, small_tree
from support.hostile import HostileStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.attacker import Target


@pytest.fixture
def target(cold: Target) -> Target:
    return cold


@pytest.fixture
def store(tmp_path: Path, target: Target) -> Iterator[HostileStore]:
    with HostileStore(target.simulator.directory) as server:
        target.serve(server.reader(tmp_path))
        yield server


@pytest.fixture
def published(target: Target, store: HostileStore) -> Published:
    """A version that the pod, on which an older one is live, has not seen yet."""
    target.warm()
    return target.simulator.publish(small_tree("two"), "two")
