"""The link: the contract with every reader. It is relative, always names a whole version, and changes in one step."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dagferry_puller import fsio
from dagferry_puller.root import VERSIONS
from dagferry_shared import names
from dagferry_shared.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagferry_puller.root import Root


class Link:
    """The link of a root.

    Args:
        root: the root.
        path: the link's path below it, ``/``-separated; checked by the settings.
    """

    def __init__(self, root: Root, path: str) -> None:
        self.path = path
        self._root = root
        *self._parents, self._name = path.split("/")
        self._prefix = "../" * len(self._parents) + VERSIONS + "/"

    @contextmanager
    def _directory(self, *, durable: bool = False) -> Iterator[int]:
        """Open the directory that the link is in; made if it is not there, and durable with its parents if asked."""
        fd = os.dup(self._root.fd)
        try:
            for name in self._parents:
                child = fsio.make_directory(name, fd, durable=self._root.durable)
                if durable:
                    self._root.fsync(fd)
                os.close(fd)
                fd = child
            yield fd
        finally:
            os.close(fd)

    def _target(self) -> str | None:
        """Return what the link holds; None if there is nothing, or not a link, or a parent that is none."""
        try:
            with self._directory() as parent:
                return os.readlink(self._name, dir_fd=parent)
        except OSError:
            return None

    def read(self) -> str | None:
        """Return the version that the link names; None if there is no link, or it is not one that we make."""
        target = self._target()
        if target is None:
            return None
        version = target.removeprefix(self._prefix)
        try:
            names.split_version_id(version)
        except Refused:
            return None
        return version if target == self._prefix + version else None

    def names(self, version: str) -> bool:
        """Tell whether the link names this version."""
        return self._target() == self._prefix + version

    def is_occupied(self) -> bool:
        """Tell whether a file or directory stands where the link should be."""
        try:
            with self._directory() as parent:
                return not stat.S_ISLNK(os.stat(self._name, dir_fd=parent, follow_symlinks=False).st_mode)
        except FileNotFoundError:
            return False

    def swap(self, version: str) -> None:
        """Point the link at a version: a new link under a random name, renamed over the old one.

        A file or directory that somebody put in the link's place is moved out of the way and removed.
        """
        with self._directory() as parent:
            temporary = fsio.random_name(fsio.TEMPORARY)
            os.symlink(self._prefix + version, temporary, dir_fd=parent)
            try:
                self._replace_by(temporary, parent)
            except BaseException:
                fsio.discard(temporary, parent)
                raise

    def _replace_by(self, temporary: str, parent: int) -> None:
        try:
            os.rename(temporary, self._name, src_dir_fd=parent, dst_dir_fd=parent)
        except IsADirectoryError:
            with fsio.set_aside(self._name, parent):
                os.rename(temporary, self._name, src_dir_fd=parent, dst_dir_fd=parent)

    def make_durable(self) -> None:
        """Make the last swap survive a power loss."""
        with self._directory(durable=True) as parent:
            self._root.fsync(parent)

    def remove(self) -> None:
        """Take the link away (``--on-revoked stop``)."""
        with self._directory() as parent:
            fsio.remove(self._name, parent)
            self._root.fsync(parent)

    def remove_leftovers(self) -> None:
        """Remove what a crash left beside the link."""
        with self._directory() as parent:
            for name in os.listdir(parent):
                if fsio.is_leftover(name):
                    fsio.discard(name, parent)
