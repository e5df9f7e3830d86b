"""Files by descriptor: no name is resolved through a link, and what is saved is whole or not there."""

from __future__ import annotations

import os
import re
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

from dagferry_puller.logs import log

if TYPE_CHECKING:
    from collections.abc import Iterator

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a FIFO that somebody put there must not hang.
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

TEMPORARY = ".tmp-"
RETIRED = ".retired-"
_MAX_DEPTH = 256
_RENAME_EXCHANGE = 2  # linux/fs.h


def random_name(prefix: str) -> str:
    """Return a name that nobody else makes: ``TEMPORARY`` or ``RETIRED`` and 24 random hex digits."""
    return prefix + os.urandom(12).hex()


def is_leftover(name: str) -> bool:
    """Tell whether a name is one that ``random_name`` made: ours to remove after a crash."""
    return name[0] == "." and re.fullmatch(r"\.(?:tmp|retired)-[0-9a-f]{24}", name) is not None


@contextmanager
def closing(fd: int) -> Iterator[int]:
    """Close a descriptor at the end."""
    try:
        yield fd
    finally:
        os.close(fd)


def directory(name: str, parent: int) -> int:
    """Open a directory below another one; the caller closes it."""
    return os.open(name, DIRECTORY, dir_fd=parent)


def make_directory(name: str, parent: int, *, durable: bool) -> int:
    """Open a directory below another one, made 0755 if it was not there, whatever the umask."""
    try:
        os.mkdir(name, 0o755, dir_fd=parent)
    except FileExistsError:
        return directory(name, parent)
    fd = directory(name, parent)
    os.fchmod(fd, 0o755 | (os.fstat(fd).st_mode & stat.S_ISGID))
    if durable:
        os.fsync(parent)
    return fd


def read_file(name: str, parent: int, *, limit: int) -> bytes | None:
    """Read a regular file of at most ``limit`` bytes (one byte more is returned if it is larger); None: not there."""
    try:
        fd = os.open(name, READ, dir_fd=parent)
    except FileNotFoundError:
        return None
    with closing(fd):
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(f"{name} is not a regular file")
        data = b""
        while len(data) <= limit and (piece := os.read(fd, limit + 1 - len(data))):
            data += piece
        return data


def save(name: str, data: bytes, parent: int, *, durable: bool) -> None:
    """Replace a small file as a whole: temporary name, fsync, rename, fsync of the directory."""
    temporary = random_name(TEMPORARY)
    fd = os.open(temporary, CREATE, 0o644, dir_fd=parent)
    try:
        with open(fd, "wb") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=parent)
        raise
    if durable:
        os.fsync(parent)


def anonymous_file(parent: int) -> BinaryIO:
    """Open a new file without a name, on the volume of ``parent``: it is gone when it is closed, or with us."""
    try:
        fd = os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=parent)
    except OSError:  # a file system without O_TMPFILE (NFS, some overlays); a real fault shows again below
        name = random_name(TEMPORARY)
        fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=parent)
        os.unlink(name, dir_fd=parent)
    return open(fd, "w+b")


def remove(name: str, parent: int, depth: int = 0) -> None:
    """Remove a file, link or tree, also one of read-only directories; nothing there is fine.

    Raises:
        OSError: something below is not ours to remove, or is nested over 256 deep.
    """
    try:
        fd = directory(name, parent)
    except FileNotFoundError:
        return
    except OSError:  # a file, a link, a FIFO: whatever it is, its name goes
        os.unlink(name, dir_fd=parent)
        return
    with closing(fd):
        if depth > _MAX_DEPTH:
            raise OSError(f"{name} is nested too deep to be removed")
        with suppress(OSError):  # another owner's: removing may still be allowed
            os.fchmod(fd, 0o700)
        with os.scandir(fd) as entries:
            children = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for child, is_directory in children:
            if is_directory:
                remove(child, fd, depth + 1)
            else:
                os.unlink(child, dir_fd=fd)
    os.rmdir(name, dir_fd=parent)


def discard(name: str, parent: int) -> None:
    """Remove what nobody needs any more, or leave it and say so: garbage must never stop a delivery or a start."""
    try:
        remove(name, parent)
    except OSError as error:
        log.warning("cannot remove the leftover %s: %s; remove it by hand", name, error.strerror or error)


def hurry(fd: int) -> None:
    """Let the file system write what it has, all of it at once, so that the fsyncs that follow find little to do.

    Nothing depends on it: that it cannot, or that something of others failed, is no matter.
    """
    import ctypes  # noqa: PLC0415 - 1 MiB, and seldom needed

    call = getattr(ctypes.CDLL(None), "syncfs", None)
    if call is not None:
        call(fd)


def exchange(one: str, other: str, parent: int) -> None:
    """Put ``one`` in the place of ``other`` in a single step; ``one`` is then what ``other`` was.

    Where the file system cannot (CephFS, NFS), two renames do it: ``other`` is then missing for some microseconds, and
    what it was is removed.
    """
    import ctypes  # noqa: PLC0415 - 1 MiB, and seldom needed

    call = getattr(ctypes.CDLL(None), "renameat2", None)
    if call is not None and call(parent, os.fsencode(one), parent, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return
    with set_aside(other, parent):
        os.rename(one, other, src_dir_fd=parent, dst_dir_fd=parent)


@contextmanager
def set_aside(name: str, parent: int) -> Iterator[None]:
    """Take something out of the way of what is to get its name, and remove it; put back if that fails."""
    aside = random_name(RETIRED)
    os.rename(name, aside, src_dir_fd=parent, dst_dir_fd=parent)
    try:
        yield
    except BaseException:
        with suppress(OSError):
            os.rename(aside, name, src_dir_fd=parent, dst_dir_fd=parent)
        raise
    finally:
        discard(aside, parent)
