"""How the reader reads. What it must refuse, row by row of the table, is in ``tests/attacks/archive``."""

import hashlib

import pytest

from dagferry_shared.archive import header
from dagferry_shared.archive.reader import Limits, read_tar
from dagferry_shared.errors import Reason, Refused
from dagferry_shared.gittree import Mode, blob_id, tree_id
from support.refusals import refused, short
from support.tars import END, MTIME, entry, link, pieces, read, read_zst, tar, tree, zst

TREE = {"a.py": b"x = 1\n", "b/run.sh": b"#!/bin/sh\n", "b/zz/empty": b"", "link": "b/run.sh", "ü.py": b"y = 2\n"}
TAR = tree(TREE, executable=frozenset({"b/run.sh"}))


class Recorder:
    def __init__(self):
        self.calls = []

    def file(self, path, chunks, *, executable):
        self.calls.append((path, b"".join(chunks), executable))

    def link(self, path, target):
        self.calls.append((path, target))


def refuse(data, text="", reason=Reason.BAD_ARCHIVE):
    with refused(reason, text):
        read(data)


def test_canonical_tar_is_read():
    manifest = read(TAR)
    assert list(manifest.leaves) == sorted(TREE, key=str.encode)
    assert manifest.leaves["b/run.sh"].mode is Mode.EXECUTABLE
    assert manifest.leaves["link"].blob == blob_id(b"b/run.sh")
    assert manifest.tree == tree_id(manifest.leaves)
    assert (manifest.tar_sha256, manifest.tar_size) == (hashlib.sha256(TAR).hexdigest(), len(TAR))
    assert manifest.mtime == MTIME


@pytest.mark.parametrize("size", [1, 7, 511, 512, 513, 10**6])
def test_pieces_may_be_of_any_size(size):
    assert read_tar(pieces(TAR, size), Limits()) == read(TAR)


def test_compressed_archive_is_the_same_as_its_tar():
    assert read_zst(zst(TAR)) == read(TAR)


def test_sink_gets_files_in_order_and_links_last():
    sink = Recorder()
    read_tar(pieces(TAR), Limits(), sink)
    assert sink.calls == [
        ("a.py", b"x = 1\n", False),
        ("b/run.sh", b"#!/bin/sh\n", True),
        ("b/zz/empty", b"", False),
        ("ü.py", b"y = 2\n", False),
        ("link", "b/run.sh"),
    ]


def test_content_that_a_sink_leaves_is_read_and_hashed_all_the_same():
    class Lazy(Recorder):
        def file(self, path, chunks, *, executable):
            next(chunks, None)

    assert read_tar(pieces(TAR, 3), Limits(), Lazy()) == read(TAR)


def test_no_link_is_made_before_all_of_them_are_checked():
    sink = Recorder()
    with refused(Reason.BAD_ARCHIVE):
        read_tar(pieces(tree({"a": b"", "b": "a", "c": "/etc/passwd"})), Limits(), sink)
    assert sink.calls == [("a", b"", False)]


def test_nul_in_a_pax_path_is_refused():
    refuse(tar(header.encode(header.Header(b"a\0" + b"b" * 100, False, 0, MTIME))), "control")


@pytest.mark.parametrize(
    "target", ["/etc/passwd", "../x", "nothing", "l", "a/../a", "\udcff", "a\nb", "/".join([".."] * 65)]
)
def test_link_that_is_not_safe_is_refused(target):
    raw = target.encode("utf-8", "surrogateescape")
    refuse(tar(entry("a"), header.encode(header.Header(b"l", False, 0, MTIME, raw))))


def test_link_that_makes_a_directory_contain_itself_is_refused():
    refuse(tree({"a/l": "../b", "b/l": "../a"}), "contain itself")


def test_archive_of_links_alone_that_lead_nowhere_is_refused():
    refuse(tree({"a": "b", "b": "a"}), "goes round")


def test_entry_that_is_there_twice_is_refused():
    refuse(tar(entry("a", b"1"), entry("a", b"2")), "there twice or out of order")
    refuse(tar(entry("a", b"1"), link("a", "b"), entry("b")), "there twice or out of order")


@pytest.mark.parametrize(
    "paths", [("b", "a"), ("a/b", "a"), ("a0", "a/b"), ("ü", "z"), ("a/b", "a-b"), ("a", "b", "a")]
)
def test_entries_out_of_byte_order_are_refused(paths):
    refuse(tar(*(entry(path) for path in paths)), "out of order")


@pytest.mark.parametrize("parent", [entry("a"), entry("a", b"x", executable=True), link("a", "b")])
@pytest.mark.parametrize("path", ["a/b", "a/b/c/d"])
def test_file_or_link_as_a_parent_of_another_is_refused(parent, path):
    refuse(tar(parent, entry("a-before", b""), entry(path)), "is not a directory")


def test_other_mtime_within_an_archive_is_refused():
    refuse(tar(entry("a"), entry("b", mtime=MTIME + 1)), "another mtime")
    refuse(tar(entry("a", mtime=0), entry("b", mtime=1)), "another mtime")


def test_mtime_at_its_borders_is_read():
    for mtime in (0, header.MAX_SIZE):
        assert read(tar(entry("a", mtime=mtime))).mtime == mtime


def test_empty_archive_is_refused():
    refuse(END, "archive is empty")
    refuse(b"", "ends early")


@pytest.mark.parametrize("more", [b"\0", b"\0" * 512, b"\0" * 9216, b"x", entry("b")], ids=short)
def test_anything_after_the_end_is_refused(more):
    refuse(TAR + more, "after the archive's first zero block")


def test_single_zero_block_is_no_end():
    refuse(TAR[:-512], "ends early")
    refuse(TAR[:-512] + entry("z"), "after the archive's first zero block")
    refuse(TAR[:-1] + b"\1", "after the archive's first zero block")


def test_archive_cut_at_any_byte_is_refused():
    for length in range(0, len(TAR), 13):
        refuse(TAR[:length])


def test_archive_that_ends_within_a_pax_header_is_refused():
    raw = entry("a" * 101)
    for length in (512, 700, 1024, 1100):
        refuse(raw[:length], "ends early")
    refuse(raw[:1024] + END, "only files and symlinks")


def test_no_bit_of_an_archive_may_flip_without_another_tree_or_a_refusal():
    raw = tar(entry("a", b"hello"), link("b" * 101, "a"))
    good = read(raw)
    for at in range(len(raw)):
        broken = bytearray(raw)
        broken[at] ^= 4
        try:
            other = read(bytes(broken))
        except Refused:
            continue
        assert other.tree != good.tree


class TestLimits:
    # three files and a link, in the directories b and b/zz
    def test_as_many_files_and_directories_as_allowed_are_read_and_one_more_refused(self):
        assert read(TAR, Limits(max_files=7))
        with refused(Reason.TOO_LARGE, "more than 6 files"):
            read(TAR, Limits(max_files=6))

    def test_deep_directories_count(self):
        deep = tar(entry("/".join("d" * 64)))
        assert read(deep, Limits(max_files=64))
        with refused(Reason.TOO_LARGE):
            read(deep, Limits(max_files=63))

    def test_as_many_bytes_as_allowed_are_read_and_one_more_refused(self):
        for reader, data in ((read, TAR), (read_zst, zst(TAR))):
            assert reader(data, Limits(max_bytes=len(TAR)))
            with refused(Reason.TOO_LARGE, f"than {len(TAR) - 1} bytes" if reader is read else "allowed"):
                reader(data, Limits(max_bytes=len(TAR) - 1))
