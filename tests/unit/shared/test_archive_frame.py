import io

import pytest
import zstandard

from dagferry_shared.archive.frame import CHUNK, MAX_WINDOW, Frame, check_frame, decompress
from dagferry_shared.archive.reader import Limits
from dagferry_shared.errors import Reason, Refused
from support.refusals import refused, short
from support.tars import entry, read_zst, tar, tree, zst

TAR = tree({"a.py": b"x = 1\n" * 20, "b/run.sh": b"#!/bin/sh\n", "link": "a.py"}, executable=frozenset({"b/run.sh"}))
ARCHIVE = zst(TAR)
MAGIC = b"\x28\xb5\x2f\xfd"
SKIPPABLE = b"\x50\x2a\x4d\x18\x05\0\0\0hello"


def checksum(content):
    return zst(content)[-4:]


def block(content, *, last=True, kind=0, size=None):
    return (int(last) | kind << 1 | (len(content) if size is None else size) << 3).to_bytes(3, "little") + content


def craft(content=b"hello", *, flags=0b1000_0100, window=b"\0", size=None, blocks=None, end=None):
    """Write a frame by hand; flags: four-byte size, checksum."""
    size = (len(content) if size is None else size).to_bytes(4, "little")
    body = block(content) if blocks is None else blocks
    return MAGIC + bytes([flags]) + window + size + body + (checksum(content) if end is None else end)


def check(raw):
    return check_frame(io.BytesIO(raw))


def unpack(raw):
    source = io.BytesIO(raw)
    return b"".join(decompress(source, check_frame(source)))


def test_frame_of_the_library_and_by_hand_is_read():
    assert unpack(ARCHIVE) == TAR
    assert unpack(craft()) == b"hello"
    assert check(craft()) == Frame(5, 1024)


@pytest.mark.parametrize("level", [1, 3, 10, 19])
def test_every_level_is_read(level):
    assert unpack(zst(TAR, compression_level=level)) == TAR


def test_raw_repeated_and_compressed_blocks_are_read():
    content = b"abc" + b"z" * 100_000
    assert (
        unpack(
            craft(content, blocks=block(b"abc", last=False) + block(b"z", kind=1, size=100_000), window=bytes([8 << 3]))
        )
        == content
    )
    assert unpack(craft(b"", blocks=block(b"", last=False) * 3 + block(b""))) == b""


@pytest.mark.parametrize("descriptor", [13 << 3])
def test_window_of_eight_mebibytes_is_the_largest_accepted(descriptor):
    assert check(craft(window=bytes([descriptor]))).window == MAX_WINDOW == 8 * 1024 * 1024
    with refused(Reason.BAD_ARCHIVE, "needs a window of 9437184 bytes"):
        check(craft(window=bytes([descriptor | 1])))


@pytest.mark.parametrize("descriptor", range((13 << 3) + 1, 256))
def test_window_too_big_is_refused_before_decompression(descriptor):
    with refused(Reason.BAD_ARCHIVE):
        check(craft(window=bytes([descriptor])))


def test_single_segment_is_as_large_a_window_as_its_content():
    assert check(zst(b"\0" * MAX_WINDOW, window_log=24)).window == MAX_WINDOW
    with refused(Reason.BAD_ARCHIVE, "needs a window of"):
        check(zst(b"\0" * (MAX_WINDOW + 512), window_log=24))


def test_frame_without_checksum_is_refused():
    with refused(Reason.BAD_ARCHIVE, "has no checksum"):
        check(zst(TAR, write_checksum=0))


def test_frame_without_content_size_is_refused():
    with refused(Reason.BAD_ARCHIVE, "does not tell its content size"):
        check(zst(TAR, write_content_size=0))
    with refused(Reason.BAD_ARCHIVE):
        check(MAGIC + bytes([0b0000_0100, 0]) + block(b"hello") + checksum(b"hello"))


@pytest.mark.parametrize("flags", [0b1000_0101, 0b1000_0110, 0b1000_0111])
@pytest.mark.parametrize("number", [0, 1, 2**32 - 1])
def test_frame_that_names_a_dictionary_is_refused_even_number_zero(flags, number):
    width = {1: 1, 2: 2, 3: 4}[flags & 3]
    raw = craft(flags=flags, window=b"\0" + (number % 256**width).to_bytes(width, "little"))
    with refused(Reason.BAD_ARCHIVE, "needs a dictionary"):
        check(raw)


def test_frame_made_with_a_dictionary_that_it_does_not_name_is_refused():
    words = zstandard.ZstdCompressionDict(TAR, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    parameters = zstandard.ZstdCompressionParameters(compression_level=3, write_checksum=1, write_content_size=1)
    raw = zstandard.ZstdCompressor(dict_data=words, compression_params=parameters).compress(TAR)
    with refused(Reason.BAD_ARCHIVE, "is damaged"):
        unpack(raw)


def test_reserved_bit_is_refused():
    with refused(Reason.BAD_ARCHIVE):
        check(craft(flags=0b1000_1100))


@pytest.mark.parametrize(
    "raw", [ARCHIVE + ARCHIVE, ARCHIVE + zst(b""), ARCHIVE + SKIPPABLE, ARCHIVE + b"\0", ARCHIVE + ARCHIVE[:4]]
)
def test_second_frame_or_trailing_byte_is_refused(raw):
    with refused(Reason.BAD_ARCHIVE, "ends early, or something follows it"):
        check(raw)


@pytest.mark.parametrize("magic", range(16))
def test_skippable_frame_in_front_is_refused(magic):
    skippable = bytes([0x50 + magic]) + SKIPPABLE[1:]
    for raw in (skippable + ARCHIVE, skippable):
        with refused(Reason.BAD_ARCHIVE, "is skippable"):
            check(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0",
        MAGIC,
        MAGIC[:3],
        b"\x1f\x8b\x08" + b"\0" * 20,
        TAR,
        b"PK\3\4" + b"\0" * 20,
        b"\x27" + ARCHIVE[1:],
        b"\x22" + ARCHIVE[1:],
        b"\xff" * 18,
    ],
    ids=short,
)
def test_file_that_is_no_zstd_frame_is_refused(raw):
    with refused(Reason.BAD_ARCHIVE):
        check(raw)


def test_frame_cut_at_any_byte_is_refused():
    for length in range(len(ARCHIVE)):
        with refused(Reason.BAD_ARCHIVE):
            check(ARCHIVE[:length])


def test_any_byte_after_any_cut_is_refused():
    for length in range(len(ARCHIVE) - 5, len(ARCHIVE)):
        with refused(Reason.BAD_ARCHIVE):
            unpack(ARCHIVE[:length] + b"\xfe" * 20)


@pytest.mark.parametrize(
    "blocks",
    [
        block(b"hello", kind=3),
        block(b"hello", size=128 * 1024 + 1),
        block(b"h", kind=1, size=128 * 1024 + 1),
        block(b"hello", size=2**21 - 1),
    ],
    ids=short,
)
def test_block_of_a_reserved_kind_or_size_is_refused(blocks):
    with refused(Reason.BAD_ARCHIVE, "block of a reserved kind or size"):
        check(craft(blocks=blocks))


def test_frame_without_a_last_block_is_refused():
    with refused(Reason.BAD_ARCHIVE):
        check(craft(blocks=block(b"hello", last=False), end=b""))


def test_compressed_block_of_rubbish_is_refused():
    with refused(Reason.BAD_ARCHIVE, "is damaged"):
        unpack(craft(blocks=block(b"\xff" * 50, kind=2)))


@pytest.mark.parametrize("size", [0, 4, 6, 2**32 - 1])
def test_frame_that_lies_about_its_content_size_is_refused(size):
    with refused(Reason.BAD_ARCHIVE):
        unpack(craft(size=size))


@pytest.mark.parametrize(("size", "words"), [(4, "holds more"), (6, "holds less")])
def test_content_is_counted_even_if_the_library_does_not(size, words):
    with refused(Reason.BAD_ARCHIVE, words):
        list(decompress(io.BytesIO(craft()), Frame(size, 1024)))


@pytest.mark.parametrize("length", [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK])
def test_wrong_checksum_is_refused_whatever_the_length(length):
    raw = zst(b"x" * length)
    assert len(unpack(raw)) == length
    with refused(Reason.BAD_ARCHIVE, "is damaged"):
        unpack(raw[:-1] + bytes([raw[-1] ^ 1]))


@pytest.mark.parametrize("size", [CHUNK - 1536, CHUNK - 1536 - 511, 2 * CHUNK - 1536])
def test_wrong_checksum_of_an_archive_that_fills_whole_pieces_is_refused(size):
    raw = zst(tar(entry("a", b"x" * size)))
    read_zst(raw)
    with refused(Reason.BAD_ARCHIVE):
        read_zst(raw[:-1] + bytes([raw[-1] ^ 1]))


def test_bit_flips_are_refused_or_change_nothing():
    """The checksum covers the content; a flip may only hit bits that carry none (the unused bit, spare codes)."""
    good, harmless = read_zst(ARCHIVE), 0
    for at in range(len(ARCHIVE)):
        for bit in range(8):
            broken = bytearray(ARCHIVE)
            broken[at] ^= 1 << bit
            try:
                manifest = read_zst(bytes(broken))
            except Refused:
                continue
            assert manifest == good
            harmless += 1
    assert harmless < len(ARCHIVE) * 8 * 0.05


def test_bytes_changed_at_random_are_refused_or_change_nothing():
    good = read_zst(ARCHIVE)
    for at in range(len(ARCHIVE)):
        for value in (0, 0x7F, 0xFF, ARCHIVE[at] + 1 & 0xFF):
            broken = bytearray(ARCHIVE)
            broken[at] = value
            try:
                assert read_zst(bytes(broken)) == good
            except Refused:
                continue


def test_huge_content_size_is_refused_before_a_byte_is_decompressed():
    raw = MAGIC + bytes([0b1100_0100, 0]) + (2**64 - 3).to_bytes(8, "little") + block(b"hello") + checksum(b"hello")
    with refused(Reason.TOO_LARGE):
        read_zst(raw)
    with refused(Reason.TOO_LARGE, "archive unpacks to 2049"):
        read_zst(zst(b"\0" * 2049), Limits(max_bytes=2048))


def test_pieces_are_small_however_much_is_repeated():
    source = io.BytesIO(zst(b"\0" * (4 * CHUNK)))
    assert max(len(piece) for piece in decompress(source, check_frame(source))) <= CHUNK


def test_source_is_read_from_its_start_wherever_it_stands():
    source = io.BytesIO(ARCHIVE)
    source.seek(7)
    assert b"".join(decompress(source, check_frame(source))) == TAR
