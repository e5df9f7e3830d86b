"""Modification times, given last before a swap, so that Airflow and Python see what changed (design.md §6).

Equal times across versions make both serve stale code, and bytecode compares whole seconds. So every swap, also a
rollback, gets a new whole second, higher than any before, on all directories and on the files that differ from the
version being left; an unchanged file keeps the time it had there.
"""

from __future__ import annotations

import math
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from dagferry_puller import fsio
from dagferry_puller.disktree import scan

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from dagferry_puller.reuse import Base
    from dagferry_shared.gittree import Leaf

NANO = 1_000_000_000
_MANY = 64  # fsyncs


def next_stamp(now: float, last: int) -> int:
    """Return the stamp of the next swap: ``max(now, last + 1)`` in whole seconds since 1970, rounded up.

    Airflow 2.11 compares it with when it parsed a file or stored its code: what it did earlier in the same second must
    not look newer than the swap.
    """
    return max(math.ceil(now), last + 1)


def unchanged(leaves: Mapping[str, Leaf], left: Mapping[str, Leaf]) -> frozenset[str]:
    """Return the paths that are the same file or link in the version being left."""
    return frozenset(path for path, leaf in leaves.items() if left.get(path) == leaf)


def linked_as_they_are(base: Base, linked: Mapping[str, int], stamp: int) -> Container[str]:
    """Return the files that are hard links to the version being left and have the time that they are to keep."""
    if base.latest <= stamp * NANO:
        return linked
    return {path for path in linked if base.mtime(path) <= stamp * NANO}


def times_of(
    left: int | None, leaves: Mapping[str, Leaf], stamp: int, base: Base | None = None, linked: Container[str] = ()
) -> dict[str, int]:
    """Return the times to keep: those of unchanged files in the version being left.

    Args:
        left: its open directory; None: every file gets the stamp.
        leaves: files and links of the incoming version.
        stamp: seconds; a kept time is never later.
        base: what is known of the version being left; None: it is read.
        linked: files to leave out.

    Returns:
        Nanoseconds since 1970 by path.
    """
    if left is None:
        return {}
    if base is not None:
        others = {path: leaf for path, leaf in leaves.items() if path not in linked}
        return {path: min(base.mtime(path), stamp * NANO) for path in unchanged(others, base.leaves)}
    found = scan(left, max_files=2 * len(leaves) + 1000, max_bytes=1 << 62)
    return {path: min(_mtime(left, path), stamp * NANO) for path in unchanged(leaves, found.leaves)}


def _mtime(fd: int, path: str) -> int:
    return os.stat(path, dir_fd=fd, follow_symlinks=False).st_mtime_ns


class Stamper:
    """Gives a whole tree its times, children before their directory, and makes it durable.

    Args:
        kept: nanoseconds since 1970 by path; all else gets the stamp.
        stamp: seconds since 1970.
        linked: files to be left alone: they got their time, and were made durable, with another version.
    """

    def __init__(self, kept: Mapping[str, int], stamp: int, *, linked: Container[str] = ()) -> None:
        self._kept = kept
        self._stamp = stamp * NANO
        self._linked = linked
        self._stamped = 0  # entries

    def directory(self, fd: int, prefix: str = "") -> None:
        """Stamp everything in an open directory, then itself."""
        for name, is_directory in _children(fd):
            path = prefix + name
            if is_directory:
                with fsio.closing(fsio.directory(name, fd)) as child:
                    self.directory(child, path + "/")
            elif path not in self._linked:
                self._entry(fd, name, self._kept.get(path, self._stamp))
        mode = stat.S_IMODE(os.fstat(fd).st_mode)
        if mode & stat.S_IWUSR:  # after ``_unshare``, also one that a crash came after
            os.fchmod(fd, mode & ~stat.S_IWUSR)
        os.utime(fd, ns=(self._stamp, self._stamp))
        self._stamped += 1

    def _entry(self, parent: int, name: str, moment: int) -> None:
        info = os.stat(name, dir_fd=parent, follow_symlinks=False)
        self._stamped += 1
        if not stat.S_ISLNK(info.st_mode) and info.st_nlink > 1:
            if info.st_mtime_ns == moment:
                return
            _unshare(parent, name)
        os.utime(name, ns=(moment, moment), dir_fd=parent, follow_symlinks=False)

    def make_durable(self, fd: int) -> None:
        """Fsync what was stamped: each file, then its directory.

        With many, the file system is told to write all it has first, which is one commit of its journal instead of
        one for each (20,000 files on a busy ext4: 1 instead of 61 s). The fsyncs come all the same: an error of a file
        of ours is theirs to tell.
        """
        if self._stamped > _MANY:
            fsio.hurry(fd)
        self._fsync(fd, "")

    def _fsync(self, fd: int, prefix: str) -> None:
        for name, is_directory in _children(fd):
            path = prefix + name
            if is_directory:
                with fsio.closing(fsio.directory(name, fd)) as child:
                    self._fsync(child, path + "/")
            elif path not in self._linked and not stat.S_ISLNK(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
                with fsio.closing(os.open(name, fsio.READ, dir_fd=fd)) as file:
                    os.fsync(file)
        os.fsync(fd)


def _children(fd: int) -> list[tuple[str, bool]]:
    with os.scandir(fd) as entries:
        return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]


def _unshare(parent: int, name: str) -> None:
    """Put a copy in the place of a file that other versions share; leaves the directory writable."""
    from dagferry_puller.reuse import copy  # noqa: PLC0415 - a cold pod shares nothing

    os.fchmod(parent, stat.S_IMODE(os.fstat(parent).st_mode) | stat.S_IWUSR)
    temporary = fsio.random_name(fsio.TEMPORARY)
    try:
        with fsio.closing(os.open(name, fsio.READ, dir_fd=parent)) as old:
            info = os.fstat(old)
            with fsio.closing(os.open(temporary, fsio.CREATE, 0o600, dir_fd=parent)) as new:
                copy(old, new, info.st_size)
                os.fchmod(new, stat.S_IMODE(info.st_mode))
        os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=parent)
        raise
