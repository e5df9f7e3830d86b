"""A store in memory: for tests, dry runs and simulations."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO

from dagferry_shared.errors import BlobMissing, StoreConflict
from dagferry_shared.store import Blob, BlobInfo, Listed, check_key
from dagferry_shared.store.reading import CHUNK_BYTES, oversize
from dagferry_shared.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator


@dataclass(frozen=True, slots=True)
class _Object:
    data: bytes
    etag: str
    modified: datetime


class MemoryStore:
    """A thread-safe Store, and a Remover, that lives as long as its process. An ETag is the SHA-256 of the content.

    Args:
        clock: the store's own clock; must return aware times.
    """

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self._objects: dict[str, _Object] = {}
        self._lock = Lock()

    def get(self, key: str, *, limit: int, if_none_match: str | None = None) -> Blob | None:
        """See BlobReader.get."""
        found = self._found(key)
        if len(found.data) > limit:
            raise oversize(key, limit)
        if found.etag == if_none_match:
            return None
        return Blob(found.data, found.etag)

    def stream(self, key: str, *, limit: int) -> Generator[bytes]:
        """See BlobReader.stream."""
        check_key(key)
        return self._stream(key, limit)

    def _stream(self, key: str, limit: int) -> Generator[bytes]:
        data = self._found(key).data
        for start in range(0, len(data), CHUNK_BYTES):
            chunk = data[start : start + CHUNK_BYTES]
            if start + len(chunk) > limit:
                raise oversize(key, limit)
            yield chunk

    def head(self, key: str) -> BlobInfo | None:
        """See Store.head."""
        with self._lock:
            found = self._objects.get(check_key(key))
        return BlobInfo(len(found.data), found.modified, found.etag) if found else None

    def put(self, key: str, body: bytes | BinaryIO) -> None:
        """See Store.put."""
        check_key(key)
        data = body if isinstance(body, bytes) else body.read()
        with self._lock:
            self._write(key, data)

    def create(self, key: str, data: bytes) -> str:
        """See Store.create."""
        check_key(key)
        with self._lock:
            if key in self._objects:
                raise StoreConflict(f"{key} exists already")
            return self._write(key, data)

    def replace(self, key: str, data: bytes, *, etag: str) -> str:
        """See Store.replace."""
        check_key(key)
        with self._lock:
            found = self._objects.get(key)
            if found is None or found.etag != etag:
                raise StoreConflict(f"{key} is not the object that was read before: it was changed or removed")
            return self._write(key, data)

    def keys(self, prefix: str) -> Iterator[str]:
        """See Store.keys."""
        check_key(prefix + "x")
        with self._lock:
            return iter([key for key in self._objects if key.startswith(prefix)])

    def discard(self, key: str) -> None:
        """See Store.discard."""
        with self._lock:
            self._objects.pop(check_key(key), None)

    def listed(self, prefix: str) -> Iterator[Listed]:
        """See Remover.listed."""
        check_key(prefix + "x")
        with self._lock:
            found = [(key, one) for key, one in self._objects.items() if key.startswith(prefix)]
        return iter([Listed(key, len(one.data), one.modified) for key, one in found])

    def remove(self, found: Listed) -> bool:
        """See Remover.remove."""
        with self._lock:
            there = self._objects.get(check_key(found.key))
            if there is None or there.modified != found.modified:
                return False
            del self._objects[found.key]
            return True

    def now(self) -> datetime:
        """See Store.now."""
        return self._clock()

    def _found(self, key: str) -> _Object:
        with self._lock:
            found = self._objects.get(check_key(key))
        if found is None:
            raise BlobMissing(f"{key} does not exist")
        return found

    def _write(self, key: str, data: bytes) -> str:
        etag = hashlib.sha256(data).hexdigest()
        self._objects[key] = _Object(bytes(data), etag, self._clock())
        return etag
