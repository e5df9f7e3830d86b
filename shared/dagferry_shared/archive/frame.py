"""The zstd frame around an archive: walked by its block headers before a single byte is decompressed (RFC 8878)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

from dagferry_shared.archive.zstd import zstd
from dagferry_shared.errors import Reason, Refused
from dagferry_shared.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Generator

MAX_WINDOW = 8 * 1024 * 1024  # bytes
# Bytes of tar in one piece. More than 128 KiB would be mapped, page by page, for each piece anew.
CHUNK = 64 * 1024
_MAX_BLOCK = 128 * 1024  # bytes, RFC 8878 §3.1.1.2.4
_HEADER_BYTES = 18  # the longest frame header
_CHECKSUM_BYTES = 4


def _refuse(detail: str) -> Refused:
    return Refused(Reason.BAD_ARCHIVE, f"zstd frame {detail}")


@dataclass(frozen=True, slots=True)
class Frame:
    """What a frame says of itself."""

    content_size: int  # bytes after decompression
    window: int  # bytes of memory the decoder needs


def _parameters(head: bytes) -> tuple[Frame, int]:
    """Read the frame header; returns it and its length."""
    try:
        found = zstd.get_frame_parameters(head)
        length = zstd.frame_header_size(head)
    except zstd.ZstdError as error:
        raise _refuse("header is not one") from error
    if head[:4] != zstd.FRAME_HEADER or head[4] & 0b1000:
        raise _refuse("is skippable or uses a reserved bit")
    if found.content_size in {zstd.CONTENTSIZE_UNKNOWN, zstd.CONTENTSIZE_ERROR}:
        raise _refuse("does not tell its content size")
    if found.window_size > MAX_WINDOW:
        raise _refuse(f"needs a window of {found.window_size} bytes, allowed are {MAX_WINDOW}")
    if found.dict_id or head[4] & 0b11:
        raise _refuse("needs a dictionary")
    if not found.has_checksum:
        raise _refuse("has no checksum")
    return Frame(found.content_size, found.window_size), length


def walk_frame(source: BinaryIO, start: int) -> tuple[Frame, int]:
    """Check the frame that begins at ``start`` by its headers alone; returns it and where it ends.

    Raises:
        Refused: BAD_ARCHIVE for a wrong or missing header, a window above 8 MiB, a dictionary, no content size or
            checksum, a damaged block structure, or a short file.
    """
    end = source.seek(0, os.SEEK_END)
    source.seek(start)
    frame, length = _parameters(source.read(_HEADER_BYTES))
    at, last = start + length, False
    while not last:
        source.seek(at)
        head = source.read(3)
        if len(head) < 3:
            raise _refuse("ends early")
        value = int.from_bytes(head, "little")
        last, kind, size = bool(value & 1), value >> 1 & 3, value >> 3
        if kind == 3 or size > _MAX_BLOCK:
            raise _refuse("has a block of a reserved kind or size")
        at += 3 + (1 if kind == 1 else size)
    if at + _CHECKSUM_BYTES > end:
        raise _refuse("ends early, or something follows it")
    return frame, at + _CHECKSUM_BYTES


def check_frame(source: BinaryIO, start: int = 0) -> Frame:
    """Check that ``source`` is, from ``start`` to its end, exactly one frame of the allowed kind; goes to ``start``.

    Raises:
        Refused: BAD_ARCHIVE as ``walk_frame``, or for bytes after the frame (a second one, too).
    """
    frame, end = walk_frame(source, start)
    if source.seek(0, os.SEEK_END) != end:
        raise _refuse("ends early, or something follows it")
    source.seek(start)
    return frame


def decompress(source: BinaryIO, frame: Frame, prefix: bytes = b"") -> Generator[bytes]:
    """Yield the content of a checked frame in pieces of at most ``CHUNK`` bytes; memory is bounded by the window.

    Args:
        source: at the frame's first byte.
        frame: what was checked.
        prefix: what the compressor knew before the content: matches may lead into it.

    Raises:
        Refused: BAD_ARCHIVE if it is damaged, or longer or shorter than its header says.
    """
    known = zstd.ZstdCompressionDict(prefix, dict_type=zstd.DICT_TYPE_RAWCONTENT) if prefix else None
    decoder = zstd.ZstdDecompressor(dict_data=known, max_window_size=MAX_WINDOW)
    reader = decoder.stream_reader(source, closefd=False)
    total = 0
    try:
        while piece := reader.read(CHUNK):
            total += len(piece)
            if total > frame.content_size:
                raise _refuse("holds more than its header says")
            yield piece
    except zstd.ZstdError as error:
        raise _refuse("is damaged") from error
    if total != frame.content_size:
        raise _refuse("holds less than its header says")
