"""A tree as it lies on disk, and whether it is the tree that was signed.

What counts is type, content and the user-executable bit: a volume's fsGroup may change group bits. Anything that git
could not hold (empty directories, FIFOs, names that are not UTF-8) is extra, hence tampering.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from dagferry_puller import fsio
from dagferry_shared.gittree import Leaf, Mode, blob_hasher, blob_id, tree_id
from dagferry_shared.values import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagferry_shared.release import Release

_CHUNK = 256 * 1024
_MAX_DEPTH = 80  # a signed path has 64 components
# What a person can do to an entry, as an errno; all else is the volume's fault.
DAMAGE = {errno.EACCES, errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.ENODEV}


class _Enough(Exception):
    """The tree holds more than was signed; there is no need to read on."""


@dataclass(slots=True)
class Found:
    """What a directory holds.

    Attributes:
        leaves: files and symlinks by path.
        extra: paths of what no signed tree can hold.
        complete: False if reading stopped because there is more than was signed.
    """

    leaves: dict[str, Leaf] = field(default_factory=dict)
    extra: list[str] = field(default_factory=list)
    complete: bool = True

    def is_tree(self, tree: str) -> bool:
        """Tell whether this is exactly the tree of that id."""
        return self.complete and not self.extra and bool(self.leaves) and tree_id(self.leaves) == tree

    def differences(self, wanted: dict[str, Leaf]) -> list[str]:
        """List the paths that are extra, missing or changed, compared with a good tree."""
        changed = {p for p in self.leaves.keys() | wanted.keys() if self.leaves.get(p) != wanted.get(p)}
        return sorted(changed | set(self.extra))


@dataclass(frozen=True, slots=True)
class Made:
    """A new tree under a temporary name.

    Attributes:
        leaves: its files and symlinks.
        linked: ctime in nanoseconds of each file that is a hard link to the live version's.
    """

    leaves: dict[str, Leaf]
    linked: Mapping[str, int] = field(default_factory=dict)


class _Scan:
    def __init__(self, max_files: int, max_bytes: int) -> None:
        self.found = Found()
        self._files = max_files
        self._bytes = max_bytes

    def directory(self, fd: int, prefix: str, depth: int = 0) -> None:
        with os.scandir(fd) as entries:
            children = sorted(entry.name for entry in entries)
        if (not children or depth > _MAX_DEPTH) and prefix:
            self.found.extra.append(prefix[:-1])
            return
        for name in children:
            path = prefix + os.fsencode(name).decode("utf-8", "backslashreplace")
            try:
                name.encode()
                self._entry(fd, name, path, depth)
            except UnicodeEncodeError:  # not UTF-8 on disk
                self.found.extra.append(path)
            except OSError as error:
                if error.errno not in DAMAGE:
                    raise
                self.found.extra.append(path)

    def _entry(self, fd: int, name: str, path: str, depth: int) -> None:
        info = os.stat(name, dir_fd=fd, follow_symlinks=False)
        if stat.S_ISDIR(info.st_mode):
            with fsio.closing(fsio.directory(name, fd)) as child:
                self.directory(child, path + "/", depth + 1)
            return
        if stat.S_ISLNK(info.st_mode):
            self._count(1, 0)
            self.found.leaves[path] = Leaf(Mode.LINK, blob_id(os.fsencode(os.readlink(name, dir_fd=fd))))
        elif stat.S_ISREG(info.st_mode):
            self._count(1, info.st_size)
            self.found.leaves[path] = _file_leaf(fd, name)
        else:
            self.found.extra.append(path)

    def _count(self, files: int, size: int) -> None:
        self._files -= files
        self._bytes -= size
        if self._files < 0 or self._bytes < 0:
            raise _Enough


def _file_leaf(parent: int, name: str) -> Leaf:
    with fsio.closing(os.open(name, fsio.READ, dir_fd=parent)) as fd:
        info = os.fstat(fd)
        hasher = blob_hasher(info.st_size)
        while piece := os.read(fd, _CHUNK):
            hasher.update(piece)
    return Leaf(Mode.EXECUTABLE if info.st_mode & stat.S_IXUSR else Mode.FILE, hasher.hexdigest())


def scan(fd: int, *, max_files: int, max_bytes: int) -> Found:
    """Read a tree.

    Args:
        fd: its open directory.
        max_files: stop after so many files and links.
        max_bytes: stop after so many bytes of content.

    Raises:
        OSError: the volume's fault; what a person can do to a tree ends in ``Found.extra`` instead.
    """
    reading = _Scan(max_files, max_bytes)
    try:
        reading.directory(fd, "")
    except _Enough:
        reading.found.complete = False
    return reading.found


def scan_for(fd: int, release: Release) -> Found:
    """Read a tree that should be the one of a release; no more than it signed is read."""
    return scan(fd, max_files=release.archive.files, max_bytes=release.archive.unpacked_size)
