"""File system work by descriptor, below a directory that is open, without following symbolic links."""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

from dagferry_shared.errors import BlobMissing, StoreDenied, StoreError, StoreUnreachable
from dagferry_shared.store.reading import CHUNK_BYTES, valid_keys

if TYPE_CHECKING:
    from collections.abc import Iterator

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_TEMPORARY = r"\.tmp-[0-9a-f]{32}"
_ABANDONED_SECONDS = 24 * 3600.0  # without a byte: its writer was killed


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn an OSError into the store error that it means."""
    try:
        yield
    except OSError as error:
        raise error_for(error, what) from error


def error_for(error: OSError, what: str) -> StoreError:
    """Return the store error that an OSError means; ``what`` was tried: "read /store/key"."""
    text = f"cannot {what}: {os.strerror(error.errno or 0)}"
    if error.errno == errno.ENOENT:
        return BlobMissing(f"cannot {what}: it does not exist")
    if error.errno in (errno.EACCES, errno.EPERM):
        return StoreDenied(f"{text} (uid {os.geteuid()} has no permission)")
    if error.errno == errno.EROFS:
        return StoreDenied(f"{text} (the volume is mounted read-only)")
    if error.errno == errno.ELOOP:
        return StoreDenied(f"cannot {what}: it is a symbolic link, and links are not followed")
    return StoreUnreachable(text)


@contextmanager
def closing_fd(fd: int) -> Iterator[int]:
    """Close a descriptor at the end of the block."""
    try:
        yield fd
    finally:
        os.close(fd)


def walked(root: int, names: list[str], *, make: bool = False) -> int:
    """Open a directory below ``root``, one component at a time; the caller closes the descriptor."""
    fd = os.dup(root)
    try:
        for name in names:
            if make:
                _make_directory(name, fd)
            child = os.open(name, DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
            os.close(fd)
            fd = child
    except BaseException:
        os.close(fd)
        raise
    return fd


def _make_directory(name: str, parent: int) -> None:
    with suppress(FileExistsError):
        os.mkdir(name, 0o777, dir_fd=parent)
    os.fsync(parent)  # also when it exists: another writer may have made it and not got this far yet


@contextmanager
def temporary(directory: int, source: BinaryIO) -> Iterator[str]:
    """Write a durable file of a random name that no reader and no listing sees; remove it unless it was renamed."""
    _remove_abandoned(directory)
    name = f".tmp-{os.urandom(16).hex()}"
    file = os.open(name, _CREATE, 0o666, dir_fd=directory)
    try:
        with open(file, "wb") as target:
            while chunk := source.read(CHUNK_BYTES):
                target.write(chunk)
            target.flush()
            os.fsync(target.fileno())
        yield name
    finally:
        with suppress(OSError):
            os.unlink(name, dir_fd=directory)


def _remove_abandoned(directory: int) -> None:
    """Remove the temporary files of writers that were killed."""
    for name in (one for one in os.listdir(directory) if re.fullmatch(_TEMPORARY, one)):
        with suppress(OSError):  # somebody else's to remove, or removed by another writer
            if time.time() - os.stat(name, dir_fd=directory, follow_symlinks=False).st_mtime > _ABANDONED_SECONDS:
                os.unlink(name, dir_fd=directory)


def publish(directory: int, temporary: str, name: str) -> None:
    """Give a temporary file its name, in place of what had it before; durable on return."""
    os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    os.fsync(directory)


def listed(root: int, prefix: str) -> Iterator[str]:
    """List the regular files whose path has the prefix; enters no link and no directory that no key can have."""
    start = prefix.rpartition("/")[0]
    try:
        top = walked(root, start.split("/") if start else [])
    except (FileNotFoundError, NotADirectoryError):
        return
    with closing_fd(top):
        for path, directories, files, directory in os.fwalk(".", dir_fd=top, onerror=_unless_gone):
            directories[:] = valid_keys(directories)
            for name in files:
                key = os.path.normpath(os.path.join(start, path, name))
                if key.startswith(prefix) and _is_regular(name, directory):
                    yield key


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _is_regular(name: str, directory: int) -> bool:
    with suppress(FileNotFoundError):
        return stat.S_ISREG(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
    return False
