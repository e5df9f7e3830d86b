"""A store in a directory: a local one, a mounted volume, or a copy of a bucket.

Below the root every path component is opened without following symbolic links, so a link that somebody left in
the store never makes a reader open a file outside it. An ETag is the SHA-256 of the content; a file above 16 MiB, which
is nothing to compare and swap, is not read for one: somebody may have left one without an end.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import time
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO

from dagferry_shared.errors import BlobMissing, StoreConflict, StoreDenied, StoreUnreachable
from dagferry_shared.store import Blob, BlobInfo, check_key
from dagferry_shared.store.openat import (
    DIRECTORY,
    closing_fd,
    error_for,
    listed,
    publish,
    temporary,
    translated,
    walked,
)
from dagferry_shared.store.reading import CHUNK_BYTES, bounded, valid_keys

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

# O_NONBLOCK: opening a FIFO that somebody put there must not hang.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LOCK = ".lock"
_LOCK_POLL_SECONDS = 0.01
_HASHED_BYTES = 16 << 20  # of a file that is read for its ETag


class DirectoryReader:
    """A BlobReader on a directory; it never writes, so a read-only mount will do.

    Args:
        root: the directory; it must exist, since a volume that is not mounted must not look like an empty store.
    """

    def __init__(self, root: Path | str) -> None:
        self._root = os.fspath(root)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._root!r})"

    def _path(self, key: str) -> str:
        """Return where an object is, for messages."""
        return os.path.join(self._root, key)

    def get(self, key: str, *, limit: int, if_none_match: str | None = None) -> Blob | None:
        """See BlobReader.get."""
        chunks = self._chunks(check_key(key))
        with closing(chunks):
            data = b"".join(bounded(chunks, key, limit))
        etag = hashlib.sha256(data).hexdigest()
        return None if etag == if_none_match else Blob(data, etag)

    def stream(self, key: str, *, limit: int) -> Generator[bytes]:
        """See BlobReader.stream."""
        check_key(key)
        return self._stream(key, limit)

    def _stream(self, key: str, limit: int) -> Generator[bytes]:
        chunks = self._chunks(key)
        with closing(chunks):
            yield from bounded(chunks, key, limit)

    def _chunks(self, key: str) -> Generator[bytes]:
        """Read a file by one descriptor: whoever replaces it meanwhile does not disturb."""
        what = f"read {self._path(key)}"
        with self._opened(key) as file:
            while True:
                with translated(what):
                    chunk = os.read(file, CHUNK_BYTES)
                if not chunk:
                    return
                yield chunk

    @contextmanager
    def _opened(self, key: str) -> Iterator[int]:
        what = f"read {self._path(key)}"
        *parents, name = key.split("/")
        with self._opened_root() as root:
            try:
                directory = walked(root, parents)
                with closing_fd(directory):
                    file = os.open(name, _READ, dir_fd=directory)
            except NotADirectoryError as error:  # a file where the key has a directory: the key is not there
                raise BlobMissing(f"cannot {what}: it does not exist") from error
            except OSError as error:
                raise error_for(error, what) from error
        with closing_fd(file):
            mode = os.fstat(file).st_mode
            if stat.S_ISDIR(mode):
                raise BlobMissing(f"cannot {what}: it is a directory")
            if not stat.S_ISREG(mode):
                raise StoreDenied(f"cannot {what}: it is not a regular file")
            yield file

    @contextmanager
    def _opened_root(self) -> Iterator[int]:
        try:
            fd = os.open(self._root, DIRECTORY)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise StoreUnreachable(
                f"the store {self._root} is not a directory: mount it, or create it: mkdir {self._root}"
            ) from error
        except OSError as error:
            raise error_for(error, f"open the store {self._root}") from error
        with closing_fd(fd):
            yield fd


class DirectoryStore(DirectoryReader):
    """A Store on a directory, for any number of writers that share its file system's locks.

    Args:
        root: the directory; it must exist.
        lock_seconds: how long a write waits for another writer before it is StoreUnreachable.
    """

    def __init__(self, root: Path | str, *, lock_seconds: float = 30.0) -> None:
        super().__init__(root)
        self._lock_seconds = lock_seconds

    def head(self, key: str) -> BlobInfo | None:
        """See Store.head; a small file's ETag is the one that ``get`` gives, a large file is not read for one."""
        try:
            with self._opened(check_key(key)) as file, translated(f"read {self._path(key)}"):
                info = os.fstat(file)
                modified = datetime.fromtimestamp(info.st_mtime, UTC)
                return BlobInfo(info.st_size, modified, _etag(file, info))
        except BlobMissing:
            return None

    def put(self, key: str, body: bytes | BinaryIO) -> None:
        """See Store.put."""
        source = BytesIO(body) if isinstance(body, bytes) else body
        with (
            self._writing(check_key(key)) as (root, directory, name),
            temporary(directory, source) as new,
            self._locked(root),
        ):
            publish(directory, new, name)

    def create(self, key: str, data: bytes) -> str:
        """See Store.create."""
        with self._writing(check_key(key)) as (root, directory, name), self._locked(root):
            with suppress(FileNotFoundError):
                os.stat(name, dir_fd=directory, follow_symlinks=False)
                raise StoreConflict(f"{self._path(key)} exists already")
            with temporary(directory, BytesIO(data)) as new:
                publish(directory, new, name)
        return hashlib.sha256(data).hexdigest()

    def replace(self, key: str, data: bytes, *, etag: str) -> str:
        """See Store.replace."""
        with self._opened_root() as root, self._locked(root):
            found = self.head(key)
            if found is None or found.etag != etag:
                raise StoreConflict(f"{self._path(key)} was changed or removed since it was read")
            with self._writing(key) as (_, directory, name), temporary(directory, BytesIO(data)) as new:
                publish(directory, new, name)
        return hashlib.sha256(data).hexdigest()

    def keys(self, prefix: str) -> Iterator[str]:
        """See Store.keys."""
        check_key(prefix + "x")
        with self._opened_root() as root, translated(f"list {self._path(prefix)}"):
            yield from valid_keys(listed(root, prefix))

    def discard(self, key: str) -> None:
        """See Store.discard."""
        *parents, name = check_key(key).split("/")
        with (
            suppress(StoreDenied, BlobMissing),
            self._opened_root() as root,
            translated(f"remove {self._path(key)}"),
            suppress(NotADirectoryError),
            closing_fd(walked(root, parents)) as directory,
        ):
            os.unlink(name, dir_fd=directory)

    def now(self) -> datetime:
        """See Store.now; a directory has no clock but this machine's."""
        return datetime.now(UTC)

    @contextmanager
    def _writing(self, key: str) -> Iterator[tuple[int, int, str]]:
        """Open the root and the directory of a key, which is made if need be."""
        *parents, name = key.split("/")
        with (
            self._opened_root() as root,
            translated(f"write {self._path(key)}"),
            closing_fd(walked(root, parents, make=True)) as directory,
        ):
            yield root, directory, name

    @contextmanager
    def _locked(self, root: int) -> Iterator[None]:
        """Hold the store's lock: compare-and-swap is a comparison and a rename that nobody comes between."""
        what = f"lock {self._path(_LOCK)}"
        with translated(what):
            # Writable: NFS grants an exclusive lock on such a descriptor only.
            lock = os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666, dir_fd=root)
        with closing_fd(lock):
            deadline = time.monotonic() + self._lock_seconds
            while not _try_lock(lock, what):
                if time.monotonic() >= deadline:
                    raise StoreUnreachable(f"cannot {what}: another writer has held it for too long")
                time.sleep(_LOCK_POLL_SECONDS)
            yield


def _etag(file: int, info: os.stat_result) -> str:
    """Return the digest of the content, or of what tells a file of any size from what replaces it."""
    if info.st_size > _HASHED_BYTES:
        return hashlib.sha256(f"{info.st_ino} {info.st_size} {info.st_mtime_ns}".encode()).hexdigest()
    digest = hashlib.sha256()
    while chunk := os.read(file, CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def _try_lock(lock: int, what: str) -> bool:
    with translated(what):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
