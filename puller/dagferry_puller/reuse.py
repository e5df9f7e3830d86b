"""What is as it was: files of the live version that a new one shares with it by hard link, or copies.

A file's blob id is taken from memory only while stat tells just what it told when the content was read, asked for
immediately before the link is made; afterwards all but ctime and the number of links must be the same again. Whatever
is in doubt is copied and hashed. A linked file is never given another time, mode or content afterwards: ``stamps``.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from dagferry_puller import fsio
from dagferry_shared.errors import Reason, Refused
from dagferry_shared.gittree import Mode, blob_hasher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Self

    from dagferry_puller.glance import Glance
    from dagferry_shared.archive.extract import Extractor
    from dagferry_shared.gittree import Leaf

    Relinked = Callable[[Mapping[str, int] | None], None]

_CHUNK = 256 * 1024
_MAX_LINKS = 10_000  # of one file; ext4 takes 65,000
# What a file system says that has no hard links, has enough of them, or does not give us this one.
_NO_LINK = {errno.EMLINK, errno.EXDEV, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS}
_MODES = {Mode.FILE: 0o444, Mode.EXECUTABLE: 0o555}


class Base:
    """The live version, as far as the next one may be made from it.

    Attributes:
        version: its id.
        tree: its git tree id.
        leaves: its files and symlinks.
        latest: the latest modification time in it, in nanoseconds since 1970.
        linked: ctime in nanoseconds, right after the link was made, of each file that has one more now.
        relinked: to be called when hard links to its files were made or removed and it stays live, with ``linked`` if
            they were made.
    """

    def __init__(
        self, version: str, tree: str, glance: Glance, relinked: Callable[[Mapping[str, int] | None], None]
    ) -> None:
        self.version = version
        self.tree = tree
        self.linked: dict[str, int] = {}
        self.relinked = relinked
        self.leaves: Mapping[str, Leaf] = glance.leaves()
        self.latest = glance.latest
        self._glance = glance
        self._places = glance.places()

    def mtime(self, path: str) -> int:
        """Return a file's modification time in nanoseconds since 1970."""
        return self._glance.mtime(self._places[path])

    def is_same(self, path: str, info: os.stat_result) -> bool:
        """Tell whether stat tells of a file what it told when it was read."""
        return self._glance.is_same(self._places[path], info)


class Directories:
    """The directories of a tree, by descriptor and without following links; neighbours are opened once.

    Args:
        root: the tree's open directory.
    """

    def __init__(self, root: int) -> None:
        self._parts: list[str] = []
        self._open = [os.dup(root)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self._open:
            os.close(fd)

    def at(self, parents: list[str]) -> int:
        """Return the open directory of a path; it stays open until another one is asked for."""
        while self._parts != parents[: len(self._parts)]:
            os.close(self._open.pop())
            self._parts.pop()
        for part in parents[len(self._parts) :]:
            self._open.append(fsio.directory(part, self._open[-1]))
            self._parts.append(part)
        return self._open[-1]


class DiskBase:
    """A base for the delta reader: contents from the live version's directory.

    Args:
        base: what is known of it.
        root: its open directory.
    """

    def __init__(self, base: Base, root: int) -> None:
        self.leaves = base.leaves
        self._root = root

    def content(self, path: str, limit: int) -> bytes:
        """See ``dagferry_shared.archive.delta.Base``."""
        *parents, name = path.split("/")
        with Directories(self._root) as directories:
            return fsio.read_file(name, directories.at(parents), limit=limit) or b""

    def target(self, path: str) -> str:
        """See ``dagferry_shared.archive.delta.Base``."""
        *parents, name = path.split("/")
        with Directories(self._root) as directories:
            return os.readlink(name, dir_fd=directories.at(parents))


class Reuse:
    """Brings files of a base into a new tree.

    Args:
        base: what is known of it.
        root: its open directory.
        into: makes the new tree.
        link: whether hard links may be made; else everything is copied.
    """

    def __init__(self, base: Base, root: int, into: Extractor, *, link: bool) -> None:
        self._base = base
        self._root = root
        self._into = into
        self._link = link
        self._me = os.geteuid()

    def fill(self, paths: Iterable[str]) -> None:
        """Bring regular files over.

        Raises:
            Refused: WRONG_TREE: a file is not as it was when it was read.
            OSError: the base cannot be read, or the volume's fault.
        """
        above, source, into = None, -1, -1
        with Directories(self._root) as directories:
            for path in sorted(paths):
                parent, _, name = path.rpartition("/")
                if parent != above:
                    parents = parent.split("/") if parent else []
                    above, source, into = parent, directories.at(parents), self._into.directory(parents)
                if not (self._link and self._linked(path, name, source, into)):
                    self._copy(path, name, source, into)

    def _linked(self, path: str, name: str, source: int, into: int) -> bool:
        """Make a hard link if there is no doubt about the file; False if it has to be copied."""
        before = os.stat(name, dir_fd=source, follow_symlinks=False)
        if not (self._may_be_linked(before) and self._base.is_same(path, before)):
            return False
        try:
            os.link(name, name, src_dir_fd=source, dst_dir_fd=into, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            return False
        after = os.stat(name, dir_fd=into, follow_symlinks=False)
        if _lasting(before) != _lasting(after):
            raise _changed(path)
        self._base.linked[path] = after.st_ctime_ns
        return True

    def _may_be_linked(self, info: os.stat_result) -> bool:
        """Tell whether it is a file of ours that nobody may write, with room for one more link."""
        mode = info.st_mode
        return (
            stat.S_ISREG(mode)
            and stat.S_IMODE(mode) in (0o444, 0o555)
            and info.st_uid == self._me
            and info.st_nlink < _MAX_LINKS
        )

    def _copy(self, path: str, name: str, source: int, into: int) -> None:
        leaf = self._base.leaves[path]
        with fsio.closing(os.open(name, fsio.READ, dir_fd=source)) as old:
            info = os.fstat(old)
            if not stat.S_ISREG(info.st_mode):
                raise _changed(path)
            with fsio.closing(os.open(name, fsio.CREATE, 0o600, dir_fd=into)) as new:
                if copy(old, new, info.st_size) != leaf.blob:
                    raise _changed(path)
                os.fchmod(new, _MODES[leaf.mode])


def copy(old: int, new: int, size: int) -> str:
    """Copy an open file of that many bytes; returns the id of the blob that was written, or of something else."""
    hasher = blob_hasher(size)
    while piece := os.read(old, _CHUNK):
        hasher.update(piece)
        view = memoryview(piece)
        while view:
            view = view[os.write(new, view) :]
        size -= len(piece)
        if size < 0:  # it grows: no more than was there is ever copied
            break
    return hasher.hexdigest()


def _lasting(info: os.stat_result) -> tuple[int, ...]:
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_mode, info.st_uid, info.st_gid


def _changed(path: str) -> Refused:
    return Refused(Reason.WRONG_TREE, f"{path!r} of the live version is not as it was when it was read")
