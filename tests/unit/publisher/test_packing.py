"""The archive writer's corners: windows, sizes, and what is in the archive already."""

from __future__ import annotations

import io
import random
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import zstandard

from dagferry_publisher import archive
from dagferry_publisher.archive import MAX_LEVEL, _compressor, _header, pack, tar_size
from dagferry_publisher.gitrepo import Repo, TreeEntry
from dagferry_publisher.tree import Item, check_not_lfs, select
from dagferry_shared.ahead import ahead
from dagferry_shared.archive.frame import MAX_WINDOW
from dagferry_shared.archive.header import MAX_SIZE
from dagferry_shared.archive.reader import Limits
from dagferry_shared.errors import Reason, Refused
from dagferry_shared.gittree import Mode
from dagferry_shared.release import Selection

if TYPE_CHECKING:
    from collections.abc import Generator

    from support.gitrepos import GitRepo


@pytest.mark.parametrize("level", [1, 9, MAX_LEVEL])
@pytest.mark.parametrize("size", [100, 2**20, 2**33])
def test_no_level_and_size_makes_a_window_that_pullers_refuse(level: int, size: int) -> None:
    frame = _compressor(level, size).compressobj(size=-1).compress(b"x") or b""
    compressor = _compressor(level, size).compressobj()
    frame = compressor.compress(b"x") + compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    parameters = zstandard.get_frame_parameters(frame)
    assert parameters.window_size <= MAX_WINDOW
    assert parameters.has_checksum
    assert parameters.dict_id == 0


def test_a_file_larger_than_a_tar_entry_holds_is_refused() -> None:
    def item(size: int) -> Item:
        return Item("big", Mode.FILE, TreeEntry("100644", "0" * 40, size, b"big"))

    assert len(_header(item(MAX_SIZE), 0)) == 512
    with pytest.raises(Refused) as refusal:
        _header(item(MAX_SIZE + 1), 0)
    assert refusal.value.reason is Reason.TOO_LARGE


def test_files_of_many_pieces_are_packed_whole_and_the_size_is_known_before(repo: GitRepo) -> None:
    data = random.Random(7).randbytes(700_001)
    commit = repo.commit({"dags/big.bin": data, "dags/empty": b"", "dags/block": b"x" * 512})
    clone = Repo(repo.path)
    items = select(clone, commit, ["dags"], Selection())
    out = io.BytesIO()
    packed = pack(clone, items, 0, out)
    assert packed.manifest.tar_size == tar_size(items, {})
    assert zstandard.get_frame_parameters(out.getvalue()).content_size == packed.manifest.tar_size
    assert packed.size == len(out.getvalue())


def test_large_tree_is_packed_by_a_thread_into_the_same_bytes(repo: GitRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(8)
    sizes = [0, 1, 511, 512, 513, 255_000, 2_000, 700_001] * 5
    commit = repo.commit({f"dags/{n:02}": chance.randbytes(size // 2).hex().encode() for n, size in enumerate(sizes)})
    clone, results, threads = Repo(repo.path), [], []

    def counted(pieces: Generator[bytes]) -> Generator[bytes]:
        threads.append(len(results))
        return ahead(pieces)

    monkeypatch.setattr(archive, "ahead", counted)
    items = select(clone, commit, ["dags"], Selection())
    for large in (2**40, 0):
        monkeypatch.setattr(archive, "LARGE_BYTES", large)
        out = io.BytesIO()
        results.append((pack(clone, items, 0, out), out.getvalue()))
    assert results[0] == results[1]
    assert threads == [1]


def children() -> list[str]:
    """Name the processes that this one has started."""
    found = " ".join(path.read_text() for path in Path("/proc/self/task").glob("*/children")).split()
    return [Path(f"/proc/{pid}/comm").read_text().strip() for pid in found]


@pytest.mark.parametrize("large", [2**40, 0])
def test_what_cannot_be_packed_is_refused_and_git_is_ended(
    repo: GitRepo, monkeypatch: pytest.MonkeyPatch, large: int
) -> None:
    monkeypatch.setattr(archive, "LARGE_BYTES", large)
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
    commit = repo.commit({"dags/a": b"x" * 3_000_000, "dags/m": pointer, "dags/z": b"y" * 3_000_000})
    clone = Repo(repo.path)
    items = select(clone, commit, ["dags"], Selection())
    with pytest.raises(Refused, match="Git LFS pointer"):
        pack(clone, items, 0, io.BytesIO())
    assert "ahead" not in {thread.name for thread in threading.enumerate()}
    assert "git" not in children(), "none is left, not even a dead one"


def test_the_pullers_limits_are_applied_before_anything_is_uploaded(repo: GitRepo) -> None:
    clone = Repo(repo.path)
    items = select(clone, "HEAD", ["dags"], Selection())
    with pytest.raises(Refused) as refusal:
        pack(clone, items, 0, io.BytesIO(), limits=Limits(max_bytes=1024))
    assert refusal.value.reason is Reason.TOO_LARGE


def test_a_commit_time_beyond_what_tar_holds_is_cut(repo: GitRepo) -> None:
    clone = Repo(repo.path)
    items = select(clone, "HEAD", ["dags"], Selection())
    assert pack(clone, items, 2**62, io.BytesIO()).manifest.mtime == MAX_SIZE


@pytest.mark.parametrize("spec", ["https://git-lfs.github.com/spec/v1", "https://hawser.github.com/spec/v1"])
def test_lfs_pointers_of_both_names_are_known(spec: str) -> None:
    head = f"version {spec}\noid sha256:0\n".encode()
    entry = TreeEntry("100644", "0" * 40, len(head), b"m")
    with pytest.raises(Refused, match="Git LFS pointer"):
        check_not_lfs(Item("m", Mode.FILE, entry), head)
    check_not_lfs(Item("m", Mode.LINK, entry), head)
