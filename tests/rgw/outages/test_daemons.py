"""Gateways and OSDs that are killed or hang while a real puller runs and a real dagctl publishes."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Event
from typing import TYPE_CHECKING

import pytest

from support.clusters import GATEWAY, OSD
from support.sitepods import assert_chain, wait_commit
from support.waiting import wait_for

if TYPE_CHECKING:
    from support.clusters import Cluster
    from support.gitrepos import GitRepo
    from support.proxy import Exchange, Fault, FaultyProxy
    from support.sitepods import SitePod
    from support.sites import Site

OK, UNREACHABLE = 0, 7
DOWN = "store-unreachable"
POINTER, HISTORY = "pointer.json", "/history/"


@pytest.mark.parametrize("daemon", [GATEWAY, OSD])
def test_puller_keeps_what_is_live_while_a_daemon_is_dead_and_takes_the_next_release_after_it(
    cluster: Cluster, site: Site, repo: GitRepo, pod: SitePod, daemon: str
) -> None:
    first, second = repo.commits(2)
    site.publish(first)
    running = pod.run(environ=cluster.environ("puller"), period="0.1")
    wait_commit(running, first)
    cluster.kill(daemon)
    if daemon == GATEWAY:
        status = running.wait_problem(DOWN)
        assert "connection refused" in status["problem"]["detail"]
    assert (running.request("/healthz").status, running.ready()) == (200, True)
    cluster.up()
    site.publish(second)
    running.signal(signal.SIGHUP)
    wait_commit(running, second)
    assert running.status()["problem"] is None
    assert_chain(site, [first, second])


def test_puller_that_starts_while_the_gateway_is_dead_is_alive_and_not_ready_until_it_is_back(
    cluster: Cluster, site: Site, repo: GitRepo, pod: SitePod
) -> None:
    (commit,) = repo.commits(1)
    site.publish(commit)
    cluster.kill()
    running = pod.run(environ=cluster.environ("puller"))
    running.wait_problem(DOWN)
    assert (running.request("/healthz").status, running.ready()) == (200, False)
    cluster.up()
    running.signal(signal.SIGHUP)
    wait_commit(running, commit)


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("where", ["/scratch/", "/archives/", "/releases/", POINTER, HISTORY])
def test_gateway_killed_under_a_write_of_a_publish_loses_and_doubles_nothing(
    cluster: Cluster, site: Site, repo: GitRepo, proxy: FaultyProxy, where: str, done: bool
) -> None:
    first, second = repo.commits(2)
    site.publish(first)
    killed = []

    def killing(exchange: Exchange) -> None:
        killed.append(exchange)
        if done:
            exchange.forward()
        cluster.restart()
        exchange.reset()

    def script(exchange: Exchange) -> Fault | None:
        return killing if exchange.method == "PUT" and where in exchange.path and not killed else None

    proxy.script = script
    ended = site.dagctl.ended(*publish(second), AWS_ENDPOINT_URL_S3=proxy.endpoint)
    assert killed
    assert ended.code in {OK, UNREACHABLE}, ended
    site.publish(second)
    assert_chain(site, [first, second])


def test_publish_while_the_gateway_is_dead_says_so_and_writes_nothing(
    cluster: Cluster, site: Site, repo: GitRepo
) -> None:
    first, second = repo.commits(2)
    site.publish(first)
    cluster.kill()
    assert "s3://" in site.publish(second, code=UNREACHABLE).err
    cluster.up()
    assert_chain(site, [first])
    site.publish(second)
    assert_chain(site, [first, second])


def test_hung_osd_at_the_commit_stalls_nobody_for_ever(
    cluster: Cluster, site: Site, repo: GitRepo, pod: SitePod, proxy: FaultyProxy
) -> None:
    first, second = repo.commits(2)
    site.publish(first)
    running = pod.run(environ=cluster.environ("puller"))
    wait_commit(running, first)
    hangs = Event()
    with ThreadPoolExecutor(1) as pool, ExitStack() as outage:

        def script(exchange: Exchange) -> None:
            if exchange.method == "PUT" and POINTER in exchange.path and not hangs.is_set():
                outage.enter_context(cluster.hung())
                hangs.set()

        proxy.script = script
        publishing = pool.submit(site.dagctl.process, *publish(second), AWS_ENDPOINT_URL_S3=proxy.endpoint)
        wait_for(hangs.is_set, "the OSD hangs")
        running.wait_problem(DOWN)
        assert (running.request("/healthz").status, running.ready()) == (200, True)
        assert not publishing.done()
    assert publishing.result().code == OK
    running.signal(signal.SIGHUP)
    wait_commit(running, second)
    assert_chain(site, [first, second])


def publish(commit: str) -> list[str]:
    return ["publish", "--commit", commit, "--ref", "main"]
