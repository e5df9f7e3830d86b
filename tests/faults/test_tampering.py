"""Somebody changes what is live while the puller runs: the next look finds it, repairs it, counts it and says so."""

from __future__ import annotations

import mmap
import os
import shutil
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from support.looks import NO_REPAIRS, Scenes, alarms, assert_live, assert_whole, look, run_quietly, tree_on_disk
from support.mounts import enter_own_namespace, mount, needs_root, unmount
from support.tampering import (
    CONTENT,
    DEEP,
    VERSIONS,
    add_bytecode,
    add_file,
    delete_file,
    edit_with_size_and_times_kept,
    replace_by_fifo,
    replace_directory_by_link_to_a_copy,
    tree,
)
from support.tampering_root import LINKS, ROOTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.bundles import Simulator
    from support.looks import Scene
    from support.pods import Pod
    from support.tampering import Change


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    path = tmp_path / "outside"
    path.mkdir()
    return path


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenes]:
    made = Scenes(tmp_path_factory.mktemp("scenes"), tree())
    yield made
    made.close()


@pytest.fixture
def scene(scenes: Scenes) -> Iterator[Scene]:
    """A pod whose puller has looked once."""
    taken = scenes.take()
    yield taken
    taken.pod.close()


@pytest.fixture(scope="module")
def longer_scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenes]:
    made = Scenes(tmp_path_factory.mktemp("scenes"), tree("old"), tree())
    yield made
    made.close()


@pytest.fixture
def older_too(longer_scenes: Scenes) -> Iterator[Scene]:
    """The same, with an older version on the volume."""
    taken = longer_scenes.take()
    yield taken
    taken.pod.close()


def assert_repaired(status: dict[str, object], what: str) -> None:
    assert status["ready"]
    assert not status["damaged"]
    assert status["repairs"] == {**NO_REPAIRS, what: 1}


@pytest.mark.parametrize("change", [*CONTENT, *VERSIONS])
def test_changed_tree_is_repaired_by_the_next_look(scene: Scene, change: Change) -> None:
    change(scene.version, scene.outside)
    assert_repaired(look(scene.running), "tree")
    assert_whole(scene)
    assert alarms(scene.running) == ["ALARM: the live tree was changed from outside"]
    metrics = scene.running.metrics()
    assert metrics['dagferry_puller_repairs_total{what="tree"}'] == 1
    assert metrics["dagferry_puller_tree_changes_total"] == 1
    assert metrics["dagferry_puller_tampered_entries_total"] >= 1
    assert metrics["dagferry_puller_damaged"] == 0


def test_edit_in_place_is_found_by_polls_alone_within_a_round_of_them(scenes: Scenes) -> None:
    scene = scenes.make(period="0.1")
    try:
        before = sum(scene.running.status()["syncs"].values())
        edit_with_size_and_times_kept(scene.version, scene.outside)
        status = scene.running.wait("the repair", lambda status: status["repairs"]["tree"] == 1)
        assert sum(status["syncs"].values()) - before <= 2 * 12
        assert_whole(scene)
    finally:
        scene.pod.close()


@pytest.mark.parametrize("change", [edit_with_size_and_times_kept, replace_directory_by_link_to_a_copy, add_file])
def test_no_reader_misses_a_file_while_a_tree_is_repaired(scene: Scene, change: Change) -> None:
    change(scene.version, scene.outside)
    missed: list[OSError] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                assert scene.pod.read("lib/tables.py") == "TABLES = 3\n"
            except OSError as error:
                missed.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        look(scene.running)
    finally:
        done.set()
        reader.join()
    assert not missed
    assert_whole(scene)


@pytest.mark.parametrize("change", LINKS)
def test_changed_link_is_repaired_by_the_next_look(older_too: Scene, change: Change) -> None:
    change(older_too.pod.root / "current", older_too.outside)
    before = sorted(older_too.outside.iterdir())
    assert_repaired(look(older_too.running, notify=True), "link")
    assert_whole(older_too)
    assert sorted(older_too.outside.iterdir()) == before
    assert alarms(older_too.running) == ["ALARM: the live link was changed from outside"]
    assert older_too.running.metrics()['dagferry_puller_repairs_total{what="link"}'] == 1


def test_link_and_tree_changed_at_once_are_both_repaired_and_counted(scene: Scene) -> None:
    (scene.pod.root / "current").unlink()
    delete_file(scene.version, scene.outside)
    assert look(scene.running)["repairs"] == {**NO_REPAIRS, "link": 1, "tree": 1}
    assert_whole(scene)


@pytest.mark.parametrize("change", ROOTS)
def test_replaced_directory_of_the_root_is_made_again_by_the_next_look(scene: Scene, change: Change) -> None:
    change(scene.pod.root, scene.outside)
    before = sorted(str(path) for path in scene.outside.rglob("*"))
    status = look(scene.running)
    assert status["ready"]
    assert status["repairs"]["root"] == 1
    assert_live(scene.pod, scene.live)
    assert sorted(str(path) for path in scene.outside.rglob("*")) == before
    assert scene.pod.state()["seen"]["etl/main"]["sequence"] == 1
    assert alarms(scene.running)[0] == "ALARM: the root or a part of it was removed or replaced"
    assert scene.running.metrics()['dagferry_puller_repairs_total{what="root"}'] == 1
    shutil.rmtree(scene.simulator.directory)
    assert scene.pod.once("--offline-ok", root=str(copy_of(scene))).code == 0


def copy_of(scene: Scene) -> Path:
    """Return a copy of the root: nobody owns it."""
    copy = scene.pod.directory / "copy"
    return shutil.copytree(scene.pod.root, copy, symlinks=True)


def forget(root: Path, _: Path) -> None:
    shutil.rmtree(root / ".dagferry")


def go_back_in_time(root: Path, earlier: Path) -> None:
    shutil.rmtree(root / ".dagferry")
    earlier.rename(root / ".dagferry")


@pytest.mark.parametrize("change", [forget, go_back_in_time])
def test_memory_removed_while_running_brings_nothing_old_back(
    pod: Pod, simulator: Simulator, outside: Path, change: Change
) -> None:
    old = simulator.publish(tree("old"), "a")
    assert pod.once().code == 0
    shutil.copytree(pod.root / ".dagferry", outside / "earlier")
    new = simulator.publish(tree(), "b")
    running = run_quietly(pod)
    change(pod.root, outside / "earlier")
    simulator.show(old)
    status = look(running)
    assert status["problem"]["reason"] == "rollback"
    assert status["ready"]
    assert pod.live() == new.version
    assert pod.state()["seen"]["etl/main"]["sequence"] == 2
    assert pod.state()["live"]["version"] == new.version
    running.stop()
    assert pod.once().code == 3
    assert pod.live() == new.version


# What is no tampering, what hides from stat, and what somebody else has to undo


def test_touched_tree_is_read_once_and_kept(scene: Scene) -> None:
    inode = scene.version.stat().st_ino
    for path in scene.version.rglob("*"):
        os.utime(path, (2**34, 2**34), follow_symlinks=False)  # the year 2514
    looks = [look(scene.running) for _ in range(2)]
    assert [status["tree_changes"] for status in looks] == [1, 1]
    assert looks[0]["steps"]["verify"] == looks[1]["steps"]["verify"]
    assert looks[1]["repairs"] == NO_REPAIRS
    assert scene.version.stat().st_ino == inode
    assert not alarms(scene.running)
    newer = scene.simulator.publish(tree("two"), "c")
    assert look(scene.running)["live"]["version"] == newer.version


def test_edit_through_another_name_of_a_file_is_repaired(scene: Scene) -> None:
    os.link(scene.version / DEEP, scene.outside / "alias")
    assert look(scene.running)["repairs"] == NO_REPAIRS
    (scene.outside / "alias").chmod(0o644)
    (scene.outside / "alias").write_text("X = 2\n")
    assert_repaired(look(scene.running), "tree")
    assert_whole(scene)


def test_store_through_an_old_mapping_is_repaired_by_the_periodic_check(pod: Pod, simulator: Simulator) -> None:
    made = simulator.publish(tree(), "a")
    running = pod.run(recheck="1s")
    running.wait_live(made.version)
    path = pod.version(made.version) / DEEP
    path.chmod(0o644)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
        mapping[0:1] = b"X"  # from now on a store changes no time that stat shows
        running.signal(signal.SIGHUP)
        running.wait("the touched file was read", lambda status: status["tree_changes"] >= 1)
        mapping[4:5] = b"2"
        running.wait("repaired", lambda status: status["repairs"]["tree"] == 1 and status["ready"])
    assert_live(pod, made)


@needs_root
def test_directory_mounted_over_the_version_is_told_and_undone_by_an_unmount(scene: Scene) -> None:
    enter_own_namespace()
    scene.running.stop()
    running = run_quietly(scene.pod)
    shutil.copytree(scene.version, scene.outside / "evil", symlinks=True)
    edit_with_size_and_times_kept(scene.outside / "evil", scene.outside)
    mount("--bind", scene.outside / "evil", scene.version)
    status = look(running)
    assert not status["ready"]
    assert status["damaged"]
    assert status["problem"]["outcome"] == "volume-failed"
    assert alarms(running) == ["ALARM: the live tree was changed from outside"]
    unmount(scene.version)
    assert look(running)["ready"]
    assert_whole(scene)


def test_standby_sees_a_changed_tree_too(scene: Scene) -> None:
    standby = scene.pod.run(period="1h")
    standby.wait_live(scene.live.version)
    edit_with_size_and_times_kept(scene.version, scene.outside)
    standby.wait("seen", lambda status: not status["ready"])
    assert alarms(standby) == ["ALARM: the live tree was changed from outside"]
    assert tree_on_disk(scene.version) != scene.live.release.tree
    look(scene.running)
    standby.wait("good again", lambda status: status["ready"])
    assert_whole(scene)


@pytest.mark.parametrize("change", [*CONTENT[:3], replace_by_fifo, add_bytecode, delete_file, *VERSIONS])
def test_change_of_a_version_that_is_not_live_is_found_at_a_rollback_to_it(older_too: Scene, change: Change) -> None:
    assert older_too.older is not None
    change(older_too.pod.version(older_too.older.version), older_too.outside)
    older_too.simulator.again(older_too.older)
    status = look(older_too.running)
    assert status["live"]["version"] == older_too.older.version
    assert status["ready"]
    assert_live(older_too.pod, older_too.older)
    assert not alarms(older_too.running)
    if change not in (VERSIONS[:-1]):  # what is gone is not damaged: it is unpacked again
        assert status["repairs"] == {**NO_REPAIRS, "tree": 1}
        assert any("not as signed" in record["message"] for record in older_too.running.logs("warning"))
