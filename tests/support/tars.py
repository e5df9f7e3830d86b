"""Tars and zstd frames built by hand: canonical ones from the one encoder, and broken ones from those by editing."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import zstandard

from dagferry_shared.archive import header
from dagferry_shared.archive.header import BLOCK, Header, padding
from dagferry_shared.archive.reader import Limits, Manifest, read_archive, read_tar

if TYPE_CHECKING:
    from collections.abc import Iterator

MTIME = 1_700_000_000
END = b"\0" * (2 * BLOCK)


def pad(data: bytes) -> bytes:
    """Fill up to whole blocks with zeros."""
    return data + b"\0" * padding(len(data))


def entry(path: str, content: bytes = b"", *, executable: bool = False, target: str = "", mtime: int = MTIME) -> bytes:
    """Encode one entry as a canonical writer does."""
    head = header.encode(Header(path.encode(), executable, len(content), mtime, target.encode()))
    return head + pad(content)


def link(path: str, target: str) -> bytes:
    """Encode one symlink."""
    return entry(path, target=target)


def tar(*entries: bytes) -> bytes:
    """Join entries and end the archive."""
    return b"".join(entries) + END


def tree(files: dict[str, bytes | str], *, executable: frozenset[str] = frozenset()) -> bytes:
    """Encode a whole tree: bytes are files, strings are link targets."""
    rows = []
    for path, value in sorted(files.items(), key=lambda row: row[0].encode()):
        is_link = isinstance(value, str)
        rows.append(link(path, value) if is_link else entry(path, value, executable=path in executable))
    return tar(*rows)


def patch(block: bytes, at: int, data: bytes) -> bytes:
    """Overwrite bytes of the last 512 bytes block of a header and make its checksum right again."""
    start = len(block) - BLOCK
    last = bytearray(block[start:])
    last[at : at + len(data)] = data
    last[148:156] = b" " * 8
    last[148:156] = b"%06o\0 " % sum(last)
    return block[:start] + bytes(last)


def zst(data: bytes, **parameters: int) -> bytes:
    """Compress into one frame of the allowed kind; parameters of libzstd override."""
    values = {"compression_level": 3, "write_checksum": 1, "write_content_size": 1, "write_dict_id": 0, **parameters}
    return zstandard.ZstdCompressor(compression_params=zstandard.ZstdCompressionParameters(**values)).compress(data)


def pieces(data: bytes, size: int = 1000) -> Iterator[bytes]:
    """Cut data into pieces that fit no block."""
    return (data[i : i + size] for i in range(0, len(data), size))


def read(data: bytes, limits: Limits | None = None) -> Manifest:
    """Read a tar."""
    return read_tar(pieces(data), limits or Limits())


def read_zst(data: bytes, limits: Limits | None = None) -> Manifest:
    """Read a compressed archive."""
    return read_archive(io.BytesIO(data), limits or Limits())
