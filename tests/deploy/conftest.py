from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.images import Unpacked, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def puller_image() -> Iterator[Unpacked]:
    with unpacked("puller") as found:
        yield found


@pytest.fixture(scope="session")
def publisher_image() -> Iterator[Unpacked]:
    with unpacked("publisher") as found:
        yield found


@pytest.fixture
def image(request: pytest.FixtureRequest) -> Unpacked:
    """The image that a test is parametrized with."""
    found: Unpacked = request.getfixturevalue(f"{request.param}_image")
    return found
