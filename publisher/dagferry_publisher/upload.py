"""Putting archive and release into the store: content-addressed, so the worst a crash leaves is an unused object."""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, BinaryIO

from dagferry_shared import envelope
from dagferry_shared.errors import Refused

if TYPE_CHECKING:
    from datetime import datetime

    from dagferry_shared.layout import Layout
    from dagferry_shared.store import Store

REUSE_AGE = timedelta(hours=24)  # older objects are written again, so that no retention run takes them from under us


@dataclass(frozen=True, slots=True)
class Content:
    """An object to have in the store: its key, its bytes (in memory or a file) and their SHA-256."""

    key: str
    body: bytes | BinaryIO
    sha256: str
    size: int  # bytes


def release_content(layout: Layout, raw: bytes) -> Content:
    """Describe a release's envelope as an object."""
    digest = envelope.digest(raw)
    return Content(layout.release(digest), raw, digest, len(raw))


def archive_content(layout: Layout, body: BinaryIO, sha256: str, size: int) -> Content:
    """Describe an archive as an object."""
    return Content(layout.archive(sha256), body, sha256, size)


def stored_digest(store: Store, key: str, limit: int) -> str:
    """Hash an object by reading it (an ETag is the store's word, no proof); Refused(OVERSIZE) above ``limit`` bytes."""
    hasher = hashlib.sha256()
    with closing(store.stream(key, limit=limit)) as chunks:
        for chunk in chunks:
            hasher.update(chunk)
    return hasher.hexdigest()


def _is_good(store: Store, content: Content) -> bool:
    try:
        return stored_digest(store, content.key, content.size) == content.sha256
    except Refused:
        return False


def _put(store: Store, content: Content) -> None:
    if not isinstance(content.body, bytes):
        content.body.seek(0)
    store.put(content.key, content.body)


def ensure(store: Store, content: Content, now: datetime) -> bool:
    """Have an object in the store: write it unless a good, recent one is there. Returns whether it was written."""
    info = store.head(content.key)
    if info and info.size == content.size and now - info.modified < REUSE_AGE and _is_good(store, content):
        return False
    _put(store, content)
    return True


def put_again_if_gone(store: Store, content: Content) -> None:
    """Write an object again that vanished since (a retention run that raced with this publish)."""
    if store.head(content.key) is None:
        _put(store, content)
