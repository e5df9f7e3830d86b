"""A gateway that hangs (SIGSTOP): the kernel takes its connections and requests, and nobody ever answers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Event
from typing import TYPE_CHECKING

from support.clusters import GATEWAY
from support.sitepods import assert_chain, chain
from support.waiting import wait_for

if TYPE_CHECKING:
    from support.clusters import Cluster
    from support.dagctl import Result
    from support.gitrepos import GitRepo
    from support.proxy import Exchange, FaultyProxy
    from support.sites import Site

FOUND, UNREACHABLE = 3, 7
WAIT = 10  # seconds, DAGFERRY_STORE_WAIT
BOUND = WAIT + 40  # what dagctl --help promises
SLACK = 30  # of a loaded machine


def test_hung_gateway_is_given_up_in_the_time_that_the_help_says_and_its_late_write_breaks_nothing(
    cluster: Cluster, site: Site, repo: GitRepo, proxy: FaultyProxy
) -> None:
    """One publish meets it at its commit, another from the start, and doctor; the write lands when it goes on."""
    first, second, third = repo.commits(3)
    site.publish(first)
    hangs = Event()

    def publish(commit: str, **environ: str) -> Result:
        words = ["publish", "--commit", commit, "--ref", "main"]
        return site.dagctl.process(*words, code=UNREACHABLE, DAGFERRY_STORE_WAIT=f"{WAIT}s", **environ)

    with ThreadPoolExecutor(3) as pool, ExitStack() as outage:

        def script(exchange: Exchange) -> None:
            if exchange.method == "PUT" and "pointer.json" in exchange.path and not hangs.is_set():
                outage.enter_context(cluster.hung(GATEWAY))
                hangs.set()

        proxy.script = script
        at_the_commit = pool.submit(publish, second, AWS_ENDPOINT_URL_S3=proxy.endpoint)
        wait_for(hangs.is_set, "the gateway hangs")
        from_the_start = pool.submit(publish, third)
        looking = pool.submit(site.dagctl.process, "doctor", "--json", code=FOUND)
        ended = [publishing.result(timeout=BOUND + SLACK) for publishing in (at_the_commit, from_the_start)]
    assert "it is not known whether the channel moved" in ended[0].message
    assert f"trying again for {WAIT} s" in ended[0].err + ended[1].err
    states = {check["check"]: check["state"] for check in looking.result().json["checks"]}
    assert states["store"] == "failure"
    assert states["conditional writes"] == states["bucket"] == states["notifications"] == "not checked"
    wait_for(lambda: set(chain(site)) <= {(1, first), (2, second)}, "the gateway answers again")
    site.publish(second)
    site.publish(third)
    assert_chain(site, [first, second, third])
