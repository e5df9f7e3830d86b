"""Volumes as they really are: full, read-only, of another user, without the file system's comforts."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.bundles import Simulator, small_tree
from support.pods import Pod, as_user

if TYPE_CHECKING:
    from collections.abc import Iterator

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="SKIPPED LOUDLY: needs root to mount or to change the user")


@pytest.fixture
def tmpfs(pod: Pod) -> Iterator[Path]:
    pod.root.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(pod.root)], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"SKIPPED LOUDLY: cannot mount a tmpfs: {done.stderr.strip()}")
    yield pod.root
    pod.close()
    subprocess.run(["umount", "-l", str(pod.root)], check=True)


def fill(directory: Path) -> None:
    with (directory / "filler").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


@needs_root
def test_full_disk_keeps_the_old_version_and_leaves_no_staging(pod: Pod, simulator: Simulator, tmpfs: Path) -> None:
    first = simulator.publish(small_tree("one"), "a")
    running = pod.run()
    running.wait_live(first.version)
    simulator.publish({"big.bin": os.urandom(2 * 1024 * 1024)}, "b")
    running.wait_problem("volume-failed")
    assert running.ready()
    assert pod.live() == first.version
    assert pod.versions() == {first.version}
    third = simulator.publish(small_tree("three"), "c")
    running.signal(signal.SIGHUP)
    running.wait_live(third.version)


@needs_root
def test_full_disk_at_a_restart_serves_the_good_tree(pod: Pod, simulator: Simulator, tmpfs: Path) -> None:
    first = simulator.publish(small_tree("one"), "a")
    assert pod.once().code == 0
    fill(tmpfs)
    simulator.publish(small_tree("two"), "b")
    running = pod.run()
    running.wait_problem("volume-failed")
    assert running.ready()
    assert pod.live() == first.version
    result = pod.once(root=str(tmpfs), timeout="3s")
    assert result.code != 0
    (tmpfs / "filler").unlink()
    running.signal(signal.SIGHUP)
    running.wait("went on", lambda s: s["ready"] and s["live"]["sequence"] == 2)


@needs_root
def test_read_only_volume_is_named_at_a_start(pod: Pod, simulator: Simulator, tmpfs: Path) -> None:
    first = simulator.publish(small_tree("one"), "a")
    assert pod.once().code == 0
    subprocess.run(["mount", "-o", "remount,ro", str(tmpfs)], check=True)
    result = pod.once()
    assert (result.code, pod.live()) == (2, first.version)
    assert "read-only" in result.stderr


UID = 12345


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that any user can reach; tmp_path is root's alone."""
    top = Path("/var/tmp") / f"dagferry-{os.urandom(6).hex()}"
    top.mkdir()
    top.chmod(0o755)
    yield top
    shutil.rmtree(top)


@pytest.fixture
def foreign(public: Path) -> Iterator[Pod]:
    """A pod whose root belongs to another user."""
    made = Pod(public, Simulator(public / "store"))
    made.root.mkdir()
    os.chown(made.root, UID, 0)
    yield made
    made.close()


def once_as_user(pod: Pod, **settings: str) -> subprocess.CompletedProcess[str]:
    command = as_user(UID, pod.arguments("once", **{"timeout": "20s", **settings}))
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@needs_root
def test_any_user_can_run_it_and_retire_its_read_only_versions(foreign: Pod) -> None:
    for word in "bcde":
        made = foreign.simulator.publish(small_tree(word), word)
        done = once_as_user(foreign, keep="1", keep_hours="0")
        assert done.returncode == 0, done.stderr
    assert made.version in foreign.versions()
    assert len(foreign.versions()) == 2
    assert foreign.version(made.version).stat().st_uid == UID


@needs_root
def test_what_root_left_in_the_tree_is_removed_from_it_by_any_user(foreign: Pod) -> None:
    made = foreign.simulator.publish(small_tree("a"), "a")
    assert once_as_user(foreign).returncode == 0
    damaged = foreign.version(made.version)
    damaged.chmod(0o755)
    (damaged / "__pycache__").mkdir(mode=0o755)
    (damaged / "__pycache__/x.pyc").write_text("root's own")
    for _ in range(2):
        done = once_as_user(foreign)
        assert done.returncode == 0, done.stderr
    assert "by hand" in done.stderr
    assert not (damaged / "__pycache__").exists()


@needs_root
def test_volume_that_cannot_be_written_any_more_keeps_the_old_version(foreign: Pod) -> None:
    first = foreign.simulator.publish(small_tree("a"), "a")
    running = foreign.run(uid=UID)
    running.wait_live(first.version)
    os.chown(foreign.root / "versions", 0, 0)
    foreign.simulator.publish(small_tree("b"), "b")
    running.wait_problem("volume-failed")
    assert running.ready()
    assert foreign.live() == first.version
    os.chown(foreign.root / "versions", UID, 0)
    running.signal(signal.SIGHUP)
    running.wait("went on", lambda s: s["live"]["sequence"] == 2)


@needs_root
def test_root_of_another_user_is_named(foreign: Pod) -> None:
    os.chown(foreign.root, 0, 0)
    for name in (".dagferry/envelopes", ".dagferry/leases", "versions"):
        (foreign.root / name).mkdir(parents=True)
    done = once_as_user(foreign)
    assert done.returncode == 2
    assert f"is not writable for uid {UID}" in done.stderr


def test_group_bits_that_a_volume_adds_are_no_tampering(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    assert pod.once().code == 0
    for path in [pod.version(first.version), *pod.version(first.version).rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | 0o070 | (0o2000 if path.is_dir() else 0))
    running = pod.run()
    status = running.wait_live(first.version)
    assert status["repairs"] == {"link": 0, "tree": 0, "state": 0, "root": 0}


def test_setgid_root_works(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    pod.root.mkdir()
    pod.root.chmod(0o2775)
    assert pod.once().code == 0
    assert pod.live() == first.version
