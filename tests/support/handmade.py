"""Tars and zstd frames written by hand from the formats' own documents: no code of ours, of Python's or of libzstd.

What is hostile in a test is made here, so that a mistake in the one encoder cannot hide in its tests.
"""

from __future__ import annotations

import struct

MTIME = 1_700_000_000
END = b"\0" * 1024
MAGIC = b"\x28\xb5\x2f\xfd"
_USTAR = struct.Struct("100s8s8s8s12s12s8s1s100s6s2s32s32s8s8s155s12s")  # POSIX.1-1988
_MASK = 2**64 - 1
_P1, _P2, _P3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
_P4, _P5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5


def fill(data: bytes) -> bytes:
    """Fill up to whole blocks with zeros."""
    return data + b"\0" * (-len(data) % 512)


def header(
    name: bytes = b"a",
    *,
    mode: bytes = b"0000644\0",
    uid: bytes = b"0000000\0",
    gid: bytes = b"0000000\0",
    size: bytes | int = 0,
    mtime: bytes = b"%011o\0" % MTIME,
    checksum: bytes | None = None,
    kind: bytes = b"0",
    link: bytes = b"",
    magic: bytes = b"ustar\0",
    version: bytes = b"00",
    uname: bytes = b"",
    gname: bytes = b"",
    major: bytes = b"0000000\0",
    minor: bytes = b"0000000\0",
    prefix: bytes = b"",
    rest: bytes = b"",
) -> bytes:
    """Return one header block; every field can be any bytes, and the checksum is right unless it is given."""
    length = b"%011o\0" % size if isinstance(size, int) else size
    front = (name, mode, uid, gid, length, mtime)
    back = (kind, link, magic, version, uname, gname, major, minor, prefix, rest)
    total = sum(_USTAR.pack(*front, b" " * 8, *back))
    return _USTAR.pack(*front, b"%06o\0 " % total if checksum is None else checksum, *back)


def member(name: bytes = b"a", content: bytes = b"", **fields: bytes) -> bytes:
    """Return a header and its content; ``size`` among the fields is a lie."""
    return header(name, **{"size": len(content), **fields}) + fill(content)  # type: ignore[arg-type]


def link(name: bytes, target: bytes, **fields: bytes) -> bytes:
    """Return a symlink whose target fits the header."""
    return header(name, kind=b"2", link=target, **fields)  # type: ignore[arg-type]


def record(key: bytes, value: bytes) -> bytes:
    """Return a pax record."""
    length = len(key) + len(value) + 3
    while length != len(key) + len(value) + 3 + len(str(length)):
        length = len(key) + len(value) + 3 + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def pax(*records: bytes, **fields: bytes) -> bytes:
    """Return a pax header with its records."""
    return member(b"@PaxHeader", b"".join(records), **{"kind": b"x", **fields})


def long_member(name: bytes, content: bytes = b"", **fields: bytes) -> bytes:
    """Return a file whose path is in a pax header, whatever it is."""
    return pax(record(b"path", name)) + member(b"@LongNameInPaxHeader", content, **fields)


def long_link(name: bytes, target: bytes) -> bytes:
    """Return a symlink whose target is in a pax header."""
    return pax(record(b"linkpath", target)) + link(name, b"@LongNameInPaxHeader")


def tar(*members: bytes, end: bytes = END) -> bytes:
    """Join members and end the archive."""
    return b"".join(members) + end


def _rotate(value: int, bits: int) -> int:
    return (value << bits | value >> 64 - bits) & _MASK


def _round(accumulator: int, lane: int) -> int:
    return _rotate((accumulator + lane * _P2) & _MASK, 31) * _P1 & _MASK


def _stripes(data: bytes) -> int:
    lanes = [(_P1 + _P2) & _MASK, _P2, 0, -_P1 & _MASK]
    for stripe in struct.iter_unpack("<4Q", data):
        lanes = [_round(lane, word) for lane, word in zip(lanes, stripe, strict=True)]
    total = sum(_rotate(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18), strict=True)) & _MASK
    for lane in lanes:
        total = ((total ^ _round(0, lane)) * _P1 + _P4) & _MASK
    return total


def xxh64(data: bytes) -> int:
    """Return XXH64 with seed 0, of which a frame's checksum is the low four bytes."""
    whole = len(data) // 32 * 32
    total = (_stripes(data[:whole]) if whole else _P5) + len(data) & _MASK
    rest = data[whole:]
    while len(rest) >= 8:
        total = (_rotate(total ^ _round(0, int.from_bytes(rest[:8], "little")), 27) * _P1 + _P4) & _MASK
        rest = rest[8:]
    if len(rest) >= 4:
        total = (_rotate(total ^ (int.from_bytes(rest[:4], "little") * _P1 & _MASK), 23) * _P2 + _P3) & _MASK
        rest = rest[4:]
    for byte in rest:
        total = _rotate(total ^ (byte * _P5 & _MASK), 11) * _P1 & _MASK
    for bits, prime in ((33, _P2), (29, _P3)):
        total = (total ^ total >> bits) * prime & _MASK
    return total ^ total >> 32


def block(content: bytes, *, last: bool = True, kind: int = 0, size: int | None = None) -> bytes:
    """Return a block of a frame; kind 0 is raw, 1 one byte repeated ``size`` times, 2 compressed, 3 reserved."""
    length = len(content) if size is None else size
    return (int(last) | kind << 1 | length << 3).to_bytes(3, "little") + content


def raw_blocks(content: bytes) -> bytes:
    """Cut content into raw blocks of the greatest size."""
    step = 128 * 1024
    cuts = [content[at : at + step] for at in range(0, len(content), step)] or [b""]
    return b"".join(block(cut, last=number == len(cuts) - 1) for number, cut in enumerate(cuts))


def frame(
    content: bytes,
    *,
    descriptor: int = 0b1100_0100,  # eight bytes of content size, a window byte, a checksum
    window: bytes = bytes([7 << 3]),  # 128 KiB
    dictionary: bytes = b"",
    size: int | bytes | None = None,
    blocks: bytes | None = None,
    end: bytes | None = None,
) -> bytes:
    """Return a frame of raw blocks; every part can be any bytes."""
    told = len(content) if size is None else size
    length = told if isinstance(told, bytes) else told.to_bytes(8, "little")
    checksum = (xxh64(content) & 0xFFFF_FFFF).to_bytes(4, "little")
    body = raw_blocks(content) if blocks is None else blocks
    return MAGIC + bytes([descriptor]) + window + dictionary + length + body + (checksum if end is None else end)
