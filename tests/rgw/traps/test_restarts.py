"""A gateway that restarts while ``dagctl publish`` is at work: it waits, says so, and its commit is there once."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from support import faults
from support.clusters import OSD, Cluster
from support.proxy import FaultyProxy
from support.sitepods import chain, on_cluster
from support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.proxy import Exchange, Fault
    from support.sites import Site

UNREACHABLE = 7


@pytest.fixture(scope="module")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster") / "rgw", store="memstore") as made:
        yield made


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Iterator[Cluster]:
    yield shared_cluster
    shared_cluster.up()


class Publishing:
    """``dagctl publish`` as a process, with what it says."""

    def __init__(self, site: Site, commit: str, log: Path, **environ: str) -> None:
        self._log = log
        command = [sys.executable, "-m", "dagferry_publisher", "publish", "--commit", commit, "--ref", "main"]
        with log.open("w") as file:
            self._process = subprocess.Popen(
                command, cwd=site.root, env=site.dagctl.environ | environ, stdout=file, stderr=file
            )

    def waits(self) -> None:
        """Wait until it waits."""
        wait_for(lambda: "trying again for" in self.said() or self._process.poll() is not None, "it waits")
        assert self._process.poll() is None, self.said()

    def said(self) -> str:
        return self._log.read_text()

    def end(self) -> int:
        return self._process.wait(timeout=90)


@pytest.fixture
def published(site: Site, cluster: Cluster, line: list[str]) -> Site:
    """A site on the cluster with one commit."""
    on_cluster(site, cluster).publish(line[0])
    return site


def test_a_publish_waits_for_a_gateway_that_restarts(
    published: Site, line: list[str], cluster: Cluster, tmp_path: Path
) -> None:
    cluster.kill()
    publishing = Publishing(published, line[1], tmp_path / "log", DAGFERRY_STORE_WAIT="60s")
    publishing.waits()
    cluster.up()
    assert publishing.end() == 0, publishing.said()
    assert "the store answers again after" in publishing.said()
    assert chain(published) == [(1, line[0]), (2, line[1])]


def test_a_publish_waits_for_a_dead_gateway_for_no_longer_than_it_was_told(
    published: Site, line: list[str], cluster: Cluster, tmp_path: Path
) -> None:
    cluster.kill()
    publishing = Publishing(published, line[1], tmp_path / "log", DAGFERRY_STORE_WAIT="2s")
    assert publishing.end() == UNREACHABLE
    first, last = publishing.said().splitlines()
    assert first.endswith("trying again for 2 s")
    assert last.startswith("dagctl: store-unreachable: cannot ask s3://")
    cluster.up()
    published.publish(line[1])
    assert chain(published) == [(1, line[0]), (2, line[1])]


@pytest.mark.parametrize(
    ("where", "done"),
    [
        ("/scratch/", True),
        ("/archives/", False),
        ("/releases/", True),
        ("/main/pointer.json", False),
        ("/main/pointer.json", True),
        ("/main/history/", False),
    ],
)
def test_a_gateway_that_dies_at_any_write_costs_time_only(
    published: Site, line: list[str], cluster: Cluster, tmp_path: Path, where: str, done: bool
) -> None:
    with FaultyProxy(cluster.endpoint) as proxy:

        def die(exchange: Exchange) -> None:
            if done:
                exchange.forward()
            cluster.kill()
            faults.reset_before(exchange)

        def script(exchange: Exchange) -> Fault | None:
            meant = exchange.method == "PUT" and where in exchange.path
            return die if meant and not any(one.fault for one in proxy.requests) else None

        proxy.script = script
        through = {"AWS_ENDPOINT_URL_S3": proxy.endpoint, "DAGFERRY_STORE_WAIT": "60s"}
        publishing = Publishing(published, line[1], tmp_path / "log", **through)
        publishing.waits()
        cluster.up()
        assert publishing.end() == 0, publishing.said()
        assert [one.fault for one in proxy.requests if one.fault] == ["die"]
    assert chain(published) == [(1, line[0]), (2, line[1])]
    assert published.dagctl("verify", "--all", "--json").json["findings"] == []


def test_a_cluster_in_memory_whose_osd_died_is_made_anew_with_other_keys(tmp_path: Path) -> None:
    """So suites that kill anything take bluestore."""
    with Cluster(tmp_path / "rgw", store="memstore") as own:
        before = own.keys("publisher")
        own.kill(OSD)
        own.up()
        assert own.keys("publisher") != before
