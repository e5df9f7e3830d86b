"""Volumes at their limits: full, out of inodes, suddenly read-only, gone. What is live stays, and all recover."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from support.bundles import small_tree
from support.looks import alarms, assert_live, tree_on_disk
from support.mounts import enter_own_namespace, fill, mount, needs_root, resize, tmpfs, unmount

if TYPE_CHECKING:
    from pathlib import Path

    from support.bundles import Simulator
    from support.pods import Pod, Running

pytestmark = needs_root

# What a tree is too large for, and where that shows.
LIMITS = {
    "bytes of the archive": ("size=1m", {"big.bin": os.urandom(2 << 20)}),
    "bytes of the tree": ("size=1m", {"big.bin": bytes(4 << 20)}),
    "inodes": ("size=16m,nr_inodes=40", {f"dags/dag_{i}.py": f"X = {i}\n" for i in range(60)}),
}
ENOUGH = "size=64m,nr_inodes=0"


@pytest.fixture(autouse=True)
def namespace() -> None:
    enter_own_namespace()


@pytest.fixture
def root(pod: Pod) -> Path:
    """The place of the root; what is mounted there is unmounted by the namespace's end."""
    return pod.root


def names_below(path: Path) -> set[str]:
    return {entry.name for entry in path.rglob("*")}


def assert_clean(pod: Pod) -> None:
    """No staging, no temporary file is left anywhere."""
    assert not [name for name in names_below(pod.root) if name.startswith((".tmp-", ".retired-"))]


def look_until(running: Running, what: str, condition: Any) -> dict[str, Any]:
    running.signal(signal.SIGHUP)  # not to wait for the end of the backoff
    return running.wait(what, condition)


@pytest.mark.parametrize("limit", LIMITS)
def test_first_version_that_does_not_fit_is_told_and_leaves_nothing(
    pod: Pod, simulator: Simulator, root: Path, limit: str
) -> None:
    options, tree = LIMITS[limit]
    tmpfs(root, options)
    simulator.publish(tree, "a")
    done = pod.once()
    assert (done.code, pod.live(), pod.versions()) == (1, None, set())
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr
    assert_clean(pod)
    running = pod.run()
    status = running.wait_problem("volume-failed")
    assert not status["ready"]
    assert running.request("/healthz").status == 200
    assert_clean(pod)
    fits = simulator.publish(small_tree(), "b")
    running.signal(signal.SIGHUP)
    running.wait_live(fits.version)


@pytest.mark.parametrize("limit", LIMITS)
def test_update_that_does_not_fit_keeps_the_old_version_until_there_is_room(
    pod: Pod, simulator: Simulator, root: Path, limit: str
) -> None:
    options, tree = LIMITS[limit]
    tmpfs(root, options)
    old = simulator.publish(small_tree(), "a")
    running = pod.run()
    running.wait_live(old.version)
    new = simulator.publish(tree, "b")
    running.wait_problem("volume-failed")
    assert running.ready()
    assert_live(pod, old)
    assert_clean(pod)
    assert pod.versions() == {old.version}
    metrics = running.metrics()
    assert metrics['dagferry_puller_syncs_total{outcome="volume-failed"}'] >= 1
    assert metrics["dagferry_puller_consecutive_failures"] >= 1
    resize(root, ENOUGH)
    status = look_until(running, "went on", lambda status: status["live"]["version"] == new.version)
    assert_live(pod, new)
    assert status["problem"] is None
    assert not alarms(running)


@pytest.mark.parametrize("place", [".dagferry", "versions"])
def test_part_of_the_root_that_is_full_keeps_the_old_version_until_there_is_room(
    pod: Pod, simulator: Simulator, root: Path, place: str
) -> None:
    tmpfs(root / place, "size=256k")
    old = simulator.publish(small_tree(), "a")
    running = pod.run()
    running.wait_live(old.version)
    new = simulator.publish({"big.bin": os.urandom(1 << 20)}, "b")
    running.wait_problem("volume-failed")
    assert running.ready()
    assert_live(pod, old)
    assert_clean(pod)
    resize(root / place, ENOUGH)
    look_until(running, "went on", lambda status: status["live"]["version"] == new.version)
    assert_live(pod, new)


def test_full_disk_does_not_disturb_who_has_nothing_to_write(pod: Pod, simulator: Simulator, root: Path) -> None:
    tmpfs(root, "size=1m")
    made = simulator.publish(small_tree(), "a")
    running = pod.run()
    running.wait_live(made.version)
    fill(root)
    status = running.wait_syncs(3, "unchanged")
    assert status["ready"]
    assert status["problem"] is None


def test_damage_on_a_full_disk_is_told_until_there_is_room_to_repair_it(
    pod: Pod, simulator: Simulator, root: Path
) -> None:
    tmpfs(root, "size=1m")
    made = simulator.publish(small_tree(), "a")
    running = pod.run()
    running.wait_live(made.version)
    filler = fill(root)
    (pod.version(made.version) / "etl.py").chmod(0o755)
    status = running.wait_problem("volume-failed")
    assert status["damaged"]
    assert not status["ready"]
    assert pod.live() == made.version
    assert alarms(running) == ["ALARM: the live tree was changed from outside"]
    filler.unlink()
    status = look_until(running, "repaired", lambda status: status["ready"])
    assert status["repairs"]["tree"] == 1
    assert_live(pod, made)


def test_rollback_on_a_full_disk_waits_for_room_and_is_remembered_before_it_is_done(
    pod: Pod, simulator: Simulator, root: Path
) -> None:
    tmpfs(root, "size=1m")
    old = simulator.publish(small_tree("old"), "a")
    running = pod.run()
    running.wait_live(old.version)
    new = simulator.publish(small_tree(), "b")
    running.wait_live(new.version)
    filler = fill(root)
    simulator.again(old)
    running.wait_problem("volume-failed")
    assert pod.live() == new.version
    assert pod.state()["seen"]["etl/main"]["sequence"] == 2
    filler.unlink()
    look_until(running, "rolled back", lambda status: status["live"]["sequence"] == 3)
    assert_live(pod, old)


@pytest.mark.parametrize("mode", ["run", "once"])
def test_read_only_root_at_a_start_is_named(pod: Pod, simulator: Simulator, root: Path, mode: str) -> None:
    made = simulator.publish(small_tree(), "a")
    assert pod.once().code == 0
    mount("--bind", root, root)
    mount("-o", "remount,ro,bind", root)
    done = subprocess.run(pod.arguments(mode), capture_output=True, text=True, timeout=20)
    assert done.returncode == 2
    assert "--root" in done.stderr
    assert "read-only" in done.stderr
    assert_live(pod, made)


@pytest.fixture
def ext4(pod: Pod, tmp_path: Path) -> Path:
    """An ext4 image that is mounted as the root."""
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(8 << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-m", "0", image], check=True)
    pod.root.mkdir()
    mount("-o", "loop", image, pod.root)
    (pod.root / "lost+found").rmdir()
    return image


def test_disk_that_fails_and_turns_read_only_keeps_the_old_version_and_recovers_when_it_is_back(
    pod: Pod, simulator: Simulator, ext4: Path
) -> None:
    old = simulator.publish(small_tree("old"), "a")
    running = pod.run()
    running.wait_live(old.version)
    mount("-o", "remount,abort", pod.root)  # what the kernel does after an I/O error
    new = simulator.publish(small_tree(), "b")
    running.wait_problem("volume-failed")
    assert running.ready()
    assert_live(pod, old)
    assert running.request("/healthz").status == 200
    unmount(pod.root)
    running.wait("the directory below serves", lambda status: status["repairs"]["root"] == 1 and status["ready"])
    mount("-o", "loop", ext4, pod.root)
    look_until(running, "the disk is back", lambda status: status["repairs"]["root"] == 2 and status["ready"])
    assert_live(pod, new)
    assert running.stop() == 0


def test_volume_that_vanishes_and_comes_back_is_made_good_each_time(
    pod: Pod, simulator: Simulator, root: Path, tmp_path: Path
) -> None:
    kept = tmpfs(tmp_path / "kept", "size=4m")
    root.mkdir()
    mount("--bind", kept, root)
    made = simulator.publish(small_tree(), "a")
    running = pod.run()
    running.wait_live(made.version)
    unmount(root)
    look_until(running, "a root below", lambda status: status["repairs"]["root"] == 1 and status["ready"])
    assert_live(pod, made)
    mount("--bind", kept, root)
    look_until(running, "the volume is back", lambda status: status["repairs"]["root"] == 2 and status["ready"])
    assert_live(pod, made)
    assert alarms(running).count("ALARM: the root or a part of it was removed or replaced") == 2


def test_volume_that_vanishes_from_a_place_where_nothing_can_be_written_is_waited_for(
    pod: Pod, simulator: Simulator, root: Path, tmp_path: Path
) -> None:
    tmpfs(root, "size=4k,nr_inodes=1,ro")
    kept = tmpfs(tmp_path / "kept", "size=4m")
    mount("--bind", kept, root)
    made = simulator.publish(small_tree(), "a")
    running = pod.run()
    running.wait_live(made.version)
    unmount(root)
    status = running.wait_problem("volume-failed")
    assert not status["ready"]
    assert running.request("/healthz").status == 200
    assert tree_on_disk(kept / "current") == made.release.tree
    mount("--bind", kept, root)
    look_until(running, "the volume is back", lambda status: status["ready"])
    assert_live(pod, made)
    assert running.stop() == 0
