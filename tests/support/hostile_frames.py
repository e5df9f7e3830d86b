"""Hostile zstd frames around a good tar, as ``{variant: (bytes, what the refusal says)}``, by the last table row."""

from __future__ import annotations

import zstandard

from support.handmade import MAGIC, block, frame, member, raw_blocks, tar

TAR = tar(member(b"a.py", b"x = 1\n"), member(b"b/c.py", b"y = 2\n" * 100))
GOOD = frame(TAR)
_SIZE = len(TAR)
_ANY = "zstd frame "
_FOLLOWS = "ends early, or something follows it"
_SKIPPABLE = b"\x2a\x4d\x18\x05\0\0\0hello"

Rows = dict[str, tuple[bytes, str]]


def _window(exponent: int, mantissa: int = 0) -> bytes:
    return frame(TAR, window=bytes([exponent << 3 | mantissa]))


def _by_dictionary() -> bytes:
    """Return a frame that needs a dictionary and does not say so."""
    words = zstandard.ZstdCompressionDict(TAR, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    parameters = zstandard.ZstdCompressionParameters(write_checksum=1, write_content_size=1, write_dict_id=0)
    return zstandard.ZstdCompressor(dict_data=words, compression_params=parameters).compress(TAR)


WINDOWS: Rows = {
    "over_by_an_eighth": (_window(13, 1), "needs a window of 9437184 bytes"),
    "of_16_mib": (_window(14), "needs a window of 16777216 bytes"),
    "of_2_gib": (_window(21), _ANY),
    "of_the_largest": (_window(31, 7), _ANY),
    "single_segment": (
        frame(TAR, descriptor=0b1110_0100, window=b"", size=8 * 1024**2 + 1),
        "needs a window of 8388609 bytes",
    ),
}

DICTIONARIES: Rows = {
    "of_one_byte": (frame(TAR, descriptor=0b1100_0101, dictionary=b"\7"), "needs a dictionary"),
    "of_two_bytes": (frame(TAR, descriptor=0b1100_0110, dictionary=b"\7\1"), "needs a dictionary"),
    "of_four_bytes": (frame(TAR, descriptor=0b1100_0111, dictionary=b"\7\1\0\1"), "needs a dictionary"),
    "number_zero": (frame(TAR, descriptor=0b1100_0101, dictionary=b"\0"), "needs a dictionary"),
    "number_zero_in_four_bytes": (frame(TAR, descriptor=0b1100_0111, dictionary=b"\0" * 4), "needs a dictionary"),
    "not_named": (_by_dictionary(), "is damaged"),
}

FRAMES: Rows = {
    "second": (GOOD * 2, _FOLLOWS),
    "second_empty": (GOOD + frame(b""), _FOLLOWS),
    "second_splits_the_tar": (frame(TAR[:1024]) + frame(TAR[1024:]), _FOLLOWS),
    **{f"skippable_{n:x}_first": (bytes([0x50 + n]) + _SKIPPABLE + GOOD, "is skippable") for n in (0, 7, 15)},
    "skippable_alone": (b"\x50" + _SKIPPABLE, "is skippable"),
    "skippable_of_4_gib": (b"\x50\x2a\x4d\x18\xff\xff\xff\xff" + GOOD, _ANY),
    "skippable_after": (GOOD + b"\x50" + _SKIPPABLE, _FOLLOWS),
    "zero_after": (GOOD + b"\0", _FOLLOWS),
    "byte_after": (GOOD + b"x", _FOLLOWS),
    "magic_after": (GOOD + MAGIC, _FOLLOWS),
    "tar_after": (GOOD + TAR, _FOLLOWS),
    "cut_in_the_header": (GOOD[:9], _ANY),
    "cut_in_a_block": (GOOD[:-100], _FOLLOWS),
    "cut_in_the_checksum": (GOOD[:-1], _FOLLOWS),
    "magic_alone": (MAGIC, "header is not one"),
    "nothing": (b"", "header is not one"),
    "plain_tar": (TAR, "header is not one"),
    "gzip": (b"\x1f\x8b\x08" + b"\0" * 20, "header is not one"),
    "old_zstd": (b"\x27" + GOOD[1:], "header is not one"),
    "magicless": (GOOD[4:], "header is not one"),
}

SIZES: Rows = {
    "no_checksum": (frame(TAR, descriptor=0b1100_0000, end=b""), "has no checksum"),
    "no_checksum_but_its_bytes": (frame(TAR, descriptor=0b1100_0000), "has no checksum"),
    "wrong_checksum": (frame(TAR, end=b"\0" * 4), "is damaged"),
    "checksum_of_another": (frame(TAR, end=frame(b"x")[-4:]), "is damaged"),
    "checksum_cut": (frame(TAR, end=GOOD[-4:-2]), _FOLLOWS),
    "no_content_size": (frame(TAR, descriptor=0b0000_0100, size=b""), "does not tell its content size"),
    "content_size_zero": (frame(TAR, size=0), _ANY),
    "content_size_a_byte_less": (frame(TAR, size=_SIZE - 1), _ANY),
    "content_size_a_byte_more": (frame(TAR, size=_SIZE + 1), _ANY),
    "content_size_of_1_gib": (frame(TAR, size=1024**3), _ANY),
    "reserved_bit": (frame(TAR, descriptor=0b1100_1100), _ANY),
}

BLOCKS: Rows = {
    "reserved": (frame(TAR, blocks=block(TAR, kind=3)), "block of a reserved kind or size"),
    "over_128_kib": (frame(TAR, blocks=block(TAR, size=128 * 1024 + 1)), "block of a reserved kind or size"),
    "repeated_over_128_kib": (
        frame(b"", blocks=block(b"\0", kind=1, size=2**21 - 1), size=2**21 - 1),
        "block of a reserved kind or size",
    ),
    "none_is_the_last": (frame(TAR, blocks=block(TAR, last=False), end=b""), "ends early"),
    "after_the_last": (frame(TAR, blocks=raw_blocks(TAR) + raw_blocks(b"x")), _FOLLOWS),
    "rubbish": (frame(TAR, blocks=block(b"\xff" * 50, kind=2)), "is damaged"),
    "compressed_of_nothing": (frame(TAR, blocks=block(b"", kind=2)), "is damaged"),
    "longer_than_the_file": (frame(TAR, blocks=block(TAR, size=100_000)), _FOLLOWS),
}

ROWS: dict[str, Rows] = {
    "window": WINDOWS,
    "dictionary": DICTIONARIES,
    "frame": FRAMES,
    "size": SIZES,
    "block": BLOCKS,
}

AT_THE_BOUND: dict[str, bytes] = {
    "window": _window(13),
    "single_segment": frame(TAR, descriptor=0b1110_0100, window=b""),
    "content_size_in_four_bytes": frame(TAR, descriptor=0b1000_0100, size=_SIZE.to_bytes(4, "little")),
    "content_size_in_two_bytes": frame(TAR, descriptor=0b0100_0100, size=(_SIZE - 256).to_bytes(2, "little")),
    "many_blocks": frame(TAR, blocks=b"".join(block(TAR[i : i + 1], last=i == _SIZE - 1) for i in range(_SIZE))),
    "empty_blocks": frame(TAR, blocks=block(b"", last=False) * 1000 + raw_blocks(TAR)),
    "unused_bit": frame(TAR, descriptor=0b1101_0100),
}
