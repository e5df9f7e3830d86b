"""Removing from a store in a directory: the side that only a retention run opens."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dagferry_shared.errors import BlobMissing
from dagferry_shared.store import Listed, check_key
from dagferry_shared.store.directory import DirectoryStore
from dagferry_shared.store.openat import closing_fd, translated, walked

if TYPE_CHECKING:
    from collections.abc import Iterator


class DirectoryRemover(DirectoryStore):
    """A Remover on a directory."""

    def listed(self, prefix: str) -> Iterator[Listed]:
        """See Remover.listed."""
        for key in self.keys(prefix):
            found = None
            with suppress(BlobMissing):  # removed since it was listed
                found = self._look(key)
            if found:
                yield found

    def remove(self, found: Listed) -> bool:
        """See Remover.remove: writers hold the same lock when they give a file its name."""
        *parents, name = check_key(found.key).split("/")
        with self._opened_root() as root, self._locked(root):
            try:
                if self._look(found.key) != found:
                    return False
            except BlobMissing:
                return False
            with translated(f"remove {self._path(found.key)}"), closing_fd(walked(root, parents)) as directory:
                os.unlink(name, dir_fd=directory)
                os.fsync(directory)
        return True

    def _look(self, key: str) -> Listed:
        with self._opened(key) as file, translated(f"read {self._path(key)}"):
            info = os.fstat(file)
        return Listed(key, info.st_size, datetime.fromtimestamp(info.st_mtime, UTC))
