"""Volumes as clusters hand them out: any user, any umask, a group that the kubelet adds, a root of another user."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.bundles import Simulator, small_tree
from support.looks import NO_REPAIRS, alarms, assert_live, look, run_quietly
from support.mounts import needs_root
from support.pods import Pod

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.bundles import Published
    from support.pods import Running

pytestmark = needs_root

UID = 1_000_650_000  # as OpenShift gives them
READER = 50_000  # Airflow's user in its own image
GROUP = 2000  # of a volume


@dataclass(frozen=True)
class Place:
    """How a root was made before the puller came, and who the puller is.

    Attributes:
        mode: of the root; None: there is no root yet, and its parent is anybody's.
        owner: of the root.
        group: of the root.
        uid: of the puller, whose group is 0; None: root.
        umask: of the puller.
    """

    mode: int | None
    owner: int = 0
    group: int = 0
    uid: int | None = UID
    umask: int = 0o022


PLACES = {
    "any user, root of another user writable by group 0": Place(0o775),
    "any user, no root yet": Place(None),
    "any user, no root yet, umask 077": Place(None, umask=0o077),
    "any user, emptyDir": Place(0o777),
    "any user, sticky root": Place(0o1777),
    "any user, setgid root of a volume's group": Place(0o2777, group=GROUP),
    "any user, umask 077, setgid root": Place(0o2775, umask=0o077),
    "any user, umask 000": Place(0o770, owner=UID, umask=0),
    "root, umask 077, no root yet": Place(None, uid=None, umask=0o077),
    "root, setgid root of a volume's group": Place(0o2775, owner=UID, group=GROUP, uid=None),
}


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that any user can reach; tmp_path is root's alone."""
    top = Path("/var/tmp") / f"dagferry-{os.urandom(6).hex()}"
    top.mkdir()
    top.chmod(0o777)
    yield top
    shutil.rmtree(top)


@pytest.fixture
def pod(public: Path) -> Iterator[Pod]:
    made = Pod(public, Simulator(public / "store"))
    yield made
    made.close()


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def start(pod: Pod, place: Place, **settings: str) -> Running:
    """Make the root and start a puller there; returns when its first sync is over."""
    if place.mode is not None:
        pod.root.mkdir()
        os.chown(pod.root, place.owner, place.group)
        pod.root.chmod(place.mode)
    with umask(place.umask):
        return run_quietly(pod, uid=place.uid, **settings)


def assert_readable_by_others(pod: Pod) -> None:
    """Another user, of no group of the volume's, reads every file through the link."""
    command = "cd current && find . -type f -exec cat {} + && find . -type l -exec cat {} + && ./run.sh"
    done = subprocess.run(
        ["sh", "-c", command], cwd=pod.root, user=READER, group=READER, extra_groups=[], capture_output=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_whole_life_on_a_volume_of_any_kind(pod: Pod, place: Place) -> None:
    first = pod.simulator.publish(small_tree("one"), "a")
    running = start(pod, place, period="0.2", keep="1", keep_hours="0")
    assert_live(pod, first)
    second = pod.simulator.publish(small_tree("two"), "b")
    running.wait_live(second.version)
    (pod.version(second.version) / "run.sh").chmod(0o444)
    running.wait("the tree is repaired", lambda status: status["repairs"]["tree"] == 1 and status["ready"])
    (pod.root / "current").unlink()
    running.wait("the link is repaired", lambda status: status["repairs"]["link"] == 1 and status["ready"])
    assert_live(pod, second)
    third = pod.simulator.publish(small_tree("three"), "c")
    assert running.wait_live(third.version)["problem"] is None
    assert running.stop() == 0
    assert pod.versions() == {second.version, third.version}
    if place.mode != 0o770:
        assert_readable_by_others(pod)


def as_kubelet(top: Path, group: int) -> None:
    """What the kubelet does for a pod's fsGroup: the group owns everything, may write everything, and stays so."""
    for path in (top, *top.rglob("*")):
        os.chown(path, -1, group, follow_symlinks=False)
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o2770 if path.is_dir() else 0o660))


def test_group_that_a_volume_gets_while_running_is_no_tampering(pod: Pod) -> None:
    first = pod.simulator.publish(small_tree("one"), "a")
    running = start(pod, Place(0o755, owner=UID))
    as_kubelet(pod.root, GROUP)
    looks = [look(running) for _ in range(2)]
    for status in looks:
        assert status["ready"]
        assert status["repairs"] == NO_REPAIRS
        assert status["tree_changes"] == 1
    assert looks[0]["steps"]["verify"] == looks[1]["steps"]["verify"]
    assert not alarms(running)
    assert_live(pod, first)


def test_group_that_a_volume_gets_before_a_restart_is_no_tampering(pod: Pod) -> None:
    first = pod.simulator.publish(small_tree("one"), "a")
    start(pod, Place(0o755, owner=UID)).stop()
    as_kubelet(pod.root, GROUP)
    running = run_quietly(pod, uid=UID)
    assert running.status()["repairs"] == NO_REPAIRS
    assert not alarms(running)
    assert_live(pod, first)
    second = pod.simulator.publish(small_tree("two"), "b")
    look(running)
    assert_live(pod, second)
    assert_readable_by_others(pod)


def test_what_another_user_puts_in_the_place_of_the_link_on_a_sticky_volume_is_told_until_it_is_gone(pod: Pod) -> None:
    made: Published = pod.simulator.publish(small_tree("one"), "a")
    running = start(pod, Place(0o1777))
    (pod.root / "current").unlink()
    (pod.root / "current").symlink_to("/etc")
    status = look(running)
    assert not status["ready"]
    assert status["problem"]["outcome"] == "volume-failed"
    assert alarms(running) == ["ALARM: the live link was changed from outside"]
    (pod.root / "current").unlink()
    running.signal(signal.SIGHUP)
    running.wait("repaired", lambda status: status["ready"])
    assert_live(pod, made)
