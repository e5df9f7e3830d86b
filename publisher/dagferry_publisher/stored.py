"""Archives as they lie in the store: fetched with their digest checked, read, and compared with their release."""

from __future__ import annotations

import hashlib
import tempfile
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, BinaryIO

from dagferry_shared.archive.reader import Limits, Manifest, read_archive
from dagferry_shared.errors import Reason, Refused
from dagferry_shared.gittree import Mode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagferry_publisher.chain import Chain
    from dagferry_shared.archive.reader import Sink
    from dagferry_shared.release import Release


@contextmanager
def fetched(chain: Chain, release: Release) -> Iterator[BinaryIO]:
    """Give a temporary file with a release's archive, size and digest checked.

    Raises:
        Refused: OVERSIZE or WRONG_DIGEST.
        BlobMissing: the store lost it.
    """
    archive, hasher = release.archive, hashlib.sha256()
    with tempfile.TemporaryFile() as file:
        with closing(chain.store.stream(chain.layout.archive(archive.sha256), limit=archive.size)) as chunks:
            for chunk in chunks:
                hasher.update(chunk)
                file.write(chunk)
        if hasher.hexdigest() != archive.sha256:
            raise Refused(Reason.WRONG_DIGEST, f"archive {archive.sha256[:16]}… is damaged in the store")
        file.seek(0)
        yield file


def read_checked(file: BinaryIO, release: Release, sink: Sink | None = None) -> Manifest:
    """Read a release's archive and demand that it is what was signed; Refused (BAD_ARCHIVE, WRONG_TREE) if not."""
    manifest = read_archive(file, Limits(max_bytes=release.archive.unpacked_size), sink)
    release.check_archive(manifest)
    return manifest


class _Keep:
    """A sink that keeps the content of some paths."""

    def __init__(self, wanted: set[str]) -> None:
        self._wanted = wanted
        self.content: dict[str, bytes] = {}

    def file(self, path: str, chunks: Iterator[bytes], *, executable: bool) -> None:  # noqa: ARG002
        """Keep a wanted file's content."""
        if path in self._wanted:
            self.content[path] = b"".join(chunks)

    def link(self, path: str, target: str) -> None:
        """Keep a wanted link's target."""
        if path in self._wanted:
            self.content[path] = target.encode()


def contents(file: BinaryIO, release: Release, wanted: set[str]) -> dict[str, bytes]:
    """Return the content of some paths of an archive (a link's is its target)."""
    keep = _Keep(wanted)
    read_checked(file, release, keep)
    return keep.content


def kind(mode: Mode) -> str:
    """Return a mode as words."""
    return {Mode.FILE: "file", Mode.EXECUTABLE: "executable", Mode.LINK: "symlink"}[mode]
