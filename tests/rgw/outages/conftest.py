"""A bluestore cluster that tests may ill-treat, a site on it, a fault-injecting proxy before it, and a pod."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.clusters import Cluster
from support.proxy import FaultyProxy
from support.sitefixtures import keys, own_site, repo
from support.sitepods import SitePod, on_cluster
from support.tally import summary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.sites import Site

__all__ = ["keys", "own_site", "repo"]

pytest_terminal_summary = summary("outages")


@pytest.fixture(scope="session")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster") / "rgw") as made:
        yield made


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Iterator[Cluster]:
    """A cluster that is well, whatever the test before did."""
    yield shared_cluster
    shared_cluster.up()


@pytest.fixture
def site(own_site: Site, cluster: Cluster) -> Site:
    """A site on ``repo`` that publishes to the cluster."""
    return on_cluster(own_site, cluster)


@pytest.fixture
def proxy(cluster: Cluster) -> Iterator[FaultyProxy]:
    with FaultyProxy(cluster.endpoint) as made:
        yield made


@pytest.fixture
def pod(tmp_path: Path, site: Site) -> Iterator[SitePod]:
    made = SitePod(tmp_path / "pod", site)
    yield made
    made.close()
