"""From a commit to the list of what is packed: directories, selection, and what cannot be delivered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagferry_publisher.errors import NotFound, UsageError
from dagferry_shared import globs
from dagferry_shared.archive.paths import decode_path
from dagferry_shared.errors import Reason, Refused
from dagferry_shared.gittree import Mode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagferry_publisher.gitrepo import Repo, TreeEntry
    from dagferry_shared.release import Selection

_SUBMODULE = "160000"
LFS_HEAD = (b"version https://git-lfs.github.com/spec/", b"version https://hawser.github.com/spec/")
MAX_LFS_POINTER = 1024  # bytes


@dataclass(frozen=True, slots=True)
class Item:
    """One path of the archive and the git entry that it comes from."""

    path: str
    mode: Mode
    entry: TreeEntry


def check_paths(paths: Sequence[str]) -> tuple[str, ...]:
    """Return the directories sorted; UsageError if one is given twice or lies in another."""
    ordered = tuple(sorted(paths))
    for path in ordered:
        for other in ordered:
            if other is not path and (other == "." or path == other or path.startswith(f"{other}/")):
                raise UsageError(f"--path {path} lies in --path {other}")
    return ordered


def _mode(entry: TreeEntry, path: str) -> Mode:
    if entry.mode == _SUBMODULE:
        raise Refused(
            Reason.BAD_ARCHIVE,
            f"{path!r} is a submodule: --exclude it, or commit its files here (git subtree)",
        )
    return Mode(entry.mode)  # git shows the modes of its first months (100664) as today's


def select(repo: Repo, commit: str, paths: Sequence[str], selection: Selection) -> list[Item]:
    """Return what a commit's directories hold under a selection, in the archive's order.

    With one directory its content is the root; with several, their names are kept.

    Raises:
        NotFound: a directory is not in the commit.
        Refused: BAD_ARCHIVE for a submodule, a name that no archive may hold, or nothing to pack.
    """
    items = []
    for directory in paths:
        prefix = f"{directory}/".encode() if len(paths) > 1 else b""
        for entry in repo.entries(repo.tree_of(commit, directory)):
            path = decode_path(prefix + entry.path, "path in git")
            if globs.selects(selection.include, selection.exclude, path):
                items.append(Item(path, _mode(entry, path), entry))
    if not items:
        shown = ", ".join(paths)
        if selection.include or selection.exclude:
            raise NotFound(f"the selection leaves nothing of {shown} in commit {commit[:12]}")
        raise NotFound(f"{shown} is empty in commit {commit[:12]}")
    return sorted(items, key=lambda item: item.path.encode())


def check_not_lfs(item: Item, head: bytes) -> None:
    """Refuse a Git LFS pointer: pods would get the pointer's text, not the file."""
    if item.mode is not Mode.LINK and item.entry.size < MAX_LFS_POINTER and head.startswith(LFS_HEAD):
        raise Refused(
            Reason.BAD_ARCHIVE,
            f"{item.path!r} is a Git LFS pointer: --exclude it, or keep the file in git itself",
        )
