"""What only a directory can do wrong: links, devices, permissions, a missing mount, writers that crash or hang."""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dagferry_shared.errors import BlobMissing, StoreConflict, StoreDenied, StoreError, StoreUnreachable
from dagferry_shared.store.directory import DirectoryReader, DirectoryStore
from dagferry_shared.store.openat import error_for

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    path.mkdir()
    return path


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}


def test_a_missing_root_is_not_an_empty_store(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "missing")
    for call in (
        lambda: store.get("a", limit=9),
        lambda: list(store.stream("a", limit=9)),
        lambda: store.head("a"),
        lambda: list(store.keys("")),
        lambda: store.put("a", b""),
        lambda: store.create("a", b""),
        lambda: store.replace("a", b"", etag="abc"),
        lambda: store.discard("a"),
    ):
        with pytest.raises(StoreUnreachable, match="mount it, or create it: mkdir"):
            call()
    assert not (tmp_path / "missing").exists()


def test_a_root_that_is_a_file_is_unreachable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnreachable, match="is not a directory"):
        DirectoryReader(tmp_path / "file").get("a", limit=9)


def test_a_root_may_be_reached_through_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    DirectoryStore(tmp_path / "link").put("a/b", b"data")
    assert (root / "a/b").read_bytes() == b"data"


def test_reading_creates_nothing(root: Path) -> None:
    reader = DirectoryReader(root)
    with pytest.raises(BlobMissing):
        reader.get("a/b", limit=9)
    with pytest.raises(BlobMissing):
        list(reader.stream("a/b", limit=9))
    store = DirectoryStore(root)
    assert store.head("a/b") is None
    assert list(store.keys("a/")) == []
    store.discard("a/b")
    assert list(root.iterdir()) == []


def test_an_object_that_is_a_link_is_denied(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (root / "a").symlink_to(tmp_path / "secret")
    store = DirectoryStore(root)
    for call in (
        lambda: store.get("a", limit=9),
        lambda: list(store.stream("a", limit=9)),
        lambda: store.head("a"),
    ):
        with pytest.raises(StoreDenied, match="symbolic link"):
            call()
    assert list(store.keys("")) == []


def test_a_directory_that_is_a_link_is_not_entered(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "b").write_text("secret")
    (root / "a").symlink_to(outside)
    store = DirectoryStore(root)
    with pytest.raises(BlobMissing):
        store.get("a/b", limit=9)
    for call in (lambda: store.put("a/c", b""), lambda: store.create("a/c", b"")):
        with pytest.raises(StoreUnreachable):
            call()
    store.discard("a/b")
    assert list(store.keys("")) == []
    assert list(store.keys("a/")) == []
    assert files(outside) == {"b"}


def test_a_write_over_a_link_replaces_the_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("untouched")
    (root / "a").symlink_to(tmp_path / "victim")
    store = DirectoryStore(root)
    with pytest.raises(StoreConflict):
        store.create("a", b"data")
    store.put("a", b"data")
    assert (tmp_path / "victim").read_text() == "untouched"
    assert (root / "a").read_bytes() == b"data"
    assert not (root / "a").is_symlink()


def test_a_dangling_link_is_not_a_free_name(root: Path) -> None:
    (root / "a").symlink_to("nowhere")
    with pytest.raises(StoreConflict):
        DirectoryStore(root).create("a", b"data")


def test_a_fifo_neither_hangs_nor_is_read(root: Path) -> None:
    os.mkfifo(root / "a")
    store = DirectoryStore(root)
    with pytest.raises(StoreDenied, match="not a regular file"):
        store.get("a", limit=9)
    assert list(store.keys("")) == []


def test_a_directory_of_that_name_is_no_object(root: Path) -> None:
    (root / "a").mkdir()
    store = DirectoryStore(root)
    with pytest.raises(BlobMissing):
        store.get("a", limit=9)
    with pytest.raises(StoreUnreachable):
        store.put("a", b"data")
    assert files(root) <= {".lock"}


def test_a_file_in_the_way_of_a_directory_is_an_error(root: Path) -> None:
    store = DirectoryStore(root)
    store.put("a", b"data")
    with pytest.raises(StoreUnreachable, match="Not a directory"):
        store.put("a/b", b"data")


def test_listing_shows_objects_only(root: Path) -> None:
    store = DirectoryStore(root)
    store.put("a/b", b"")
    (root / "a/.tmp-0123").touch()
    (root / ".hidden").mkdir()
    (root / ".hidden/x").touch()
    (root / "lost+found").mkdir(mode=0)
    (root / "a/b c").touch()
    assert list(store.keys("")) == ["a/b"]
    assert list(store.keys("a/")) == ["a/b"]


@pytest.fixture
def foreign_root() -> Iterator[Path]:
    """A store whose owner is root or the one who runs this, and that another user can reach."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "store")
        path.mkdir()
        Path(name).chmod(0o755)
        yield path
        for folder in path.rglob("*/"):
            folder.chmod(0o755)
        path.chmod(0o755)


@contextmanager
def without_privileges() -> Iterator[None]:
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


def test_a_store_that_may_only_be_read_is_read_and_not_written(foreign_root: Path) -> None:
    store = DirectoryStore(foreign_root)
    etag = store.create("a/b", b"data")
    (foreign_root / "a/secret").touch(mode=0)
    (foreign_root / "lost+found").mkdir(mode=0)  # of the file system; no key can be below it
    (foreign_root / "a").chmod(0o555)
    foreign_root.chmod(0o555)
    with without_privileges():
        blob = store.get("a/b", limit=9)
        assert blob is not None
        assert blob.data == b"data"
        assert set(store.keys("")) == {"a/b", "a/secret"}
        for call in (
            lambda: store.get("a/secret", limit=9),
            lambda: store.put("a/b", b"new"),
            lambda: store.create("a/c", b""),
            lambda: store.create("c", b""),
            lambda: store.replace("a/b", b"new", etag=etag),
        ):
            with pytest.raises(StoreDenied, match="no permission"):
                call()
        store.discard("a/b")
    assert (foreign_root / "a/b").read_bytes() == b"data"


@pytest.mark.parametrize(
    ("number", "expected", "words"),
    [
        (errno.ENOENT, BlobMissing, "does not exist"),
        (errno.EACCES, StoreDenied, "no permission"),
        (errno.EPERM, StoreDenied, "no permission"),
        (errno.EROFS, StoreDenied, "mounted read-only"),
        (errno.ELOOP, StoreDenied, "symbolic link"),
        (errno.EIO, StoreUnreachable, "Input/output error"),
        (errno.ENOSPC, StoreUnreachable, "No space left"),
        (errno.ESTALE, StoreUnreachable, "Stale"),
    ],
)
def test_an_operating_system_error_is_told_in_the_projects_words(
    number: int, expected: type[StoreError], words: str
) -> None:
    error = error_for(OSError(number, "x"), "read /store/key")
    assert type(error) is expected
    assert str(error).startswith("cannot read /store/key: ")
    assert words in str(error)


def test_a_root_without_permission_is_denied(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def refuse(path: str | Path, flags: int, *args: int, **kwargs: int) -> int:
        if path == str(root):
            raise PermissionError(errno.EACCES, "no")
        return real(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StoreDenied, match="open the store"):
        DirectoryReader(root).get("a", limit=9)


def test_what_vanishes_during_a_listing_is_not_listed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = DirectoryStore(root)
    for key in ("a/1", "b/2", "c"):
        store.put(key, b"")
    real = os.fwalk

    def walk(*args: object, **kwargs: object) -> object:
        for step in real(*args, **kwargs):  # type: ignore[call-overload]
            if step[0] == ".":
                (root / "c").unlink()
                (root / "a/1").unlink()
                (root / "a").rmdir()
            yield step

    monkeypatch.setattr(os, "fwalk", walk)
    assert list(store.keys("")) == ["b/2"]


def test_a_directory_that_cannot_be_listed_is_an_error(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dagferry_shared.store import openat

    error = PermissionError(errno.EACCES, "no")
    with pytest.raises(PermissionError):
        openat._unless_gone(error)
    monkeypatch.setattr(os, "scandir", lambda *_: (_ for _ in ()).throw(error))
    (root / "a").mkdir()
    with pytest.raises(StoreDenied, match="list"):
        list(DirectoryStore(root).keys(""))


def test_a_repr_names_the_directory(root: Path) -> None:
    assert repr(DirectoryReader(root)) == f"DirectoryReader('{root}')"
    assert repr(DirectoryStore(root)) == f"DirectoryStore('{root}')"
