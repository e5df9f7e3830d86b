"""Publishers that race and are killed at random, and started again until each has done its share.

Every run says its own name in the entry that it writes, so that the chain tells which runs wrote one: each that said
"done", once; one that was killed, at most once; and no other.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from support.buckets import Bucket
from support.crashes import Kill, dagctl_process
from support.moto_server import MotoServer
from support.pods import Pod
from support.publishing import NO_COPY, OK, problems, seen_by_a_puller
from support.scale import scale
from support.sitefixtures import keys, own_site, repo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dagferry_publisher.chain import Chain
    from support.crashes import Ended
    from support.gitrepos import GitRepo
    from support.sites import Site

__all__ = ["keys", "own_site", "repo"]

SEED = 20261122
PUBLISHERS, EACH = 8, scale(4, 25)
S3_PUBLISHERS, S3_EACH = scale(3, 8), scale(2, 10)
KILLED_ABOVE = 0.4  # of all runs, the rest goes to its end


@dataclass
class Runs:
    """What the runs of all publishers said: name of each that wrote an entry, found it written, or was killed."""

    wrote: list[str]
    found: list[str]
    killed: list[str]

    def add(self, name: str, ended: Ended) -> bool:
        """Record a run; returns whether the commit is published."""
        if ended.killed:
            self.killed.append(name)
            return False
        assert ended.code == OK, f"{name}: {ended}"
        (self.found if "nothing changed" in ended.out else self.wrote).append(name)
        return True


def publisher(number: int, site: Site, commits: list[str], runs: Runs, kind: str, longest: int) -> None:
    """Publish commits one after the other; kill most runs at a random point, and start them again."""
    chance = random.Random(SEED + number)
    for commit in commits:
        attempt = 0
        while True:
            attempt += 1
            name = f"run {number} {commit[:12]} {attempt}"
            kill = Kill(kind, chance.randrange(longest)) if chance.random() > KILLED_ABOVE else None
            command = ("publish", "--force", "--ref", "main", "--commit", commit, "--reason", name)
            if runs.add(name, dagctl_process(site.dagctl, *command, kill=kill)):
                break


def race(site: Site, shares: list[list[str]], points: dict[str, int]) -> Runs:
    """Let one publisher for each share run at the same time as the others."""
    runs, kinds = Runs([], [], []), list(points.items())
    with ThreadPoolExecutor(len(shares)) as pool:
        started = [
            pool.submit(publisher, number, site, share, runs, *kinds[number % len(kinds)])
            for number, share in enumerate(shares)
        ]
        for one in started:
            one.result()
    return runs


def assert_whole(chain: Chain, site: Site, runs: Runs, last: str) -> None:
    """Publish once more, and account for each entry."""
    assert set(problems(chain)) <= {NO_COPY}
    site.publish(last, "--force", "--reason", "the last")
    assert problems(chain) == []
    head, _ = chain.verified_head()
    assert head
    entries = list(chain.walk(head))[::-1]
    assert [entry.content.sequence for entry in entries] == list(range(1, len(entries) + 1))
    written = Counter(entry.content.reason for entry in entries)
    assert set(written.values()) == {1}, "nobody's entry is doubled"
    assert set(runs.wrote) <= set(written), "what was said to be done is in the chain"
    assert set(written) <= {*runs.wrote, *runs.killed, "the first", "the last"}, "and nothing else"
    for name in runs.found:  # an earlier run of the same commit wrote it and was killed
        assert any(other.rpartition(" ")[0] == name.rpartition(" ")[0] for other in set(written) & set(runs.killed))


class Follower:
    """A real puller that looks all the time."""

    def __init__(self, directory: Path, site: Site) -> None:
        self.url, self.bundle, self.channel = f"file://{site.store}", "analytics", "main"
        self._trust = site.trust
        directory.mkdir()
        self._pod = Pod(directory, self)  # type: ignore[arg-type]
        self._running = self._pod.run(period="0.05")

    def write_trust(self, path: Path) -> Path:
        shutil.copy(self._trust, path)
        return path

    def assert_content(self, commit: str) -> None:
        """Wait until a commit is live there: nothing on the way was refused, missing or damaged."""
        status = self._running.wait("the last is live", lambda s: s["live"] and s["live"]["commit"] == commit)
        assert {outcome for outcome, count in status["syncs"].items() if count} <= {"swapped", "unchanged"}, status
        assert self._running.logs("error") == []

    def close(self) -> None:
        self._pod.close()


@pytest.fixture
def follower(tmp_path: Path, own_site: Site, repo: GitRepo) -> Iterator[Follower]:
    own_site.publish(repo.git("rev-parse", "HEAD"), "--reason", "the first")
    made = Follower(tmp_path / "follower", own_site)
    yield made
    made.close()


def test_eight_publishers_killed_at_random_lose_and_double_nothing(
    own_site: Site, repo: GitRepo, follower: Follower, record_property: Callable[[str, object], None]
) -> None:
    commits = repo.commits(PUBLISHERS * EACH + 1)
    shares = [commits[start:-1:PUBLISHERS] for start in range(PUBLISHERS)]
    runs = race(own_site, shares, {"requests": 45, "changes": 35})
    assert_whole(own_site.chain(), own_site, runs, commits[-1])
    follower.assert_content(commits[-1])
    record_property("kills in races", len(runs.killed))
    record_property("raced publishes", len(runs.wrote) + len(runs.found))


@pytest.fixture
def bucket(own_site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    with MotoServer() as moto, Bucket(own_site, moto, monkeypatch) as made:
        yield made


def test_publishers_on_s3_killed_at_random_lose_and_double_nothing(
    bucket: Bucket, own_site: Site, repo: GitRepo, record_property: Callable[[str, object], None]
) -> None:
    commits = repo.commits(S3_PUBLISHERS * S3_EACH + 1)
    shares = [commits[start:-1:S3_PUBLISHERS] for start in range(S3_PUBLISHERS)]
    runs = race(own_site, shares, {"requests": 30})
    assert_whole(bucket.chain(), own_site, runs, commits[-1])
    seen_by_a_puller(bucket.chain())
    record_property("kills in races", len(runs.killed))
    record_property("raced publishes", len(runs.wrote) + len(runs.found))
