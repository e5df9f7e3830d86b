"""Every flipped bit and every truncation of an archive of 30 files is refused, or changes nothing at all.

A tar has no checksum over its content: there, what the reader takes must be another tree than the one that was signed,
which is refused as such (``Release.check_archive``).
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING

import pytest

from dagferry_shared.archive.reader import Limits, Manifest, read_tar
from dagferry_shared.errors import Reason, Refused
from dagferry_shared.release import ArchiveInfo
from support.docs import a_release
from support.handmade import frame
from support.scale import scale
from support.tars import read_zst, tree, zst

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from dagferry_shared.release import Release

FILES: dict[str, bytes | str] = {
    **{f"dags/team_{n % 5}/dag_{n}.py": b"x = %d\n" % n for n in range(20)},
    **{f"lib/part_{n}/__init__.py": b"" for n in range(5)},
    "latest.py": "dags/team_1/dag_1.py",
    "run.sh": b"#!/bin/sh\n",
    "to/" + "n" * 100: b"a path in a pax header\n",
    "to/it": "n" * 100,
    "übersicht.md": "Übersicht\n".encode(),
}
TAR = tree(FILES, executable=frozenset({"run.sh"}))
ARCHIVES = {f"level {level}": zst(TAR, compression_level=level) for level in (1, 9, 19)}
SHARDS = 8  # for two cores, and so that a failure names its place


def read_whole(data: bytes) -> Manifest:
    return read_tar([data] if data else [], Limits())


@cache
def good() -> Manifest:
    return read_whole(TAR)


def signed() -> Release:
    return a_release(
        tree=good().tree,
        archive=ArchiveInfo(hashlib.sha256(b"").hexdigest(), 1, len(TAR), len(FILES)),
    )


def flipped(data: bytes, bits: Iterable[int]) -> Iterator[tuple[int, bytes]]:
    broken = bytearray(data)
    for bit in bits:
        broken[bit // 8] ^= 1 << bit % 8
        yield bit, bytes(broken)
        broken[bit // 8] ^= 1 << bit % 8


def shard_of(bits: Iterable[int], shard: int) -> list[int]:
    return [bit for number, bit in enumerate(bits) if number % SHARDS == shard]


def headers() -> list[int]:
    """Where the tar's headers are: blocks with ustar's magic in them."""
    return [at for at in range(0, len(TAR), 512) if TAR[at + 257 : at + 263] == b"ustar\0"]


def tar_bits() -> list[int]:
    """Every bit of every byte in a header that is set, and of the one behind it; of all other zeros one in so many."""
    fields = {at for start in headers() for at in range(start, start + 512) if TAR[at] or TAR[at - 1]}
    zeros = [at for at in range(len(TAR)) if at not in fields][:: scale(7, 1)]
    return [at * 8 + bit for at in sorted([*fields, *zeros]) for bit in range(8)]


def refusal(read: Callable[[], object]) -> Reason | None:
    """Return why this is refused; None if it is not."""
    try:
        read()
    except Refused as refused:
        return refused.reason
    return None


def test_archive_of_this_suite_has_30_files_and_every_kind_of_header() -> None:
    assert len(FILES) == 30
    assert {TAR[at + 156 : at + 157] for at in headers()} == {b"0", b"2", b"x"}
    signed().check_archive(good())
    for archive in ARCHIVES.values():
        assert read_zst(archive) == good()


def harmless(archive: bytes, bits: Iterable[int]) -> int:
    """Return how many flips change nothing; every other one must be refused."""
    count = 0
    for bit, broken in flipped(archive, bits):
        found: list[Manifest] = []
        reason = refusal(lambda broken=broken, found=found: found.append(read_zst(broken)))
        assert found == [good()] if reason is None else reason in {Reason.BAD_ARCHIVE, Reason.TOO_LARGE}, f"bit {bit}"
        count += reason is None
    return count


@pytest.mark.parametrize("archive", ARCHIVES.values(), ids=ARCHIVES)
def test_every_flipped_bit_of_a_compressed_archive(
    archive: bytes, record_property: Callable[[str, object], None]
) -> None:
    # the descriptor's unused bit, a larger window, spare bits of an entropy table's description
    assert harmless(archive, range(len(archive) * 8)) <= 80
    record_property("bit flips", len(archive) * 8)


@pytest.mark.parametrize("archive", [*ARCHIVES.values(), frame(TAR)], ids=[*ARCHIVES, "raw blocks"])
def test_every_truncation_of_a_compressed_archive(
    archive: bytes, record_property: Callable[[str, object], None]
) -> None:
    for length in range(len(archive)):
        assert refusal(lambda cut=archive[:length]: read_zst(cut)) is Reason.BAD_ARCHIVE, length
    record_property("truncations", len(archive))


@pytest.mark.parametrize("shard", range(SHARDS))
def test_every_flipped_bit_of_a_tar(shard: int, record_property: Callable[[str, object], None]) -> None:
    release, bits = signed(), shard_of(tar_bits(), shard)
    for bit, broken in flipped(TAR, bits):
        reason = refusal(lambda broken=broken: release.check_archive(read_whole(broken)))
        assert reason in {Reason.BAD_ARCHIVE, Reason.WRONG_TREE}, f"bit {bit}"
    record_property("bit flips", len(bits))


@pytest.mark.parametrize("shard", range(SHARDS))
def test_every_truncation_of_a_tar(shard: int, record_property: Callable[[str, object], None]) -> None:
    lengths = [n for n in range(len(TAR)) if n % scale(5, 1) == 0 or n % 512 in {1, 511}][shard::SHARDS]
    for length in lengths:
        assert refusal(lambda cut=TAR[:length]: read_whole(cut)) is Reason.BAD_ARCHIVE, length
    record_property("truncations", len(lengths))


def test_bit_flips_of_a_tar_in_raw_blocks(record_property: Callable[[str, object], None]) -> None:
    """Here a flip that makes another canonical tar is caught by the frame's checksum, before anything is signed."""
    archive = frame(TAR)
    bits = range(0, len(archive) * 8, scale(61, 3))
    assert harmless(archive, bits) <= 8  # the unused bit, another window
    record_property("bit flips", len(bits))
