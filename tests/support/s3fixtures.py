"""A pod that reads from a bucket of moto, through a proxy that can be told to fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.moto_server import MotoServer
from support.pods import Pod
from support.s3site import S3Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def moto() -> Iterator[MotoServer]:
    with MotoServer() as server:
        yield server


@pytest.fixture
def s3_site(tmp_path: Path, moto: MotoServer) -> Iterator[S3Site]:
    with S3Site(tmp_path / "objects", moto) as site:
        yield site


@pytest.fixture
def s3_pod(tmp_path: Path, s3_site: S3Site) -> Iterator[Pod]:
    (tmp_path / "pod").mkdir()
    made = Pod(tmp_path / "pod", s3_site.simulator)
    made.settings["store"] = s3_site.store
    yield made
    made.close()
