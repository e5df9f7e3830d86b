"""Publishers that race on a real gateway that is killed again and again, or on two: nothing is lost or doubled."""

from __future__ import annotations

import random
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from support.racers import OK, UNREACHABLE, Racer, Run, race
from support.scale import scale
from support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.clusters import Cluster
    from support.gitrepos import GitRepo
    from support.sites import Site

SEED = 20261122
PUBLISHERS, EACH, KILLS = 8, scale(6, 50), scale(3, 40)
RACE_SECONDS = scale(240, 3000)


def racers(environs: list[dict[str, str]], commits: list[str]) -> list[Racer]:
    count = len(environs)
    return [Racer(environ, commits[number::count]) for number, environ in enumerate(environs)]


def assert_accounted(site: Site, runs: list[Run], commits: list[str]) -> None:
    """Each run that reported success wrote one entry, each that lost the store at most one, nobody else any."""
    assert {run.code for run in runs} <= {OK, UNREACHABLE}, [run for run in runs if run.code not in {OK, UNREACHABLE}]
    assert sorted(run.commit for run in runs if run.code == OK) == sorted(commits)
    entries = site.dagctl("history", "--limit", "10000", "--json").json["entries"][::-1]
    assert [entry["sequence"] for entry in entries] == list(range(1, len(entries) + 1))
    written = Counter(entry["reason"] for entry in entries)
    assert set(written.values()) == {1}, "nobody's entry is doubled"
    assert set(written) <= {run.name for run in runs}, "there is no other"
    assert {run.name for run in runs if run.code == OK and not run.found} <= set(written), "what was done is there"
    unsure = {run.commit for run in runs if run.code == UNREACHABLE and run.name in written}
    assert {run.commit for run in runs if run.found} <= unsure
    document = site.dagctl("verify", "--all", "--json").json
    assert document["findings"] == []
    assert document["checked"]["history entries"] == len(entries)


def reached(ended: Callable[[], int], count: int) -> bool:
    return ended() >= count


def told(record: Callable[[str, object], None], runs: list[Run], kills: int) -> None:
    record("raced publishes", sum(run.code == OK for run in runs))
    record("raced publishes that lost the store", sum(run.code == UNREACHABLE for run in runs))
    record("kills of a racing gateway", kills)


def test_forced_publishers_with_a_gateway_killed_at_random_are_all_in_the_chain_once(
    cluster: Cluster, site: Site, repo: GitRepo, record_property: Callable[[str, object], None]
) -> None:
    commits, chance = repo.commits(PUBLISHERS * EACH), random.Random(SEED)
    moments = sorted(chance.sample(range(1, PUBLISHERS * (EACH - 1)), KILLS))

    def kill_at_random(ended: Callable[[], int]) -> None:
        for moment in moments:
            wait_for(partial(reached, ended, moment), f"{moment} commits are published", seconds=RACE_SECONDS)
            time.sleep(chance.uniform(0, 0.1))  # so that it meets any request
            cluster.kill()
            time.sleep(chance.choice((0, chance.uniform(0, 2))))
            cluster.up()

    runs = race(site.root, racers([site.dagctl.environ] * PUBLISHERS, commits), kill_at_random)
    assert_accounted(site, runs, commits)
    told(record_property, runs, KILLS)


def test_publishers_that_race_over_two_gateways_are_all_in_the_chain_once(
    cluster: Cluster, site: Site, repo: GitRepo, record_property: Callable[[str, object], None]
) -> None:
    commits = repo.commits(4 * scale(4, 25))
    with cluster.second_gateway() as endpoint:
        other = site.dagctl.environ | {"AWS_ENDPOINT_URL_S3": endpoint}
        runs = race(site.root, racers([site.dagctl.environ, other] * 2, commits), lambda _: None)
    assert [run for run in runs if run.code != OK] == []
    assert_accounted(site, runs, commits)
    told(record_property, runs, 0)
