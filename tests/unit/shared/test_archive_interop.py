"""An accepted archive is an ordinary one: other tools unpack it to the same tree."""

import io
import subprocess
import tarfile

import pytest

from support.gitid import tree_of
from support.tars import MTIME, read, tree, zst

FILES = {
    "a.py": b"x = 1\n",
    "run.sh": b"#!/bin/sh\nexit 0\n",
    "empty": b"",
    "p" * 100: b"exactly 100",
    "p" * 101: b"101",
    "dir/" * 40 + "long.py": b"path over 100 bytes",
    "n" * 255: b"longest name",
    "/".join(["c" * 250] * 4): b"about 1 KiB",
    "ü/日本/🚀.py": b"non-ascii",
    ("ü" * 60) + ".py": b"non-ascii and long",
    "links/short": "../a.py",
    "links/long": "../" + "dir/" * 40 + "long.py",
    "links/100": "../" + "p" * 100,
    "links/dir": "../ü",
    "links/unicode": "../ü/日本/🚀.py",
    "links/" + "l" * 200: "../" + "n" * 255,
    "@LongNameInPaxHeader": b"the placeholder as a name",
    "with space and 'quotes' \"": b"",
    "-rf": b"",
}
TAR = tree(FILES, executable=frozenset({"run.sh"}))


@pytest.fixture
def expected():
    return read(TAR).tree


def test_gnu_tar_unpacks_to_the_same_tree(tmp_path, expected):
    (tmp_path / "a.tar").write_bytes(TAR)
    (tmp_path / "out").mkdir()
    done = subprocess.run(["tar", "-xf", "../a.tar"], cwd=tmp_path / "out", capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert tree_of(tmp_path / "out") == expected
    assert int((tmp_path / "out/a.py").stat().st_mtime) == MTIME


def test_zstd_and_gnu_tar_unpack_the_compressed_archive(tmp_path, expected):
    (tmp_path / "a.tar.zst").write_bytes(zst(TAR))
    (tmp_path / "out").mkdir()
    plain = subprocess.run(["zstd", "-dc", "a.tar.zst"], cwd=tmp_path, capture_output=True, check=True).stdout
    assert plain == TAR
    subprocess.run(["tar", "-xf", "-"], cwd=tmp_path / "out", input=plain, check=True)
    assert tree_of(tmp_path / "out") == expected


def test_python_tarfile_unpacks_to_the_same_tree(tmp_path, expected):
    with tarfile.open(fileobj=io.BytesIO(TAR)) as archive:
        archive.extractall(tmp_path / "out", filter="tar")
    assert tree_of(tmp_path / "out") == expected


def test_python_tarfile_sees_the_same_entries():
    with tarfile.open(fileobj=io.BytesIO(TAR)) as archive:
        assert [info.name for info in archive] == list(read(TAR).leaves)
