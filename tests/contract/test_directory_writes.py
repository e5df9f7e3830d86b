"""What a directory store promises of its writes: whole, durable, in order, and without anything left over."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from dagferry_shared.errors import Refused, StoreConflict, StoreDenied, StoreUnreachable
from dagferry_shared.store.directory import DirectoryStore

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    path.mkdir()
    return path


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}


@pytest.mark.parametrize("method", ["put", "create", "replace"])
def test_a_write_leaves_no_temporary_file(root: Path, method: str) -> None:
    store = DirectoryStore(root)
    if method == "put":
        store.put("a/b", b"data")
    else:
        etag = store.create("a/b", b"data")
        if method == "replace":
            store.replace("a/b", b"data2", etag=etag)
    assert files(root) == {".lock", "a/b"}


def test_a_body_that_cannot_be_read_leaves_the_old_object(root: Path) -> None:
    class Broken:
        def read(self, size: int) -> bytes:
            raise OSError(errno.EIO, "broken")

    store = DirectoryStore(root)
    store.put("a/b", b"data")
    with pytest.raises(StoreUnreachable):
        store.put("a/b", Broken())  # type: ignore[arg-type]
    assert (root / "a/b").read_bytes() == b"data"
    assert files(root) == {".lock", "a/b"}


def test_a_full_disk_leaves_the_old_object(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    store = DirectoryStore(root)
    etag = store.create("a", b"data")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreUnreachable, match="No space left"):
        store.replace("a", b"data2", etag=etag)
    assert (root / "a").read_bytes() == b"data"
    assert files(root) == {".lock", "a"}


def test_a_write_is_durable_before_it_returns(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, str]] = []
    fsync, rename, mkdir = os.fsync, os.rename, os.mkdir

    def name_of(fd: int) -> str:
        name = os.readlink(f"/proc/self/fd/{fd}").removeprefix(str(root))
        return "temporary" if ".tmp-" in name else name

    def spy_fsync(fd: int) -> None:
        calls.append(("fsync", name_of(fd)))
        fsync(fd)

    def spy_rename(source: str, target: str, **kwargs: int) -> None:
        calls.append(("rename", target))
        rename(source, target, **kwargs)

    def spy_mkdir(name: str, mode: int, *, dir_fd: int) -> None:
        calls.append(("mkdir", name))
        mkdir(name, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(os, "rename", spy_rename)
    monkeypatch.setattr(os, "mkdir", spy_mkdir)
    DirectoryStore(root).create("a/b/c", b"data")
    assert calls == [
        ("mkdir", "a"),
        ("fsync", ""),
        ("mkdir", "b"),
        ("fsync", "/a"),
        ("fsync", "temporary"),
        ("rename", "c"),
        ("fsync", "/a/b"),
    ]


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_other_users_may_read_what_the_umask_lets_them(root: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        DirectoryStore(root).put("a/b", b"data")
    finally:
        os.umask(before)
    assert (root / "a/b").stat().st_mode & 0o777 == 0o666 & ~umask
    assert (root / "a").stat().st_mode & 0o777 == 0o777 & ~umask


def test_a_replaced_object_is_read_to_its_old_end(root: Path) -> None:
    store = DirectoryStore(root)
    store.put("a", b"o" * (2 << 20))
    stream = store.stream("a", limit=2 << 20)
    first = next(stream)
    store.discard("a")
    assert first + b"".join(stream) == b"o" * (2 << 20)


@pytest.mark.parametrize("how", ["close", "refuse", "finish", "missing"])
def test_no_descriptor_is_left_open(root: Path, how: str) -> None:
    store = DirectoryStore(root)
    store.put("a/b", bytes(3 << 20))
    before = len(os.listdir("/proc/self/fd"))
    if how == "close":
        stream = store.stream("a/b", limit=3 << 20)
        next(stream)
        stream.close()
    elif how == "refuse":
        with pytest.raises(Refused):
            store.get("a/b", limit=1)
    elif how == "finish":
        store.create("a/c", b"")
        list(store.keys(""))
        store.discard("a/c")
    else:
        for key in ("a/x", "x/y", "a/b/c"):
            assert store.head(key) is None
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_writer_that_hangs_does_not_hang_the_others_for_ever(root: Path) -> None:
    store = DirectoryStore(root, lock_seconds=0.05)
    etag = store.create("a", b"1")
    with (root / ".lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for call in (
            lambda: store.put("b", b""),
            lambda: store.create("b", b""),
            lambda: store.replace("a", b"2", etag=etag),
        ):
            with pytest.raises(StoreUnreachable, match="another writer"):
                call()
    assert files(root) == {".lock", "a"}
    store.replace("a", b"2", etag=etag)


def test_the_lock_is_not_taken_through_a_link(root: Path, tmp_path: Path) -> None:
    (root / ".lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreDenied, match="symbolic link"):
        DirectoryStore(root).create("a", b"")
    assert not (tmp_path / "elsewhere").exists()


def test_processes_lose_no_increment(root: Path) -> None:
    DirectoryStore(root).create("counter", b"0")
    code = textwrap.dedent("""
        import sys
        from dagferry_shared.errors import StoreConflict
        from dagferry_shared.store.directory import DirectoryStore
        store = DirectoryStore(sys.argv[1])
        for _ in range(20):
            while True:
                blob = store.get("counter", limit=99)
                try:
                    store.replace("counter", b"%d" % (int(blob.data) + 1), etag=blob.etag)
                    break
                except StoreConflict:
                    pass
    """)
    processes = [subprocess.Popen([sys.executable, "-c", code, str(root)]) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert (root / "counter").read_bytes() == b"80"


def test_file_of_a_tebibyte_is_described_and_replaced_without_being_read(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    store.create("a", b"old")
    os.truncate(tmp_path / "a", 1 << 40)
    info = store.head("a")
    assert info is not None
    assert info.size == 1 << 40
    with pytest.raises(StoreConflict):
        store.replace("a", b"new", etag="0" * 64)
    store.replace("a", b"new", etag=info.etag)
    assert (tmp_path / "a").read_bytes() == b"new"
