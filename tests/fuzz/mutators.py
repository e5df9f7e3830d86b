"""Mutations that keep a checksum, a signature or JSON's own form right, so that what is behind them is reached.

Half of the time the bytes are mutated as they are: the door itself is a parser too.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import zstandard

from dagferry_shared import envelope as dsse
from dagferry_shared import pointer, release
from golden import content
from support import deltas, handmade
from support.docs import CI, OPERATOR, changed, places
from support.tars import patch

Bytes = Callable[[bytes, int], bytes]  # libFuzzer's own mutation: data, largest size
Mutator = Callable[[bytes, int, random.Random, Bytes], bytes]

_ODD: list[Any] = [
    *(None, True, False, 0, 1, -1, 300, 2**53 - 1, 2**53, 2**63, -(2**64), 1.5, 1e300, float("nan"), float("inf")),
    *("", " ", "x", "*", "**", "a" * 1001, "\0", "\ud800", "\u202e", "é", "../x", "/", ".", "a" * 64, "c" * 40),
    *("2026-01-01T00:00:00.000Z", "2026-13-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z", "publish", "repair"),
    *([], {}, [[]], {"": {}}, ["x", "x"], [1], [None]),
]
_FIELDS = ((0, 100), (100, 8), (108, 8), (124, 12), (136, 12), (156, 1), (157, 100), (257, 8), (345, 155))
_NAMES = (
    b"a",
    b"a/b",
    b"b",
    b"../x",
    b"/x",
    b"a//b",
    b".git",
    b"\xff",
    b"a" * 100,
    b"@LongNameInPaxHeader",
    b"l",
    b"m",
    b"n/f",
    b"../l",
    b"..",
)


def _value(old: object, rng: random.Random, mutate: Bytes) -> object:
    if isinstance(old, str) and rng.random() < 0.5:
        return mutate(old.encode("utf-8", "surrogatepass"), 2000).decode("utf-8", "replace")
    if isinstance(old, int) and not isinstance(old, bool) and rng.random() < 0.5:
        return old + rng.choice((-1, 1, 2**32, 2**53))
    return rng.choice(_ODD)


def _edit(found: Any, rng: random.Random, mutate: Bytes) -> Any:
    spots = list(places(found))
    if not spots:
        return {"x": found}
    place, old = rng.choice(spots)
    how = rng.random()
    if how < 0.15:
        return changed(found, place)
    if how < 0.3:  # a value of another place
        return changed(found, place, rng.choice(spots)[1])
    if how < 0.4 and isinstance(place[-1], str):
        return changed(found, (*place[:-1], place[-1] + rng.choice("x_\u00e9")), old)
    return changed(found, place, _value(old, rng, mutate))


def document(data: bytes, most: int, rng: random.Random, mutate: Bytes) -> bytes:
    """Change values, names and structure of a JSON document."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return mutate(data, most)
    if rng.random() < 0.4:
        return mutate(data, most)
    for _ in range(rng.randint(1, 3)):
        found = _edit(found, rng, mutate)
    text = json.dumps(found, ensure_ascii=rng.random() < 0.5, separators=(",", ":"), sort_keys=True)
    return text.encode("utf-8", "surrogatepass")


def envelope(data: bytes, most: int, rng: random.Random, mutate: Bytes) -> bytes:
    """Change the payload and sign it again, so that the verified path behind is reached."""
    if rng.random() < 0.4:
        return document(data, most, rng, mutate)
    try:
        payload = dsse.parse(data, "seed").payload
    except Exception:  # noqa: BLE001 - a finding of the target, not of its mutator
        return mutate(data, most)
    kind = rng.choice((pointer.PAYLOAD_TYPE, release.PAYLOAD_TYPE))
    signers = rng.choice(([CI], [OPERATOR], [CI, OPERATOR]))
    return dsse.sign(kind, document(payload, most, rng, mutate), signers).encode()


def _edit_block(block: bytes, others: list[bytes], rng: random.Random, mutate: Bytes) -> bytes:
    at, length = rng.choice(_FIELDS)
    how = rng.random()
    if how < 0.3:
        value = rng.choice(others)[at : at + length]
    elif how < 0.5 and length == 100:
        value = rng.choice(_NAMES).ljust(100, b"\0")
    else:
        value = mutate(block[at : at + length], length)[:length]
    return patch(block, at, value)


def _is_header(block: bytes) -> bool:
    return block[257:262] == b"ustar"


def tar(data: bytes, most: int, rng: random.Random, mutate: Bytes) -> bytes:
    """Change fields of headers and keep their checksums right; move, repeat and drop blocks."""
    blocks = [data[at : at + 512] for at in range(0, len(data) - 511, 512)]
    if not blocks or rng.random() < 0.3:
        return mutate(data, most)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(blocks))
        how = rng.random()
        if how < 0.6 and _is_header(blocks[at]):
            blocks[at] = _edit_block(blocks[at], blocks, rng, mutate)
        elif how < 0.75:
            blocks[at] = mutate(blocks[at], 512)[:512].ljust(512, b"\0")
        elif how < 0.85:
            blocks.insert(at, rng.choice(blocks))
        elif len(blocks) > 1:
            blocks.insert(rng.randrange(len(blocks)), blocks.pop(at))
    return b"".join(blocks)[:most]


def archive(data: bytes, most: int, rng: random.Random, mutate: Bytes) -> bytes:
    """Change the tar inside, and wrap it in a right frame."""
    if rng.random() < 0.4:
        return frame(data, most, rng, mutate)
    try:
        plain = zstandard.ZstdDecompressor(max_window_size=2**23).stream_reader(data).read(most)
    except zstandard.ZstdError:
        return mutate(data, most)
    inside = tar(plain, most, rng, mutate)
    if rng.random() < 0.5:
        return handmade.frame(inside[:8192])
    flags = {"write_checksum": True, "write_content_size": True, "write_dict_id": False}
    parameters = zstandard.ZstdCompressionParameters.from_level(rng.choice((1, 3, 9)), **flags)
    return zstandard.ZstdCompressor(compression_params=parameters).compress(inside)


def delta(data: bytes, most: int, rng: random.Random, mutate: Bytes) -> bytes:
    """Change the head's lists or the body's tar, and wrap them in right frames; the base is the golden delta's."""
    how = rng.random()
    if how < 0.3:
        return mutate(data, most)
    head = deltas.head(["dags/etl.py"], ["dags/old.py"])
    body = deltas.tar_of(content.entries(content.BASE), content.entries(content.FILES))
    if how < 0.6:
        names = [*content.BASE, "lib", "..", "z"]
        lists = [sorted(rng.sample(names, rng.randint(0, 3)), key=str.encode) for _ in range(2)]
        head = deltas.head(*lists) if rng.random() < 0.8 else document(head, most, rng, mutate)
    if how > 0.5:
        body = tar(body, most, rng, mutate)
    return (handmade.frame(head) + handmade.frame(body))[:most]


def frame(data: bytes, most: int, rng: random.Random, mutate: Bytes) -> bytes:
    """Change the frame's header and blocks behind a right magic; at times with a right checksum."""
    if rng.random() < 0.5:
        return (handmade.MAGIC + mutate(data[4:], most - 4))[:most]
    content = mutate(data[-600:], 600)
    cut = rng.randint(0, len(content))
    blocks = [
        handmade.block(content[:cut], last=rng.random() < 0.05),
        handmade.block(b"z", kind=1, size=rng.choice((0, 1, 1000, 2**17, 2**17 + 1)), last=rng.random() < 0.05),
        handmade.block(content[cut:], kind=rng.choice((0, 0, 2, 3)), last=rng.random() < 0.9),
    ]
    keep = blocks[: rng.randint(1, 3)] if rng.random() < 0.5 else [blocks[0], blocks[2]]
    plain = content if len(keep) == 2 and keep[1] is blocks[2] else content[:cut]
    size = rng.choice((len(plain), len(plain) + 1, 0, 2**32, 2**64 - 1))
    descriptor = rng.choice((0b1100_0100, 0b1100_0100, 0b1110_0100, 0b1100_0000, 0b1100_0101, 0b1100_1100))
    return handmade.frame(
        plain, size=size, descriptor=descriptor, window=bytes([rng.randrange(256)]), blocks=b"".join(keep)
    )[:most]
