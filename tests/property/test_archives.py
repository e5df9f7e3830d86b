import io
import os
import sys
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from dagferry_shared.archive import header
from dagferry_shared.archive.extract import extract_archive
from dagferry_shared.archive.header import Header
from dagferry_shared.archive.paths import check_path
from dagferry_shared.archive.reader import Limits
from dagferry_shared.errors import Refused
from dagferry_shared.gittree import Leaf, Mode, blob_id, tree_id
from property import strategies as some
from support.gitid import git, tree_of
from support.tars import entry, link, read, read_zst, tar, tree, zst

octal = st.integers(0, header.MAX_SIZE)
raw_names = st.binary(min_size=1, max_size=300).filter(lambda raw: b"\0" not in raw and b"\n" not in raw)


@given(raw_names, st.booleans(), octal, octal, st.just(b"") | raw_names)
def test_header_round_trips(path, executable, size, mtime, target):
    wanted = Header(path, executable and not target, 0 if target else size, mtime, target)
    raw = header.encode(wanted)
    block, pax = raw[:512], {}
    if header.kind(block) == header.PAX:
        size = header.pax_size(block)
        pax = header.pax_values(raw[512 : 512 + size])
        block = raw[512 + size + header.padding(size) :]
    assert header.decode(block, pax, raw) == wanted
    assert len(raw) % 512 == 0


@given(st.dictionaries(st.sampled_from([b"path", b"linkpath"]), st.binary(min_size=1, max_size=1100), min_size=1))
def test_pax_records_round_trip(values):
    records = b"".join(header.pax_record(key, value) for key, value in values.items())
    assert header.pax_values(records) == values


def leaves_of(files, executable=frozenset()):
    return {
        path: Leaf(Mode.LINK, blob_id(value.encode()))
        if isinstance(value, str)
        else Leaf(Mode.EXECUTABLE if path in executable else Mode.FILE, blob_id(value))
        for path, value in files.items()
    }


@given(some.trees(), st.data())
@settings(max_examples=80)
def test_archive_that_was_written_is_read(files, data):
    executable = data.draw(st.frozensets(st.sampled_from([p for p, v in files.items() if isinstance(v, bytes)])))
    raw = tree(files, executable=executable)
    manifest = read_zst(zst(raw))
    assert manifest == read(raw)
    assert manifest.leaves == leaves_of(files, executable)


@given(some.trees())
@settings(max_examples=25)
def test_archive_that_is_unpacked_is_its_tree(files):
    raw = tree(files)
    with tempfile.TemporaryDirectory() as where:
        fd = os.open(where, os.O_RDONLY | os.O_DIRECTORY)
        try:
            manifest = extract_archive(io.BytesIO(zst(raw)), fd, Limits(), writable=True)
        finally:
            os.close(fd)
        assert tree_of(where) == manifest.tree == tree_id(leaves_of(files))


@given(some.trees(max_files=6), st.data())
@settings(max_examples=60)
def test_accepted_tar_has_no_second_spelling(files, data):
    """Whatever is accepted is byte for byte what its own entries encode to."""
    raw = bytearray(tree(files))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    try:
        manifest = read(bytes(raw))
    except Refused:
        return
    assert manifest.tree != read(tree(files)).tree


@given(st.permutations(["a", "a-b", "a.b", "a/b", "a0", "b"]), st.integers(1, 6))
def test_only_sorted_distinct_entries_without_files_as_parents_are_accepted(order, count):
    chosen = order[:count]
    good = chosen == sorted(chosen) and not {"a", "a/b"} <= set(chosen)
    try:
        read(tar(*(entry(path) for path in chosen)))
    except Refused:
        assert not good
    else:
        assert good


@given(some.paths)
def test_drawn_paths_are_valid_and_what_is_valid_stays_below_the_root(path):
    assert check_path(path) == path
    assert os.path.normpath(os.path.join("/root", path)) == f"/root/{path}"


link_paths = st.sampled_from(["l", "a/l", "bb/l", "bb/a/l", "c/d/l"])
targets = st.lists(st.sampled_from(["..", "a", "b", "bb", "c", "d", "l"]), min_size=1, max_size=4).map("/".join)


@given(link_paths, targets)
@settings(max_examples=200)
def test_accepted_link_leads_inside_when_the_kernel_follows_it(path, target):
    files = {"a/a": b"", "b": b"1", "bb/a/b": b""}
    try:
        rows = sorted([*files.items(), (path, target)])
        read(tar(*(link(p, v) if isinstance(v, str) else entry(p, v) for p, v in rows)))
    except Refused:
        return
    with tempfile.TemporaryDirectory() as where:
        for name, content in files.items():
            full = Path(where, name)
            full.parent.mkdir(parents=True, exist_ok=True)
            full.write_bytes(content)
        full = Path(where, path)
        full.parent.mkdir(parents=True, exist_ok=True)
        full.symlink_to(target)
        led_to = full.resolve(strict=True)
        assert led_to.is_relative_to(Path(where).resolve())
        assert not full.parent.resolve().is_relative_to(led_to)


# git would need core.quotePath off and a UTF-8 file system; both are given here
@given(some.trees(max_files=6), st.sampled_from(["sha256", "sha1"]))
@settings(max_examples=12)
def test_tree_id_is_what_real_git_computes(files, algorithm):
    assert sys.getfilesystemencoding() == "utf-8"
    with tempfile.TemporaryDirectory() as where:
        for path, value in files.items():
            full = Path(where, path)
            full.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(value, str):
                full.symlink_to(value)
            else:
                full.write_bytes(value)
        git(where, "init", "-q", f"--object-format={algorithm}")
        git(where, "-c", "core.autocrlf=false", "add", "-f", ".")
        expected = git(where, "write-tree").strip()
    leaves = {
        path: Leaf(Mode.LINK, blob_id(value.encode(), algorithm))
        if isinstance(value, str)
        else Leaf(Mode.FILE, blob_id(value, algorithm))
        for path, value in files.items()
    }
    assert tree_id(leaves, algorithm) == expected
