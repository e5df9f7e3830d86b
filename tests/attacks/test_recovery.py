"""What an attacker destroys in the bucket, and the commands after which every pod is live again.

The real ``dagctl`` and real pullers: one that runs through it all, and one that starts with nothing at the end.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_publisher.cli.exits import Exit
from dagferry_shared import envelope
from support.pods import Pod
from support.sitefixtures import keys, line, shared_repo, site
from support.sites import Site, copy_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.pods import Running

__all__ = ["keys", "line", "shared_repo", "site"]


class SitePod(Pod):
    """A pod on a site's store and trust file."""

    def __init__(self, directory: Path, site: Site) -> None:
        directory.mkdir()
        self.directory = directory
        self.site = site
        self.root = directory / "root"
        self.trust = directory / "trust.json"
        self.settings = {
            "store": f"file://{site.store}",
            "bundle": "analytics",
            "channel": "main",
            "trust": str(self.trust),
            "root": str(self.root),
        }
        self._running = []
        self.bring_trust()

    def bring_trust(self) -> None:
        """Update the ConfigMap."""
        new = self.trust.with_suffix(".new")
        shutil.copy(self.site.trust, new)
        new.replace(self.trust)

    def live_commit(self) -> str | None:
        version = self.live()
        return version and version.partition("-")[0]

    def wait_commit(self, running: Running, commit: str) -> dict[str, Any]:
        """Wait until a commit is live, and nothing is wrong."""
        return running.wait(
            f"{commit[:12]} is live",
            lambda s: s["ready"] and s["live"]["commit"] == commit and s["problem"] is None,
        )


@pytest.fixture
def pod(tmp_path: Path, site: Site) -> Iterator[SitePod]:
    made = SitePod(tmp_path / "warm", site)
    yield made
    made.close()


@pytest.fixture
def running(pod: SitePod, site: Site, line: list[str]) -> Running:
    """A pod that has seen three publishes, the third of which is live."""
    for commit in line[:3]:
        site.publish(commit)
    running = pod.run()
    pod.wait_commit(running, line[2])
    return running


def pointer(site: Site) -> Path:
    return site.bundle / "channels/main/pointer.json"


def garbled(site: Site) -> None:
    raw = envelope.parse(pointer(site).read_bytes(), "pointer")
    other = envelope.Envelope(raw.payload_type, raw.payload, ((raw.signatures[0][0], bytes(64)),))
    pointer(site).write_bytes(other.encode())


# What is done to the pointer, and what a pod that sees it says
POINTER: dict[str, tuple[Callable[[Site], object], str]] = {
    "deleted": (lambda site: pointer(site).unlink(), "not-found"),
    "emptied": (lambda site: pointer(site).write_bytes(b""), "malformed"),
    "garbage": (lambda site: pointer(site).write_bytes(b"\xff\x00garbage"), "malformed"),
    "oversize": (lambda site: pointer(site).write_bytes(b"[" * 100_000), "oversize"),
    "endless": (lambda site: os.truncate(pointer(site), 1 << 40), "oversize"),
    "forged": (garbled, "bad-signature"),
    "an old one": (
        lambda site: shutil.copy(site.bundle / "channels/main/history/1-1.json", pointer(site)),
        "rollback",
    ),
    "a release": (
        lambda site: shutil.copy(next((site.bundle / "releases").iterdir()), pointer(site)),
        "unknown-type",
    ),
}


def assert_recovered(pod: SitePod, running: Running, commit: str, *, lost: str = "") -> None:
    """The running pod, one that starts again, and one that has never seen anything: all are live and well.

    ``lost`` is what stays a finding: objects of older releases that nobody has any more.
    """
    pod.wait_commit(running, commit)
    assert running.stop() == 0
    assert pod.once().code == 0
    cold = SitePod(pod.directory.with_name("cold"), pod.site)
    assert cold.once().code == 0
    assert cold.live_commit() == pod.live_commit() == commit
    findings = pod.site.dagctl("verify", "--all", "--json", code=Exit.REFUSED if lost else Exit.OK).json["findings"]
    assert {finding["key"].split("/")[2] for finding in findings} == ({lost} if lost else set())
    used = pod.site.pointer()
    assert not [finding for finding in findings if used["release"] in finding["key"]]


@pytest.mark.parametrize("damage", POINTER)
def test_destroyed_pointer_is_repaired_and_the_channel_goes_on(
    pod: SitePod, running: Running, site: Site, line: list[str], damage: str
) -> None:
    destroy, problem = POINTER[damage]
    destroy(site)
    running.wait_problem(problem)
    assert running.ready()
    assert pod.live_commit() == line[2]
    site.dagctl("repair", "--reason", damage)
    status = pod.wait_commit(running, line[2])
    assert status["seen"]["sequence"] == 4
    site.publish(line[3])
    assert_recovered(pod, running, line[3])


def test_pod_that_starts_while_the_pointer_is_gone_waits_for_the_repair(
    pod: SitePod, running: Running, site: Site, line: list[str]
) -> None:
    pointer(site).unlink()
    cold = SitePod(pod.directory.with_name("starting"), site)
    starting = cold.run()
    try:
        starting.wait_problem("not-found")
        assert not starting.ready()
        site.dagctl("repair")
        cold.wait_commit(starting, line[2])
    finally:
        cold.close()
    assert_recovered(pod, running, line[2])


@pytest.fixture
def backup(site: Site, line: list[str], tmp_path: Path) -> Path:
    """A copy of the whole bucket from before the last two publishes."""
    site.publish(line[0])
    copy_store(site, tmp_path / "backup")
    return tmp_path / "backup"


def test_restored_old_bucket_is_refused_and_a_new_epoch_makes_it_count(
    pod: SitePod, site: Site, line: list[str], backup: Path
) -> None:
    site.publish(line[1])
    site.publish(line[2])
    running = pod.run()
    pod.wait_commit(running, line[2])
    shutil.rmtree(site.store)
    shutil.copytree(backup, site.store)
    running.wait_problem("rollback")
    assert running.ready()
    assert pod.live_commit() == line[2]
    site.dagctl("trust", "epoch")
    pod.bring_trust()
    running.wait_problem("wrong-epoch")
    assert running.ready()
    site.dagctl("repair", "--new-epoch", "--reason", "bucket restored")
    status = pod.wait_commit(running, line[0])
    assert (status["seen"]["epoch"], status["seen"]["sequence"]) == (2, 1)
    site.publish(line[3])
    assert_recovered(pod, running, line[3])


def test_publish_on_a_restored_old_bucket_moves_no_pod_back(
    pod: SitePod, site: Site, line: list[str], backup: Path
) -> None:
    """CI does not know what the pods have seen: its second entry is another one than theirs, and refused."""
    site.publish(line[1])
    running = pod.run()
    pod.wait_commit(running, line[1])
    shutil.rmtree(site.store)
    shutil.copytree(backup, site.store)
    site.publish(line[2])
    running.wait_problem("equivocation")
    assert running.metrics()["dagferry_puller_equivocations_total"] >= 1
    assert pod.live_commit() == line[1]
    site.publish(line[3])
    assert_recovered(pod, running, line[3])


def emptied_history(site: Site) -> None:
    shutil.rmtree(site.bundle / "channels/main/history")


def lost_entry(site: Site) -> None:
    (site.bundle / "channels/main/history/1-2.json").unlink()


def garbage_entries(site: Site) -> None:
    for path in (site.bundle / "channels/main/history").iterdir():
        path.write_bytes(b"garbage")


def squatted(site: Site) -> None:
    """The next position is taken: history copies are never overwritten."""
    (site.bundle / "channels/main/history/1-4.json").write_bytes(b"garbage")


@pytest.mark.parametrize(
    ("attack", "lost"),
    [(emptied_history, "channels"), (lost_entry, "channels"), (garbage_entries, "channels"), (squatted, "")],
)
def test_destroyed_history_stops_no_pod_and_ends_with_a_new_epoch_at_the_latest(
    pod: SitePod, running: Running, site: Site, line: list[str], attack: Callable[[Site], None], lost: str
) -> None:
    attack(site)
    running.wait_syncs(2, "unchanged")
    assert running.ready()
    site.dagctl("trust", "epoch")
    pod.bring_trust()
    running.wait_problem("wrong-epoch")
    site.dagctl("repair", "--new-epoch", "--reason", "history destroyed")
    pod.wait_commit(running, line[2])
    site.publish(line[3])
    site.dagctl("rollback", "--to", line[2])
    site.dagctl("resume")
    assert_recovered(pod, running, line[2], lost=lost)


def test_emptied_bucket_keeps_pods_live_and_one_publish_brings_the_channel_back(
    pod: SitePod, running: Running, site: Site, line: list[str]
) -> None:
    shutil.rmtree(site.store)
    site.store.mkdir()
    running.wait_problem("not-found")
    assert running.ready()
    site.dagctl("repair", code=Exit.NOT_FOUND)
    site.dagctl("trust", "epoch")
    pod.bring_trust()
    running.wait_problem("not-found")
    site.publish(line[2], "--new-epoch")
    assert_recovered(pod, running, line[2])


@pytest.mark.parametrize("folder", ["archives", "releases"])
def test_deleted_objects_keep_warm_pods_live_and_the_next_publish_is_whole_again(
    pod: SitePod, running: Running, site: Site, line: list[str], folder: str
) -> None:
    shutil.rmtree(site.bundle / folder)
    running.wait_syncs(2, "unchanged")
    cold = SitePod(pod.directory.with_name("early"), site)
    assert cold.once(timeout="1s").code != 0
    assert cold.live() is None
    site.publish(line[3])
    assert_recovered(pod, running, line[3], lost=folder)
