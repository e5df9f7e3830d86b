"""Damage from outside, leftovers of crashes, and a store or a volume that is away."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from support.bundles import Simulator, commit_id, small_tree
from support.pods import Pod
from support.waiting import wait_for


def damage_file(version: Path) -> None:
    path = version / "etl.py"
    path.chmod(0o644)
    path.write_text("VERSION = 'bad'\n")


def delete_file(version: Path) -> None:
    version.chmod(0o755)
    (version / "etl.py").unlink()


def make_executable(version: Path) -> None:
    (version / "etl.py").chmod(0o744)


def replace_by_link(version: Path) -> None:
    delete_file(version)
    (version / "etl.py").symlink_to("/etc/passwd")


def replace_by_fifo(version: Path) -> None:
    delete_file(version)
    os.mkfifo(version / "etl.py")


def add_bytecode(version: Path) -> None:
    (version / "lib").chmod(0o755)
    (version / "lib/__pycache__").mkdir()
    (version / "lib/__pycache__/tables.pyc").write_bytes(b"code")


def add_empty_directory(version: Path) -> None:
    (version / "lib").chmod(0o755)
    (version / "lib/empty").mkdir()


def add_name_that_is_not_utf8(version: Path) -> None:
    version.chmod(0o755)
    (Path(os.fsdecode(os.fsencode(version) + b"/\xff\xfe"))).write_text("x")


def add_much(version: Path) -> None:
    version.chmod(0o755)
    for i in range(50):
        (version / f"more{i}").write_text("x")


DAMAGES = [
    damage_file,
    delete_file,
    make_executable,
    replace_by_link,
    replace_by_fifo,
    add_bytecode,
    add_empty_directory,
    add_name_that_is_not_utf8,
    add_much,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_at_a_restart_and_repaired_beside(pod: Pod, simulator: Simulator, damage: Any) -> None:
    first = simulator.publish(small_tree("one"), "a")
    assert pod.once().code == 0
    version = pod.version(first.version)
    inode = version.stat().st_ino
    damage(version)
    running = pod.run()
    status = running.wait_live(first.version)
    assert status["repairs"]["tree"] == 1
    assert status["tampered"] >= 1
    assert version.stat().st_ino != inode
    assert pod.read("etl.py") == "VERSION = 'one'\n"
    assert pod.versions() == {first.version}


def test_damage_is_repaired_without_a_moment_without_the_version(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    assert pod.once().code == 0
    damage_file(pod.version(first.version))
    blinks: list[OSError] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            try:
                os.stat(pod.root / "current/lib/tables.py")
            except OSError as error:
                blinks.append(error)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        pod.run().wait_live(first.version)
    finally:
        done.set()
        watcher.join()
    assert not blinks


def test_damaged_tree_with_the_store_away_is_kept_and_not_ready(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    assert pod.once().code == 0
    damage_file(pod.version(first.version))
    away = simulator.directory.rename(simulator.directory.with_name("away"))
    running = pod.run()
    running.wait_problem("store-unreachable")
    status = running.status()
    assert not status["ready"]
    assert status["damaged"]
    assert pod.live() == first.version
    away.rename(simulator.directory)
    running.signal(signal.SIGHUP)
    running.wait_live(first.version)


def test_damaged_tree_whose_archive_is_gone_is_cured_by_a_newer_version(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    assert pod.once().code == 0
    damage_file(pod.version(first.version))
    simulator.archive(first).unlink()
    running = pod.run()
    running.wait_problem("not-found")
    second = simulator.publish(small_tree("two"), "b")
    running.signal(signal.SIGHUP)
    assert not running.wait_live(second.version)["damaged"]


def test_new_entry_in_the_live_tree_is_found_while_running(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    running = pod.run()
    running.wait_live(first.version)
    pod.version(first.version).chmod(0o755)
    (pod.version(first.version) / "__pycache__").mkdir()
    running.wait("repaired", lambda s: s["repairs"]["tree"] == 1 and s["ready"])
    assert not (pod.root / "current/__pycache__").exists()
    assert running.metrics()["dagferry_puller_tampered_entries_total"] == 1


def test_edit_deep_in_the_live_tree_is_found_while_running(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    running = pod.run()
    running.wait_live(first.version)
    path = pod.version(first.version) / "lib/tables.py"
    path.chmod(0o644)
    path.write_text("TABLES = 4\n")
    running.wait("repaired", lambda s: s["repairs"]["tree"] == 1 and s["ready"])
    assert pod.read("lib/tables.py") == "TABLES = 3\n"


def test_version_directory_that_vanished_while_running_is_made_again(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    running = pod.run()
    running.wait_live(first.version)
    pod.version(first.version).rename(pod.directory / "stolen")
    running.wait("made again", lambda s: s["ready"] and pod.version(first.version).is_dir())
    assert pod.read("etl.py") == "VERSION = 'one'\n"


def link_deleted(link: Path) -> None:
    link.unlink()


def link_replaced_by_directory(link: Path) -> None:
    link.unlink()
    (link / "sub").mkdir(parents=True)
    (link / "sub/file").write_text("x")


def link_replaced_by_file(link: Path) -> None:
    link.unlink()
    link.write_text("x")


def link_replaced_by_foreign_link(link: Path) -> None:
    link.unlink()
    link.symlink_to("/etc")


def link_made_absolute(link: Path) -> None:
    target = link.resolve()
    link.unlink()
    link.symlink_to(target)


LINKS = [
    link_made_absolute,
    link_deleted,
    link_replaced_by_directory,
    link_replaced_by_file,
    link_replaced_by_foreign_link,
]


@pytest.mark.parametrize("change", LINKS)
def test_link_changed_while_running_is_repaired(pod: Pod, simulator: Simulator, change: Any) -> None:
    first = simulator.publish(small_tree("one"), "a")
    running = pod.run()
    running.wait_live(first.version)
    change(pod.root / "current")
    running.wait("repaired", lambda s: s["repairs"]["link"] == 1 and s["ready"])
    assert pod.live() == first.version
    assert {p.name for p in pod.root.iterdir()} == {"current", "versions", ".dagferry"}
    assert any("ALARM" in record["message"] for record in running.logs("error"))


@pytest.mark.parametrize("change", LINKS)
def test_link_changed_while_nothing_ran_is_repaired_offline(pod: Pod, simulator: Simulator, change: Any) -> None:
    first = simulator.publish(small_tree("one"), "a")
    assert pod.once().code == 0
    change(pod.root / "current")
    simulator.directory.rename(simulator.directory.with_name("away"))
    running = pod.run()
    running.wait("repaired", lambda s: s["ready"])
    assert pod.live() == first.version


def test_leftovers_of_ours_are_removed_and_nothing_else(pod: Pod, simulator: Simulator) -> None:
    simulator.publish(small_tree("one"), "a")
    assert pod.once().code == 0
    name, meta = "0123456789abcdef01234567", pod.root / ".dagferry"
    ours = [
        pod.root / "versions" / f".tmp-{name}",
        pod.root / "versions" / f".retired-{name}",
        meta / f".tmp-{name}",
        meta / "envelopes" / f".tmp-{name}",
        pod.root / f".tmp-{name}",
    ]
    for path in ours[:2]:
        (path / "sub").mkdir(parents=True)
        (path / "sub/file").write_text("x")
        (path / "sub").chmod(0o555)
        path.chmod(0o555)
    for path in ours[2:4]:
        path.write_text("x")
    ours[4].symlink_to("versions/nothing")
    lease = meta / "leases" / f"{commit_id('x')}-{'0' * 64}"
    lease.touch()
    theirs = [pod.root / "lost+found", pod.root / "versions/notes", pod.root / ".tmp-mine"]
    for path in theirs:
        path.mkdir()
    assert pod.once().code == 0
    assert not [p for p in [*ours, lease] if p.is_symlink() or p.exists()]
    assert all(p.is_dir() for p in theirs)


def test_tree_of_a_crash_before_the_link_is_used_without_a_download(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    assert pod.once().code == 0
    (pod.root / "current").unlink()
    shutil.rmtree(pod.root / ".dagferry")
    simulator.archive(first).unlink()
    assert pod.once().code == 0
    assert pod.live() == first.version


def test_good_tree_is_ready_with_the_store_away(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    assert pod.once().code == 0
    simulator.directory.rename(simulator.directory.with_name("away"))
    running = pod.run()
    running.wait_problem("store-unreachable")
    status = running.status()
    assert status["ready"]
    assert (status["live"]["version"], status["live"]["sequence"]) == (first.version, 1)
    assert running.request("/healthz").status == 200


def test_cold_pod_is_not_ready_while_the_store_is_away_and_recovers(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    away = simulator.directory.rename(simulator.directory.with_name("away"))
    running = pod.run()
    running.wait_problem("store-unreachable")
    assert not running.ready()
    away.rename(simulator.directory)
    running.signal(signal.SIGHUP)
    running.wait_live(first.version)
    assert running.status()["problem"] is None


def test_once_with_the_store_away_ends_with_its_code(pod: Pod, simulator: Simulator) -> None:
    simulator.publish(small_tree("one"), "a")
    away = simulator.directory.rename(simulator.directory.with_name("away"))
    assert pod.once(timeout="2s").code == 7
    away.rename(simulator.directory)
    assert pod.once().code == 0
    simulator.directory.rename(away)
    assert pod.once(timeout="2s").code == 7
    result = pod.once("--offline-ok", timeout="10s")
    assert result.code == 0
    assert "is kept" in result.stderr


def test_damaged_memory_is_rebuilt_from_the_stored_pointer(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    second = simulator.publish(small_tree("two"), "b")
    assert pod.once().code == 0
    (pod.root / ".dagferry/state.json").write_text('{"format":1,')
    simulator.show(first)
    running = pod.run()
    running.wait_problem("rollback")
    assert running.status()["repairs"]["state"] == 1
    assert pod.live() == second.version
    assert pod.state()["seen"]["etl/main"]["sequence"] == 2


def test_lost_memory_stops_pointers_until_a_person_decides(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    assert pod.once().code == 0
    meta = pod.root / ".dagferry"
    (meta / "state.json").write_text("{}")
    (meta / "envelopes/pointer+etl+main.json").write_text("{}")
    simulator.publish(small_tree("two"), "b")
    running = pod.run()
    status = running.wait_problem("malformed")
    assert f"rm {meta}/state.json" in status["problem"]["detail"]
    assert running.ready()
    assert pod.live() == first.version
    (meta / "state.json").unlink()
    running.wait("goes on", lambda s: s["live"]["commit"] == commit_id("b"))


def test_root_that_vanished_while_running_is_made_again(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    running = pod.run()
    running.wait_live(first.version)
    pod.root.rename(pod.directory / "stolen")
    wait_for(lambda: pod.live() == first.version, "a new root")
    running.wait_live(first.version)
    assert running.stop() == 0


def test_root_that_cannot_be_made_again_is_told_and_the_process_stays(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    running = pod.run()
    running.wait_live(first.version)
    pod.root.rename(pod.directory / "stolen")
    pod.root.write_text("in the way")
    running.wait_problem("volume-failed")
    assert not running.ready()
    pod.root.unlink()
    running.signal(signal.SIGHUP)
    running.wait_live(first.version)


def test_pinned_version_that_was_damaged_is_repaired(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    assert pod.once(pin=first.version).code == 0
    damage_file(pod.version(first.version))
    assert pod.once(pin=first.version).code == 0
    assert pod.read("etl.py") == "VERSION = 'one'\n"


def test_versions_are_counted_offline_too(pod: Pod, simulator: Simulator) -> None:
    simulator.publish(small_tree("one"), "a")
    assert pod.once().code == 0
    simulator.directory.rename(simulator.directory.with_name("away"))
    running = pod.run()
    running.wait_problem("store-unreachable")
    assert running.status()["versions"] == 1
