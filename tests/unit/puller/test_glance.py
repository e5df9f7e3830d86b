"""The glance at a tree: every change shows in it, and nothing else does."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_puller import disktree, options
from dagferry_puller import glance as glances
from dagferry_puller.glance import Glance
from dagferry_puller.root import Root
from dagferry_puller.volume import Volume
from support.bundles import Symlink, commit_id
from support.tampering import CONTENT, DEEP, edit_with_size_and_times_kept, tree

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


def looks_until_seen(volume: Volume, before: Glance, share: float) -> int:
    return next(looks for looks in range(1, 100) if not volume.holds(VERSION, before, share))


@pytest.mark.parametrize("change", CONTENT)
@pytest.mark.parametrize("begun", [0, 1, 2, 5])
def test_every_change_shows_in_one_round_of_looks(volume: Volume, tmp_path: Path, change: Change, begun: int) -> None:
    (tmp_path / "outside").mkdir()
    before = volume.glance(VERSION)
    assert before
    assert all(volume.holds(VERSION, before, 0.25) for _ in range(begun))
    change(version_of(volume), tmp_path / "outside")
    assert looks_until_seen(volume, before, 0.25) <= 4


def test_look_at_a_share_asks_for_entries_in_turn(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    before, asked, real = volume.glance(VERSION), [], os.stat

    def noting(path: str, **named: Any) -> os.stat_result:
        asked.append(path)
        return real(path, **named)

    assert before
    entries = {str(path.relative_to(version_of(volume))) for path in version_of(volume).rglob("*")}
    monkeypatch.setattr(os, "stat", noting)
    for number in range(len(entries)):  # never less than one
        assert volume.holds(VERSION, before, 0.0)
        assert len(asked) == number + 1
    assert sorted(asked) == sorted(entries)
    asked.clear()
    assert volume.holds(VERSION, before, float("inf"))
    assert sorted(asked) == sorted(entries)


def test_empty_tree_holds_until_it_is_no_more(volume: Volume) -> None:
    shutil.rmtree(version_of(volume))
    version_of(volume).mkdir()
    before = volume.glance(VERSION)
    assert before
    assert all(volume.holds(VERSION, before, share) for share in (0.0, 0.5, 1.0))
    (version_of(volume) / "added").touch()
    assert not volume.holds(VERSION, before, 0.0)


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

    monkeypatch.setattr(glances, "Glance", failing)
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


def test_links_of_ours_do_not_show_once_they_are_told(volume: Volume, tmp_path: Path) -> None:
    before = volume.glance(VERSION)
    assert before
    os.link(version_of(volume) / DEEP, tmp_path / "other")
    assert not volume.holds(VERSION, before)
    volume.relinked(VERSION, before)
    assert volume.holds(VERSION, before)
    (tmp_path / "other").unlink()
    assert not volume.holds(VERSION, before)
    volume.relinked(VERSION, before)
    assert volume.holds(VERSION, before)


def link_all(volume: Volume, to: Path) -> dict[str, int]:
    """Link every file of the version into another directory; return what ctimes that left."""
    found = {}
    for number, path in enumerate(sorted(version_of(volume).rglob("*"))):
        if path.is_file() and not path.is_symlink():
            os.link(path, to / f"other-{number}")
            found[str(path.relative_to(version_of(volume)))] = path.stat().st_ctime_ns
    return found


@pytest.mark.parametrize("change", CONTENT)
def test_no_change_hides_behind_links_that_were_made_before(volume: Volume, tmp_path: Path, change: Change) -> None:
    (tmp_path / "outside").mkdir()
    before = volume.glance(VERSION)
    assert before
    ctimes = link_all(volume, tmp_path)
    change(version_of(volume), tmp_path / "outside")
    volume.relinked(VERSION, before, ctimes)
    assert not volume.holds(VERSION, before)


@pytest.mark.parametrize("change", CONTENT)
def test_change_behind_links_of_unknown_times_shows_unless_size_and_times_are_kept(
    volume: Volume, tmp_path: Path, change: Change
) -> None:
    """The one window that is left to ``--recheck``: it is as long as old versions take to be removed."""
    (tmp_path / "outside").mkdir()
    before = volume.glance(VERSION)
    assert before
    link_all(volume, tmp_path)
    change(version_of(volume), tmp_path / "outside")
    volume.relinked(VERSION, before)
    assert volume.holds(VERSION, before) is (change is edit_with_size_and_times_kept)


@pytest.mark.parametrize("act", ["chmod", "utime", "rewrite"])
def test_change_of_a_file_whose_links_did_not_change_never_counts_as_relinked(volume: Volume, act: str) -> None:
    before, path = volume.glance(VERSION), version_of(volume) / DEEP
    assert before
    info, data = path.stat(), path.read_bytes()
    path.chmod(0o644)
    if act == "rewrite":
        path.write_bytes(data[::-1])
    if act != "chmod":
        path.chmod(0o444)
    if act == "utime":
        os.utime(path, (1, 1))
    else:
        os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    volume.relinked(VERSION, before)
    assert not volume.holds(VERSION, before)


def test_what_was_read_is_kept_and_given_back(volume: Volume) -> None:
    found = disktree.scan(os.open(version_of(volume), os.O_RDONLY), max_files=100, max_bytes=10**6)
    before = volume.glance(VERSION, found.leaves)
    assert before
    assert before.is_learned
    assert before.leaves() == found.leaves
    for leaves in ({}, {**found.leaves, "lib": found.leaves[DEEP]}):
        other = volume.glance(VERSION, leaves)
        assert other
        assert not other.is_learned


@pytest.mark.parametrize("seconds", [-(2**33), 2**34, -(2**40), 2**40])
def test_times_before_1970_and_far_ahead_are_no_trouble(volume: Volume, seconds: int) -> None:
    before = volume.glance(VERSION)
    assert before
    os.utime(version_of(volume) / DEEP, (seconds, seconds))
    assert not volume.holds(VERSION, before)
    after = volume.glance(VERSION)
    assert after
    assert volume.holds(VERSION, after)


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
