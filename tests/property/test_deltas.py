"""Base and delta make what the whole archive makes, for any two trees: in the reader, and on disk."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dagferry_puller.glance import Glance
from dagferry_puller.reuse import Base, DiskBase, Reuse
from dagferry_shared.archive.delta import read_delta
from dagferry_shared.archive.extract import Extractor, extract_archive
from dagferry_shared.archive.reader import Limits
from dagferry_shared.errors import Reason, Refused
from dagferry_shared.gittree import tree_id
from property import strategies as some
from support import deltas
from support.bundles import File, Symlink, archive_bytes, tree_of
from support.gitid import tree_of as tree_on_disk

names = st.sampled_from(["a", "b", "b.py", "b-", "c", "ä"])


@st.composite
def pairs(draw: Any) -> tuple[dict[str, File | Symlink], dict[str, File | Symlink]]:
    """Draw two trees of few names, so that they have much in common."""
    found = []
    for _ in range(2):
        tree = draw(some.trees(names=names))
        found.append({path: _entry(value, draw) for path, value in tree.items()})
    if draw(st.booleans()):  # mostly the same
        old, new = found
        merged = {**old, **{path: value for path, value in new.items() if path in old}}
        try:
            read_delta(io.BytesIO(deltas.make(old, merged)), Limits(), deltas.MemoryBase(old))
        except Refused:
            return old, new
        return old, merged
    return found[0], found[1]


def _entry(value: bytes | str, draw: Any) -> File | Symlink:
    return Symlink(value) if isinstance(value, str) else File(value, executable=draw(st.booleans()))


@given(pairs())
def test_reader_finds_the_tree_that_was_meant(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    base, tree = pair
    patched = read_delta(io.BytesIO(deltas.make(base, tree)), Limits(), deltas.MemoryBase(base))
    assert patched.leaves == deltas.MemoryBase(tree).leaves
    assert patched.tree == tree_of(tree)
    assert patched.links == {path: value.target for path, value in tree.items() if isinstance(value, Symlink)}


@given(pairs(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_puller_makes_on_disk_what_the_archive_makes(pair: tuple[dict[str, Any], dict[str, Any]], link: bool) -> None:
    base, tree = pair
    with tempfile.TemporaryDirectory() as top:
        fds = []
        for name in ("old", "new"):
            os.mkdir(f"{top}/{name}")
            fds.append(os.open(f"{top}/{name}", os.O_RDONLY | os.O_DIRECTORY))
        try:
            manifest = extract_archive(io.BytesIO(archive_bytes(base)), fds[0], Limits())
            known = Base("old", manifest.tree, Glance(fds[0], manifest.leaves), lambda _: None)
            with Extractor(fds[1]) as sink:
                disk = DiskBase(known, fds[0])
                patched = read_delta(io.BytesIO(deltas.make(base, tree)), Limits(), disk, sink)
                kept = [path for path in patched.leaves if path not in patched.changed and path not in patched.links]
                Reuse(known, fds[0], sink, link=link).fill(kept)
                for path, target in patched.links.items():
                    sink.link(path, target)
                sink.finish()
        finally:
            for fd in fds:
                os.close(fd)
        assert tree_on_disk(Path(top, "new")) == tree_of(tree)
        assert tree_on_disk(Path(top, "old")) == tree_of(base)
        assert known.linked.keys() == (set(kept) if link else set())
        for path in kept:
            assert os.path.samefile(f"{top}/old/{path}", f"{top}/new/{path}") is link
        for path, _, _ in os.walk(f"{top}/new"):
            assert os.stat(path).st_mode & 0o7777 == 0o555


@given(pairs(), some.trees(names=names))
def test_delta_never_makes_its_tree_from_another_base(
    pair: tuple[dict[str, Any], dict[str, Any]], other: dict[str, Any]
) -> None:
    base, tree = pair
    different = {path: Symlink(v) if isinstance(v, str) else File(v) for path, v in other.items()}
    known = deltas.MemoryBase(different)
    try:
        patched = read_delta(io.BytesIO(deltas.make(base, tree)), Limits(), known)
    except Refused as refusal:
        assert refusal.reason in {Reason.BAD_ARCHIVE, Reason.WRONG_TREE}  # noqa: PT017 - either way is fine
        return
    assert patched.tree == tree_id(patched.leaves)
    assert (patched.tree == tree_of(tree)) <= (patched.leaves == deltas.MemoryBase(tree).leaves)
