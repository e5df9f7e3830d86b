"""The root: the puller's volume, opened once; everything below it is reached by descriptor.

- ``<root>/<link>`` points to ``versions/<id>``
- ``<root>/versions/<id>/`` is a whole version
- ``<root>/.dagferry/`` holds ``state.json``, ``lock``, ``envelopes/`` and ``leases/``
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import Self

from dagferry_puller import fsio

META, VERSIONS, ENVELOPES, LEASES = ".dagferry", "versions", "envelopes", "leases"


class Root:
    """The open directories of a root.

    Attributes:
        path: absolute path, for messages and for the check command.
        durable: whether what is written is fsynced (``--no-fsync`` says no: an emptyDir dies with its node).
        fd: the root itself.
        meta: ``.dagferry``.
        versions: ``versions``.
        envelopes: ``.dagferry/envelopes``.
        leases: ``.dagferry/leases``.
    """

    def __init__(self, path: str, *, durable: bool = True, clear: bool = False) -> None:
        """Open the root and make what is missing of it.

        Args:
            path: of the root; made if it is not there.
            durable: see the class.
            clear: whether a file or link that stands in the place of one of our directories is removed.

        Raises:
            OSError: it cannot be made, opened or written.
        """
        self.path = os.path.abspath(path)
        self.durable = durable
        made = not os.path.lexists(self.path)
        os.makedirs(self.path, exist_ok=True)
        self._clear = clear
        self._open: list[int] = []
        self._names: list[tuple[str, int]] = []  # of our directories, and where
        try:
            self.fd = self._keep(os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            if made:  # readers are other users, whatever the umask
                os.fchmod(self.fd, 0o755 | (os.fstat(self.fd).st_mode & stat.S_ISGID))
            self.meta = self._directory(META, self.fd)
            self.versions = self._directory(VERSIONS, self.fd)
            self.envelopes = self._directory(ENVELOPES, self.meta)
            self.leases = self._directory(LEASES, self.meta)
            self._mine = tuple(_identity(os.fstat(fd)) for fd in self._open)
        except BaseException:
            self.close()
            raise

    def _directory(self, name: str, parent: int) -> int:
        self._names.append((name, parent))
        try:
            return self._keep(fsio.make_directory(name, parent, durable=self.durable))
        except OSError as error:
            if not self._clear or error.errno not in {errno.ENOTDIR, errno.ELOOP}:
                raise
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=parent)  # never a directory
        return self._keep(fsio.make_directory(name, parent, durable=self.durable))

    def _keep(self, fd: int) -> int:
        self._open.append(fd)
        return fd

    def close(self) -> None:
        """Close all descriptors."""
        while self._open:
            os.close(self._open.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fsync(self, fd: int) -> None:
        """Make a directory's or file's changes durable, where that is wanted."""
        if self.durable:
            os.fsync(fd)

    def is_writable(self) -> bool:
        """Tell whether we may write here (no on a read-only mount)."""
        return all(os.access(".", os.W_OK | os.X_OK, dir_fd=fd) for fd in self._open)

    def is_in_place(self) -> bool:
        """Tell whether the open directories are still the ones at their paths: a volume can vanish under us."""
        with suppress(OSError):
            return self._mine == (
                _identity(os.stat(self.path)),
                *(_identity(os.stat(name, dir_fd=at, follow_symlinks=False)) for name, at in self._names),
            )
        return False


def _identity(info: os.stat_result) -> tuple[int, int]:
    return info.st_dev, info.st_ino
