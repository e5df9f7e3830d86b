"""Hostile tars, by the rows of the refusal table: ``{row: {variant: (tar, what the refusal says)}}``."""

from __future__ import annotations

from support.handmade import END, MTIME, fill, header, link, member, pax, record, tar
from support.hostile_names import DUPLICATES, LINKS, PATHS, Rows

_KIND = "only files and symlinks"
_FORM = "is not canonical"


def _kinds(text: str = _KIND, **members: bytes) -> Rows:
    return {variant: (tar(member(b"a", b"x"), made), text) for variant, made in members.items()}


_SPARSE_MAP = b"%011o\0%011o\0" % (0, 1)
TYPES: Rows = {
    **_kinds(hard_link=member(b"b", kind=b"1", link=b"a"), hard_link_out=member(b"b", kind=b"1", link=b"/etc/passwd")),
    **_kinds(hard_link_with_content=member(b"b", b"new", kind=b"1", link=b"a")),
    **_kinds(null_device=member(b"b", kind=b"3", major=b"0000001\0", minor=b"0000003\0")),
    **_kinds(memory_device=member(b"b", kind=b"3", major=b"0000001\0", minor=b"0000001\0")),
    **_kinds(disk=member(b"b", kind=b"4", major=b"0000010\0"), fifo=member(b"b", kind=b"6")),
    **_kinds(directory=member(b"b", kind=b"5", mode=b"0000755\0"), directory_slash=member(b"b/", kind=b"5")),
    **_kinds(contiguous=member(b"b", b"x", kind=b"7"), old_regular=member(b"b", b"x", kind=b"\0")),
    **_kinds(
        sparse_gnu=member(b"b", b"x", kind=b"S", magic=b"ustar ", version=b" \0", prefix=b"\0" * 41 + _SPARSE_MAP)
    ),
    **_kinds(gnu_long_name=member(b"././@LongLink", b"../x\0", kind=b"L", version=b" \0") + member(b"b")),
    **_kinds(gnu_long_link=member(b"././@LongLink", b"/etc\0", kind=b"K", version=b" \0") + link(b"b", b"c")),
    **_kinds(gnu_volume=member(b"b", kind=b"V"), gnu_multivolume=member(b"b", b"x", kind=b"M")),
    **_kinds(gnu_dump_directory=member(b"b", b"Yx\0\0", kind=b"D"), gnu_names=member(b"b", b"x", kind=b"N")),
    **_kinds(solaris_acl=member(b"b", b"x", kind=b"A"), solaris_pax=member(b"b", record(b"path", b"../x"), kind=b"X")),
    **_kinds(global_pax=member(b"pax_global_header", record(b"comment", b"c" * 40), kind=b"g") + member(b"b")),
    **_kinds(global_pax_path=member(b"@PaxHeader", record(b"path", b"../x"), kind=b"g") + member(b"b")),
    **_kinds(unknown=member(b"b", kind=b"Z"), number=member(b"b", kind=b"8"), high=member(b"b", kind=b"\xb0")),
    **_kinds(
        pax_before_hard_link=pax(record(b"path", b"n" * 101)) + member(b"@LongNameInPaxHeader", kind=b"1", link=b"a")
    ),
    **_kinds(pax_before_pax=pax(record(b"path", b"n" * 101)) + pax(record(b"path", b"o" * 101)) + member(b"b")),
    **_kinds(
        pax_at_the_end=pax(record(b"path", b"n" * 101)), pax_before_zeros=pax(record(b"path", b"n" * 101)) + b"\0" * 512
    ),
}

_UNKNOWN = "is unknown or there twice"
_LENGTH = "pax record"
_LONG = record(b"path", b"n" * 101)
_PLACED = member(b"@LongNameInPaxHeader")


def _pax(text: str, **records: bytes) -> Rows:
    return {variant: (tar(pax(raw) + _PLACED), text) for variant, raw in records.items()}


PAX: Rows = {
    **_pax(
        _UNKNOWN, size=record(b"size", b"0") + _LONG, mtime=_LONG + record(b"mtime", b"1.5"), uid=record(b"uid", b"1")
    ),
    **_pax(
        _UNKNOWN,
        comment=record(b"comment", b"x"),
        charset=record(b"hdrcharset", b"BINARY") + _LONG,
        no_key=record(b"", b"x"),
    ),
    **_pax(_UNKNOWN, sparse=record(b"GNU.sparse.major", b"1") + record(b"GNU.sparse.minor", b"0") + _LONG),
    **_pax(_UNKNOWN, sparse_name=record(b"GNU.sparse.name", b"../x"), sparse_map=record(b"GNU.sparse.map", b"0,1")),
    **_pax(_UNKNOWN, xattr=record(b"SCHILY.xattr.security.capability", b"\1\0\0\2\0" * 4) + _LONG),
    **_pax(
        _UNKNOWN,
        xattr_libarchive=record(b"LIBARCHIVE.xattr.user.x", b"eA"),
        acl=record(b"SCHILY.acl.access", b"u::rwx"),
    ),
    **_pax(
        _UNKNOWN,
        twice=_LONG + record(b"path", b"o" * 101),
        twice_the_same=_LONG * 2,
        upper_case=record(b"PATH", b"n" * 101),
    ),
    **_pax(_FORM, short_path=record(b"path", b"short"), link_of_a_file=record(b"linkpath", b"t" * 101)),
    **_pax(_FORM, wrong_order=_LONG + record(b"linkpath", b"t" * 101), empty_value=b"8 path=\n" + _LONG),
    **_pax(
        _LENGTH,
        no_length=b"path=x\n",
        signed=b"+9 path=x\n",
        huge=b"9" * 400 + b" path=x\n",
        arabic="\u0669 path=x\n".encode(),
    ),
    **_pax(
        _LENGTH, length_too_long=b"120 path=" + b"n" * 101 + b"\n", length_too_short=b"99 path=" + b"n" * 101 + b"\n"
    ),
    **_pax(_LENGTH, zeros=b"0112 path=" + b"n" * 101 + b"\n", no_newline=b"111 path=" + b"n" * 101 + b" "),
    **_pax("", nul_after=_LONG + b"\0", rubbish_after=_LONG + b"x", record_of_nothing=b"2 " + _LONG),
    "of_8_kib": (tar(pax(record(b"path", b"n" * 8181)) + _PLACED), "longer than 255 bytes"),
    "over_8_kib": (tar(pax(record(b"path", b"n" * 8182)) + _PLACED), "pax header of 8193 bytes"),
    "endless": (tar(pax(_LONG, size=b"77777777777\0") + _PLACED), "pax header of 8589934591 bytes"),
    "empty": (tar(pax() + _PLACED), "pax header of 0 bytes"),
    "negative": (tar(pax(_LONG, size=b"\xff" * 12) + _PLACED), "not octal"),
    "padding": (tar(pax(_LONG)[:-1] + b"x" + _PLACED), _FORM),
    "other_time": (tar(pax(_LONG, mtime=b"00000000001\0") + _PLACED), _FORM),
    "other_name": (tar(pax(_LONG).replace(b"@PaxHeader", b"PaxHeaders") + _PLACED), _FORM),
    "innocent_name_beside": (tar(pax(_LONG) + member(b"innocent.py")), _FORM),
    "executable": (tar(pax(_LONG, mode=b"0000755\0") + _PLACED), _FORM),
}


def _fields(**changes: dict[str, bytes]) -> Rows:
    return {variant: (tar(member(b"a", b"x = 1\n", **fields)), "") for variant, fields in changes.items()}


MODES: Rows = {
    **_fields(setuid={"mode": b"0004755\0"}, setgid={"mode": b"0002755\0"}, sticky={"mode": b"0001755\0"}),
    **_fields(
        all={"mode": b"0000777\0"},
        group={"mode": b"0000664\0"},
        private={"mode": b"0000600\0"},
        none={"mode": b"0000000\0"},
    ),
    **_fields(with_type={"mode": b"0100644\0"}, six_digits={"mode": b"000644 \0"}, spaces={"mode": b"    644\0"}),
    **_fields(mode_binary={"mode": b"\x80\0\0\0\0\0\1\xa4"}, mode_empty={"mode": b"\0" * 8}),
    **_fields(
        uid={"uid": b"0001750\0"},
        gid={"gid": b"0001750\0"},
        uid_binary={"uid": b"\x80\0\0\0\0\0\3\xe8"},
        uid_negative={"uid": b"\xff" * 8},
    ),
    **_fields(user={"uname": b"root"}, group_name={"gname": b"wheel"}, user_after_nul={"uname": b"\0root"}),
    **_fields(major={"major": b"0000001\0"}, minor={"minor": b"0000003\0"}, devices_empty={"major": b"", "minor": b""}),
    **_fields(
        link_of_a_file={"link": b"/etc/passwd"},
        rest={"rest": b"\0" * 11 + b"x"},
        magic_gnu={"magic": b"ustar ", "version": b" \0"},
    ),
    **_fields(
        magic_none={"magic": b"", "version": b""}, version={"version": b"01"}, magic_star={"rest": b"\0" * 8 + b"tar\0"}
    ),
    **_fields(
        time_negative={"mtime": b"\xff" * 12},
        time_binary={"mtime": b"\x80" + b"\0" * 11},
        time_signed={"mtime": b"-0000000001\0"},
    ),
    "other_time": (tar(member(b"a"), member(b"b", mtime=b"%011o\0" % (MTIME + 1))), "has another mtime"),
}

_GOOD = member(b"a", b"x = 1\n")
_AFTER = "stands after the archive's first zero block"
_EARLY = "archive ends early"


def _checksums(**sums: bytes) -> Rows:
    raw = "ü".encode()
    return {variant: (tar(member(raw, checksum=value)), _FORM) for variant, value in sums.items()}


_RIGHT = int(header("ü".encode())[148:154], 8)
_SIGNED = _RIGHT - 2 * 256  # both bytes of the name taken as negative, as some old tars do
SHAPE: Rows = {
    "byte_after": (tar(_GOOD) + b"\0", _AFTER),
    "block_after": (tar(_GOOD) + b"\0" * 512, _AFTER),
    "record_of_10_kib": ((tar(_GOOD)).ljust(10240, b"\0"), _AFTER),
    "second_archive": (tar(_GOOD) * 2, _AFTER),
    "hidden_entry_after": (tar(_GOOD) + tar(member(b"evil")), _AFTER),
    "entry_after_one_zero_block": (tar(_GOOD, b"\0" * 512, member(b"evil")), _AFTER),
    "one_zero_block": (tar(_GOOD, end=b"\0" * 512), _EARLY),
    "no_end": (tar(_GOOD, end=b""), _EARLY),
    "end_a_byte_short": (tar(_GOOD)[:-1], _EARLY),
    "end_not_zero": (tar(_GOOD)[:-1] + b"x", _AFTER),
    "content_cut": (tar(_GOOD)[:515], _EARLY),
    "header_cut": (tar(_GOOD)[:300], _EARLY),
    "nothing": (b"", _EARLY),
    "empty_archive": (END, "archive is empty"),
    "zero_block_first": (b"\0" * 512 + tar(_GOOD), _AFTER),
    **_checksums(off_by_one=b"%06o\0 " % (_RIGHT + 1), zero=b"000000\0 ", blank=b" " * 8, signed=b"%06o\0 " % _SIGNED),
    **_checksums(seven_digits=b"%07o\0" % _RIGHT, space_first=b"%06o \0" % _RIGHT, padded=b"%6o\0 " % _RIGHT, none=b""),
    "size_too_small": (tar(member(b"a", b"x" * 600, size=b"00000000001\0")), "padding of 'a' is not zero"),
    "size_too_small_hides_a_header": (
        tar(member(b"a", member(b"../x"), size=b"00000000000\0")),
        "is absolute, or has an empty",
    ),
    "size_too_large_swallows_the_next": (
        tar(member(b"a", b"x", size=b"00000001001\0"), member(b"b")),
        "padding of 'a' is not zero",
    ),
    "size_beyond_the_end": (tar(member(b"a", b"x", size=b"00000010000\0")), _EARLY),
    "size_of_8_gib": (tar(member(b"a", b"x", size=b"77777777777\0")), _EARLY),
    "size_negative_binary": (tar(member(b"a", b"x", size=b"\xff" * 12)), "not octal"),
    "size_minus_512": (tar(member(b"a", b"x", size=b"\xff" * 10 + b"\xfe\0")), "not octal"),
    "size_binary": (tar(member(b"a", b"x", size=b"\x80" + b"\0" * 10 + b"\1")), "not octal"),
    "size_negative_octal": (tar(member(b"a", b"x", size=b"-0000000001\0")), "not octal"),
    "size_in_spaces": (tar(member(b"a", b"x", size=b"          1\0")), "not octal"),
    "size_of_12_digits": (tar(member(b"a", b"x", size=b"000000000001")), "not octal"),
    "size_decimal": (tar(member(b"a", b"x" * 8, size=b"00000000008\0")), "not octal"),
    "size_empty": (tar(member(b"a", b"x", size=b"\0" * 12)), "not octal"),
    "padding_not_zero": (tar(fill(header(b"a", size=1) + b"x\1")), "padding of 'a' is not zero"),
    "padding_hides_at_its_end": (tar(_GOOD[:-1] + b"x"), "padding of 'a' is not zero"),
}

ROWS: dict[str, Rows] = {
    "path": PATHS,
    "type": TYPES,
    "pax": PAX,
    "link": LINKS,
    "mode": MODES,
    "duplicate": DUPLICATES,
    "shape": SHAPE,
}
