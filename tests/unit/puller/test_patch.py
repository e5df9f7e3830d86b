"""Versions made from the live one: what is shared, what never is, and when the whole archive is taken instead."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_puller.backoff import BackedOff
from dagferry_puller.status import Outcome
from dagferry_shared.errors import Reason, Refused
from support import deltas
from support.attacker import Target, up_to_archive, up_to_release
from support.bundles import File, Symlink, small_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.bundles import Published

ONE = small_tree("one") | {"big.py": "x = 1\n" * 500}
TWO = ONE | {"etl.py": "VERSION = 'two'\n", "lib/new.py": "n = 1\n"}
CHANGED = {"etl.py", "lib/new.py"}
FILES = [path for path, value in TWO.items() if not isinstance(value, Symlink)]


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Target]:
    made = Target(tmp_path, no_fsync="true")
    made.accepts(made.simulator.publish(ONE, "one"))
    yield made
    made.close()


def update(target: Target, base: dict[str, Any] = ONE, tree: dict[str, Any] = TWO, **more: Any) -> Published:
    return deltas.publish(target.simulator, base, tree, more.pop("word", "two"), **more)


def by_delta(published: Published, *more: str) -> list[str]:
    deltas_named = [f"archive {delta.sha256}" for delta in published.release.archive.deltas]
    return [*up_to_release(published), *deltas_named, *more]


def sync(target: Target) -> list[str]:
    target.requests()
    assert target.puller.sync() is Outcome.SWAPPED
    return target.requests()


def stat(target: Target, published: Published, path: str) -> os.stat_result:
    return os.lstat(target.path / "versions" / published.version / path)


def shared(target: Target, one: Published, other: Published) -> set[str]:
    """Return the files that two versions share."""
    return {
        path
        for path in FILES
        if os.path.lexists(target.path / "versions" / one.version / path)
        and os.path.samestat(stat(target, one, path), stat(target, other, path))
    }


def patches(target: Target) -> dict[str, int]:
    return {result: count for result, count in target.recorder.snapshot().patches.items() if count}


def settled(target: Target, published: Published) -> None:
    """Demand that this is live as signed, and that the next look finds nothing to read again."""
    sight = target.look()
    assert (sight.link, sight.tree) == (f"versions/{published.version}", published.release.tree)
    target.keeps(published)
    assert target.recorder.snapshot().tree_changes == 0
    target.assert_tidy()


def test_update_fetches_the_delta_alone_and_shares_what_did_not_change(pod: Target) -> None:
    first = pod.last
    second = update(pod)
    assert sync(pod) == by_delta(second)
    settled(pod, second)
    assert patches(pod) == {"made": 1}
    assert shared(pod, first, second) == set(FILES) - CHANGED
    for path in FILES:
        info = stat(pod, second, path)
        assert info.st_nlink == (1 if path in CHANGED else 2)
        assert info.st_mode & 0o7777 == (0o555 if path == "run.sh" else 0o444)
        if path not in CHANGED:
            assert info.st_mtime_ns == stat(pod, first, path).st_mtime_ns
    stamp = stat(pod, second, "etl.py").st_mtime
    assert stamp == stat(pod, second, "lib/new.py").st_mtime == stat(pod, second, "lib").st_mtime
    assert stamp > stat(pod, first, "etl.py").st_mtime
    assert stat(pod, second, "same.py").st_mtime_ns == stat(pod, first, "same.py").st_mtime_ns
    assert stat(pod, second, "lib").st_mode & 0o7777 == 0o555


def test_same_tree_needs_nothing_from_the_store(pod: Target) -> None:
    first = pod.last
    second = pod.simulator.publish(ONE, "two")
    assert sync(pod) == up_to_release(second)
    settled(pod, second)
    assert patches(pod) == {"made": 1}
    assert len(shared(pod, first, second)) == len(FILES) - 1  # lib/new.py is in neither


def test_long_line_of_updates_is_never_read_again_for_links_that_come_and_go(tmp_path: Path) -> None:
    target = Target(tmp_path, no_fsync="true", keep="2", keep_hours="0")
    target.accepts(target.simulator.publish(ONE, "0"))
    tree = ONE
    for number in range(1, 6):
        old, tree = tree, tree | {"etl.py": f"VERSION = {number}\n"}
        published = update(target, old, tree, word=str(number))
        sync(target)
        settled(target, published)
        assert len(os.listdir(target.path / "versions")) == 2
        assert stat(target, published, "big.py").st_nlink == 2
    assert patches(target) == {"made": 5}
    target.close()


def test_with_new_times_for_all_nothing_is_shared(tmp_path: Path) -> None:
    target = Target(tmp_path, no_fsync="true", touch="all")
    first = target.simulator.publish(ONE, "one")
    target.accepts(first)
    second = update(target)
    assert sync(target) == by_delta(second)
    settled(target, second)
    assert shared(target, first, second) == set()
    assert {stat(target, second, path).st_mtime for path in FILES} == {stat(target, second, ".").st_mtime}
    target.close()


def test_copies_are_made_where_links_are_not_wanted(pod: Target) -> None:
    first = pod.last
    pod.start(reuse="copy")
    second = update(pod)
    assert sync(pod) == by_delta(second)
    settled(pod, second)
    assert shared(pod, first, second) == set()
    assert stat(pod, second, "big.py").st_mtime_ns == stat(pod, first, "big.py").st_mtime_ns


@pytest.mark.parametrize("why", ["not wanted", "none is named", "none is from what is live"])
def test_whole_archive_is_taken_where_there_is_nothing_to_patch_with(pod: Target, why: str) -> None:
    first = pod.last
    if why == "not wanted":
        pod.start(reuse="none")
    if why == "none is named":
        second = pod.simulator.publish(TWO, "two")
    else:
        second = update(pod, base=ONE if why == "not wanted" else TWO)
    assert sync(pod) == up_to_archive(second)
    settled(pod, second)
    assert patches(pod) == {}
    assert shared(pod, first, second) == set()


def test_delta_that_is_missing_costs_a_request(pod: Target) -> None:
    second = update(pod, stored=lambda _: None)
    assert sync(pod) == by_delta(second, up_to_archive(second)[-1])
    settled(pod, second)
    assert patches(pod) == {"unavailable": 1}
    assert pod.recorder.snapshot().refusals == {}


def test_first_sync_takes_the_whole_archive(tmp_path: Path) -> None:
    target = Target(tmp_path, no_fsync="true")
    published = update(target)
    assert sync(target) == up_to_archive(published)
    target.close()


def test_new_process_patches_what_it_finds_live(pod: Target) -> None:
    pod.start()
    second = update(pod)
    assert sync(pod) == by_delta(second)
    settled(pod, second)


def rewrite(path: str) -> None:
    """Change a file so that only its ctime shows it."""
    info, data = os.stat(path), Path(path).read_bytes()
    os.chmod(path, 0o644)
    Path(path).write_bytes(b"y" + data[1:])
    os.chmod(path, 0o444)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


class Meddling:
    """A store at whose delta somebody does something to the volume."""

    def __init__(self, target: Target, digest: str, act: Callable[[], object]) -> None:
        self._inner = target.store
        self._digest = digest
        self._act = act

    def get(self, key: str, **named: Any) -> Any:
        return self._inner.get(key, **named)

    def stream(self, key: str, *, limit: int) -> Any:
        if self._digest in key:
            self._act()
        return self._inner.stream(key, limit=limit)


def meddle(target: Target, published: Published, act: Callable[[], object]) -> None:
    target.serve(Meddling(target, published.release.archive.deltas[0].sha256, act))


def test_file_that_is_tampered_with_after_the_look_is_never_taken_over(pod: Target) -> None:
    live, second = pod.path / "current", update(pod)
    meddle(pod, second, lambda: rewrite(str(live / "big.py")))
    assert sync(pod) == by_delta(second, up_to_archive(second)[-1])
    settled(pod, second)
    assert patches(pod) == {"refused": 1}
    assert pod.recorder.snapshot().refusals == {Reason.WRONG_TREE: 1}


def test_file_of_the_prefix_that_is_tampered_with_is_noticed(pod: Target) -> None:
    live = pod.path / "current"
    second = update(pod, tree=ONE | {"big.py": "x = 1\n" * 501})
    meddle(pod, second, lambda: rewrite(str(live / "big.py")))
    assert sync(pod) == by_delta(second, up_to_archive(second)[-1])
    settled(pod, second)
    assert pod.recorder.snapshot().refusals == {Reason.WRONG_TREE: 1}


REPLACED: dict[str, Callable[[Path], object]] = {
    "a file by a link": lambda top: ((top / "big.py").unlink(), (top / "big.py").symlink_to("etl.py")),
    "a file by a directory": lambda top: ((top / "big.py").unlink(), (top / "big.py").mkdir()),
    "a file by a pipe": lambda top: ((top / "big.py").unlink(), os.mkfifo(top / "big.py")),
    "a file by nothing": lambda top: (top / "big.py").unlink(),
    "a link by a file": lambda top: ((top / "same.py").unlink(), (top / "same.py").write_text("x")),
    "a link by another": lambda top: ((top / "same.py").unlink(), (top / "same.py").symlink_to("/etc/passwd")),
    "a directory by a link": lambda top: ((top / "lib").rename(top / "bil"), (top / "lib").symlink_to("bil")),
}


@pytest.mark.parametrize("name", REPLACED)
def test_entry_that_is_replaced_after_the_look_is_never_taken_over(pod: Target, name: str) -> None:
    second = update(pod)

    def act() -> None:
        top = pod.path / "current"
        top.resolve().chmod(0o755)
        REPLACED[name](top)

    meddle(pod, second, act)
    assert sync(pod) == by_delta(second, up_to_archive(second)[-1])
    sight = pod.look()
    assert (sight.link, sight.tree) == (f"versions/{second.version}", second.release.tree)
    assert sum(patches(pod).values()) == 1
    assert "made" not in patches(pod)


HARMLESS: dict[str, Callable[[Path], object]] = {
    "touched": lambda path: os.utime(path, (1, 1)),
    "of a changed mode": lambda path: path.chmod(0o464),
    "of another owner": lambda path: os.chown(path, 12345, -1),
    "linked elsewhere": lambda path: os.link(path, path.parents[3] / "elsewhere"),
    "written anew": lambda path: (path.write_bytes(path.read_bytes()), path.chmod(0o444)),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_file_in_doubt_is_copied(pod: Target, name: str) -> None:
    first, second = pod.last, update(pod)
    meddle(pod, second, lambda: HARMLESS[name]((pod.path / "current").resolve() / "big.py"))
    assert sync(pod) == by_delta(second)
    assert patches(pod) == {"made": 1}
    assert "big.py" not in shared(pod, first, second)
    info = stat(pod, second, "big.py")
    assert (info.st_mode & 0o7777, info.st_uid, info.st_nlink) == (0o444, os.geteuid(), 1)
    settled(pod, second)


def failing(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def link(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", link)


@pytest.mark.parametrize("name", ["EXDEV", "EMLINK", "EPERM", "EACCES", "EOPNOTSUPP", "ENOSYS"])
def test_volume_without_hard_links_gets_copies(pod: Target, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    first, second = pod.last, update(pod)
    failing(monkeypatch, getattr(errno, name))
    assert sync(pod) == by_delta(second)
    settled(pod, second)
    assert patches(pod) == {"made": 1}
    assert shared(pod, first, second) == set()


def test_volume_that_fails_at_a_link_gets_the_whole_archive(pod: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    second = update(pod)
    failing(monkeypatch, errno.EIO)
    assert sync(pod) == by_delta(second, up_to_archive(second)[-1])
    settled(pod, second)
    assert patches(pod) == {"failed": 1}


def test_file_that_changes_while_it_is_linked_is_refused(pod: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    second, real = update(pod), os.link

    def link(name: str, other: str, *, src_dir_fd: int, **named: Any) -> None:
        real(name, other, src_dir_fd=src_dir_fd, **named)
        if name == "big.py":
            Path(os.readlink(f"/proc/self/fd/{src_dir_fd}"), name).write_text("more than before\n" * 999)

    monkeypatch.setattr(os, "link", link)
    assert sync(pod) == by_delta(second, up_to_archive(second)[-1])
    assert pod.look().tree == second.release.tree
    assert pod.recorder.snapshot().refusals == {Reason.WRONG_TREE: 1}


def test_failing_check_leaves_the_live_version_as_it_was_known(tmp_path: Path) -> None:
    target = Target(tmp_path, no_fsync="true", check_command="sh -c 'grep -q one $0/etl.py'")
    first = target.simulator.publish(ONE, "one")
    target.accepts(first)
    update(target)
    with pytest.raises(Refused) as caught:
        target.puller.sync()
    assert caught.value.reason is Reason.CHECK_FAILED
    with pytest.raises(BackedOff):
        target.puller.sync()
    assert target.recorder.snapshot().tree_changes == 0
    assert target.look().tree == first.release.tree
    assert stat(target, first, "big.py").st_nlink == 1
    target.assert_tidy()
    target.close()


def test_shared_file_that_a_check_touches_makes_the_next_look_a_whole_one(tmp_path: Path) -> None:
    target = Target(tmp_path, no_fsync="true", check_command="sh -c 'touch -d @7 $0/big.py'")
    target.accepts(target.simulator.publish(ONE, "one"))
    second = update(target)
    sync(target)
    assert target.puller.keeper.base() is None  # not until it was read
    assert target.puller.sync() is Outcome.UNCHANGED
    assert target.puller.keeper.base() is not None
    assert target.look().tree == second.release.tree
    target.close()


def test_rollback_stamps_no_file_of_another_version(pod: Target) -> None:
    first = pod.last
    second = update(pod, tree=ONE | {"lib/tables.py": "TABLES = 4\n"})
    sync(pod)
    two = ONE | {"lib/tables.py": "TABLES = 4\n"}
    update(pod, base=two, tree=two | {"etl.py": "VERSION = 'three'\n"}, word="three")
    sync(pod)
    assert "etl.py" in shared(pod, first, second)
    before = {path: stat(pod, second, path).st_mtime_ns for path in FILES if path != "lib/new.py"}
    back = pod.simulator.again(first)
    pod.accepts(back)
    settled(pod, back)
    assert {path: stat(pod, second, path).st_mtime_ns for path in before} == before
    assert stat(pod, first, "etl.py").st_mtime == stat(pod, first, ".").st_mtime
    assert "etl.py" not in shared(pod, first, second)
    assert "big.py" in shared(pod, first, second)
    assert stat(pod, first, ".").st_mode & 0o7777 == 0o555


@pytest.mark.parametrize("year", [2**33, 2**34 - 2])  # seconds: 2242, and later than 64 bits of nanoseconds can say
def test_file_from_the_future_is_copied_to_get_an_earlier_time(pod: Target, year: int) -> None:
    first = pod.last
    os.utime(pod.path / "current/big.py", (year, year))
    pod.puller.keeper.look_at_all()
    future = stat(pod, first, "big.py").st_mtime
    pod.keeps(first)
    second = update(pod)
    assert sync(pod) == by_delta(second)
    assert stat(pod, second, "big.py").st_mtime == stat(pod, second, ".").st_mtime
    assert stat(pod, first, "big.py").st_mtime == future
    pod.keeps(second)


def test_tampering_through_an_old_version_is_found_in_all_that_share_the_file(pod: Target) -> None:
    first, second = pod.last, update(pod)
    sync(pod)
    rewrite(str(pod.path / "versions" / first.version / "big.py"))
    pod.puller.keeper.look_at_all()
    assert pod.puller.sync() is Outcome.UNCHANGED
    assert pod.look().tree == second.release.tree  # repaired
    assert pod.recorder.snapshot().tampered == 1
    pod.accepts(pod.simulator.again(first))
    assert pod.recorder.snapshot().tampered == 2


def test_edit_whose_turn_has_not_come_does_not_hide_behind_the_removal_of_an_old_version(tmp_path: Path) -> None:
    target = Target(tmp_path, no_fsync="true", keep="1", keep_hours="1")
    target.accepts(target.simulator.publish(ONE, "one"))
    first, second = target.last, update(target)
    sync(target)
    third = update(target, TWO, TWO | {"etl.py": "VERSION = 'three'\n"}, word="three")
    sync(target)
    assert "big.py" in shared(target, first, third)
    left = target.volume.state.left
    target.volume.update(left=left | {first.version: left[first.version] - 3600})
    target.puller._retired_at = float("-inf")
    rewrite(str(target.path / "current/big.py"))
    for _ in range(3):
        target.puller.sync()
    sight = target.look()
    assert sight.versions == {second.version, third.version}
    assert sight.tree == third.release.tree  # repaired
    assert target.recorder.snapshot().tampered == 1
    target.close()


@pytest.mark.parametrize("told", [{"size": 2**31 + 1}, {"unpacked_size": 2**31 + 1}], ids=str)
def test_delta_above_the_cap_is_not_fetched(pod: Target, told: dict[str, int]) -> None:
    second = update(pod, **told)
    assert sync(pod) == up_to_archive(second)
    assert pod.recorder.snapshot().refusals == {Reason.TOO_LARGE: 1}


def test_refused_delta_is_left_alone_for_a_while(tmp_path: Path) -> None:
    target = Target(tmp_path, no_fsync="true", check_command="sh -c '! test -e $0/lib/new.py'")
    target.accepts(target.simulator.publish(ONE, "one"))
    second = update(target, delta=deltas.make(ONE, ONE))
    with pytest.raises(Refused):
        target.puller.sync()
    assert target.recorder.snapshot().refusals[Reason.BAD_ARCHIVE] == 1
    target.requests()
    target.puller._activator._backoff.succeeded(second.release.archive.sha256)  # the archive may be tried again
    with pytest.raises(Refused):
        target.puller.sync()
    assert f"archive {second.release.archive.deltas[0].sha256}" not in target.requests()
    assert patches(target) == {"refused": 1, "unavailable": 1}
    target.close()


def test_executable_bit_alone_makes_a_new_file(pod: Target) -> None:
    first = pod.last
    second = update(pod, tree=ONE | {"big.py": File(b"x = 1\n" * 500, executable=True)})
    assert sync(pod) == by_delta(second)
    settled(pod, second)
    assert "big.py" not in shared(pod, first, second)


def test_version_that_is_only_fetched_shares_files_and_leaves_what_is_live_alone(pod: Target) -> None:
    first, second = pod.last, update(pod)
    before = pod.look()
    assert pod.puller.fetch(second.version) is Outcome.UNCHANGED
    assert patches(pod) == {"made": 1}
    after = pod.look()
    assert (after.link, after.tree, after.entries) == (before.link, before.tree, before.entries)
    assert "big.py" in shared(pod, first, second)
    assert pod.puller.keeper.base() is not None
    pod.requests()
    assert pod.puller.sync() is Outcome.SWAPPED
    assert pod.requests() == ["pointer"]
    settled(pod, second)
