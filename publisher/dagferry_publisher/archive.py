"""Writing the canonical archive: the same commit and selection give the same tar on any machine."""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import zstandard

from dagferry_publisher.tree import check_not_lfs
from dagferry_shared.ahead import ahead, joined
from dagferry_shared.archive import header as tar
from dagferry_shared.archive.frame import MAX_WINDOW
from dagferry_shared.archive.reader import LARGE_BYTES, Limits, Manifest, read_archive
from dagferry_shared.errors import Reason, Refused
from dagferry_shared.gittree import Mode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dagferry_publisher.gitrepo import Repo
    from dagferry_publisher.tree import Item

DEFAULT_LEVEL = 9
MAX_LEVEL = 19  # above, the window grows past what the reader takes
_END = b"\0" * (2 * tar.BLOCK)
_PIECE = 256 * 1024  # bytes that are compressed in one call, at least
_MAX_TARGET = 4096  # bytes of a symlink blob that is read at all


@dataclass(frozen=True, slots=True)
class Packed:
    """A finished archive and what the reader found in it."""

    sha256: str
    size: int  # bytes
    manifest: Manifest


def _header(item: Item, mtime: int, target: bytes = b"") -> bytes:
    size = 0 if item.mode is Mode.LINK else item.entry.size
    if size > tar.MAX_SIZE:
        raise Refused(Reason.TOO_LARGE, f"{item.path!r} has {size} bytes, a tar entry holds {tar.MAX_SIZE}")
    return tar.encode(tar.Header(item.path.encode(), item.mode is Mode.EXECUTABLE, size, mtime, target))


def link_targets(repo: Repo, items: Sequence[Item]) -> dict[str, bytes]:
    """Return the target of each symlink; Refused (BAD_ARCHIVE) for one that no archive may hold."""
    links = [item for item in items if item.mode is Mode.LINK]
    for item in links:
        if not 0 < item.entry.size <= _MAX_TARGET:
            raise Refused(Reason.BAD_ARCHIVE, f"symlink {item.path!r} has a target of {item.entry.size} bytes")
    contents = repo.blobs(item.entry for item in links)
    return {item.path: b"".join(content) for item, content in zip(links, contents, strict=True)}


def tar_pieces(repo: Repo, items: Sequence[Item], links: dict[str, bytes], mtime: int) -> Iterator[bytes]:
    """Yield the canonical tar; Refused for a Git LFS pointer or a file that a tar entry cannot hold."""
    mtime = min(mtime, tar.MAX_SIZE)
    wanted = (item.entry for item in items if item.mode is not Mode.LINK)
    with closing(repo.blobs(wanted)) as files:
        for item in items:
            if item.mode is Mode.LINK:
                yield _header(item, mtime, links[item.path])
                continue
            yield _header(item, mtime)
            first = True
            for piece in next(files):
                if first:
                    check_not_lfs(item, piece)
                    first = False
                yield piece
            yield b"\0" * tar.padding(item.entry.size)
        next(files, None)  # ends the reading of git's output
    yield _END


def tar_size(items: Sequence[Item], links: dict[str, bytes]) -> int:
    """Return the bytes of the tar before any content is read: a zstd frame tells its size in front."""
    total = len(_END)
    for item in items:
        total += len(_header(item, 0, links.get(item.path, b"")))
        if item.mode is not Mode.LINK:
            total += item.entry.size + tar.padding(item.entry.size)
    return total


def _compressor(level: int, size: int, prefix: bytes = b"") -> zstandard.ZstdCompressor:
    options = {"source_size": size, "dict_size": len(prefix)}
    options |= {"write_content_size": 1, "write_checksum": 1, "write_dict_id": 0}
    parameters = zstandard.ZstdCompressionParameters.from_level(level, **options)
    if 2**parameters.window_log > MAX_WINDOW:
        options["window_log"] = MAX_WINDOW.bit_length() - 1
        parameters = zstandard.ZstdCompressionParameters.from_level(level, **options)
    known = zstandard.ZstdCompressionDict(prefix, dict_type=zstandard.DICT_TYPE_RAWCONTENT) if prefix else None
    return zstandard.ZstdCompressor(compression_params=parameters, dict_data=known)


def compressed(pieces: Iterable[bytes], size: int, level: int, prefix: bytes = b"") -> Iterator[bytes]:
    """Yield the one frame around ``size`` bytes; with a prefix, matches may lead into that."""
    compressor = _compressor(level, size, prefix).compressobj(size=size)
    for piece in pieces:
        yield compressor.compress(piece)
    yield compressor.flush()


def pack(
    repo: Repo,
    items: Sequence[Item],
    mtime: int,
    out: BinaryIO,
    *,
    level: int = DEFAULT_LEVEL,
    limits: Limits | None = None,
) -> Packed:
    """Write the canonical archive of ``items`` to an empty file, and run the puller's reader over it.

    Args:
        repo: where the content is read from.
        items: from ``tree.select``.
        mtime: commit time, seconds since 1970.
        out: seekable; left at its start.
        level: of zstd, 1 to 19.
        limits: those of the pullers; the default ones if None.

    Raises:
        Refused: what a puller would refuse, before anything is uploaded.
    """
    links = link_targets(repo, items)
    size = tar_size(items, links)
    pieces = joined(tar_pieces(repo, items, links, mtime), _PIECE)
    with closing(pieces if size < LARGE_BYTES else ahead(pieces)) as ready:
        out.writelines(compressed(ready, size, level))
    manifest = read_archive(out, limits or Limits())
    out.seek(0)
    return Packed(*measured(out), manifest)


def measured(file: BinaryIO) -> tuple[str, int]:
    """Return SHA-256 and size of a file that is at its start, and go back there."""
    digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    size = file.seek(0, 2)
    file.seek(0)
    return digest, size
