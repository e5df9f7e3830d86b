import pytest

from dagferry_shared.gittree import Leaf, Mode, blob_hasher, blob_id, tree_id
from support.gitid import git

EMPTY_TREE = {
    "sha1": "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    "sha256": "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
}
ALGORITHMS = ["sha256", "sha1"]


def write_tree(where, files, algorithm):
    """Let git compute the tree id of {path: bytes, or str for a link, or (bytes,) for an executable}."""
    git(where, "init", "-q", f"--object-format={algorithm}")
    for path, value in files.items():
        full = where / path
        full.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(value, str):
            full.symlink_to(value)
        else:
            full.write_bytes(value[0] if isinstance(value, tuple) else value)
            full.chmod(0o755 if isinstance(value, tuple) else 0o644)
    git(where, "-c", "core.autocrlf=false", "add", "-f", ".")
    return git(where, "write-tree").strip()


def leaves_of(files, algorithm):
    def leaf(value):
        if isinstance(value, str):
            return Leaf(Mode.LINK, blob_id(value.encode(), algorithm))
        if isinstance(value, tuple):
            return Leaf(Mode.EXECUTABLE, blob_id(value[0], algorithm))
        return Leaf(Mode.FILE, blob_id(value, algorithm))

    return {path: leaf(value) for path, value in files.items()}


FILES = {
    "b": b"",
    "a.txt": b"hello\r\n",
    "a/x": b"1",
    "a/deep/er/y": b"\0\xff" * 1000,
    "a-b": b"between a. and a/",
    "a0": b"after a/",
    "run.sh": (b"#!/bin/sh\n",),
    "link": "a/x",
    "a/up": "../b",
    "ü/日本.py": b"x = 1\n",
    "with space/and\ttab": b"",
    "Z": b"upper",
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_tree_id_is_the_one_that_git_write_tree_gives(tmp_path, algorithm):
    expected = write_tree(tmp_path, FILES, algorithm)
    for order in (sorted(FILES), sorted(FILES, reverse=True)):
        assert tree_id(leaves_of({path: FILES[path] for path in order}, algorithm), algorithm) == expected


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_empty_tree_and_blob_have_the_ids_that_git_knows(algorithm):
    assert tree_id({}, algorithm) == EMPTY_TREE[algorithm]
    known = {
        "sha1": "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
        "sha256": "473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813",
    }
    assert blob_id(b"", algorithm) == known[algorithm]


def test_blob_in_pieces_has_the_id_of_the_whole():
    hasher = blob_hasher(6)
    hasher.update(b"foo")
    hasher.update(b"bar")
    assert hasher.hexdigest() == blob_id(b"foobar")


def test_mode_and_name_and_content_change_the_id():
    base = {"a": Leaf(Mode.FILE, blob_id(b"x"))}
    others = [
        {"a": Leaf(Mode.EXECUTABLE, blob_id(b"x"))},
        {"a": Leaf(Mode.LINK, blob_id(b"x"))},
        {"b": Leaf(Mode.FILE, blob_id(b"x"))},
        {"a": Leaf(Mode.FILE, blob_id(b"y"))},
        {"a/a": Leaf(Mode.FILE, blob_id(b"x"))},
    ]
    assert len({tree_id(tree) for tree in [base, *others]}) == 6


@pytest.mark.parametrize("paths", [("a", "a/b"), ("a/b", "a"), ("a/b/c", "a/b"), ("a/b", "a/b/c/d")])
def test_file_that_is_a_parent_of_another_is_no_tree(paths):
    with pytest.raises(ValueError, match=r"below a file|there twice"):
        tree_id(dict.fromkeys(paths, Leaf(Mode.FILE, blob_id(b""))))
