"""What stat told of every entry of a tree, and on request what was read there: cheap to keep, cheap to compare."""

from __future__ import annotations

import os
import stat
from array import array
from itertools import chain
from typing import TYPE_CHECKING

from dagferry_puller import fsio
from dagferry_shared.gittree import Leaf, Mode

if TYPE_CHECKING:
    from collections.abc import Mapping

_POSITIVE = (1 << 63) - 1
_BLOB = 32  # bytes of a blob's id
_TOLD, _KEPT = 2, 4  # numbers of an entry in the two arrays


class Glance:
    """What stat told of every entry of a tree, cheap to ask again: it is something else after every change.

    The ctime of a file changes with its content, mode, owner, times and links, that of a directory with its names, and
    it cannot be set back without privileges. What hides from it: a second change within one tick of the file system's
    clock, a store through a memory mapping that was made before, and rot on the disk. They are for the full check.

    Args:
        fd: the tree's open directory.
        leaves: what was read there, if it was.

    Raises:
        OSError: the tree changed meanwhile, or cannot be read.
    """

    def __init__(self, fd: int, leaves: Mapping[str, Leaf] | None = None) -> None:
        self._top = _identity(fd)
        self._paths: list[str] = []
        self._told = array("q")  # ctime, size
        self._kept = array("q")  # inode, mtime, mode, links
        self._next = 0  # the first path that the next look at a share of them looks at
        self._blobs = b""
        pending = [""]
        while pending:  # a directory's own times come before its names, so that a name that is added meanwhile shows
            above = pending.pop()
            with fsio.closing(fsio.directory(above or ".", fd)) as directory, os.scandir(directory) as listing:
                for entry in listing:
                    info = entry.stat(follow_symlinks=False)
                    path = f"{above}/{entry.name}" if above else entry.name
                    self._paths.append(path)
                    self._told.extend((info.st_ctime_ns, info.st_size))
                    self._kept.extend((info.st_ino & _POSITIVE, _mtime(info), info.st_mode, info.st_nlink))
                    if stat.S_ISDIR(info.st_mode):
                        pending.append(path)
        if leaves is not None:
            self.learn(leaves)

    def holds(self, fd: int, share: float = 1.0) -> bool:
        """Tell whether the tree is as it was, by all of its entries or by those whose turn it is.

        Args:
            fd: the tree's open directory.
            share: how many of the entries are looked at, the next in turn; all of them from 1.0 on.
        """
        count = len(self._paths)
        some = min(int(min(share, 1.0) * count) + 1, count)
        end = self._next + some
        turn = chain(range(self._next, min(end, count)), range(end - count))
        self._next = end % count if count else 0
        told = self._told
        try:
            for at in turn:
                info = os.stat(self._paths[at], dir_fd=fd, follow_symlinks=False)
                if info.st_ctime_ns != told[_TOLD * at] or info.st_size != told[_TOLD * at + 1]:
                    return False
        except OSError:
            return False
        return _identity(fd) == self._top

    def relinked(self, fd: int, ctimes: Mapping[str, int] | None = None) -> None:
        """Look again after this process made or removed hard links to files of the tree, and allow for just that.

        A file whose number of links is another one may have another ctime. Any other difference is left to be found
        by ``holds``: nothing is noted then. So what hides is a change with size, mode and mtime kept, between the
        last look and this one, of a file whose links changed, too.

        Args:
            fd: the tree's open directory.
            ctimes: right after links were made, in nanoseconds by path: what those files must have.
        """
        look, told, kept = os.stat, array("q"), array("q")
        try:
            for at, path in enumerate(self._paths):
                info = look(path, dir_fd=fd, follow_symlinks=False)
                ctime = info.st_ctime_ns
                told.extend((ctime, info.st_size))
                kept.extend((info.st_ino & _POSITIVE, _mtime(info), info.st_mode, info.st_nlink))
                if not self._is_relinked(at, info) or (ctimes and ctimes.get(path, ctime) != ctime):
                    return
        except OSError:
            return
        if _identity(fd) == self._top:
            self._told, self._kept = told, kept

    def _is_relinked(self, at: int, info: os.stat_result) -> bool:
        if info.st_ctime_ns == self._told[_TOLD * at]:
            return True
        links = self._kept[_KEPT * at + 3]
        return stat.S_ISREG(info.st_mode) and info.st_nlink != links and self._lasts(at, info)

    def _lasts(self, at: int, info: os.stat_result) -> bool:
        """Tell whether all but ctime and links is as it was."""
        kept, first = self._kept, _KEPT * at
        return (
            info.st_size == self._told[_TOLD * at + 1]
            and info.st_ino & _POSITIVE == kept[first]
            and _mtime(info) == kept[first + 1]
            and info.st_mode == kept[first + 2]
        )

    # What was read there

    def learn(self, leaves: Mapping[str, Leaf]) -> None:
        """Keep what was read of the tree; nothing if that is not just the files that were glanced at."""
        none, blobs = "0" * 2 * _BLOB, []
        for path, mode in zip(self._paths, self._kept[2::_KEPT], strict=True):
            leaf = leaves.get(path)
            if (leaf is None) != stat.S_ISDIR(mode):
                return
            blobs.append(leaf.blob if leaf else none)
        self._blobs = bytes.fromhex("".join(blobs))

    @property
    def is_learned(self) -> bool:
        """Whether it is known what was read there."""
        return bool(self._blobs)

    def leaves(self) -> dict[str, Leaf]:
        """Return what was read there."""
        blobs, found = self._blobs.hex(), {}
        for path, mode, at in zip(self._paths, self._kept[2::_KEPT], range(0, len(blobs), 2 * _BLOB), strict=True):
            if not stat.S_ISDIR(mode):
                found[path] = Leaf(_mode(mode), blobs[at : at + 2 * _BLOB])
        return found

    def places(self) -> dict[str, int]:
        """Return the number by which the next methods know each path."""
        return {path: at for at, path in enumerate(self._paths)}

    def confirms(self, ctimes: Mapping[str, int]) -> bool:
        """Tell whether these files have the ctime that they had before."""
        told = self._told
        return not ctimes or all(
            told[_TOLD * at] == ctimes.get(path, told[_TOLD * at]) for at, path in enumerate(self._paths)
        )

    @property
    def latest(self) -> int:
        """The latest modification time of all entries in nanoseconds since 1970; 0 if there is none."""
        return max(self._kept[1::_KEPT], default=0)

    def mtime(self, place: int) -> int:
        """Return an entry's modification time in nanoseconds since 1970."""
        return self._kept[_KEPT * place + 1]

    def is_same(self, place: int, info: os.stat_result) -> bool:
        """Tell whether an entry is still what was read: same inode, size, times, mode."""
        return info.st_ctime_ns == self._told[_TOLD * place] and self._lasts(place, info)


def _mode(mode: int) -> Mode:
    if stat.S_ISLNK(mode):
        return Mode.LINK
    return Mode.EXECUTABLE if mode & stat.S_IXUSR else Mode.FILE


def _mtime(info: os.stat_result) -> int:
    """Return the modification time; one before 1677 or after 2262, which anybody can set, as one of these ends."""
    mtime = info.st_mtime_ns
    return mtime if -_POSITIVE <= mtime <= _POSITIVE else _POSITIVE if mtime > 0 else -_POSITIVE


def _identity(fd: int) -> tuple[int, int, int]:
    top = os.fstat(fd)
    return top.st_dev, top.st_ino, top.st_ctime_ns
