"""One pull in this process: exactly what it fetches, in which order it makes things durable."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_puller import state
from dagferry_puller.status import Outcome
from dagferry_shared.errors import Reason, Refused
from support.attacker import Target
from support.bundles import ago, small_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POINTER = "channels/main/pointer.json"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Target]:
    made = Target(tmp_path)
    yield made
    made.close()


def keys(published: Any) -> tuple[str, str]:
    return (
        f"get releases/{published.pointer.release}.json",
        f"stream archives/{published.release.archive.sha256}.tar.zst",
    )


def test_first_sync_fetches_pointer_release_and_archive_and_a_poll_one_condition(bench: Target) -> None:
    first = bench.simulator.publish(small_tree("one"), "a")
    assert bench.puller.sync() is Outcome.SWAPPED
    assert bench.reader.take() == [f"get {POINTER}", *keys(first)]
    for _ in range(3):
        assert bench.puller.sync() is Outcome.UNCHANGED
    assert bench.reader.take() == [f"get-if-changed {POINTER}"] * 3


def test_rollback_to_a_kept_version_is_one_request(bench: Target) -> None:
    first = bench.simulator.publish(small_tree("one"), "a")
    bench.puller.sync()
    bench.simulator.publish(small_tree("two"), "b")
    bench.puller.sync()
    bench.reader.take()
    bench.simulator.again(first)
    assert bench.puller.sync() is Outcome.SWAPPED
    assert bench.reader.take() == [f"get-if-changed {POINTER}"]


def test_update_writes_the_state_before_it_acts_for_the_times_and_after_the_swap_only(
    bench: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.simulator.publish(small_tree("one"), "a")
    bench.puller.sync()
    saved: list[state.State] = []
    real = state.save
    monkeypatch.setattr(state, "save", lambda root, new: (saved.append(new), real(root, new)))
    second = bench.simulator.publish(small_tree("two"), "b")
    bench.puller.sync()
    assert [one.live.version == second.version for one in saved if one.live] == [False, False, True]
    assert [one.seen == saved[-1].seen for one in saved] == [True] * 3
    assert set(saved[-1].left) == {saved[-1].live.previous}


def test_changed_trust_file_drops_the_etag(bench: Target) -> None:
    bench.simulator.publish(small_tree("one"), "a")
    bench.puller.sync()
    bench.simulator.write_trust(bench.trust, max_ttl=3600, floor=1)
    bench.reader.take()
    with pytest.raises(Refused) as caught:
        bench.puller.sync()
    assert caught.value.reason is Reason.NO_EXPIRY
    assert bench.reader.take() == [f"get {POINTER}"]


def test_touched_trust_file_of_the_same_content_changes_nothing(bench: Target) -> None:
    bench.simulator.publish(small_tree("one"), "a")
    bench.puller.sync()
    bench.simulator.write_trust(bench.trust)
    bench.reader.take()
    assert bench.puller.sync() is Outcome.UNCHANGED
    assert bench.reader.take() == [f"get-if-changed {POINTER}"]


def test_refused_pointer_is_fetched_whole_again(bench: Target) -> None:
    bench.simulator.publish(small_tree("one"), "a")
    bench.puller.sync()
    bench.simulator.put(bench.simulator.layout.pointer("main"), b"{}")
    bench.reader.take()
    for _ in range(2):
        with pytest.raises(Refused):
            bench.puller.sync()
    assert bench.reader.take() == [f"get-if-changed {POINTER}", f"get {POINTER}"]


def test_pointer_that_expires_between_two_polls_is_noticed_without_new_bytes(bench: Target) -> None:
    bench.simulator.publish(small_tree("one"), "a", expires=ago(-3600))
    bench.puller.sync()
    bench.simulator.write_trust(bench.trust, max_ttl=1)
    bench.simulator.again(bench.simulator.last, issued=ago(10), expires=ago(-3600))  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(Refused) as caught:
            bench.puller.sync()
        assert caught.value.reason is Reason.EXPIRED
    assert bench.reader.take()[-1] == f"get-if-changed {POINTER}"
    assert bench.puller.keeper.ready


def test_bad_archive_is_fetched_once(bench: Target) -> None:
    bad = bench.simulator.publish(small_tree("one"), "a", archive=lambda data: data[:-1] + b"?")
    for _ in range(3):
        with pytest.raises(Exception, match="wrong-digest"):
            bench.puller.sync()
    assert bench.reader.take().count(keys(bad)[1]) == 1


def test_tampered_kept_version_is_fetched_again_on_rollback(bench: Target) -> None:
    first = bench.simulator.publish(small_tree("one"), "a")
    bench.puller.sync()
    bench.simulator.publish(small_tree("two"), "b")
    bench.puller.sync()
    path = bench.path / "versions" / first.version / "etl.py"
    path.chmod(0o644)
    path.write_text("evil")
    bench.simulator.again(first)
    bench.reader.take()
    assert bench.puller.sync() is Outcome.SWAPPED
    assert bench.reader.take() == [f"get-if-changed {POINTER}", keys(first)[1]]
    assert (bench.path / "current/etl.py").read_text() == "VERSION = 'one'\n"
    assert bench.recorder.snapshot().tampered == 1


def test_pointer_is_remembered_before_its_archive_is_asked_for(bench: Target) -> None:
    bench.simulator.publish(small_tree("one"), "a", archive=lambda _: None)
    with pytest.raises(Exception, match="does not exist"):
        bench.puller.sync()
    bench.start()
    bench.puller.start()
    assert bench.volume.seen is not None
    assert bench.volume.seen.sequence == 1


def test_seen_comes_from_the_stored_pointer_where_state_lags_behind_it(bench: Target) -> None:
    bench.simulator.publish(small_tree("one"), "a")
    bench.puller.sync()
    old = (bench.path / ".dagferry/state.json").read_bytes()
    bench.simulator.publish(small_tree("two"), "b")
    bench.puller.sync()
    (bench.path / ".dagferry/state.json").write_bytes(old)
    bench.start().start()
    assert bench.volume.seen is not None
    assert bench.volume.seen.sequence == 2


def test_order_of_a_swap_is_what_durability_needs(bench: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.simulator.publish(small_tree("one"), "a")
    bench.puller.start()
    calls: list[str] = []
    places = {str(bench.path): "root", str(bench.path / "versions"): "versions/"}
    real_fsync, real_rename, real_utime = os.fsync, os.rename, os.utime

    def fsync(fd: int) -> None:
        path = os.readlink(f"/proc/self/fd/{fd}")
        calls.append(f"fsync {places.get(path) or ('tree' if '/versions/' in path else 'meta')}")
        real_fsync(fd)

    def rename(source: str, target: str, **more: int) -> None:
        calls.append(f"rename {'link' if target == 'current' else 'version' if len(target) == 105 else 'meta'}")
        real_rename(source, target, **more)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    monkeypatch.setattr(os, "utime", lambda *a, **k: (calls.append("stamp"), real_utime(*a, **k))[1])
    bench.puller.sync()
    tail = [call for call in calls if not call.endswith("meta")]
    assert tail[-4:] == ["rename version", "fsync versions/", "rename link", "fsync root"]
    assert set(tail[:-4]) == {"stamp", "fsync tree"}
    assert tail[:-4].count("fsync tree") == 8  # five files, three directories
    assert tail.index("fsync tree") > tail.index("stamp")


def test_without_fsync_nothing_is_waited_for(bench: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.simulator.publish(small_tree("one"), "a")
    bench.puller.start()
    bench.volume.root.durable = False

    def failing(_: int) -> None:
        raise AssertionError("fsync was called")

    monkeypatch.setattr(os, "fsync", failing)
    assert bench.puller.sync() is Outcome.SWAPPED


def test_staging_that_vanishes_is_an_error_and_nothing_is_live(bench: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    from dagferry_puller import stamps

    bench.simulator.publish(small_tree("one"), "a")

    def failing(*_: Any, **__: Any) -> None:
        raise OSError(5, "I/O error")

    monkeypatch.setattr(stamps.Stamper, "directory", failing)
    with pytest.raises(OSError, match="I/O"):
        bench.puller.sync()
    assert os.listdir(bench.path / "versions") == []
    monkeypatch.undo()
    assert bench.puller.sync() is Outcome.SWAPPED


def test_revoked_live_release_is_not_repaired(bench: Target) -> None:
    first = bench.simulator.publish(small_tree("one"), "a")
    bench.puller.sync()
    bench.simulator.write_trust(bench.trust, revoked=[first.pointer.release])
    (bench.path / "current").unlink()
    with pytest.raises(Refused) as caught:
        bench.puller.sync()
    assert caught.value.reason is Reason.REVOKED
    assert not (bench.path / "current").is_symlink()


def test_kept_release_that_was_changed_on_the_volume_is_fetched_again(bench: Target) -> None:
    first = bench.simulator.publish(small_tree("one"), "a")
    bench.puller.sync()
    kept = bench.path / ".dagferry/envelopes" / f"{first.pointer.release}.json"
    kept.write_bytes(b"{}")
    bench.start()
    bench.reader.take()
    assert bench.puller.sync() is Outcome.SWAPPED
    assert bench.reader.take() == [f"get {POINTER}", keys(first)[0]]
    assert kept.read_bytes() == first.release_raw


def test_garbage_kept_under_its_own_digest_is_not_adopted(bench: Target) -> None:
    first = bench.simulator.publish(small_tree("one"), "a")
    bench.puller.sync()
    version = f"{'0' * 40}-{hashlib.sha256(b'{}').hexdigest()}"
    (bench.path / ".dagferry/envelopes" / f"{version[41:]}.json").write_bytes(b"{}")
    (bench.path / "current").unlink()
    (bench.path / "current").symlink_to(f"versions/{version}")
    bench.start().start()
    assert bench.puller.keeper.version == first.version
    assert not bench.puller.keeper.ready


def test_rename_that_fails_leaves_nothing_behind(bench: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.simulator.publish(small_tree("one"), "a")
    real = os.rename

    def failing(source: str, target: str, **more: int) -> None:
        if len(target) == 105:
            raise OSError(28, "No space left on device")
        real(source, target, **more)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(OSError, match="No space"):
        bench.puller.sync()
    assert os.listdir(bench.path / "versions") == []


def test_version_id_that_lies_about_its_commit_is_not_adopted(bench: Target) -> None:
    first = bench.simulator.publish(small_tree("one"), "a")
    bench.puller.sync()
    lie = f"{'0' * 40}-{first.pointer.release}"
    os.rename(bench.path / "versions" / first.version, bench.path / "versions" / lie)
    (bench.path / "current").unlink()
    (bench.path / "current").symlink_to(f"versions/{lie}")
    (bench.path / ".dagferry/state.json").unlink()
    bench.start().start()
    assert bench.puller.keeper.version is None
    bench.puller.sync()
    assert os.path.basename(os.readlink(bench.path / "current")) == first.version


def test_fetched_version_lies_beside_what_is_live_which_nothing_touches(bench: Target) -> None:
    one = bench.simulator.publish(small_tree("one"), "a")
    two = bench.simulator.publish(small_tree("two"), "b")
    bench.puller.sync()
    before = bench.look()
    seen = bench.volume.seen
    assert bench.puller.fetch(one.version) is Outcome.UNCHANGED
    after = bench.look()
    assert (after.link, after.entries, bench.volume.seen) == (before.link, before.entries, seen)
    assert after.versions == {one.version, two.version}
    assert (bench.path / "versions" / one.version / "etl.py").read_text() == "VERSION = 'one'\n"


def test_fetch_of_a_version_that_is_here_asks_nobody_and_changes_nothing(bench: Target) -> None:
    one = bench.simulator.publish(small_tree("one"), "a")
    bench.simulator.publish(small_tree("two"), "b")
    bench.puller.sync()
    bench.puller.fetch(one.version)
    bench.reader.take()
    stamps = [path.lstat().st_ctime_ns for path in sorted((bench.path / "versions" / one.version).rglob("*"))]
    bench.puller.fetch(one.version)
    assert bench.reader.take() == []
    assert [path.lstat().st_ctime_ns for path in sorted((bench.path / "versions" / one.version).rglob("*"))] == stamps


def test_fetch_repairs_a_version_that_is_not_as_it_was_signed(bench: Target) -> None:
    one = bench.simulator.publish(small_tree("one"), "a")
    bench.puller.fetch(one.version)
    file = bench.path / "versions" / one.version / "etl.py"
    file.chmod(0o644)
    file.write_text("VERSION = 'evil'\n")
    bench.start().fetch(one.version)
    assert file.read_text() == "VERSION = 'one'\n"
    assert not (bench.path / "current").is_symlink()


def test_fetch_obeys_revocation_also_for_what_is_here(bench: Target) -> None:
    one = bench.simulator.publish(small_tree("one"), "a")
    bench.puller.fetch(one.version)
    bench.simulator.write_trust(bench.trust, revoked=[one.release.source.commit])
    with pytest.raises(Refused) as caught:
        bench.puller.fetch(one.version)
    assert caught.value.reason is Reason.REVOKED


def test_fetched_version_has_the_grace_time_of_one_that_was_live(tmp_path: Path) -> None:
    bench = Target(tmp_path, keep="1", keep_hours="1")
    one, two, three = (bench.simulator.publish(small_tree(word), word) for word in ("one", "two", "three"))
    bench.puller.sync()
    bench.puller.fetch(one.version)
    an_hour_ago = bench.volume.state.left[one.version] - 3600
    bench.puller.fetch(two.version)
    bench.volume.update(left={one.version: an_hour_ago, two.version: an_hour_ago})
    bench.puller.fetch(two.version)  # wanted again
    bench.volume.retire()
    assert bench.look().versions == {two.version, three.version}
    bench.close()
