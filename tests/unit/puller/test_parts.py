"""Small parts with what they meet rarely: slow stores, file systems without comforts, odd readers."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_puller import attempt, download, fsio, history, leases, lock, logs, metrics, retire
from dagferry_puller.disktree import scan
from dagferry_puller.exits import ConfigError, Exit, TimedOut, code_for, line_for
from dagferry_puller.httpwire import Bad, parse_head
from dagferry_puller.recorder import Recorder
from dagferry_puller.root import Root
from dagferry_puller.status import Histogram, Outcome, Status
from dagferry_shared.errors import BlobMissing, Reason, Refused, StoreDenied, StoreUnreachable
from dagferry_shared.release import ArchiveInfo
from dagferry_shared.rules import Rules
from dagferry_shared.store.memory import MemoryStore
from support.bundles import File, Simulator, Symlink, commit_id, small_tree, tree_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATA = b"x" * (3 << 20)
INFO = ArchiveInfo(hashlib.sha256(DATA).hexdigest(), len(DATA), 1, 1)


class Clock:
    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def fetch(data: bytes, step: float, **pace: float) -> bytes:
    store = MemoryStore()
    store.put("a", data)
    into = BytesIO()
    limits = download.Pace(**{"seconds": 100.0, "min_rate": 1024.0, **pace}, clock=Clock(step))
    download.download(store, "a", INFO, into, pace=limits, progress=lambda _: None)
    return into.getvalue()


def test_download_returns_what_was_signed() -> None:
    assert fetch(DATA, 0.1) == DATA


def test_download_that_takes_too_long_is_given_up() -> None:
    with pytest.raises(StoreUnreachable, match="--download-timeout"):
        fetch(DATA, 60.0)


def test_download_that_is_too_slow_is_given_up() -> None:
    with pytest.raises(StoreUnreachable, match="--min-rate"):
        fetch(DATA, 11.0, min_rate=10e6)


def test_slowness_is_not_judged_at_the_start() -> None:
    assert fetch(DATA, 2.0, min_rate=10e6) == DATA


@pytest.mark.parametrize("data", [DATA[:-1], DATA + b"x", b"y" + DATA[1:], b""])
def test_download_of_other_bytes_is_refused(data: bytes) -> None:
    with pytest.raises(Refused):
        fetch(data, 0.1)


# fsio


@pytest.fixture
def here(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


def test_file_without_a_name_where_the_file_system_has_none(
    here: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def refusing(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(95, "not supported")
        return real(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", refusing)
    with fsio.anonymous_file(here) as file:
        file.write(b"x")
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("has_exchange", [True, False])
def test_one_name_takes_the_place_of_another(
    here: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_exchange: bool
) -> None:
    import ctypes

    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if has_exchange:  # a single step: no name is missing for a moment
        monkeypatch.setattr(os, "rename", None)
    else:
        monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    fsio.exchange("a", "b", here)
    assert (tmp_path / "b/a").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name != "b"] == (["a"] if has_exchange else [])


def test_what_cannot_be_replaced_stays(here: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ctypes

    (tmp_path / "b").mkdir()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    with pytest.raises(FileNotFoundError):
        fsio.exchange("a", "b", here)
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_failed_save_leaves_the_old_file_and_nothing_else(
    here: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsio.save("f", b"old", here, durable=True)

    def failing(*_: Any) -> None:
        raise OSError(5, "I/O error")

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match="I/O"):
        fsio.save("f", b"new", here, durable=True)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("f", b"old")]


def test_save_writes_then_syncs_then_renames_then_syncs_the_directory(
    here: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    sync, rename = os.fsync, os.rename
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("dir" if fd == here else "file"), sync(fd))[1])
    monkeypatch.setattr(os, "rename", lambda *a, **k: (calls.append("rename"), rename(*a, **k))[1])
    fsio.save("f", b"x", here, durable=True)
    assert calls == ["file", "rename", "dir"]
    fsio.save("f", b"y", here, durable=False)
    assert calls == ["file", "rename", "dir", "rename"]


def test_removing_follows_no_link_and_takes_read_only_trees(here: int, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch()
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub/link").symlink_to(outside)
    (tree / "sub").chmod(0o555)
    tree.chmod(0o555)
    fsio.remove("tree", here)
    fsio.remove("tree", here)
    assert [p.name for p in tmp_path.iterdir()] == ["outside"]
    assert (outside / "file").exists()


def test_tree_nested_without_end_is_left_and_told(here: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    deep = tmp_path / "deep"
    deep.mkdir()
    fd = os.open(deep, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=fd)
        child = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = child
    os.close(fd)
    with caplog.at_level(logging.WARNING):
        fsio.discard("deep", here)
    assert "by hand" in caplog.text
    assert deep.exists()


def test_only_a_regular_file_is_read(here: int, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/etc/passwd")
    for name in ("fifo", "link"):
        with pytest.raises(OSError, match=r"symbolic links|regular"):
            fsio.read_file(name, here, limit=10)
    assert fsio.read_file("nothing", here, limit=10) is None
    (tmp_path / "long").write_bytes(b"x" * 100)
    assert len(fsio.read_file("long", here, limit=10) or b"") == 11


# Trees on disk


def write(tree: dict[str, Any], top: Path) -> None:
    for path, value in tree.items():
        target = top / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(value, Symlink):
            target.symlink_to(value.target)
            continue
        data = value.data if isinstance(value, File) else value.encode()
        target.write_bytes(data)
        target.chmod(0o755 if isinstance(value, File) and value.executable else 0o640)


def test_tree_on_disk_has_the_signed_id(here: int, tmp_path: Path) -> None:
    write(small_tree(), tmp_path)
    found = scan(here, max_files=100, max_bytes=1000)
    assert found.is_tree(tree_of(small_tree()))
    assert not found.is_tree("0" * 64)
    assert found.differences(found.leaves) == []


def test_reading_a_tree_ends_where_more_than_was_signed_begins(here: int, tmp_path: Path) -> None:
    write(small_tree(), tmp_path)
    assert not scan(here, max_files=2, max_bytes=1000).complete
    assert not scan(here, max_files=100, max_bytes=5).complete


def test_directories_nested_too_deep_are_extra(here: int, tmp_path: Path) -> None:
    (tmp_path / "/".join(["d"] * 90)).mkdir(parents=True)
    assert scan(here, max_files=10, max_bytes=10).extra


def test_fault_of_the_volume_is_not_taken_for_tampering(
    here: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(small_tree(), tmp_path)

    def failing(*_: Any) -> bytes:
        raise OSError(5, "I/O error")

    monkeypatch.setattr(os, "read", failing)
    with pytest.raises(OSError, match="I/O"):
        scan(here, max_files=100, max_bytes=1000)


# Leases and the lock


def test_lease_of_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(leases.NoVersion), leases.lease(str(tmp_path)):
        pass
    with Root(str(tmp_path)), pytest.raises(leases.NoVersion), leases.lease(str(tmp_path), version="x"):
        pass


def test_lease_starts_over_when_the_version_is_retired_under_it(tmp_path: Path) -> None:
    version = f"{'a' * 40}-{'b' * 64}"
    with Root(str(tmp_path)) as root:
        (tmp_path / "versions" / version).mkdir()
        retire.make_lease(root, version)
        with leases.lease(str(tmp_path), version=version) as held:
            assert held.path == str(tmp_path / "versions" / version)
            assert not retire.retire(root, version)
        assert retire.retire(root, version)
        with pytest.raises(leases.NoVersion), leases.lease(str(tmp_path), version=version):
            pass
        retire.make_lease(root, version)  # as if it was unlinked between a reader's open and its flock
        with pytest.raises(leases.NoVersion), leases.lease(str(tmp_path), version=version):
            pass
        retire.drop_orphan_leases(root, [])
        assert not os.listdir(root.leases)


def test_lease_on_a_file_that_lost_its_name_guards_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = f"{'a' * 40}-{'b' * 64}"
    with Root(str(tmp_path)) as root:
        (tmp_path / "versions" / version).mkdir()
        retire.make_lease(root, version)
        real = leases.fcntl.flock

        def unlinking(fd: int, how: int) -> None:
            os.unlink(version, dir_fd=root.leases)
            real(fd, how)

        monkeypatch.setattr(leases.fcntl, "flock", unlinking)
        with pytest.raises(leases.NoVersion), leases.lease(str(tmp_path), version=version):
            pass


def test_lease_that_cannot_be_taken_closes_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = f"{'a' * 40}-{'b' * 64}"
    with Root(str(tmp_path)) as root:
        retire.make_lease(root, version)

        def failing(*_: Any) -> None:
            raise OSError(37, "no locks")

        monkeypatch.setattr(leases.fcntl, "flock", failing)
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(OSError, match="no locks"), leases.lease(str(tmp_path), version=version):
            pass
        assert len(os.listdir("/proc/self/fd")) == before


def test_one_owner_and_its_name(tmp_path: Path) -> None:
    me = lock.Owner("run", "etl", "main", "host", 1)
    with Root(str(tmp_path)) as root:
        assert lock.owner(root.meta) is None
        held = lock.acquire(root.meta, me)
        assert held is not None
        assert lock.acquire(root.meta, me) is None
        assert lock.owner(root.meta) == me
        (tmp_path / ".dagferry/lock").unlink()
        assert not lock.is_held(held, root.meta)
        os.close(held)


def test_lock_whose_file_lost_its_name_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "is_held", lambda *_: False)
    with Root(str(tmp_path)) as root:
        assert lock.acquire(root.meta, lock.Owner("run", "etl", "main", "host", 1)) is None


def test_lock_is_taken_on_a_full_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with Root(str(tmp_path)) as root:
        held = lock.acquire(root.meta, lock.Owner("run", "etl", "main", "host", 1))
        assert held is not None
        os.close(held)


def test_locks_that_the_volume_does_not_have_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any) -> None:
        raise OSError(37, "no locks available")

    monkeypatch.setattr(lock.fcntl, "flock", failing)
    with Root(str(tmp_path)) as root, pytest.raises(OSError, match="no locks"):
        lock.acquire(root.meta, lock.Owner("run", "etl", "main", "host", 1))


# History


def test_history_is_walked_no_further_than_told(tmp_path: Path) -> None:
    simulator = Simulator(tmp_path / "store")
    for word in "abcd":
        simulator.publish(small_tree(word), word)
    rules = Rules(simulator.trust(), "main")
    assert simulator.last is not None
    head = rules.old_pointer(simulator.last.raw)

    def fetch(key: str) -> bytes:
        return simulator.path(key).read_bytes()

    assert history.find(fetch, rules, head, commit_id("b")).content.sequence == 2
    with pytest.raises(BlobMissing):
        history.find(fetch, rules, head, commit_id("a"), most=3)


# Words


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ConfigError("--x", "is wrong"), Exit.CONFIG, "--x: is wrong"),
        (Refused(Reason.REVOKED, "no"), Exit.REFUSED, "refused (revoked): no"),
        (StoreUnreachable("away\nnow"), Exit.UNREACHABLE, "away now"),
        (StoreDenied("no"), Exit.DENIED, "no"),
        (BlobMissing("gone"), Exit.NOT_FOUND, "gone"),
        (TimedOut("late"), Exit.TIMEOUT, "late"),
        (OSError(28, "No space left on device", "/x"), Exit.UNEXPECTED, "No space left on device: /x"),
        (KeyError("x"), Exit.UNEXPECTED, "unexpected KeyError: 'x'"),
    ],
)
def test_error_has_a_code_and_one_line(error: Exception, code: Exit, words: str) -> None:
    assert code_for(error) is code
    assert words in line_for(error)
    assert "\n" not in line_for(error)


def test_bug_is_counted_logged_with_its_traceback_and_survived(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Outcome:
        raise ZeroDivisionError("oops")

    recorder = Recorder(Status("1", "run", "b", "c", "s", "r", "l", "2026-01-01T00:00:00.000Z"))
    with caplog.at_level(logging.DEBUG):
        outcome = attempt.record(attempt.attempt(broken), recorder, logs.Complaints())
    assert outcome is Outcome.UNEXPECTED
    assert recorder.snapshot().syncs[Outcome.UNEXPECTED] == 1
    assert "Traceback" in caplog.text


@contextmanager
def captured(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    logs.log.to = None
    with caplog.at_level(logging.DEBUG, logger=logs.NAME):
        yield caplog


def test_failure_that_repeats_is_told_once_an_hour(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    complaints = logs.Complaints(lambda: now[0])
    with captured(caplog):
        for i in range(100):
            now[0] += 60
            complaints.failed(Refused(Reason.EXPIRED, f"pointer expired at x, it is 2026-01-01T00:{i % 60:02}"))
    levels = [record.levelno for record in caplog.records]
    assert levels.count(logging.WARNING) == 2
    assert levels.count(logging.DEBUG) == 98


def test_traceback_and_fields_are_in_both_formats(capsys: pytest.CaptureFixture[str]) -> None:
    error: Exception
    try:
        raise ValueError("inner")
    except ValueError as caught:
        error = caught
    told = {"fields": {"version": "v", "none": None}}
    try:
        logs.configure("text", "info")
        logs.log.debug("not %s", "this")
        logs.log.error("what %s", "happened", extra=told, exc_info=error)
        logs.configure("json", "error")
        logs.log.warning("nor this")
        logs.log.error("100 %", extra=told, exc_info=error)
    finally:
        logs.log.to = None
    text, _, last = capsys.readouterr().err.rstrip("\n").rpartition("\n")
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ERROR   what happened  version=v\nTraceback", text)
    assert text.endswith("ValueError: inner")
    document = json.loads(last)
    assert (document["level"], document["message"], document["version"]) == ("error", "100 %", "v")
    assert document["traceback"].endswith("ValueError: inner")


def test_log_that_nobody_reads_any_more_stops_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as gone:
        logs.log.to = gone
        try:
            logs.log.error("nobody hears this")
        finally:
            logs.log.to = None
            with suppress(OSError):
                gone.close()


def test_histogram_counts_a_value_in_its_bucket() -> None:
    filled = Histogram.empty((1.0, 2.0)).observed(1.0).observed(1.5).observed(9.0)
    assert (filled.counts, filled.total) == ((1, 1, 1), 11.5)


def test_labels_are_escaped() -> None:
    status = Status('1"\\\n', "run", "b", "c", "s", "r", "l", "2026-01-01T00:00:00.000Z")
    assert 'version="1\\"\\\\\\n"' in metrics.render(status)


@pytest.mark.parametrize(
    "head", [b"", b"GET", b"GET / x", b"GET  / HTTP/1.1", b"GET x HTTP/1.1", b"GET / HTTP/2", b"GET / HTTP/1.1\r\n: x"]
)
def test_odd_request_heads_are_bad(head: bytes) -> None:
    with pytest.raises(Bad):
        parse_head(head)
