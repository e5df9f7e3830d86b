"""The store protocols: what a puller reads with, and what a publisher writes with.

The comments here are the contract; ``tests/contract`` runs it on every implementation (memory, directory,
S3 by boto3, S3 by obstore).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, BinaryIO, Protocol

from dagferry_shared.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from datetime import datetime

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*")


@dataclass(frozen=True, slots=True)
class Blob:
    """A small object as read: its bytes, and the ETag to compare with (opaque, without quotes)."""

    data: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """What the store says of an object without sending it: a hint, never a proof of content."""

    size: int  # bytes
    modified: datetime  # aware, UTC
    etag: str  # opaque, without quotes


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as a listing of the store shows it."""

    key: str
    size: int  # bytes
    modified: datetime  # aware, UTC


class BlobReader(Protocol):
    """The read side: all that a puller may do.

    Every call ends: an implementation has connect and read time-outs of its own and tries at most once more by
    itself. What comes back is hostile until verified; an implementation only bounds its size.

    Raises (every method): StoreUnreachable, StoreDenied, BlobMissing.
    """

    def get(self, key: str, *, limit: int, if_none_match: str | None = None) -> Blob | None:
        """Read a whole small object of at most ``limit`` bytes.

        Returns None if ``if_none_match`` is given and still is the object's ETag. Raises Refused(OVERSIZE) for
        a larger object, after reading at most a small constant more than ``limit`` bytes.
        """
        ...

    def stream(self, key: str, *, limit: int) -> Generator[bytes]:
        """Read an object in chunks of at most 1 MiB; nothing is requested before the first chunk is asked for.

        Raises Refused(OVERSIZE) once more than ``limit`` bytes have come. A connection that breaks in the middle
        is resumed a bounded number of times from the same object (same ETag), else StoreUnreachable.
        The caller closes the generator; closing gives the connection up at once.
        """
        ...


class Store(BlobReader, Protocol):
    """The write side. After a method returns, what it wrote is durable and every later read sees it.

    A write is never half visible: a reader sees the old object, the new one, or none.
    """

    def head(self, key: str) -> BlobInfo | None:
        """Describe an object; None if there is none."""
        ...

    def put(self, key: str, body: bytes | BinaryIO) -> None:
        """Write without condition; only for content-addressed objects, where every writer writes the same.

        A file is read from its current position to its end. May be retried by the implementation.
        """
        ...

    def create(self, key: str, data: bytes) -> str:
        """Write only if there is no such object yet; returns the new ETag. One attempt, never retried inside.

        Raises StoreConflict if there is one. After StoreUnreachable the write may have happened.
        """
        ...

    def replace(self, key: str, data: bytes, *, etag: str) -> str:
        """Write only if the object still has that ETag; returns the new ETag. One attempt, never retried inside.

        Raises StoreConflict if it has another one or is gone. After StoreUnreachable the write may have happened.
        """
        ...

    def keys(self, prefix: str) -> Iterator[str]:
        """List all keys that start with ``prefix``, in no particular order."""
        ...

    def discard(self, key: str) -> None:
        """Remove a scratch object if these credentials may; else it is left to the bucket's lifecycle rule."""
        ...

    def now(self) -> datetime:
        """Return the store's own clock (aware, UTC), to find a wrong one here."""
        ...


class Remover(Protocol):
    """What a retention run may do besides; no publisher and no puller opens one, nor has the rights for it.

    Raises (every method): StoreUnreachable, StoreDenied.
    """

    def listed(self, prefix: str) -> Iterator[Listed]:
        """List all objects whose key starts with ``prefix``, in no particular order."""
        ...

    def remove(self, found: Listed) -> bool:
        """Remove an object unless it was written since it was listed; tells whether it was removed.

        One that is gone already is no error, and False. A directory and the memory compare and remove in one step; on
        S3 they are two requests, a few milliseconds apart, and "since" is to the second. One attempt; after
        StoreUnreachable it may have happened.
        """
        ...


def check_key(key: str) -> str:
    """Return ``key`` if it is one that the layout can produce; ValueError (a bug in the caller) if not."""
    if not _KEY.fullmatch(key) or ".." in key.split("/"):
        raise ValueError(f"not an object key: {key!r}")
    return key
