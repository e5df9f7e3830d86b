import io
import tarfile

import pytest

from dagferry_shared.archive import header
from dagferry_shared.archive.header import BLOCK, LONG, MAX_PAX, MAX_SIZE, Header
from dagferry_shared.errors import Reason, Refused
from support.refusals import refused, short
from support.tars import MTIME, patch

FILE = Header(b"a/b.py", executable=False, size=5, mtime=MTIME)
LINK = Header(b"a/l", executable=False, size=0, mtime=MTIME, target=b"b.py")
LONG_FILE = Header(b"d/" * 50 + b"x", executable=True, size=MAX_SIZE, mtime=0)
LONG_LINK = Header(b"l" * 101, executable=False, size=0, mtime=MTIME, target=b"t" * 101)


def decode(raw):
    """Take a header apart as the reader does."""
    block, pax = raw[:BLOCK], {}
    if header.kind(block) == header.PAX:
        size = header.pax_size(block)
        pax = header.pax_values(raw[BLOCK : BLOCK + size])
        block = raw[BLOCK + size + header.padding(size) :]
    return header.decode(block, pax, raw)


@pytest.mark.parametrize(
    "entry",
    [
        FILE,
        LINK,
        LONG_FILE,
        LONG_LINK,
        Header(b"x" * 100, True, 0, 1),
        Header(b"x" * 101, False, 0, 1),
        Header(b"l", False, 0, 1, b"t" * 100),
        Header(b"l", False, 0, 1, b"t" * 101),
        Header("ü".encode() * 51, False, 1, 1),
        Header(LONG, False, 0, 1),
        Header(b"l", False, 0, 1, LONG),
        Header(b"a" * 1024, False, 0, 1, b"b" * 1024),
    ],
    ids=short,
)
def test_header_round_trips(entry):
    assert decode(header.encode(entry)) == entry


def test_header_has_the_bytes_that_format_md_says():
    raw = header.encode(FILE)
    assert len(raw) == BLOCK
    assert raw[0:100] == b"a/b.py".ljust(100, b"\0")
    assert raw[100:124] == b"0000644\0" + b"0000000\0" * 2
    assert raw[124:136] == b"00000000005\0"
    assert raw[136:148] == b"%011o\0" % MTIME
    assert raw[148:156] == b"%06o\0 " % (sum(raw[:148]) + sum(raw[156:]) + 8 * 32)
    assert raw[156:157] == b"0"
    assert raw[157:257] == b"\0" * 100
    assert raw[257:265] == b"ustar\00000"
    assert raw[265:329] == b"\0" * 64
    assert raw[329:345] == b"0000000\0" * 2
    assert raw[345:512] == b"\0" * 167


def test_pax_header_stands_in_front_of_a_long_path_or_target():
    raw = header.encode(LONG_LINK)
    assert len(raw) == 3 * BLOCK
    assert raw[:11] == b"@PaxHeader\0"
    assert raw[156:157] == b"x"
    records = b"115 linkpath=" + b"t" * 101 + b"\n" + b"111 path=" + b"l" * 101 + b"\n"
    assert raw[BLOCK : 2 * BLOCK] == records.ljust(BLOCK, b"\0")
    assert int(raw[124:135], 8) == len(records)
    assert raw[2 * BLOCK :].startswith(LONG + b"\0")
    assert raw[2 * BLOCK + 157 :].startswith(LONG + b"\0")


def test_pax_record_counts_its_own_length_across_a_power_of_ten():
    for length in (*range(1, 12), *range(80, 105), *range(980, 1005)):
        record = header.pax_record(b"path", b"x" * length)
        assert int(record.split(b" ")[0]) == len(record)
        assert header.pax_values(record) == {b"path": b"x" * length}


@pytest.mark.parametrize("entry", [FILE, LINK, LONG_LINK, Header(b"d/" * 50 + b"x", True, 0, 7)])
def test_python_reads_what_we_write(entry):
    raw = header.encode(entry) + b"\0" * (BLOCK if entry.size else 0) + b"\0" * 1024
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        (info,) = archive.getmembers()
    assert (info.name.encode(), info.linkname.encode(), info.size) == (entry.path, entry.target, entry.size)
    assert (info.mode, info.mtime, info.uid) == (0o755 if entry.executable else 0o644, entry.mtime, 0)


@pytest.mark.parametrize("kind", [bytes([k]) for k in range(256) if bytes([k]) not in b"02x"])
def test_entry_that_is_no_file_or_symlink_is_refused(kind):
    with refused(Reason.BAD_ARCHIVE, "only files and symlinks"):
        decode(patch(header.encode(FILE), 156, kind))


FORGERIES = {
    "setuid": (100, b"0004755\0"),
    "setgid": (100, b"0002755\0"),
    "sticky": (100, b"0001644\0"),
    "group writable": (100, b"0000664\0"),
    "world writable": (100, b"0000777\0"),
    "no mode": (100, b"\0" * 8),
    "mode with file type": (100, b"0100644\0"),
    "mode in other digits": (100, b"000644 \0"),
    "mode ended by a space": (100, b"0000644 "),
    "uid": (108, b"0001750\0"),
    "gid": (116, b"0001750\0"),
    "user name": (265, b"root"),
    "group name": (297, b"root"),
    "device major": (329, b"0000001\0"),
    "device minor": (337, b"0000001\0"),
    "prefix": (345, b"etc"),
    "rest of the block": (500, b"x"),
    "last byte": (511, b"\1"),
    "gnu magic": (257, b"ustar  \0"),
    "no magic": (257, b"\0" * 8),
    "ustar version": (263, b"  "),
    "after the name's end": (50, b"hidden"),
    "link name of a file": (157, b"etc/passwd"),
    "size in base 256": (124, b"\x80" + b"\0" * 10 + b"\5"),
    "negative size": (124, b"\xff" * 12),
    "signed size": (124, b"-0000000005\0"),
    "size ended by a space": (124, b"00000000005 "),
    "size padded by spaces": (124, b"          5\0"),
    "size of decimal digits": (124, b"00000000009\0"),
    "size with an underscore": (124, b"0000000_005\0"),
    "empty size": (124, b"\0" * 12),
    "negative time": (136, b"\xff" * 12),
    "signed time": (136, b"-0000000001\0"),
    "time in base 256": (136, b"\x80" + b"\0" * 11),
}


@pytest.mark.parametrize("at", [0, 7, 99, 150, 155, 160])
def test_wrong_checksum_is_refused(at):
    raw = bytearray(header.encode(FILE))
    raw[at] ^= 1
    with refused(Reason.BAD_ARCHIVE):
        decode(bytes(raw))


@pytest.mark.parametrize("checksum", [b"%07o\0", b"%06o  ", b" %05o\0 ", b"0%05o\0 ", b"%06o\0\0"])
def test_right_checksum_in_another_form_is_refused(checksum):
    raw = bytearray(header.encode(FILE))
    value = checksum % int(raw[148:154], 8)
    if len(value) == 8 and value != bytes(raw[148:156]):
        raw[148:156] = value
        with refused(Reason.BAD_ARCHIVE, "not canonical"):
            decode(bytes(raw))


@pytest.mark.parametrize(("at", "data"), FORGERIES.values(), ids=FORGERIES)
def test_header_byte_that_is_not_as_fixed_is_refused(at, data):
    with refused(Reason.BAD_ARCHIVE):
        decode(patch(header.encode(FILE), at, data))


@pytest.mark.parametrize("entry", [FILE, LINK, LONG_FILE, LONG_LINK], ids=short)
def test_no_bit_of_a_header_may_flip_but_in_the_values_of_pax_records(entry):
    raw = header.encode(entry)
    for at in range(len(raw)):
        for bit in range(8):
            broken = bytearray(raw)
            broken[at] ^= 1 << bit
            try:
                other = decode(bytes(broken))
            except Refused:
                continue
            assert other != entry
            assert header.encode(other) == bytes(broken)
            assert len(raw) > BLOCK <= at < 2 * BLOCK


def test_symlink_with_content_is_refused():
    with refused(Reason.BAD_ARCHIVE, "symlink with content"):
        decode(patch(header.encode(LINK), 124, b"00000000005\0"))


def test_symlink_without_target_is_refused():
    with refused(Reason.BAD_ARCHIVE, "not canonical"):
        decode(patch(header.encode(LINK), 157, b"\0" * 4))


def test_executable_symlink_is_refused():
    with refused(Reason.BAD_ARCHIVE, "not canonical"):
        decode(patch(header.encode(LINK), 100, b"0000755\0"))


def pax(records, entry=FILE, size=None):
    """Put a pax header with these records in front of an entry, all of it otherwise canonical."""
    size = len(records) if size is None else size
    front = header._block(header.PAX_NAME, 0o644, size, entry.mtime, header.PAX)
    return front + records + b"\0" * header.padding(len(records)) + header.encode(entry)[-BLOCK:]


def record(key, value):
    return header.pax_record(key, value)


@pytest.mark.parametrize(
    "key",
    [
        b"size",
        b"mtime",
        b"uid",
        b"uname",
        b"SCHILY.xattr.security.capability",
        b"GNU.sparse.map",
        b"GNU.sparse.name",
        b"comment",
        b"hdrcharset",
        b"LIBARCHIVE.xattr.x",
        b"PATH",
        b"path ",
        b"",
    ],
)
def test_unknown_pax_key_is_refused(key):
    with refused(Reason.BAD_ARCHIVE, "unknown or there twice"):
        decode(pax(record(b"path", b"x" * 101) + record(key, b"1")))


@pytest.mark.parametrize("key", [b"path", b"linkpath"])
def test_pax_key_that_is_there_twice_is_refused(key):
    with refused(Reason.BAD_ARCHIVE, "unknown or there twice"):
        decode(pax(record(key, b"x" * 101) + record(key, b"y" * 101)))


@pytest.mark.parametrize(
    "records",
    [
        b"x",
        b"10",
        b" path=x\n",
        b"0 path=x\n",
        b"-9 path=x\n",
        b"+9 path=x\n",
        b"9_0 path=x\n",
        b"09 path=x\n",
        b"10 path=x\n",
        b"8 path=x\n",
        b"9 path=x ",
        b"9 path:x\n",
        b"8 path=\n",
        b"7 path\n",
        b"999999 path=x\n",
        b"9999 path=x\n",
        "\uff19 path=x\n".encode(),
        b"5 a=\n",
        b"9 path=x\n\0",
        b"1 ",
        b"2 \n",
    ],
)
def test_pax_record_that_is_not_well_formed_is_refused(records):
    with refused(Reason.BAD_ARCHIVE):
        decode(pax(records))


def test_pax_path_that_would_fit_the_header_is_refused():
    short_entry = Header(b"a", False, 0, MTIME)
    raw = pax(record(b"path", b"x" * 100), Header(LONG, False, 0, MTIME))
    with refused(Reason.BAD_ARCHIVE, "not canonical"):
        decode(raw)
    with refused(Reason.BAD_ARCHIVE, "not canonical"):
        decode(pax(record(b"path", b"a"), short_entry))


def test_header_name_beside_a_pax_path_must_be_the_placeholder():
    with refused(Reason.BAD_ARCHIVE, "not canonical"):
        decode(pax(record(b"path", b"x" * 101), Header(b"innocent", False, 0, MTIME)))


def test_pax_linkpath_of_a_regular_file_is_refused():
    with refused(Reason.BAD_ARCHIVE, "not canonical"):
        decode(pax(record(b"linkpath", b"x" * 101)))


def test_pax_records_in_another_order_are_refused():
    entry = Header(LONG, False, 0, MTIME, LONG)
    decode(pax(record(b"linkpath", b"t" * 101) + record(b"path", b"l" * 101), entry))
    with refused(Reason.BAD_ARCHIVE, "not canonical"):
        decode(pax(record(b"path", b"l" * 101) + record(b"linkpath", b"t" * 101), entry))


def test_pax_header_with_another_time_than_its_entry_is_refused():
    raw = header.encode(LONG_LINK)
    with refused(Reason.BAD_ARCHIVE, "not canonical"):
        decode(patch(raw[:BLOCK], 136, b"00000000001\0") + raw[BLOCK:])


def test_pax_header_that_is_not_canonical_is_refused():
    raw = header.encode(LONG_LINK)
    for at, data in ((0, b"./PaxHeaders/1/x"), (100, b"0000755\0"), (108, b"0001750\0"), (157, b"x"), (265, b"root")):
        with refused(Reason.BAD_ARCHIVE, "pax header is not canonical"):
            decode(patch(raw[:BLOCK], at, data) + raw[BLOCK:])


@pytest.mark.parametrize("size", [0, MAX_PAX + 1, MAX_SIZE])
def test_pax_header_that_is_empty_or_too_large_is_refused_before_it_is_read(size):
    with refused(Reason.BAD_ARCHIVE, f"pax header of {size} bytes"):
        decode(pax(b"", size=size))


def test_pax_header_of_the_greatest_size_is_read():
    assert header.pax_size(pax(b"", size=MAX_PAX)[:BLOCK]) == MAX_PAX


def test_pax_padding_that_is_not_zero_is_refused():
    raw = bytearray(header.encode(LONG_LINK))
    raw[2 * BLOCK - 1] = 1
    with refused(Reason.BAD_ARCHIVE, "not canonical"):
        decode(bytes(raw))


def test_two_pax_headers_in_a_row_are_refused():
    raw = header.encode(LONG_LINK)
    with refused(Reason.BAD_ARCHIVE, "only files and symlinks"):
        decode(raw[: 2 * BLOCK] + raw[:BLOCK])


def test_hundred_bytes_fit_a_header_and_one_more_needs_a_pax_header():
    for length, blocks in ((100, 1), (101, 3)):
        assert len(header.encode(Header(b"p" * length, False, 0, MTIME))) == blocks * BLOCK
        assert len(header.encode(Header(b"l", False, 0, MTIME, b"t" * length))) == blocks * BLOCK


@pytest.mark.parametrize("digits", [b"9" * 6, b"9" * 5000, b"0" * 5000 + b"9"], ids=short)
def test_pax_length_of_thousands_of_digits_is_refused_without_converting_it(digits):
    with refused(Reason.BAD_ARCHIVE, "pax record has no length"):
        header.pax_values(digits + b" path=x\n")


@pytest.mark.parametrize("records", [b"9 path=x", b"8 path=x\n", b"7 path=\n", b"010 path=x\n"])
def test_pax_record_in_another_form_is_refused_by_itself(records):
    assert header.pax_values(b"9 path=x\n") == {b"path": b"x"}
    with refused(Reason.BAD_ARCHIVE):
        header.pax_values(records)
