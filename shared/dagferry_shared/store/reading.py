"""What the stores share: limits while reading, resuming a broken body, and which listed names are keys."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from dagferry_shared.errors import BlobMissing, Reason, Refused, StoreConflict, StoreUnreachable
from dagferry_shared.store import check_key

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

CHUNK_BYTES = 1 << 20  # the largest chunk that the BlobReader contract allows
RESUMES = 3  # how often one stream asks for the rest after its connection broke


class Interrupted(StoreUnreachable):
    """The connection broke inside a body; the bytes that came before it are good and may be resumed from."""


def oversize(key: str, limit: int) -> Refused:
    """Return the refusal of an object that has more than ``limit`` bytes."""
    return Refused(Reason.OVERSIZE, f"{key} has more than the {limit} bytes allowed")


def bounded(chunks: Iterable[bytes], key: str, limit: int) -> Iterator[bytes]:
    """Pass chunks on; raise Refused(OVERSIZE) instead of the chunk that makes them more than ``limit`` bytes."""
    total = 0
    for chunk in chunks:
        total += len(chunk)
        if total > limit:
            raise oversize(key, limit)
        yield chunk


def resumed(
    open_at: Callable[[int, str | None], tuple[str, Generator[bytes]]], key: str, limit: int
) -> Generator[bytes]:
    """Stream an object over connections that may break, as BlobReader.stream promises.

    Args:
        open_at: called with an offset and the ETag that the object must still have (None: any); returns the
            ETag and the chunks from there on, which raise Interrupted when the connection breaks.
        key: for the error texts.
        limit: bytes; one more is Refused(OVERSIZE).
    """
    etag, chunks = open_at(0, None)
    offset, resumes_left = 0, RESUMES
    while True:
        with closing(chunks):
            try:
                for chunk in chunks:
                    offset += len(chunk)
                    if offset > limit:
                        raise oversize(key, limit)
                    yield chunk
                return
            except Interrupted:
                if not resumes_left:
                    raise
                resumes_left -= 1
        chunks = _reopened(open_at, offset, etag, key)


def _reopened(
    open_at: Callable[[int, str | None], tuple[str, Generator[bytes]]], offset: int, etag: str, key: str
) -> Generator[bytes]:
    # Never "missing" or "conflict": the caller's next try may well find the object that replaced this one.
    text = f"{key} was replaced or removed while it was being read"
    try:
        found, chunks = open_at(offset, etag)
    except (BlobMissing, StoreConflict) as error:
        raise StoreUnreachable(text) from error
    if found != etag:  # a store that ignores If-Match
        chunks.close()
        raise StoreUnreachable(text)
    return chunks


def valid_keys(names: Iterable[str]) -> Iterator[str]:
    """Keep the names that the layout can produce; whatever else lies in a store is not ours to list."""
    for name in names:
        try:
            check_key(name)
        except ValueError:
            continue
        yield name
