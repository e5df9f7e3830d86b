"""Symlinks of a tree, checked as a whole: each must lead to a file or directory of the same tree, and never round.

Each link is resolved once, and each step of it is one look into a directory: time and memory are O(bytes of names).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagferry_shared.archive.paths import split_target
from dagferry_shared.errors import Reason, Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_MAX_HOPS = 40  # links followed for one name: what Linux allows


class _Dir:
    """A directory: what is in it, and where the links in it lead to."""

    __slots__ = ("entries", "linked", "name", "up")

    def __init__(self, name: str, up: _Dir | None) -> None:
        self.name = name
        self.up = up
        self.entries: dict[str, _Dir | _Link | None] = {}  # None: a file
        self.linked: list[_Dir] = []

    def shown(self) -> str:
        """Return its path for a message."""
        parts, at = [], self
        while at.up:
            parts.append(at.name)
            at = at.up
        return "/".join(reversed(parts)) or "."

    def below(self) -> list[_Dir]:
        """Return the directories that a walk which follows links comes to from here."""
        return [*(entry for entry in self.entries.values() if isinstance(entry, _Dir)), *self.linked]


class _Link:
    """A symlink; ``end`` and ``hops`` (links on the way) are known once ``resolved``."""

    __slots__ = ("end", "hops", "path", "resolved", "target", "up")

    def __init__(self, path: str, target: str, up: _Dir) -> None:
        self.path = path
        self.target = target
        self.up = up
        self.resolved = False
        self.end: _Dir | None = None  # None: a file
        self.hops = 0

    def refusal(self, words: str) -> Refused:
        """Return what is raised for it."""
        return Refused(Reason.BAD_ARCHIVE, f"symlink {self.path!r} -> {self.target!r} {words}")


def _directory(root: _Dir, parents: list[str]) -> _Dir:
    at = root
    for name in parents:
        entry = at.entries.get(name)
        if not isinstance(entry, _Dir):
            entry = at.entries[name] = _Dir(name, at)
        at = entry
    return at


def _build(files: Iterable[str], links: Mapping[str, str]) -> tuple[_Dir, list[_Link]]:
    root, made = _Dir("", None), []
    for path in files:
        *parents, name = path.split("/")
        _directory(root, parents).entries[name] = None
    for path, target in links.items():
        *parents, name = path.split("/")
        up = _directory(root, parents)
        up.entries[name] = link = _Link(path, target, up)
        made.append(link)
    return root, made


def _climb(start: _Dir, ups: int, asked: _Link) -> _Dir:
    at = start
    for _ in range(ups):
        if at.up is None:
            raise asked.refusal("leaves the tree")
        at = at.up
    return at


def _resolve(link: _Link, asked: _Link, depth: int = 0) -> None:
    """Follow a link to the file or directory it ends at; Refused if it leaves the tree, dangles or cycles."""
    if depth > _MAX_HOPS:  # a cycle is never resolved, only ever deeper
        raise asked.refusal("goes round, or through over 40 links")
    ups, rest = split_target(link.target, f"target of symlink {link.path!r}")
    at: _Dir | None = _climb(link.up, ups, asked)
    for name in rest:
        if at is None or name not in at.entries:
            raise asked.refusal("leads to nothing in the tree")
        entry = at.entries[name]
        if isinstance(entry, _Link):
            if not entry.resolved:
                _resolve(entry, asked, depth + 1)
            link.hops += 1 + entry.hops
            if link.hops > _MAX_HOPS:
                raise asked.refusal("goes round, or through over 40 links")
            entry = entry.end
        at = entry
    link.end, link.resolved = at, True


def _check_rounds(root: _Dir) -> None:
    """Refuse directories that contain themselves by way of links: walking them would never end."""
    done: dict[_Dir, bool] = {root: False}  # False: on the way down
    stack = [(root, iter(root.below()))]
    while stack:
        directory, below = stack[-1]
        child = next(below, None)
        if child is None:
            done[directory] = True
            stack.pop()
        elif child not in done:
            done[child] = False
            stack.append((child, iter(child.below())))
        elif not done[child]:
            raise Refused(Reason.BAD_ARCHIVE, f"symlinks make directory {child.shown()!r} contain itself")


def check_links(files: Iterable[str], links: Mapping[str, str]) -> None:
    """Check all symlinks of a tree.

    Args:
        files: paths of the regular files.
        links: path of each symlink and its target.

    Raises:
        Refused: BAD_ARCHIVE for a target that is absolute, dangles, leaves the tree or goes round, or that makes a
            directory contain itself (what stops every DAG parse: apache/airflow#40980).
    """
    if not links:
        return
    root, made = _build(files, links)
    for link in made:
        if not link.resolved:
            _resolve(link, link)
        if link.end is not None:
            link.up.linked.append(link.end)
    _check_rounds(root)
