"""The glance at a tree: every change shows in it, and nothing else does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dagferry_puller import options
from dagferry_puller import volume as volumes
from dagferry_puller.glance import Glance
from dagferry_puller.root import Root
from dagferry_puller.volume import Volume
from support.bundles import Symlink, commit_id
from support.tampering import CONTENT, DEEP, tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.tampering import Change

VERSION = f"{commit_id('a')}-{'0' * 64}"


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    given = {"store": "file:///x", "bundle": "etl", "channel": "main", "trust": "x", "root": str(tmp_path / "root")}
    with Root(given["root"]) as root:
        made = Volume(root, options.resolve("run", given, {}))
        for name, value in tree().items():
            path = tmp_path / "root/versions" / VERSION / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(value, Symlink):
                path.symlink_to(value.target)
            else:
                path.write_text(value if isinstance(value, str) else "#!/bin/sh\n")
                path.chmod(0o444 if isinstance(value, str) else 0o555)
        yield made


def version_of(volume: Volume) -> Path:
    return Path(volume.root.path) / "versions" / VERSION


@pytest.mark.parametrize("change", CONTENT)
def test_every_change_shows(volume: Volume, tmp_path: Path, change: Change) -> None:
    (tmp_path / "outside").mkdir()
    before = volume.glance(VERSION)
    assert before
    assert volume.holds(VERSION, before)
    change(version_of(volume), tmp_path / "outside")
    assert not volume.holds(VERSION, before)


def test_reading_does_not_show(volume: Volume) -> None:
    before = volume.glance(VERSION)
    assert before
    for path in version_of(volume).rglob("*"):
        if path.is_file():
            path.read_bytes()
    assert volume.holds(VERSION, before)


def test_version_that_is_not_there_or_cannot_be_looked_at_is_worth_a_whole_look(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = volume.glance(VERSION)
    assert before
    other = f"{commit_id('b')}-{'0' * 64}"
    assert volume.glance(other) is None
    assert not volume.holds(other, before)

    def failing(*_: object) -> Glance:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(volumes, "Glance", failing)
    assert volume.glance(VERSION) is None


def test_name_that_comes_while_the_directory_is_listed_shows(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = version_of(volume) / DEEP
    real = os.scandir

    def adding(directory: int) -> Iterator[os.DirEntry[str]]:
        listed = real(directory)
        if os.path.samestat(os.fstat(directory), deep.parent.stat()):
            (deep.parent / "late.py").write_text("x")
        return listed

    monkeypatch.setattr(os, "scandir", adding)
    before = volume.glance(VERSION)
    monkeypatch.undo()
    assert before
    assert not volume.holds(VERSION, before)


@pytest.mark.parametrize("seconds", [-(2**33), 2**34])
def test_times_before_1970_and_far_ahead_are_no_trouble(volume: Volume, seconds: int) -> None:
    before = volume.glance(VERSION)
    assert before
    os.utime(version_of(volume) / DEEP, (seconds, seconds))
    assert not volume.holds(VERSION, before)


@pytest.mark.parametrize("name", ["versions", ".dagferry", ".dagferry/leases"])
def test_what_stands_in_the_place_of_a_directory_is_removed_only_when_asked_for(tmp_path: Path, name: str) -> None:
    path = tmp_path / "root" / name
    (tmp_path / "elsewhere").mkdir()
    path.parent.mkdir(parents=True)
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="Not a directory"):
        Root(str(tmp_path / "root"))
    with Root(str(tmp_path / "root"), clear=True) as root:
        assert root.is_in_place()
    assert path.is_dir()
    assert not path.is_symlink()
    assert (tmp_path / "elsewhere").is_dir()
