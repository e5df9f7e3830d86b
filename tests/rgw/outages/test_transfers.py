"""A gateway that dies in the middle of a large archive, and two gateways on one cluster."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from support.sitepods import assert_chain, wait_commit

if TYPE_CHECKING:
    from support.clusters import Cluster
    from support.gitrepos import GitRepo
    from support.proxy import Exchange, Fault, FaultyProxy
    from support.sitepods import SitePod
    from support.sites import Site

OK, UNREACHABLE = 0, 7
LARGE = 66 << 20  # bytes that do not compress: the archive goes up in parts
ARCHIVE, PART = "/archives/", "partNumber="


def test_upload_in_parts_through_a_gateway_that_restarts_is_whole_or_done_again(
    cluster: Cluster, site: Site, repo: GitRepo, proxy: FaultyProxy
) -> None:
    commit = repo.commit({"dags/large.bin": os.urandom(LARGE)})
    killed: list[Exchange] = []

    def killing(exchange: Exchange) -> None:
        cluster.restart()
        exchange.reset()

    def script(exchange: Exchange) -> Fault | None:
        if killed or exchange.method != "PUT" or f"{PART}3" not in exchange.path:
            return None
        killed.append(exchange)
        return killing

    proxy.script = script
    publish = ["publish", "--commit", commit, "--ref", "main", "--level", "1"]
    ended = site.dagctl.ended(*publish, AWS_ENDPOINT_URL_S3=proxy.endpoint)
    assert killed
    assert ended.code in {OK, UNREACHABLE}, ended
    site.publish(commit)
    assert_chain(site, [commit])


@pytest.mark.parametrize("back", [True, False], ids=["back at once", "away for a while"])
def test_download_through_a_gateway_that_dies_is_resumed_or_taken_later(
    cluster: Cluster, site: Site, repo: GitRepo, pod: SitePod, proxy: FaultyProxy, back: bool
) -> None:
    first = repo.commit({"dags/small.py": ""})
    site.publish(first)
    running = pod.run(environ=cluster.environ("puller", proxy.endpoint))
    wait_commit(running, first)
    second = repo.commit({"dags/large.bin": os.urandom(LARGE)})
    sizes: list[int] = []

    def dying(exchange: Exchange) -> None:
        sizes.append(0)
        with socket.create_connection(proxy.upstream, timeout=60) as store:
            store.sendall(exchange.raw)
            while piece := received(store):
                exchange.send(piece)
                if not sizes[-1]:
                    cluster.restart() if back else cluster.kill()
                sizes[-1] += len(piece)
        exchange.close()

    proxy.script = lambda exchange: dying if ARCHIVE in exchange.path and not sizes else None
    site.publish(second, "--level", "1")
    if not back:
        status = running.wait("it is told", lambda s: s["syncs"]["store-unreachable"])
        assert (status["ready"], status["live"]["commit"]) == (True, first)
        cluster.up()
    wait_commit(running, second)
    assert 0 < sizes[0] < LARGE
    asked = proxy.asked(ARCHIVE)[1:]  # of the first commit's
    assert ["range" in request.headers for request in asked[:2]] == [False, True]
    assert (running.status()["syncs"]["store-unreachable"] == 0) == back
    assert not [name for name in pod.versions() if name.startswith(".")]


def received(store: socket.socket) -> bytes:
    """Return what came; empty at the end, in good order or not."""
    try:
        return store.recv(1 << 16)
    except ConnectionResetError:
        return b""


def test_what_is_published_through_one_gateway_is_pulled_through_another(
    cluster: Cluster, site: Site, repo: GitRepo, pod: SitePod
) -> None:
    first, second, third = repo.commits(3)
    with cluster.second_gateway() as endpoint:
        site.publish(first)
        running = pod.run(environ=cluster.environ("puller", endpoint), period="0.1")
        wait_commit(running, first)
        site.publish(second)
        wait_commit(running, second)
        cluster.kill()
        site.publish(third, AWS_ENDPOINT_URL_S3=endpoint)
        wait_commit(running, third)
        assert {outcome for outcome, count in running.status()["syncs"].items() if count} == {"swapped", "unchanged"}
        cluster.up()
        assert_chain(site, [first, second, third])
