"""A BlobReader that records each request, so that a test can name exactly what was fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

    from dagferry_shared.store import Blob, BlobReader


class RecordingReader:
    """Passes requests on to a store and keeps a list of them.

    Args:
        inner: the store.
        prefix: the bundle's.

    Attributes:
        inner: may be replaced: by an attacker.
        fetched: ``get KEY``, ``get-if-changed KEY`` (a condition was sent) or ``stream KEY``, in order; each with the
            bundle's prefix removed.
    """

    def __init__(self, inner: BlobReader, prefix: str = "") -> None:
        self.inner = inner
        self._prefix = prefix
        self.fetched: list[str] = []

    def take(self) -> list[str]:
        """Return what was fetched since the last call."""
        taken, self.fetched = self.fetched, []
        return taken

    def get(self, key: str, *, limit: int, if_none_match: str | None = None) -> Blob | None:
        """See BlobReader.get."""
        verb = "get" if if_none_match is None else "get-if-changed"
        self.fetched.append(f"{verb} {key.removeprefix(self._prefix)}")
        return self.inner.get(key, limit=limit, if_none_match=if_none_match)

    def stream(self, key: str, *, limit: int) -> Generator[bytes]:
        """See BlobReader.stream."""
        self.fetched.append(f"stream {key.removeprefix(self._prefix)}")
        return self.inner.stream(key, limit=limit)
