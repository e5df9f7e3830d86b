"""Symlinks of a tree, checked as a whole: each must lead to a file or directory of the same tree, and never round."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagferry_shared.archive.paths import split_target
from dagferry_shared.errors import Reason, Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_MAX_HOPS = 40  # links followed for one name: what Linux allows

Dir = tuple[str, ...]


def _refuse(path: str, target: str, words: str) -> Refused:
    return Refused(Reason.BAD_ARCHIVE, f"symlink {path!r} -> {target!r} {words}")


class _Tree:
    """The tree's names as directories, files and links, to resolve link targets in."""

    def __init__(self, files: Iterable[str], links: Mapping[str, str]) -> None:
        self.links = {tuple(path.split("/")): target for path, target in links.items()}
        self.files = {tuple(path.split("/")) for path in files}
        self.dirs: set[Dir] = {()}
        for path in (*self.files, *self.links):
            for depth in range(1, len(path)):
                self.dirs.add(path[:depth])

    def resolve(self, link: Dir) -> Dir:
        """Follow a link to the file or directory it ends at; Refused if it leaves the tree, dangles or cycles."""
        shown, target = "/".join(link), self.links[link]
        ups, rest = split_target(target, f"target of symlink {shown!r}")
        at: Dir = link[:-1]
        hops = 0
        todo = [*[".."] * ups, *rest]
        while todo:
            part = todo.pop(0)
            if part == "..":
                if not at:
                    raise _refuse(shown, target, "leaves the tree")
                at = at[:-1]
                continue
            at = (*at, part)
            if at in self.links:
                hops += 1
                if hops > _MAX_HOPS:
                    raise _refuse(shown, target, "goes round, or through over 40 links")
                more_ups, more = split_target(self.links[at], f"target of symlink {'/'.join(at)!r}")
                at, todo = at[:-1], [*[".."] * more_ups, *more, *todo]
            elif at not in self.dirs and (at not in self.files or todo):
                raise _refuse(shown, target, "leads to nothing in the tree")
        return at


def _check_rounds(edges: Mapping[Dir, list[Dir]]) -> None:
    """Refuse directories that contain themselves by way of links: walking them would never end."""
    state: dict[Dir, bool] = {}  # False: on the way down, True: done
    for start in edges:
        stack: list[tuple[Dir, int]] = [(start, 0)]
        while stack:
            node, child = stack.pop()
            if child == 0:
                if node in state:
                    continue
                state[node] = False
            below = edges.get(node, [])
            if child == len(below):
                state[node] = True
                continue
            stack.append((node, child + 1))
            if state.get(below[child]) is False:
                shown = "/".join(below[child]) or "."
                raise Refused(Reason.BAD_ARCHIVE, f"symlinks make directory {shown!r} contain itself")
            if below[child] not in state:
                stack.append((below[child], 0))


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
    tree = _Tree(files, links)
    edges: dict[Dir, list[Dir]] = {directory: [] for directory in tree.dirs}
    for directory in tree.dirs:
        if directory:
            edges[directory[:-1]].append(directory)
    for link in tree.links:
        end = tree.resolve(link)
        if end in tree.dirs:
            edges[link[:-1]].append(end)
    _check_rounds(edges)
