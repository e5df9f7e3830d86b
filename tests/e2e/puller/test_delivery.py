"""What a puller delivers: first sync, update, rollback, pinned and historic versions, and what it keeps."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from dagferry_puller.leases import lease
from dagferry_shared.gittree import tree_id
from support.bundles import REPOSITORY, File, Simulator, commit_id, small_tree
from support.pods import Pod


def test_once_makes_the_first_version_live(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    result = pod.once()
    assert (result.code, pod.live()) == (0, first.version)
    assert pod.read("etl.py") == "VERSION = 'one'\n"
    assert os.readlink(pod.root / "current") == f"versions/{first.version}"


def test_tree_on_disk_is_read_only_and_exactly_what_was_signed(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    assert pod.once().code == 0
    modes = {
        p.relative_to(pod.version(first.version)).as_posix(): stat.S_IMODE(p.lstat().st_mode)
        for p in pod.version(first.version).rglob("*")
    }
    assert modes["etl.py"] == 0o444
    assert modes["run.sh"] == 0o555
    assert modes["lib"] == 0o555
    assert (pod.root / "current" / "same.py").read_text() == "TABLES = 3\n"
    assert tree_id({}) != first.release.tree


def test_run_follows_publishes_and_shows_them(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    running = pod.run()
    running.wait_live(first.version)
    second = simulator.publish(small_tree("two"), "b")
    status = running.wait_live(second.version)
    assert pod.read("etl.py") == "VERSION = 'two'\n"
    assert (status["live"]["sequence"], status["live"]["repository"]) == (2, REPOSITORY)
    assert status["publish_to_live_seconds"] is not None
    assert running.stop() == 0


def test_rollback_to_a_kept_version_downloads_nothing(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    running = pod.run()
    running.wait_live(first.version)
    second = simulator.publish(small_tree("two"), "b")
    running.wait_live(second.version)
    simulator.archive(first).unlink()
    simulator.path(simulator.layout.release(first.pointer.release)).unlink()
    back = simulator.again(first)
    status = running.wait_live(first.version)
    assert pod.read("etl.py") == "VERSION = 'one'\n"
    assert status["live"]["sequence"] == back.pointer.sequence


def test_refresh_of_the_live_release_changes_no_file(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    running = pod.run()
    running.wait_live(first.version)
    before = (pod.root / "current").lstat().st_ino
    simulator.again(first)
    running.wait("refreshed", lambda s: s["live"]["sequence"] == 2)
    assert (pod.root / "current").lstat().st_ino == before


def test_swap_stamps_directories_and_changed_files_and_nothing_else(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    assert pod.once().code == 0
    second = simulator.publish(small_tree("two"), "b")
    assert pod.once().code == 0
    old, new = pod.version(first.version), pod.version(second.version)
    assert (new / "lib/tables.py").stat().st_mtime_ns == (old / "lib/tables.py").stat().st_mtime_ns
    assert (new / "same.py").lstat().st_mtime_ns == (old / "same.py").lstat().st_mtime_ns
    assert (new / "etl.py").stat().st_mtime > (old / "etl.py").stat().st_mtime
    assert (new / "lib").stat().st_mtime > (old / "lib").stat().st_mtime
    simulator.again(first)
    assert pod.once().code == 0
    assert pod.live() == first.version
    assert (old / "etl.py").stat().st_mtime > (new / "etl.py").stat().st_mtime
    assert (old / "lib").stat().st_mtime > (new / "lib").stat().st_mtime
    assert (old / "lib/tables.py").stat().st_mtime_ns == (new / "lib/tables.py").stat().st_mtime_ns
    assert all(p.lstat().st_mtime_ns % 10**9 == 0 for p in old.rglob("*"))


def test_touch_all_stamps_every_file(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    assert pod.once().code == 0
    second = simulator.publish(small_tree("two"), "b")
    assert pod.once(touch="all").code == 0
    old, new = pod.version(first.version), pod.version(second.version)
    assert (new / "lib/tables.py").stat().st_mtime > (old / "lib/tables.py").stat().st_mtime


def test_stamps_go_on_from_the_volume_when_the_memory_is_lost(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    assert pod.once().code == 0
    future = 4_000_000_000
    os.utime(pod.version(first.version), (future, future))
    (pod.root / ".dagferry/state.json").unlink()
    second = simulator.publish(small_tree("two"), "b")
    assert pod.once().code == 0
    assert pod.version(second.version).stat().st_mtime == future + 1


def test_pin_needs_no_pointer_and_remembers_none(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    simulator.publish(small_tree("two"), "b")
    simulator.path(simulator.layout.pointer("main")).unlink()
    result = pod.once(pin=first.version)
    assert (result.code, pod.live()) == (0, first.version)
    assert pod.state()["seen"] == {}
    assert pod.once(pin=first.version).code == 0


def test_pinned_version_that_is_live_needs_no_store(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    assert pod.once(pin=first.version).code == 0
    simulator.directory.rename(simulator.directory.with_name("away"))
    assert pod.once(pin=first.version).code == 0


def test_pin_of_a_revoked_release_is_refused(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    simulator.write_trust(pod.trust, revoked=[first.pointer.release])
    result = pod.once(pin=first.version)
    assert (result.code, pod.live()) == (3, None)
    assert "revoked" in result.stderr


def test_pin_of_a_release_that_is_not_there_is_not_found(pod: Pod, simulator: Simulator) -> None:
    simulator.publish(small_tree("one"), "a")
    assert pod.once(pin=f"{commit_id('a')}-{'0' * 64}").code == 8


def test_commit_is_found_in_the_verified_history(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    for word in "bcd":
        simulator.publish(small_tree(word), word)
    result = pod.once(commit=commit_id("a"))
    assert (result.code, pod.live()) == (0, first.version)
    assert pod.state()["seen"]["etl/main"]["sequence"] == 4


def test_commit_that_was_never_deployed_is_not_found(pod: Pod, simulator: Simulator) -> None:
    simulator.publish(small_tree("one"), "a")
    simulator.publish(small_tree("two"), "b")
    result = pod.once(commit=commit_id("never"))
    assert (result.code, pod.live()) == (8, None)
    assert "history" in result.stderr


def test_commit_behind_a_forged_history_entry_is_refused(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    simulator.publish(small_tree("two"), "b")
    other = simulator.make_pointer(
        first.release, first.pointer.release, sequence=1, previous=None, reason="another one"
    )
    simulator.put(simulator.layout.history_entry("main", 1, 1), simulator.sign_pointer(other))
    result = pod.once(commit=commit_id("a"))
    assert (result.code, pod.live()) == (3, None)
    assert "broken-chain" in result.stderr


def test_commit_below_the_floor_is_refused(pod: Pod, simulator: Simulator) -> None:
    simulator.publish(small_tree("one"), "a")
    simulator.publish(small_tree("two"), "b")
    simulator.write_trust(pod.trust, floor=2)
    result = pod.once(commit=commit_id("a"))
    assert (result.code, pod.live()) == (3, None)
    assert "below-floor" in result.stderr


def test_old_versions_go_and_current_and_previous_stay(pod: Pod, simulator: Simulator) -> None:
    made = []
    for word in "abcde":
        made.append(simulator.publish(small_tree(word), word))
        assert pod.once(keep="2", keep_hours="0").code == 0
    assert pod.versions() == {made[-1].version, made[-2].version}
    assert {p.name for p in (pod.root / ".dagferry/leases").iterdir()} == pod.versions()
    kept = {p.name for p in (pod.root / ".dagferry/envelopes").iterdir()}
    assert kept == {f"{m.pointer.release}.json" for m in made[-2:]} | {"pointer+etl+main.json"}


def test_versions_stay_for_their_grace_time(pod: Pod, simulator: Simulator) -> None:
    for word in "abcde":
        simulator.publish(small_tree(word), word)
        assert pod.once(keep="1", keep_hours="1").code == 0
    assert len(pod.versions()) == 5


def test_leased_version_survives_until_the_lease_ends(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("a"), "a")
    assert pod.once(keep="1", keep_hours="0").code == 0
    with lease(str(pod.root)) as held:
        assert held.version == first.version
        for word in "bcd":
            simulator.publish(small_tree(word), word)
            assert pod.once(keep="1", keep_hours="0").code == 0
        assert (Path(held.path) / "etl.py").read_text() == "VERSION = 'a'\n"
    simulator.publish(small_tree("e"), "e")
    assert pod.once(keep="1", keep_hours="0").code == 0
    assert first.version not in pod.versions()


def test_link_may_lie_deeper_and_stays_relative(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    assert pod.once(link="dags/prod/live").code == 0
    assert os.readlink(pod.root / "dags/prod/live") == f"../../versions/{first.version}"
    assert (pod.root / "dags/prod/live/etl.py").is_file()


def test_root_may_be_reached_through_a_link(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    (pod.directory / "real").mkdir()
    (pod.directory / "alias").symlink_to("real")
    assert pod.once(root=str(pod.directory / "alias")).code == 0
    assert os.path.basename(os.readlink(pod.directory / "real/current")) == first.version


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_modes_do_not_depend_on_the_umask(pod: Pod, simulator: Simulator, umask: int) -> None:
    first = simulator.publish(small_tree("one"), "a")
    previous = os.umask(umask)
    try:
        assert pod.once().code == 0
    finally:
        os.umask(previous)
    for place in (".dagferry", ".dagferry/leases", "versions"):
        assert stat.S_IMODE((pod.root / place).stat().st_mode) == 0o755
    assert stat.S_IMODE(pod.version(first.version).stat().st_mode) == 0o555


def test_many_files_deep_directories_and_long_names_arrive(pod: Pod, simulator: Simulator) -> None:
    tree = {f"d{i % 7}/{'n' * 120}/{i:04}.py": File(str(i).encode(), executable=i % 2 == 0) for i in range(300)}
    made = simulator.publish(tree, "a")
    assert pod.once().code == 0
    assert pod.live() == made.version
    assert sum(1 for p in pod.version(made.version).rglob("*") if p.is_file()) == 300


def test_pinned_versions_are_retired_too(pod: Pod, simulator: Simulator) -> None:
    made = [simulator.publish(small_tree(word), word) for word in "abcd"]
    for one in made:
        assert pod.once(pin=one.version, keep="1", keep_hours="0").code == 0
    assert pod.versions() == {made[-1].version, made[-2].version}


def test_pinned_version_without_a_link_lies_beside_the_live_one(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    second = simulator.publish(small_tree("two"), "b")
    assert pod.once().code == 0
    assert pod.once("--no-link", pin=first.version).code == 0
    assert pod.live() == second.version
    assert pod.versions() == {first.version, second.version}
    assert pod.once("--no-link", pin=f"{'0' * 40}-{'1' * 64}").code == 8
    assert pod.live() == second.version


def test_pinned_version_is_not_answered_offline_by_another_one(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    second = simulator.publish(small_tree("two"), "b")
    assert pod.once().code == 0
    away = simulator.directory.rename(simulator.directory.with_name("away"))
    assert pod.once("--offline-ok", pin=first.version, timeout="1s").code == 7
    away.rename(simulator.directory)
    assert pod.live() == second.version


def test_once_can_leave_trying_again_to_its_caller(pod: Pod, simulator: Simulator) -> None:
    shutil.rmtree(simulator.directory)
    assert pod.once("--no-retry", timeout="10m").code == 7  # pod.once itself gives up after a minute
