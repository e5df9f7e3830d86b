"""Leases: how a reader keeps a version from being retired while it uses it. Standard library alone.

A reader holds a shared flock on ``.dagferry/leases/<version id>``; the puller retires a version only while it holds
the exclusive one. A read-only mount is enough for a reader. Across nodes only the grace time is promised.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_ATTEMPTS = 100  # a swap and a retirement would have to fall into each of them


class Lease(NamedTuple):
    """A version that stays while the lease is held."""

    version: str
    path: str  # the version's real directory, not through the link


class NoVersion(Exception):
    """There is no live version to lease (yet)."""


def _files(root: str, version: str) -> tuple[str, str]:
    return os.path.join(root, ".dagferry", "leases", version), os.path.join(root, "versions", version)


def _hold(root: str, version: str) -> int | None:
    """Take the shared lock of a version; None if it was retired meanwhile."""
    lease, directory = _files(root, version)
    try:
        fd = os.open(lease, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        if os.path.samestat(os.fstat(fd), os.stat(lease)) and os.path.isdir(directory):
            return fd
    except FileNotFoundError:
        pass  # retired between open and flock
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


@contextmanager
def lease(root: str, link: str = "current", version: str | None = None) -> Iterator[Lease]:
    """Lease the live version, or a given one, for the length of a ``with`` block.

    Args:
        root: the puller's root, as this process sees it.
        link: the link's path below the root.
        version: a version id; None: what the link names now.

    Raises:
        NoVersion: there is no such version.
    """
    for _ in range(_ATTEMPTS):
        try:
            wanted = version or os.path.basename(os.readlink(os.path.join(root, link)))
        except OSError as error:
            raise NoVersion(f"{os.path.join(root, link)} is not a link to a version") from error
        fd = _hold(root, wanted)
        if fd is not None:
            try:
                yield Lease(wanted, _files(root, wanted)[1])
            finally:
                os.close(fd)
            return
        if version is not None:
            break
    raise NoVersion(f"version {version or wanted} is not in {root}")
