"""Whatever the reader accepts, GNU tar and Python's tarfile unpack to the same tree; what they write, it refuses.

Trees are hashed from the disk by a walk of its own, which shares no line with ``dagferry_shared.gittree``.
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dagferry_shared.archive.reader import Limits, Manifest, read_archive, read_tar
from dagferry_shared.errors import Reason, Refused
from property import strategies as some
from support import handmade, hostile_names, hostile_tars
from support.refusals import refused
from support.scale import scale
from support.tars import END, MTIME, patch, read, tree

if TYPE_CHECKING:
    from collections.abc import Callable

FAITHFUL = ("--extract", "--preserve-permissions", "--no-same-owner", "--warning=no-timestamp", "--file=-")
QUIET = settings(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    max_examples=scale(60, 2000),
)


def _object(kind: bytes, body: bytes) -> bytes:
    return hashlib.sha256(b"%s %d\0%s" % (kind, len(body), body)).digest()


def disk_tree(where: bytes) -> bytes:
    """Return git's SHA-256 id of a directory as it lies on the disk."""
    rows = []
    for name in os.listdir(where):
        full = os.path.join(where, name)
        if os.path.islink(full):
            rows.append((name, b"120000", _object(b"blob", os.readlink(full))))
        elif os.path.isdir(full):
            rows.append((name + b"/", b"40000", disk_tree(full)))
        else:
            mode = b"100755" if os.stat(full).st_mode & 0o100 else b"100644"
            rows.append((name, mode, _object(b"blob", Path(os.fsdecode(full)).read_bytes())))
    body = b"".join(b"%s %s\0%s" % (mode, key.rstrip(b"/"), digest) for key, mode, digest in sorted(rows))
    return _object(b"tree", body)


def by_gnu_tar(data: bytes, where: str) -> None:
    done = subprocess.run(["tar", *FAITHFUL], cwd=where, input=data, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def by_tarfile(data: bytes, where: str) -> None:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        archive.extractall(where, filter="tar")


def same_everywhere(data: bytes, manifest: Manifest) -> None:
    """Demand that both unpack to the tree that the reader names."""
    for unpack in (by_gnu_tar, by_tarfile):
        with tempfile.TemporaryDirectory() as where:
            unpack(data, where)
            assert disk_tree(where.encode()).hex() == manifest.tree, unpack.__name__


@given(files=some.trees(), data=st.data())
@QUIET
def test_archive_of_any_tree_is_the_same_to_others(files: dict[str, bytes | str], data: Any) -> None:
    plain = [path for path, value in files.items() if isinstance(value, bytes)]
    raw = tree(files, executable=data.draw(st.frozensets(st.sampled_from(plain))))
    same_everywhere(raw, read(raw))


@pytest.mark.parametrize("name", hostile_names.AT_THE_BOUND)
def test_archive_at_a_bound_is_the_same_to_others(name: str) -> None:
    raw = hostile_names.AT_THE_BOUND[name]
    same_everywhere(raw, read(raw))


BASE = handmade.tar(
    handmade.member(b"a.py", b"x = 1\n"),
    handmade.member(b"b/c.py", b"y" * 700),
    handmade.link(b"b/l", b"../a.py"),
    handmade.long_member(b"d/" * 60 + b"e", b"z"),
    handmade.member(b"run", b"#!", mode=b"0000755\0"),
)
FIELDS = {
    "name": (0, 100),
    "mode": (100, 8),
    "size": (124, 12),
    "time": (136, 12),
    "kind": (156, 1),
    "link": (157, 100),
}


@st.composite
def mutated(draw: Any) -> bytes:
    """Draw a tar whose headers were changed and given a right checksum, or whose blocks were moved, or both."""
    blocks = [BASE[at : at + 512] for at in range(0, len(BASE), 512)]
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(blocks) - 1))
        how = draw(st.sampled_from(["field", "field", "field", "byte", "copy", "swap", "drop"]))
        if how == "field":
            start, length = FIELDS[draw(st.sampled_from(sorted(FIELDS)))]
            other = draw(st.sampled_from(blocks))[start : start + length]
            value = draw(
                st.just(other) | st.binary(max_size=length) | st.sampled_from([b"a", b"b/z", b"e\0", b"0000755"])
            )
            blocks[at] = patch(blocks[at], start, value[:length])
        elif how == "byte":
            where = draw(st.integers(0, 511))
            blocks[at] = blocks[at][:where] + draw(st.binary(min_size=1, max_size=1)) + blocks[at][where + 1 :]
        elif how == "copy":
            blocks.insert(at, draw(st.sampled_from(blocks)))
        elif how == "swap":
            other = draw(st.integers(0, len(blocks) - 1))
            blocks[at], blocks[other] = blocks[other], blocks[at]
        elif len(blocks) > 1:
            del blocks[at]
    return b"".join(blocks)


def test_mutated_archive_that_is_accepted_is_the_same_to_others(record_property: Callable[[str, object], None]) -> None:
    accepted: set[bytes] = set()

    @given(mutated())
    @settings(QUIET, max_examples=scale(1500, 30_000))
    def run(raw: bytes) -> None:
        try:
            manifest = read(raw)
        except Refused:
            return
        if raw not in accepted:
            accepted.add(raw)
            same_everywhere(raw, manifest)

    run()
    assert len(accepted) >= 20, "the mutations no longer get past the reader: they show nothing"
    record_property("mutants that other tars agree on", len(accepted))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory that a canonical archive could hold: modes, owner and times are right."""
    top = tmp_path / "source"
    (top / "b").mkdir(parents=True)
    (top / "a.py").write_text("x = 1\n")
    (top / "b" / ("n" * 120)).write_text("long\n")
    (top / "run").write_text("#!/bin/sh\n")
    (top / "z").symlink_to("a.py")
    for path in [top, *top.rglob("*")]:
        os.utime(path, (MTIME, MTIME), follow_symlinks=False)
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.name == "run" else 0o644)
    return top


def only_if_canonical(data: bytes, source: Path) -> bool:
    """Tell whether the reader takes it, and then that it is byte for byte what our own encoder writes."""
    try:
        manifest = read_tar([data] if data else [], Limits())
    except Refused as refusal:
        assert refusal.reason is Reason.BAD_ARCHIVE  # noqa: PT017 - either way is fine
        return False
    files: dict[str, bytes | str] = {}
    for path in manifest.leaves:
        full = source / path
        files[path] = os.readlink(full) if full.is_symlink() else full.read_bytes()
    assert data == tree(files, executable=frozenset({"run"}))
    return True


NAMES = ["a.py", "b/" + "n" * 120, "run", "z"]


@pytest.mark.parametrize("fmt", ["v7", "oldgnu", "gnu", "ustar", "posix"])
@pytest.mark.parametrize("names", [NAMES, ["a.py"], ["."]], ids=["all", "one", "directory"])
@pytest.mark.parametrize("ending", ["records", "two blocks"])
def test_what_gnu_tar_writes_is_refused_unless_canonical(source: Path, fmt: str, names: list[str], ending: str) -> None:
    plain = ["--owner=0", "--group=0", "--numeric-owner", f"--mtime=@{MTIME}", "--sort=name", "--format", fmt]
    blocking = ["-b", "1"] if ending == "two blocks" else []
    command = ["tar", "--create", "--file=-", *blocking, *plain, *names]
    done = subprocess.run(command, cwd=source, capture_output=True)
    if fmt == "v7" and names == NAMES:
        assert done.returncode  # it cannot hold the long name
    canonical = (fmt, names, ending) == ("ustar", ["a.py"], "two blocks")
    assert only_if_canonical(done.stdout, source) is canonical


@pytest.mark.parametrize(
    "fmt", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=["ustar", "gnu", "pax"]
)
@pytest.mark.parametrize("names", [NAMES, ["a.py"], ["."]], ids=["all", "one", "directory"])
def test_what_tarfile_writes_is_refused_unless_canonical(source: Path, fmt: int, names: list[str]) -> None:
    def plain(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if fmt == tarfile.USTAR_FORMAT and len(info.name) > 100:
            return None
        info.uid, info.gid, info.uname, info.gname = 0, 0, "", ""
        info.mode = 0o644 if info.issym() else info.mode
        return info

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=fmt) as archive:
        for name in names:
            archive.add(source / name, name, filter=plain)
        members = archive.offset
    raw = out.getvalue()
    assert not only_if_canonical(raw, source)  # padded to records of 10 KiB
    only_if_canonical(raw[:members] + END, source)


@pytest.mark.parametrize("row", hostile_tars.ROWS)
def test_compressed_by_zstd_itself_hostile_tars_are_refused_all_the_same(row: str) -> None:
    for variant, (data, text) in hostile_tars.ROWS[row].items():
        raw = subprocess.run(["zstd", "-q", "-c", f"--stream-size={len(data)}"], input=data, capture_output=True).stdout
        with refused(Reason.BAD_ARCHIVE, text):
            read_archive(io.BytesIO(raw), Limits())
        assert variant
