"""Which files a version changed, by their modification times: those carry its stamp (design.md, section 6).

A hint, for whoever tells others what to look at first. Nothing is verified by it.
"""

from __future__ import annotations

import os
from pathlib import PurePosixPath


class Changed:
    """Files of a version that differ from the one before, and how others name them.

    Args:
        paths: relative to the version's directory.
    """

    def __init__(self, paths: frozenset[str] = frozenset()) -> None:
        self._paths = paths
        self._tails = frozenset(tail for path in paths for tail in _tails(path))

    def __bool__(self) -> bool:
        return bool(self._paths)

    def has(self, file: str) -> bool:
        """Tell whether a path may be one of them: an absolute one below any mount, or one below a part of the tree."""
        return file in self._tails or any(tail in self._paths for tail in _tails(file))


def _tails(path: str) -> list[str]:
    parts = [part for part in PurePosixPath(path).parts if part != "/"]
    return ["/".join(parts[start:]) for start in range(len(parts))]


def changed(directory: str) -> Changed:
    """Return what a version changed; nothing where that cannot be told, as of one that is gone.

    Args:
        directory: the version's.
    """
    try:
        found = _stamped(directory, os.stat(directory).st_mtime_ns)
    except OSError:
        return Changed()
    return Changed(frozenset(os.path.relpath(path, directory) for path in found))


def _stamped(directory: str, stamp: int) -> list[str]:
    found = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                found += _stamped(entry.path, stamp)
            elif entry.stat(follow_symlinks=False).st_mtime_ns == stamp:
                found.append(entry.path)
    return found
