"""Modification times, given last before a swap, so that Airflow and Python see what changed (design.md §6).

Equal times across versions make both serve stale code, and bytecode compares whole seconds. So every swap, also a
rollback, gets a new whole second, higher than any before, on all directories and on the files that differ from the
version being left; an unchanged file keeps the time it had there.
"""

from __future__ import annotations

import math
import os
import stat
from typing import TYPE_CHECKING

from dagferry_puller import fsio
from dagferry_puller.disktree import scan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagferry_shared.gittree import Leaf

NANO = 1_000_000_000


def next_stamp(now: float, last: int) -> int:
    """Return the stamp of the next swap: ``max(now, last + 1)`` in whole seconds since 1970, rounded up.

    Airflow 2.11 compares it with when it parsed a file or stored its code: what it did earlier in the same second must
    not look newer than the swap.
    """
    return max(math.ceil(now), last + 1)


def unchanged(leaves: Mapping[str, Leaf], left: Mapping[str, Leaf]) -> frozenset[str]:
    """Return the paths that are the same file or link in the version being left."""
    return frozenset(path for path, leaf in leaves.items() if left.get(path) == leaf)


def times_of(left: int | None, leaves: Mapping[str, Leaf], stamp: int) -> dict[str, int]:
    """Return the times to keep: those of unchanged files in the version being left.

    Args:
        left: its open directory; None: every file gets the stamp.
        leaves: files and links of the incoming version.
        stamp: seconds; a kept time is never later.

    Returns:
        Nanoseconds since 1970 by path.
    """
    if left is None:
        return {}
    found = scan(left, max_files=2 * len(leaves) + 1000, max_bytes=1 << 62)
    return {path: min(_mtime(left, path), stamp * NANO) for path in unchanged(leaves, found.leaves)}


def _mtime(fd: int, path: str) -> int:
    return os.stat(path, dir_fd=fd, follow_symlinks=False).st_mtime_ns


def apply(fd: int, kept: Mapping[str, int], stamp: int, *, durable: bool) -> None:
    """Give a whole tree its times and make it durable, children before their directory.

    Args:
        fd: the tree's open directory.
        kept: nanoseconds by path; all else gets the stamp.
        stamp: seconds since 1970.
        durable: whether to fsync each file and directory.
    """
    _apply(fd, "", kept, stamp * NANO, durable=durable)


def _apply(fd: int, prefix: str, kept: Mapping[str, int], stamp: int, *, durable: bool) -> None:
    with os.scandir(fd) as entries:
        children = [entry.name for entry in entries]
    for name in children:
        path = prefix + name
        mode = os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            with fsio.closing(fsio.directory(name, fd)) as child:
                _apply(child, path + "/", kept, stamp, durable=durable)
            continue
        moment = kept.get(path, stamp)
        if stat.S_ISLNK(mode):
            os.utime(name, ns=(moment, moment), dir_fd=fd, follow_symlinks=False)
            continue
        with fsio.closing(os.open(name, fsio.READ, dir_fd=fd)) as file:
            os.utime(file, ns=(moment, moment))
            if durable:
                os.fsync(file)
    os.utime(fd, ns=(stamp, stamp))
    if durable:
        os.fsync(fd)
