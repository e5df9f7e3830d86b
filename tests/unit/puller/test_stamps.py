"""A tree is durable file by file, however many there are; the file system is told to hurry for many."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING

import pytest

from dagferry_puller import fsio
from dagferry_puller.stamps import Stamper

if TYPE_CHECKING:
    from pathlib import Path


def stamp(top: Path) -> None:
    fd = os.open(top, os.O_RDONLY)
    try:
        stamper = Stamper({}, 1_700_000_000)
        stamper.directory(fd)
        stamper.make_durable(fd)
    finally:
        os.close(fd)


@pytest.mark.parametrize(("files", "hurries"), [(3, 0), (80, 1)])
def test_every_file_and_directory_is_fsynced_and_hurried_if_there_are_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: int, hurries: int
) -> None:
    (tmp_path / "d").mkdir()
    for number in range(files):
        (tmp_path / "d" / f"f{number}").write_text("x")
    (tmp_path / "link").symlink_to("d/f0")
    done: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: done.append(os.readlink(f"/proc/self/fd/{fd}")))
    monkeypatch.setattr(fsio, "hurry", lambda _: done.append("hurry"))
    stamp(tmp_path)
    assert done.count("hurry") == hurries
    done = done[hurries:]
    assert sorted(done[:-2]) == sorted(str(tmp_path / "d" / f"f{number}") for number in range(files))
    assert done[-2:] == [str(tmp_path / "d"), str(tmp_path)]
    assert {os.lstat(path).st_mtime for path in [tmp_path, *tmp_path.rglob("*")]} == {1_700_000_000}


def test_hurry_is_heard_or_is_no_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        fsio.hurry(fd)
        monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
        fsio.hurry(fd)
    finally:
        os.close(fd)
    fsio.hurry(fd)  # not open: nobody minds
