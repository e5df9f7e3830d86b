import errno
import io
import os
import shutil
import stat
import tempfile
import threading
from pathlib import Path

import pytest

from dagferry_shared.archive import reader
from dagferry_shared.archive.extract import Extractor, extract_archive
from dagferry_shared.archive.reader import Limits
from dagferry_shared.errors import Reason
from support.gitid import tree_of
from support.refusals import refused
from support.tars import entry, link, read, tar, tree, zst

FILES = {
    "a.py": b"x = 1\n",
    "b/c/deep.py": b"",
    "b/c.py": b"after b/c/",
    "b/link": "../a.py",
    "big": os.urandom(700_000),
    "only/link": "../b",
    "run": b"#!/bin/sh\n",
    "z": "only/link/c",
    "日本/ü.py": b"y",
    "d/" * 63 + "e": b"deep",
    "long" * 40 + "/" + "n" * 255: "../a.py",
}
TAR = tree(FILES, executable=frozenset({"run"}))


@pytest.fixture(autouse=True, params=["small", "large"])
def size(request, monkeypatch):
    """All of it as a large archive, too: then a thread decompresses."""
    if request.param == "large":
        monkeypatch.setattr(reader, "LARGE_BYTES", 0)
    return request.param


@pytest.fixture
def root(tmp_path):
    (tmp_path / "new").mkdir(mode=0o700)
    fd = os.open(tmp_path / "new", os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def extract(root, data=TAR, **options):
    return extract_archive(io.BytesIO(zst(data)), root, Limits(), **options)


def modes(where):
    found = {}
    for top, dirs, files in os.walk(where):
        for name in [*dirs, *files]:
            full = Path(top, name)
            if not full.is_symlink():
                found[full.relative_to(where).as_posix()] = stat.S_IMODE(full.stat().st_mode)
    return found


def open_descriptors():
    return len(os.listdir("/proc/self/fd"))


def test_tree_on_disk_has_the_id_of_the_manifest(root, tmp_path):
    manifest = extract(root)
    assert tree_of(tmp_path / "new") == manifest.tree == read(TAR).tree
    assert (tmp_path / "new/z/deep.py").read_bytes() == b""


def test_large_archive_is_decompressed_by_a_thread(root, size):
    readers = set()

    class Source(io.BytesIO):
        def read(self, *wanted):
            readers.add(threading.current_thread().name)
            return super().read(*wanted)

    extract_archive(Source(zst(TAR)), root, Limits())
    assert ("ahead" in readers) == (size == "large")


@pytest.mark.parametrize("umask", [0, 0o022, 0o077, 0o027, 0o777])
@pytest.mark.parametrize("writable", [False, True])
def test_modes_do_not_depend_on_the_umask(root, tmp_path, umask, writable):
    before = os.umask(umask)
    try:
        extract(root, writable=writable)
    finally:
        os.umask(before)
    found = modes(tmp_path / "new")
    write = 0o200 if writable else 0
    assert {found[path] for path in found if (tmp_path / "new" / path).is_dir()} == {0o555 | write}
    assert found["run"] == 0o555 | write
    assert found["a.py"] == found["big"] == found["b/c/deep.py"] == 0o444 | write
    assert stat.S_IMODE(os.fstat(root).st_mode) == 0o555 | write


def test_extraction_needs_no_privilege():
    """As root, closed directories are open; so extract once as nobody (a pod runs as some user)."""
    if os.getuid() != 0:
        pytest.skip("the other tests run without privilege already")
    where = tempfile.mkdtemp()
    os.chown(where, 65534, 65534)
    fd = os.open(where, os.O_RDONLY | os.O_DIRECTORY)
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            os.umask(0o077)
            extract(fd)
            os._exit(0)
        except BaseException:  # noqa: BLE001 - a child must not run on as a second test session
            os._exit(1)
    os.close(fd)
    try:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert tree_of(where) == read(TAR).tree
    finally:
        shutil.rmtree(where)


def test_existing_file_is_never_overwritten(root, tmp_path):
    (tmp_path / "new/a.py").write_text("mine")
    with pytest.raises(FileExistsError):
        extract(root)
    assert (tmp_path / "new/a.py").read_text() == "mine"


@pytest.mark.parametrize("planted", ["a.py", "b/c/deep.py"])
@pytest.mark.parametrize("dangling", [False, True])
def test_planted_symlink_in_place_of_a_file_is_not_followed(root, tmp_path, planted, dangling):
    outside = tmp_path / "outside"
    if not dangling:
        outside.write_text("mine")
    where = tmp_path / "new" / planted
    where.parent.mkdir(parents=True, exist_ok=True)
    where.symlink_to(outside)
    with pytest.raises(FileExistsError):
        extract(root)
    assert outside.exists() is not dangling
    assert dangling or outside.read_text() == "mine"


@pytest.mark.parametrize("planted", ["b", "b/c", "only"])
def test_planted_symlink_in_place_of_a_directory_is_not_followed(root, tmp_path, planted):
    outside = tmp_path / "outside"
    outside.mkdir()
    where = tmp_path / "new" / planted
    where.parent.mkdir(parents=True, exist_ok=True)
    where.symlink_to(outside, target_is_directory=True)
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is checked
        extract(root)
    assert caught.value.errno in {errno.ELOOP, errno.ENOTDIR}
    assert list(outside.iterdir()) == []


def test_planted_entry_in_place_of_a_link_is_not_replaced(root, tmp_path):
    (tmp_path / "new/z").write_text("mine")
    with pytest.raises(FileExistsError):
        extract(root)
    assert (tmp_path / "new/z").read_text() == "mine"


def test_planted_fifo_does_not_block(root, tmp_path):
    os.mkfifo(tmp_path / "new/a.py")
    with pytest.raises(FileExistsError):
        extract(root)


def test_directory_swapped_for_a_link_during_extraction_is_not_followed(root, tmp_path):
    """The descriptor of a directory stays the directory, whatever its name leads to by then."""
    outside = tmp_path / "outside"
    outside.mkdir()
    with Extractor(root) as sink:
        sink.file("d/a", iter([b"1"]), executable=False)
        (tmp_path / "new/d").rename(tmp_path / "moved")
        (tmp_path / "new/d").symlink_to(outside, target_is_directory=True)
        sink.file("d/b", iter([b"2"]), executable=False)
        assert (tmp_path / "moved/b").read_bytes() == b"2"
        sink.file("e", iter([]), executable=False)
        with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
            sink.link("d/c", "a")
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize(
    "data",
    [
        tar(entry("a", b"x"), entry("b", b"y"))[:-600],
        tar(entry("a/b/c"), link("l", "/etc")),
        tar(entry("a/b"), entry("../x")),
    ],
)
def test_refused_archive_leaves_no_open_descriptor(root, data):
    before = open_descriptors()
    with refused(Reason.BAD_ARCHIVE):
        extract(root, data)
    assert open_descriptors() == before


def test_good_archive_leaves_no_open_descriptor(root):
    before = open_descriptors()
    extract(root)
    assert open_descriptors() == before


def test_volume_that_is_full_is_no_fault_of_the_archive(root, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        extract(root)


def test_short_writes_are_carried_on(root, tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:1000]))
    assert extract(root).tree == tree_of(tmp_path / "new")


def test_nothing_is_written_outside_for_a_hostile_path(root, tmp_path):
    for path in ("../escaped", "/tmp/dagferry-escaped", "a/../../escaped"):
        with refused(Reason.BAD_ARCHIVE):
            extract(root, tar(entry(path, b"x")))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new"]
    assert not Path("/tmp/dagferry-escaped").exists()


def test_last_directories_get_their_final_mode_too(root, tmp_path):
    extract(root, tar(entry("a/b/c", b"x")))
    assert modes(tmp_path / "new") == {"a": 0o555, "a/b": 0o555, "a/b/c": 0o444}
