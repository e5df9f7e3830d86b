"""What an administrator, or a clock, does to the users of a running site: quotas, revoked keys, suspension, skew."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING

import pytest

from support.clusters import Cluster
from support.faketime import shifted
from support.sitepods import assert_chain, wait_commit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.gitrepos import GitRepo
    from support.sitepods import SitePod
    from support.sites import Site

REFUSED, DENIED = 3, 9
UNKNOWN_KEY = "the store does not know this access key"
SUSPENDED = "the store has suspended this user"


@pytest.fixture(scope="module")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster whose gateway was never killed: after that, each change of a user takes half a minute."""
    with Cluster(tmp_path_factory.mktemp("cluster") / "rgw", store="memstore") as made:
        yield made


@pytest.fixture
def quota(cluster: Cluster) -> Iterator[list[str]]:
    """The publisher's quota, which no test leaves on."""
    of = ["--quota-scope=user", "--uid=publisher"]
    yield of
    cluster.admin("quota", "disable", *of)


def test_publish_above_the_quota_says_who_can_cure_it_and_leaves_the_chain_whole(
    cluster: Cluster, site: Site, repo: GitRepo, quota: list[str]
) -> None:
    first, second = repo.commits(2)
    site.publish(first)
    cluster.admin("quota", "set", *quota, "--max-size=1", "--max-objects=1")
    cluster.admin("quota", "enable", *quota)
    message = site.publish(second, code=DENIED).message
    assert "quota" in message
    assert "radosgw-admin quota" in message
    assert "(403 QuotaExceeded)" in message
    assert_chain(site, [first])
    cluster.admin("quota", "disable", *quota)
    site.publish(second)
    assert_chain(site, [first, second])


def write_credentials(path: Path, access: str, secret: str) -> None:
    """Replace a credentials file as a mounted Secret is: by a rename."""
    temporary = path.with_name("new")
    temporary.write_text(f"[default]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n")
    temporary.rename(path)


def test_puller_whose_key_is_revoked_keeps_what_is_live_and_goes_on_with_new_keys_in_its_file(
    cluster: Cluster, site: Site, repo: GitRepo, pod: SitePod
) -> None:
    first, second = repo.commits(2)
    site.publish(first)
    keys = secrets.token_hex(10), secrets.token_hex(20)
    new_key = ["key", "create", "--uid=puller", "--key-type=s3"]
    cluster.admin(*new_key, f"--access-key={keys[0]}", f"--secret-key={keys[1]}")
    file = pod.directory / "credentials"
    write_credentials(file, *keys)
    place = {name: value for name, value in cluster.environ("puller").items() if "KEY" not in name}
    running = pod.run(environ=place | {"AWS_SHARED_CREDENTIALS_FILE": str(file)})
    wait_commit(running, first)
    cluster.admin("key", "rm", "--uid=puller", f"--access-key={keys[0]}")
    status = running.wait_problem("store-denied")
    assert UNKNOWN_KEY in status["problem"]["detail"]
    assert (running.request("/healthz").status, running.ready(), pod.live()) == (200, True, status["live"]["version"])
    site.publish(second)
    write_credentials(file, *cluster.keys("puller"))
    wait_commit(running, second)
    assert keys[1] not in running.text()


def test_puller_whose_user_is_suspended_says_so_and_goes_on_when_it_is_enabled(
    cluster: Cluster, site: Site, repo: GitRepo, pod: SitePod
) -> None:
    first, second = repo.commits(2)
    site.publish(first)
    running = pod.run(environ=cluster.environ("puller"))
    wait_commit(running, first)
    try:
        cluster.admin("user", "suspend", "--uid=puller")
        assert SUSPENDED in running.wait_problem("store-denied")["problem"]["detail"]
        assert running.ready()
        site.publish(second)
    finally:
        cluster.admin("user", "enable", "--uid=puller")
    wait_commit(running, second)


def test_publisher_whose_user_is_suspended_is_told_so(cluster: Cluster, site: Site, repo: GitRepo) -> None:
    first, second = repo.commits(2)
    site.publish(first)
    try:
        cluster.admin("user", "suspend", "--uid=publisher")
        assert SUSPENDED in site.publish(second, code=DENIED).message
    finally:
        cluster.admin("user", "enable", "--uid=publisher")
    assert_chain(site, [first])


@pytest.mark.parametrize("minutes", [-20, -5, 5, 20])
def test_publish_under_a_wrong_clock_is_refused_and_writes_nothing(site: Site, repo: GitRepo, minutes: int) -> None:
    first, second = repo.commits(2)
    site.publish(first)
    message = site.dagctl.process(
        "publish", "--commit", second, "--ref", "main", code=REFUSED, **shifted(minutes)
    ).message
    off = re.search(r" is ([+-]\d+) s off the store's ", message)
    assert off
    assert abs(int(off[1]) - minutes * 60) < 30
    assert "set it (NTP)" in message
    assert_chain(site, [first])


@pytest.mark.parametrize("minutes", [-20, 20])
def test_puller_with_a_wrong_clock_says_so_and_stays_alive(
    cluster: Cluster, site: Site, repo: GitRepo, pod: SitePod, minutes: int
) -> None:
    (commit,) = repo.commits(1)
    site.publish(commit)
    running = pod.run(environ=cluster.environ("puller") | shifted(minutes))
    detail = running.wait_problem("store-denied")["problem"]["detail"]
    assert "the clock of this machine is wrong" in detail
    assert "RequestTimeTooSkewed" in detail
    assert (running.request("/healthz").status, running.ready()) == (200, False)
    assert running.stop() == 0
    right = pod.run(environ=cluster.environ("puller"))
    wait_commit(right, commit)
