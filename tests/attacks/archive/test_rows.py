"""Every row of the refusal table, hand-built, as a plain tar, in a frame, and through a whole pull.

Each variant is what CI's key signed (the worst case), so nothing but the reader stands in its way.
"""

from __future__ import annotations

import hashlib
import io
import os
import threading
from typing import TYPE_CHECKING

import pytest

from dagferry_publisher.cli.archive import _extract
from dagferry_shared.archive import reader
from dagferry_shared.archive.extract import Extractor
from dagferry_shared.archive.reader import Limits, read_archive, read_tar
from dagferry_shared.errors import Reason
from support import handmade, hostile_frames, hostile_names, hostile_tars
from support.attacker import Target, up_to_archive
from support.bundles import small_tree
from support.gitid import tree_of
from support.refusals import refused
from support.tars import pieces, tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.bundles import Published

TARS = [
    pytest.param(data, text, id=f"{row}-{variant}")
    for row, variants in hostile_tars.ROWS.items()
    for variant, (data, text) in variants.items()
]
ARCHIVES = [
    *(pytest.param(handmade.frame(p.values[0]), p.values[1], id=p.id) for p in TARS),  # type: ignore[arg-type, type-var]
    *(
        pytest.param(data, text, id=f"{row}-{variant}")
        for row, variants in hostile_frames.ROWS.items()
        for variant, (data, text) in variants.items()
    ),
]


@pytest.fixture
def jail(tmp_path: Path) -> Iterator[Path]:
    """A directory to unpack into; fails the test if anything appeared outside of it."""
    (tmp_path / "jail").mkdir()
    yield tmp_path / "jail"
    assert [path.name for path in tmp_path.iterdir() if path.name not in {"store", "trust.json", "root"}] == ["jail"]
    assert not os.path.lexists(hostile_names.ESCAPE)
    assert not os.path.lexists("/x")


def publish(target: Target, archive: bytes, **signed: int) -> Published:
    """Publish any bytes as the archive of a release that says so."""
    told = {"archive_size": len(archive), "archive_unpacked_size": 2**30, "archive_files": 100, **signed}
    told["archive_sha256"] = hashlib.sha256(archive).hexdigest()  # type: ignore[assignment]
    return target.simulator.publish(small_tree("two"), "two", release_changes=told, archive=lambda _: archive)


@pytest.mark.parametrize(("data", "text"), TARS)
def test_hostile_tar_is_refused_and_writes_nothing_outside(data: bytes, text: str, jail: Path) -> None:
    (jail / "new").mkdir()
    fd = os.open(jail / "new", os.O_RDONLY | os.O_DIRECTORY)
    try:
        with refused(Reason.BAD_ARCHIVE, text), Extractor(fd) as sink:
            read_tar(pieces(data, 700), Limits(), sink)
    finally:
        os.close(fd)
    assert [path.name for path in jail.iterdir()] == ["new"]
    assert not [path for path in (jail / "new").rglob("*") if path.is_symlink()]


@pytest.mark.parametrize(("data", "text"), ARCHIVES)
def test_hostile_archive_is_refused_and_leaves_nothing(
    data: bytes, text: str, jail: Path, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    for large in (reader.LARGE_BYTES, 0):  # 0: a thread decompresses, as for archives above 32 MiB
        monkeypatch.setattr(reader, "LARGE_BYTES", large)
        with refused(Reason.BAD_ARCHIVE, text):
            read_archive(io.BytesIO(data), Limits())
        with refused(Reason.BAD_ARCHIVE, text):
            _extract(io.BytesIO(data), jail / "out", Limits())
        assert list(jail.iterdir()) == []
        assert "ahead" not in {thread.name for thread in threading.enumerate()}
    if data:  # an archive of no bytes cannot be signed
        target.refuses(Reason.BAD_ARCHIVE, text=text, fetched=up_to_archive(publish(target, data)))


@pytest.mark.parametrize("name", hostile_names.AT_THE_BOUND)
def test_tar_at_the_bound_is_read(name: str) -> None:
    data = hostile_names.AT_THE_BOUND[name]
    assert read_tar(pieces(data), Limits()) == read_archive(io.BytesIO(handmade.frame(data)), Limits())


@pytest.mark.parametrize("name", hostile_frames.AT_THE_BOUND)
def test_frame_at_the_bound_is_read(name: str) -> None:
    manifest = read_archive(io.BytesIO(hostile_frames.AT_THE_BOUND[name]), Limits())
    assert manifest.tar_sha256 == hashlib.sha256(hostile_frames.TAR).hexdigest()


def test_what_is_built_by_hand_is_canonical_unless_it_is_told_to_lie(jail: Path) -> None:
    """The control: else every refusal above could be the builder's own mistake."""
    long, target = "d/" * 60 + "x", "../" * 2 + "n" * 101
    by_hand = handmade.tar(
        handmade.member(b"a", b"x = 1\n"),
        handmade.long_member(long.encode(), b"", mode=b"0000755\0"),
        handmade.long_link(b"e/f/link", target.encode()),
        handmade.member(b"n" * 100),
        handmade.long_member(b"n" * 101),
    )
    files = {"a": b"x = 1\n", long: b"", "e/f/link": target, "n" * 100: b"", "n" * 101: b""}
    assert by_hand == tree(files, executable=frozenset({long}))
    manifest = _extract(io.BytesIO(handmade.frame(by_hand)), jail / "out", Limits())
    assert tree_of(jail / "out") == manifest.tree


FILES = handmade.tar(*(handmade.member(b"d%d/f" % number, b"x" * 600) for number in range(5)))  # 10 with directories


class TestMoreThanAllowed:
    @pytest.mark.parametrize("form", ["tar", "frame"])
    @pytest.mark.parametrize("limits", [Limits(max_files=9), Limits(max_files=1), Limits(max_bytes=len(FILES) - 1)])
    def test_more_files_or_bytes_than_the_local_cap_are_refused(self, form: str, limits: Limits) -> None:
        with refused(Reason.TOO_LARGE):
            if form == "tar":
                read_tar(pieces(FILES), limits)
            else:
                read_archive(io.BytesIO(handmade.frame(FILES)), limits)

    def test_as_many_as_allowed_are_read(self) -> None:
        exact = Limits(max_files=10, max_bytes=len(FILES))
        assert read_tar(pieces(FILES), exact) == read_archive(io.BytesIO(handmade.frame(FILES)), exact)

    @pytest.mark.parametrize(
        "size", [len(FILES) + 1, 2**32, 10 * 2**30, 2**63, 2**64 - 3], ids=["byte", "4-gib", "10-gib", "half", "most"]
    )
    def test_frame_that_claims_more_is_refused_before_it_is_unpacked(self, size: int) -> None:
        with refused(Reason.TOO_LARGE, f"archive unpacks to {size} bytes"):
            read_archive(io.BytesIO(handmade.frame(FILES, size=size)), Limits(max_bytes=len(FILES)))

    @pytest.mark.parametrize("signed", [len(FILES) - 1, 512, 1])
    def test_more_bytes_than_signed_are_refused(self, target: Target, signed: int) -> None:
        hostile = publish(target, handmade.frame(FILES), archive_unpacked_size=signed)
        target.refuses(Reason.TOO_LARGE, text=f"allowed {signed}", fetched=up_to_archive(hostile))

    @pytest.mark.parametrize("signed", [4, 6, 1])
    def test_other_number_of_files_than_signed_is_refused(self, target: Target, signed: int) -> None:
        size = len(FILES)
        hostile = publish(target, handmade.frame(FILES), archive_unpacked_size=size, archive_files=signed)
        target.refuses(Reason.BAD_ARCHIVE, text="than was signed", fetched=up_to_archive(hostile))

    @pytest.mark.parametrize(
        "signed", [{"archive_files": 200_001}, {"archive_unpacked_size": 2**31 + 1}, {"archive_files": 2**50}], ids=str
    )
    def test_release_that_signs_more_than_the_cap_is_refused_before_its_archive_is_fetched(
        self, target: Target, signed: dict[str, int]
    ) -> None:
        hostile = publish(target, handmade.frame(FILES), **signed)
        target.refuses(Reason.TOO_LARGE, fetched=up_to_archive(hostile)[:2])

    def test_endless_tar_is_stopped_at_the_cap(self) -> None:
        def endless() -> Iterator[bytes]:
            yield handmade.header(b"a", size=b"77777777777\0")
            while True:
                yield b"x" * 100_000

        with refused(Reason.TOO_LARGE):
            read_tar(endless(), Limits(max_bytes=10**6))

    def test_endless_entries_are_stopped_at_the_cap(self) -> None:
        with refused(Reason.TOO_LARGE):
            read_tar((handmade.member(b"%08d" % number) for number in range(10**8)), Limits(max_files=1000))
