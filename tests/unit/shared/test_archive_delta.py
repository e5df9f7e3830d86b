"""Delta archives: base and delta make just the tree that was meant, and anything else is refused."""

from __future__ import annotations

import io
from typing import Any

import pytest

from dagferry_shared.archive.delta import MAX_PREFIX, Patched, read_delta
from dagferry_shared.archive.reader import Limits
from dagferry_shared.errors import Reason
from support import deltas
from support.bundles import File, Symlink, tree_of
from support.hostile_deltas import BAD, BASE, LONG, TWO, without
from support.refusals import refused


def read(data: bytes, base: dict[str, Any] | None = None, limits: Limits | None = None) -> Patched:
    known = deltas.MemoryBase(BASE if base is None else base)
    return read_delta(io.BytesIO(data), limits or Limits(), known)


GOOD = {
    "a file changes": without(**{"etl.py": "VERSION = 'two'\n"}),
    "a file comes": without(new="new\n"),
    "a file goes": without("names/ä.txt"),
    "a mode changes": without(**{"etl.py": File(b"VERSION = 'one'\n", executable=True)}),
    "a file becomes a link": without(**{"etl.py": Symlink("run.sh")}),
    "a link becomes a file": without(**{"same.py": "plain\n"}),
    "a link leads elsewhere": without(**{"same.py": Symlink("etl.py")}),
    "a file becomes a directory": without("etl.py", **{"etl.py/x": "x\n"}),
    "a directory becomes a file": without("d/e/f.py", "to", d="d\n"),
    "a file moves": without("big.py", **{"moved/big.py": BASE["big.py"]}),
    "all goes but one": {"etl.py": BASE["etl.py"]},
    "all changes": dict.fromkeys(BASE, "other\n"),
    "nothing changes": dict(BASE),
}


@pytest.mark.parametrize("name", GOOD)
def test_base_and_delta_make_the_tree(name: str) -> None:
    tree = GOOD[name]
    patched = read(deltas.make(BASE, tree))
    assert patched.tree == tree_of(tree)
    assert patched.leaves == deltas.MemoryBase(tree).leaves
    assert patched.links == {path: value.target for path, value in tree.items() if isinstance(value, Symlink)}
    assert patched.tar_size == len(deltas.tar_of(BASE, tree))
    old = deltas.MemoryBase(BASE).leaves
    assert patched.changed == {path for path, leaf in patched.leaves.items() if old.get(path) != leaf}


def test_sink_gets_the_new_files_and_no_links() -> None:
    class Sink:
        def __init__(self) -> None:
            self.files: dict[str, tuple[bytes, bool]] = {}

        def file(self, path: str, chunks: Any, *, executable: bool) -> None:
            self.files[path] = b"".join(chunks), executable

        def link(self, path: str, target: str) -> None:
            raise AssertionError(f"{path} -> {target}")

    sink = Sink()
    tree = without(**{"run.sh": File(b"#!/bin/bash\n", executable=True), "to": Symlink("lib"), "z": "z\n"})
    read_delta(io.BytesIO(deltas.make(BASE, tree)), Limits(), deltas.MemoryBase(BASE), sink)
    assert sink.files == {"run.sh": (b"#!/bin/bash\n", True), "z": (b"z\n", False)}


def test_prefix_makes_a_small_change_small() -> None:
    import random

    noise = random.Random(1).randbytes(100_000).hex()
    base, tree = {"a.py": noise}, {"a.py": noise[:50_000] + "changed" + noise[50_000:]}
    data = deltas.make(base, tree)
    assert len(data) < 400
    assert read(data, base).tree == tree_of(tree)
    assert len(deltas.make(base, tree, prefix=[])) > 90_000


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_delta_from_this_base_is_refused(name: str) -> None:
    data, text = BAD[name]
    with refused(Reason.BAD_ARCHIVE, text):
        read(data)


def test_more_than_the_limits_is_refused() -> None:
    data, size = deltas.make(BASE, TWO), len(deltas.tar_of(BASE, TWO))
    with refused(Reason.TOO_LARGE):
        read(data, limits=Limits(max_bytes=size - 1))
    with refused(Reason.TOO_LARGE, "files and directories"):
        read(data, limits=Limits(max_files=len(BASE) + 3))  # with d, d/e, lib and names: one too many
    read(data, limits=Limits(max_files=len(BASE) + 4, max_bytes=size))


def test_prefix_is_bounded() -> None:
    base = {"a": b"x" * (MAX_PREFIX - 1), "b": b"y", "c": b"z"}
    tree = {**base, "d": "d"}
    assert read(deltas.make(base, tree, prefix=["a", "b"]), base).tree == tree_of(tree)
    with refused(Reason.BAD_ARCHIVE, "more than 1048576 bytes"):
        read(deltas.make(base, tree, prefix=["a", "b", "c"]), base)


@pytest.mark.parametrize("path", ["etl.py", "same.py"])
def test_base_that_is_not_what_its_leaves_say_is_refused(path: str) -> None:
    known = deltas.MemoryBase(BASE)
    known.entries[path] = Symlink("run.sh") if path == "same.py" else File(b"VERSION = 'ill'\n")
    with refused(Reason.WRONG_TREE, "of the base is not as it was signed"):
        read_delta(io.BytesIO(deltas.make(BASE, TWO)), Limits(), known)


def test_delta_from_another_base_makes_another_tree_or_is_refused() -> None:
    other = without(**{"run.sh": "z = 1\n"})
    assert read(deltas.make(BASE, LONG), other).tree not in {tree_of(LONG), tree_of(other)}
    with refused(Reason.BAD_ARCHIVE, "damaged"):
        read(deltas.make(BASE, LONG), without(**{"big.py": "x = 2\n" * 200}))


def test_archive_reader_takes_no_delta() -> None:
    from dagferry_shared.archive.reader import read_archive

    with refused(Reason.BAD_ARCHIVE, "something follows it"):
        read_archive(io.BytesIO(deltas.make(BASE, TWO)), Limits())
