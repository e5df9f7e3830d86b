"""Tar headers of the canonical dialect: ustar, every byte fixed, pax only where a name does not fit.

There is one encoder. The reader takes an entry's fields out of a header, encodes them again and compares the bytes:
what differs is not canonical, whatever it means.
"""

from __future__ import annotations

from dagferry_shared.errors import Reason, Refused
from dagferry_shared.values import dataclass

BLOCK = 512
MAX_SIZE = 8**11 - 1  # bytes: eleven octal digits
MAX_PAX = 8 * 1024  # bytes of pax records of one entry
LONG = b"@LongNameInPaxHeader"  # stands in a field whose value is in the pax header
PAX_NAME = b"@PaxHeader"

REGULAR, SYMLINK, PAX = b"0", b"2", b"x"


@dataclass(frozen=True, slots=True)
class Header:
    """An entry's header: a regular file (``target`` empty) or a symlink (``size`` 0)."""

    path: bytes
    executable: bool
    size: int  # bytes
    mtime: int  # seconds since 1970
    target: bytes = b""

    @property
    def is_link(self) -> bool:
        """Whether it is a symlink."""
        return bool(self.target)


def _tail(kind: bytes, link: bytes) -> bytes:
    """Return what follows the checksum: kind, target, magic, version, no names, device numbers."""
    tail = b"%s%sustar\00000%s%07o\0%07o\0" % (kind, link.ljust(100, b"\0"), b"\0" * 64, 0, 0)
    return tail.ljust(BLOCK - 156, b"\0")


_PLAIN_TAIL = _tail(REGULAR, b"")
_PLAIN_SUM = sum(_PLAIN_TAIL)


def _block(name: bytes, mode: int, size: int, mtime: int, kind: bytes, link: bytes = b"") -> bytes:
    head = b"%s%07o\0%07o\0%07o\0%011o\0%011o\0" % (name.ljust(100, b"\0"), mode, 0, 0, size, mtime)
    tail, tail_sum = _PLAIN_TAIL, _PLAIN_SUM
    if kind != REGULAR or link:
        tail = _tail(kind, link)
        tail_sum = sum(tail)
    return b"%s%06o\0 %s" % (head, sum(head) + tail_sum + 8 * 0x20, tail)


def padding(size: int) -> int:
    """Return how many zero bytes follow ``size`` bytes of content."""
    return -size % BLOCK


def pax_record(key: bytes, value: bytes) -> bytes:
    """Encode one pax record; its length counts itself."""
    body = b" %s=%s\n" % (key, value)
    length = len(body) + len(str(len(body)))
    length = len(body) + len(str(length))
    return b"%d%s" % (length, body)


def encode(header: Header) -> bytes:
    """Encode a header: a pax entry in front where path or target is longer than 100 bytes, then the ustar block."""
    records = b""
    name, link = header.path, header.target
    if len(link) > 100:
        records, link = pax_record(b"linkpath", link), LONG
    if len(name) > 100:
        records, name = records + pax_record(b"path", name), LONG
    pax = b""
    if records:
        pax = _block(PAX_NAME, 0o644, len(records), header.mtime, PAX)
        pax += records.ljust(len(records) + padding(len(records)), b"\0")
    mode = 0o755 if header.executable else 0o644
    return pax + _block(name, mode, header.size, header.mtime, SYMLINK if header.is_link else REGULAR, link)


def _octal(field: bytes, what: str) -> int:
    digits = field[:-1]
    if field[-1:] == b"\0" and digits.isdigit():
        try:
            return int(digits, 8)
        except ValueError:  # an 8 or a 9
            pass
    raise Refused(Reason.BAD_ARCHIVE, f"tar header has a {what} that is not octal digits and a NUL")


def _text(field: bytes) -> bytes:
    return field.split(b"\0", 1)[0]


def kind(block: bytes) -> bytes:
    """Return a header block's type flag."""
    return block[156:157]


def pax_size(block: bytes) -> int:
    """Read how many bytes of records follow a pax header; Refused if it is not canonical or too large."""
    size, mtime = _octal(block[124:136], "size"), _octal(block[136:148], "mtime")
    if not 0 < size <= MAX_PAX:
        raise Refused(Reason.BAD_ARCHIVE, f"pax header of {size} bytes, allowed are {MAX_PAX}")
    if _block(PAX_NAME, 0o644, size, mtime, PAX) != block:
        raise Refused(Reason.BAD_ARCHIVE, "pax header is not canonical")
    return size


def pax_values(records: bytes) -> dict[bytes, bytes]:
    """Read pax records; Refused for a key other than path and linkpath, or any that is twice or not well formed."""
    values: dict[bytes, bytes] = {}
    rest = records
    while rest:
        digits, separator, _ = rest.partition(b" ")
        if not separator or len(digits) > 5 or not digits.isdigit():
            raise Refused(Reason.BAD_ARCHIVE, "pax record has no length")
        record, rest = rest[: int(digits)], rest[int(digits) :]
        key, _, value = record[len(digits) + 1 : -1].partition(b"=")
        if key not in {b"path", b"linkpath"} or key in values:
            raise Refused(Reason.BAD_ARCHIVE, f"pax key {key[:40]!r} is unknown or there twice")
        if not value or pax_record(key, value) != record:
            raise Refused(Reason.BAD_ARCHIVE, "pax record is not canonical")
        values[key] = value
    return values


def decode(block: bytes, pax: dict[bytes, bytes], raw: bytes) -> Header:
    """Read an entry's header and demand that it is the one encoding of what it says.

    Args:
        block: the ustar block.
        pax: values of the pax header in front of it.
        raw: all bytes of this header as they came: pax block, records with padding, ustar block.
    """
    what = kind(block)
    if what not in {REGULAR, SYMLINK}:
        raise Refused(Reason.BAD_ARCHIVE, f"tar entry of type {what!r}: only files and symlinks are allowed")
    is_link = what == SYMLINK
    path = pax.get(b"path", _text(block[0:100]))
    executable = _octal(block[100:108], "mode") == 0o755 and not is_link
    size, mtime = _octal(block[124:136], "size"), _octal(block[136:148], "mtime")
    target = pax.get(b"linkpath", _text(block[157:257])) if is_link else b""
    header = Header(path, executable, size, mtime, target)
    if header.is_link and header.size:
        raise Refused(Reason.BAD_ARCHIVE, "symlink with content")
    if encode(header) != raw:
        raise Refused(Reason.BAD_ARCHIVE, f"tar header of {header.path[:120]!r} is not canonical")
    return header
