"""The canonical reader: accepts the one dialect, in one pass, with memory for the names alone.

The publisher runs it over its own archive before any upload, ``dagctl archive`` over any file, and the puller over
what the store gave it.
"""

from __future__ import annotations

import hashlib
from contextlib import closing
from typing import TYPE_CHECKING, BinaryIO, Protocol

from dagferry_shared.archive import header as tar
from dagferry_shared.archive.frame import check_frame, decompress
from dagferry_shared.archive.links import check_links
from dagferry_shared.archive.paths import decode_path
from dagferry_shared.errors import Reason, Refused
from dagferry_shared.gittree import Leaf, Mode, blob_hasher, blob_id, tree_id
from dagferry_shared.values import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LARGE_BYTES = 32 * 1024 * 1024  # bytes of a tar from which on a thread that works ahead brings more than it costs
_WHOLE = 64 * 1024  # bytes of a file that is taken in one piece


@dataclass(frozen=True, slots=True)
class Limits:
    """What this machine takes at most, whatever was signed."""

    max_files: int = 200_000  # files, links and directories
    max_bytes: int = 2 * 1024**3  # bytes of the tar


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an archive holds, known only once all of it was read and found good."""

    leaves: dict[str, Leaf]  # by path, in the archive's order
    tree: str  # SHA-256 git tree id
    tar_sha256: str  # empty if it was not asked for
    tar_size: int  # bytes
    mtime: int  # seconds since 1970: the commit time


class Sink(Protocol):
    """Where an archive's entries go. Files come in byte order of their paths; links come after all files."""

    def file(self, path: str, chunks: Iterator[bytes], *, executable: bool) -> None:
        """Take a file's content."""
        ...

    def link(self, path: str, target: str) -> None:
        """Take a symlink; all links of the archive were checked by then."""
        ...


class _Nowhere:
    def file(self, path: str, chunks: Iterator[bytes], *, executable: bool) -> None:
        """Drop it: the reader drains and hashes what a sink leaves."""

    def link(self, path: str, target: str) -> None:
        """Drop it."""


NOWHERE: Sink = _Nowhere()


class Stream:
    """Exact reads over pieces of any size, counting and on request hashing all that is taken."""

    def __init__(self, pieces: Iterable[bytes], max_bytes: int, *, digest: bool) -> None:
        self._pieces = iter(pieces)
        self._piece = b""
        self._at = 0  # what comes before was taken
        self._max_bytes = max_bytes
        self._hash = hashlib.sha256() if digest else None
        self.taken = 0

    @property
    def sha256(self) -> str:
        """Digest of what was taken; empty if it was not asked for."""
        return self._hash.hexdigest() if self._hash else ""

    def some(self, most: int) -> bytes:
        """Return 1 to ``most`` bytes, or none at the end."""
        if self._at >= len(self._piece):
            self._piece, self._at = next(self._pieces, b""), 0
        piece = self._piece[self._at : self._at + most]
        self._at += len(piece)
        self.taken += len(piece)
        if self.taken > self._max_bytes:
            raise Refused(Reason.TOO_LARGE, f"archive unpacks to more than {self._max_bytes} bytes")
        if self._hash:
            self._hash.update(piece)
        return piece

    def pieces(self, size: int) -> Iterator[bytes]:
        """Yield exactly ``size`` bytes; Refused if there are fewer."""
        while size:
            piece = self.some(size)
            if not piece:
                raise Refused(Reason.BAD_ARCHIVE, "archive ends early")
            size -= len(piece)
            yield piece

    def exactly(self, size: int) -> bytes:
        """Return exactly ``size`` bytes; Refused if there are fewer."""
        if not size:
            return b""
        piece = self.some(size)
        return piece if len(piece) == size else b"".join((piece, *self.pieces(size - len(piece))))


@dataclass(slots=True)
class Entries:
    """The entries of a tar, against which each new one is checked; ``links`` are not checked as a whole yet.

    Attributes:
        limits: for files and directories.
        leaves: by path, in the tar's order.
        links: path and target of each symlink.
        dirs: every directory above an entry.
        last: path of the last entry.
        mtime: of all entries, seconds since 1970.
        stream: the tar: its digest and size.
    """

    limits: Limits
    stream: Stream
    leaves: dict[str, Leaf] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    dirs: set[str] = field(default_factory=set)
    last: bytes = b""
    mtime: int | None = None

    def admit(self, entry: tar.Header) -> str:
        """Check an entry's path, order, parents and time; returns the path."""
        path = decode_path(entry.path)
        if entry.path <= self.last:
            raise Refused(Reason.BAD_ARCHIVE, f"{path!r} is there twice or out of order")
        if self.mtime not in {None, entry.mtime}:
            raise Refused(Reason.BAD_ARCHIVE, f"{path!r} has another mtime than the entries before it")
        self.last, self.mtime = entry.path, entry.mtime
        parent = path.rpartition("/")[0]
        while parent and parent not in self.dirs:
            if parent in self.leaves:
                raise Refused(Reason.BAD_ARCHIVE, f"{path!r} lies below {parent!r}, which is not a directory")
            self.dirs.add(parent)
            parent = parent.rpartition("/")[0]
        if len(self.leaves) + len(self.dirs) >= self.limits.max_files:
            raise Refused(Reason.TOO_LARGE, f"archive holds more than {self.limits.max_files} files and directories")
        return path


def _next_header(stream: Stream) -> tar.Header | None:
    """Read one entry's header; None at the two zero blocks that end an archive."""
    block = stream.exactly(tar.BLOCK)
    if not any(block):
        if any(stream.exactly(tar.BLOCK)) or stream.some(1):
            raise Refused(Reason.BAD_ARCHIVE, "something stands after the archive's first zero block")
        return None
    raw, pax = block, {}
    if tar.kind(block) == tar.PAX:
        size = tar.pax_size(block)
        records = stream.exactly(size + tar.padding(size))
        pax = tar.pax_values(records[:size])
        block = stream.exactly(tar.BLOCK)
        raw += records + block
    return tar.decode(block, pax, raw)


def _take_file(stream: Stream, entry: tar.Header, path: str, sink: Sink) -> Leaf:
    hasher = blob_hasher(entry.size)

    def chunks() -> Iterator[bytes]:
        for piece in stream.pieces(entry.size):
            hasher.update(piece)
            yield piece

    if entry.size <= _WHOLE:  # almost all files: two generators for each would be a tenth of the work
        whole = stream.exactly(entry.size)
        hasher.update(whole)
        sink.file(path, iter((whole,)), executable=entry.executable)
    else:
        content = chunks()
        sink.file(path, content, executable=entry.executable)
        for _ in content:  # what the sink left
            pass
    if stream.exactly(tar.padding(entry.size)).strip(b"\0"):  # ``any`` would look at each byte: 2 µs
        raise Refused(Reason.BAD_ARCHIVE, f"padding of {path!r} is not zero")
    return Leaf(Mode.EXECUTABLE if entry.executable else Mode.FILE, hasher.hexdigest())


def read_entries(pieces: Iterable[bytes], limits: Limits, into: Sink, *, digest: bool = True) -> Entries:
    """Read the entries of a canonical tar to its end; what is left to check are the symlinks, as a whole.

    Args:
        pieces: the tar's bytes, in pieces of any size but not empty.
        limits: counted while streaming.
        into: gets the files; what it made must be thrown away if this raises.
        digest: whether the tar's own is wanted.

    Raises:
        Refused: BAD_ARCHIVE or TOO_LARGE.
    """
    stream = Stream(pieces, limits.max_bytes, digest=digest)
    seen = Entries(limits, stream)
    while (entry := _next_header(stream)) is not None:
        path = seen.admit(entry)
        if entry.is_link:
            seen.links[path] = decode_link_target(entry.target, path)
            seen.leaves[path] = Leaf(Mode.LINK, blob_id(entry.target))
        else:
            seen.leaves[path] = _take_file(stream, entry, path, into)
    return seen


def read_tar(pieces: Iterable[bytes], limits: Limits, sink: Sink | None = None, *, digest: bool = True) -> Manifest:
    """Read a canonical tar.

    Args:
        pieces: the tar's bytes, in pieces of any size but not empty.
        limits: counted while streaming.
        sink: gets the entries; what it made must be thrown away if this raises.
        digest: whether the tar's own is wanted: hashing it is a tenth of the work.

    Raises:
        Refused: BAD_ARCHIVE or TOO_LARGE.
    """
    into: Sink = sink or NOWHERE
    seen = read_entries(pieces, limits, into, digest=digest)
    if not seen.leaves:
        raise Refused(Reason.BAD_ARCHIVE, "archive is empty")
    check_links((path for path in seen.leaves if path not in seen.links), seen.links)
    for path, target in seen.links.items():
        into.link(path, target)
    return Manifest(seen.leaves, tree_id(seen.leaves), seen.stream.sha256, seen.stream.taken, seen.mtime or 0)


def decode_link_target(raw: bytes, path: str) -> str:
    """Decode a link target; Refused(BAD_ARCHIVE) if it is not UTF-8."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(Reason.BAD_ARCHIVE, f"target of symlink {path!r} is not UTF-8") from error


def read_archive(source: BinaryIO, limits: Limits, sink: Sink | None = None, *, digest: bool = True) -> Manifest:
    """Read a canonical archive (one zstd frame around a canonical tar) from the start of a seekable file.

    See ``read_tar`` for the arguments.

    Raises:
        Refused: BAD_ARCHIVE or TOO_LARGE.
    """
    frame = check_frame(source)
    if frame.content_size > limits.max_bytes:
        raise Refused(Reason.TOO_LARGE, f"archive unpacks to {frame.content_size} bytes, allowed {limits.max_bytes}")
    if frame.content_size < LARGE_BYTES:
        return read_tar(decompress(source, frame), limits, sink, digest=digest)
    from dagferry_shared.ahead import ahead  # noqa: PLC0415 - a small tree needs no thread

    with closing(ahead(decompress(source, frame))) as pieces:
        return read_tar(pieces, limits, sink, digest=digest)
