"""Hostile delta archives, signed by CI's key (the worst case): none is taken over, and the whole archive is instead."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_puller.status import Outcome
from dagferry_shared.archive.delta import read_delta
from dagferry_shared.archive.reader import Limits
from dagferry_shared.errors import Reason, Refused
from support import deltas, handmade, hostile_frames, hostile_names, hostile_tars
from support.attacker import Target, up_to_archive, up_to_release
from support.bundles import compress, tar_bytes, tree_of
from support.hostile_deltas import BAD, BASE, LONG, TWO
from support.refusals import refused
from support.scale import scale

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.bundles import Published

HEAD = compress(deltas.head([], []))
ROWS: dict[str, tuple[bytes, str]] = {
    **BAD,
    **{
        f"body {row}-{variant}": (HEAD + handmade.frame(data), text)
        for row, variants in hostile_tars.ROWS.items()
        for variant, (data, text) in list(variants.items())[:2]
        if text != "archive is empty"  # that is for the result to say
    },
    **{
        f"body {row}-{variant}": (HEAD + data, text)
        for row, rows in hostile_frames.ROWS.items()
        for variant, (data, text) in list(rows.items())[:4]
        if data
    },
    **{
        f"head {row}-{variant}": (data + compress(tar_bytes({"a": "x"})), "")
        for row, rows in hostile_frames.ROWS.items()
        for variant, (data, _) in list(rows.items())[:4]
    },
}


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Target]:
    """A pod with BASE live."""
    made = Target(tmp_path, no_fsync="true")
    made.accepts(made.simulator.publish(BASE, "one"))
    yield made
    made.close()
    assert not os.path.lexists(hostile_names.ESCAPE)
    assert not os.path.lexists("/x")


def falls_back(pod: Target, published: Published, reason: Reason, *, fetched: bool = True) -> None:
    """Demand that a sync refuses the delta, says so, and makes the version live out of the archive."""
    pod.requests()
    assert pod.puller.sync() is Outcome.SWAPPED
    delta = [f"archive {published.release.archive.deltas[0].sha256}"] if fetched else []
    assert pod.requests() == [*up_to_release(published), *delta, up_to_archive(published)[-1]]
    sight = pod.look()
    assert (sight.link, sight.tree) == (f"versions/{published.version}", published.release.tree)
    status = pod.recorder.snapshot()
    assert (status.refusals, status.patches["refused"], status.patches["made"]) == ({reason: 1}, 1, 0)
    pod.keeps(published)
    assert pod.recorder.snapshot().tree_changes == 0


@pytest.mark.parametrize("name", ROWS)
def test_hostile_delta_is_refused_and_the_archive_taken(pod: Target, name: str) -> None:
    data, text = ROWS[name]
    with refused(Reason.BAD_ARCHIVE, text):
        read_delta(io.BytesIO(data), Limits(), deltas.MemoryBase(BASE))
    if data:  # none of no bytes can be signed
        told = {"unpacked_size": 2**30, "size": len(data)}
        falls_back(pod, deltas.publish(pod.simulator, BASE, TWO, "two", delta=data, **told), Reason.BAD_ARCHIVE)


LIES: dict[str, tuple[dict[str, Any], Reason]] = {
    "another tree": ({"delta": deltas.make(BASE, BASE | {"etl.py": "VERSION = 'ill'\n"})}, Reason.WRONG_TREE),
    "a larger tree": ({"delta": deltas.make(BASE, LONG)}, Reason.TOO_LARGE),
    "no change": ({"delta": deltas.make(BASE, BASE), "unpacked_size": 1024}, Reason.WRONG_TREE),
    "fewer files": (
        {"delta": deltas.make(BASE, TWO, removed=["big.py"], prefix=[])},
        Reason.BAD_ARCHIVE,
    ),
    "fewer bytes signed": ({"unpacked_size": 1024}, Reason.TOO_LARGE),
    "more bytes signed": ({"unpacked_size": 4096}, Reason.BAD_ARCHIVE),
    "a larger object": ({"stored": lambda data: data + b"x"}, Reason.OVERSIZE),
    "a shorter object": ({"stored": lambda data: data[:-1]}, Reason.WRONG_DIGEST),
    "another object": ({"stored": lambda data: data[::-1]}, Reason.WRONG_DIGEST),
    "no object": ({"stored": lambda _: b""}, Reason.WRONG_DIGEST),
    "another size signed": ({"size": 7}, Reason.OVERSIZE),
    "from another base": (
        {"delta": deltas.make(BASE | {"big.py": "other\n" * 200}, LONG), "unpacked_size": 4096}, Reason.BAD_ARCHIVE
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
def test_delta_that_is_not_as_signed_is_refused_and_the_archive_taken(pod: Target, name: str) -> None:
    told, reason = LIES[name]
    falls_back(pod, deltas.publish(pod.simulator, BASE, TWO, "two", **told), reason)


def test_delta_is_no_archive_and_an_archive_no_delta(pod: Target) -> None:
    """Each in the other's place, digests signed."""
    data = deltas.make(BASE, TWO)
    hostile = pod.simulator.publish(
        TWO,
        "swapped",
        release_changes={"archive_sha256": hashlib.sha256(data).hexdigest(), "archive_size": len(data)},
        archive=lambda _: data,
    )
    pod.refuses(Reason.BAD_ARCHIVE, text="something follows it", fetched=up_to_archive(hostile))
    whole = compress(tar_bytes(TWO))
    falls_back(pod, deltas.publish(pod.simulator, BASE, TWO, "two", delta=whole), Reason.BAD_ARCHIVE)


def bomb(*, claimed: int) -> bytes:
    """Return a delta whose body is zeros without end, four bytes for every 128 KiB."""
    start = handmade.header(b"zeros", size=8**11 - 1)
    zeros = handmade.block(b"\0", kind=1, size=128 * 1024, last=False) * 8192
    blocks = handmade.block(start, last=False) + zeros + handmade.block(b"")
    return HEAD + handmade.frame(b"", size=claimed, blocks=blocks, end=b"\0" * 4)


@pytest.mark.parametrize(("claimed", "reason"), [(4096, Reason.BAD_ARCHIVE), (2**30 + 512, Reason.TOO_LARGE)])
def test_bomb_is_stopped(pod: Target, claimed: int, reason: Reason) -> None:
    falls_back(
        pod, deltas.publish(pod.simulator, BASE, TWO, "two", delta=bomb(claimed=claimed), unpacked_size=4096), reason
    )


FILES = {f"d{n % 3}/f_{n}.py": f"x = {n}\n" * 9 for n in range(12)} | {"l": deltas.Symlink("d0/f_0.py")}
CHANGED = {**FILES, "d0/f_0.py": "x = 7\n" * 9, "new/n.py": "n\n"}
GONE = {path: value for path, value in CHANGED.items() if path != "d1/f_1.py"}


def outcome(data: bytes, base: dict[str, Any] = FILES) -> str | Reason:
    try:
        return read_delta(io.BytesIO(data), Limits(), deltas.MemoryBase(base)).tree
    except Refused as refusal:
        return refusal.reason


def test_every_flipped_bit_and_truncation_of_a_delta(record_property: Callable[[str, object], None]) -> None:
    """What is accepted leads to the very tree (a spare bit of the frames), or to another, which no release signed."""
    data, right = deltas.make(FILES, GONE), tree_of(GONE)
    assert outcome(data) == right
    others = same = 0
    for bit in range(0, len(data) * 8, scale(1, 1)):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        found = outcome(bytes(broken))
        same += found == right
        others += isinstance(found, str) and not isinstance(found, Reason) and found != right
    assert (others, same <= 12) == (0, True)
    for length in range(len(data)):
        assert outcome(data[:length]) is Reason.BAD_ARCHIVE
    record_property("bit flips", len(data) * 8)
    record_property("truncations", len(data))


def test_body_is_what_zstd_itself_decompresses(tmp_path: Path) -> None:
    """An independent reader of the page: head by ``zstd -d``, body by ``zstd -d --patch-from``."""
    from dagferry_shared.archive.frame import walk_frame

    base = FILES | {"d0/f_0.py": "".join(f"line_{n} = {n * n}\n" for n in range(300))}
    tree = base | {"d0/f_0.py": "".join(f"line_{n} = {n * n + (n == 7)}\n" for n in range(300))}
    data = deltas.make(base, tree)
    _, end = walk_frame(io.BytesIO(data), 0)
    (tmp_path / "head").write_bytes(data[:end])
    (tmp_path / "body").write_bytes(data[end:])
    (tmp_path / "prefix").write_bytes(str(base["d0/f_0.py"]).encode())
    run = {"capture_output": True, "check": True, "cwd": tmp_path}
    assert subprocess.run(["zstd", "-dqc", "head"], **run).stdout == deltas.head(["d0/f_0.py"], [])  # type: ignore[call-overload]
    made = subprocess.run(["zstd", "-dqc", "--patch-from=prefix", "body"], **run).stdout  # type: ignore[call-overload]
    assert made == deltas.tar_of(base, tree)
    with tempfile.TemporaryDirectory() as where:
        subprocess.run(["tar", "-xf-"], input=made, cwd=where, check=True)
        assert Path(where, "d0/f_0.py").read_text() == tree["d0/f_0.py"]
