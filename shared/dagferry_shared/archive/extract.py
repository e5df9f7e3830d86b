"""Writing an archive's entries below a new directory, by descriptor: no path is ever resolved twice."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from dagferry_shared.archive.reader import Manifest, read_archive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO, Self

    from dagferry_shared.archive.reader import Limits

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Extractor:
    """A sink that creates files, links and directories below an open, empty directory.

    Files get 0444 or 0555 and directories 0555 whatever the umask, or with ``writable`` 0644, 0755 and 0755.
    OSError passes through: a full disk is not the archive's fault.
    """

    def __init__(self, root: int, *, writable: bool = False) -> None:
        self._write = 0o200 if writable else 0
        self._parts: list[str] = []
        self._above: str | None = None  # the directory of the last entry, if it is the one that is open
        self._open: list[int] = [os.dup(root)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self._open:
            os.close(fd)
        self._open = []

    def _leave(self) -> None:
        fd = self._open.pop()
        self._parts.pop()
        os.fchmod(fd, 0o555 | self._write)
        os.close(fd)

    def directory(self, parents: list[str]) -> int:
        """Return the open directory of an entry, making what is missing; it is good until another one is asked for.

        A directory that is left gets its final mode, and may be come back to.
        """
        self._above = None
        while self._parts != parents[: len(self._parts)]:
            self._leave()
        for part in parents[len(self._parts) :]:
            with contextlib.suppress(FileExistsError):  # a link's directory: links come after all files
                os.mkdir(part, 0o700, dir_fd=self._open[-1])
            fd = os.open(part, _DIRECTORY, dir_fd=self._open[-1])
            self._open.append(fd)
            self._parts.append(part)
            os.fchmod(fd, 0o700)
        return self._open[-1]

    def file(self, path: str, chunks: Iterator[bytes], *, executable: bool) -> None:
        """Create a file that was not there and write it."""
        parent, name = self._place(path)
        fd = os.open(name, _CREATE, 0o600, dir_fd=parent)
        try:
            for chunk in chunks:
                written = os.write(fd, chunk) if chunk else 0
                while written < len(chunk):
                    written += os.write(fd, memoryview(chunk)[written:])
            os.fchmod(fd, (0o555 if executable else 0o444) | self._write)
        finally:
            os.close(fd)

    def link(self, path: str, target: str) -> None:
        """Create a symlink that was not there."""
        parent, name = self._place(path)
        os.symlink(target, name, dir_fd=parent)

    def _place(self, path: str) -> tuple[int, str]:
        """Return the open directory of an entry, and its name there."""
        above, _, name = path.rpartition("/")
        if above != self._above:
            self.directory(above.split("/") if above else [])
            self._above = above
        return self._open[-1], name

    def finish(self) -> None:
        """Give the directories that are still open their final mode."""
        while self._parts:
            self._leave()
        os.fchmod(self._open[0], 0o555 | self._write)


def extract_archive(
    source: BinaryIO, root: int, limits: Limits, *, writable: bool = False, digest: bool = True
) -> Manifest:
    """Unpack a canonical archive into the open, empty directory ``root``; ``digest``: whether the tar's own is wanted.

    If this raises, what was made is incomplete and must be thrown away.

    Raises:
        Refused: BAD_ARCHIVE or TOO_LARGE.
        OSError: the volume's fault (full, read-only, out of inodes).
    """
    with Extractor(root, writable=writable) as sink:
        manifest = read_archive(source, limits, sink, digest=digest)
        sink.finish()
    return manifest
