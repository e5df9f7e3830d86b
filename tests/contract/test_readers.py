"""The BlobReader contract, on every implementation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dagferry_shared.errors import BlobMissing, Reason, Refused

if TYPE_CHECKING:
    from contract.conftest import Pair

MIB = 1 << 20
SIZES = [1, 1000, 65536, MIB, MIB + 1]
KEYS = ["a", "b/v1/channels/main/pointer.json", "b/v1/releases/" + "0" * 64 + ".json", "A-b_c.d/E"]
BAD_KEYS = ["", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", ".lock", "a/.tmp-0", "a b", "a\n", "ä"]


def test_what_was_written_is_read(pair: Pair) -> None:
    for key in KEYS:
        pair.store.put(key, key.encode())
    for key in KEYS:
        blob = pair.reader.get(key, limit=99)
        assert blob is not None
        assert blob.data == key.encode()
        assert list(pair.reader.stream(key, limit=99)) == [key.encode()]


def test_an_empty_object_is_read(pair: Pair) -> None:
    pair.store.put("a", b"")
    blob = pair.reader.get("a", limit=0)
    assert blob is not None
    assert blob.data == b""
    assert b"".join(pair.reader.stream("a", limit=0)) == b""


def test_an_object_of_exactly_the_limit_is_read(pair: Pair) -> None:
    for size in SIZES:
        data = bytes(range(256)) * (size // 256) + bytes(size % 256)
        pair.store.put("a", data)
        blob = pair.reader.get("a", limit=size)
        assert blob is not None
        assert blob.data == data
        assert b"".join(pair.reader.stream("a", limit=size)) == data


def test_an_object_of_one_byte_more_than_the_limit_is_refused(pair: Pair) -> None:
    for size in SIZES:
        pair.store.put("a", bytes(size))
        with pytest.raises(Refused) as got:
            pair.reader.get("a", limit=size - 1)
        assert got.value.reason is Reason.OVERSIZE
        with pytest.raises(Refused) as streamed:
            list(pair.reader.stream("a", limit=size - 1))
        assert streamed.value.reason is Reason.OVERSIZE


def test_a_stream_hands_out_no_more_than_the_limit_before_it_refuses(pair: Pair) -> None:
    pair.store.put("a", bytes(3 * MIB))
    seen: list[bytes] = []
    with pytest.raises(Refused):
        seen.extend(pair.reader.stream("a", limit=2 * MIB))
    assert sum(map(len, seen)) <= 2 * MIB


def test_an_unmodified_object_is_not_read_again(pair: Pair) -> None:
    pair.store.put("a", b"data")
    blob = pair.reader.get("a", limit=9)
    assert blob is not None
    assert pair.reader.get("a", limit=9, if_none_match=blob.etag) is None


def test_a_modified_object_is_read_again_and_has_another_etag(pair: Pair) -> None:
    pair.store.put("a", b"data")
    old = pair.reader.get("a", limit=9)
    assert old is not None
    pair.store.put("a", b"newer")
    new = pair.reader.get("a", limit=9, if_none_match=old.etag)
    assert new is not None
    assert new.data == b"newer"
    assert new.etag != old.etag


def test_an_etag_has_no_quotes(pair: Pair) -> None:
    pair.store.put("a", b"data")
    blob = pair.reader.get("a", limit=9)
    assert blob is not None
    assert '"' not in blob.etag


def test_reader_and_writer_agree_on_the_etag(pair: Pair) -> None:
    etag = pair.store.create("a", b"data")
    blob = pair.reader.get("a", limit=9)
    info = pair.store.head("a")
    assert blob is not None
    assert info is not None
    assert blob.etag == etag == info.etag


def test_a_missing_object_is_missing(pair: Pair) -> None:
    pair.store.put("there", b"data")
    for key in ("missing", "a/missing", "there/below"):
        with pytest.raises(BlobMissing):
            pair.reader.get(key, limit=9)
        with pytest.raises(BlobMissing):
            pair.reader.get(key, limit=9, if_none_match="abc")
        with pytest.raises(BlobMissing):
            list(pair.reader.stream(key, limit=9))


def test_the_beginning_of_a_key_is_not_an_object(pair: Pair) -> None:
    pair.store.put("a/b/c", b"data")
    for key in ("a", "a/b", "a/b/c/d"):
        with pytest.raises(BlobMissing):
            pair.reader.get(key, limit=9)


def test_a_stream_comes_in_chunks_of_at_most_a_mebibyte(pair: Pair) -> None:
    data = bytes(range(256)) * 4096 * 5 + b"end"
    pair.store.put("a", data)
    chunks = list(pair.reader.stream("a", limit=len(data)))
    assert b"".join(chunks) == data
    assert max(map(len, chunks)) <= MIB


def test_a_stream_asks_for_nothing_before_its_first_chunk(pair: Pair) -> None:
    stream = pair.reader.stream("later", limit=9)
    pair.store.put("later", b"data")
    assert b"".join(stream) == b"data"


def test_a_stream_that_is_closed_early_gives_nothing_more(pair: Pair) -> None:
    pair.store.put("a", bytes(5 * MIB))
    stream = pair.reader.stream("a", limit=5 * MIB)
    assert next(stream)
    stream.close()
    assert list(stream) == []
    assert b"".join(pair.reader.stream("a", limit=5 * MIB)) == bytes(5 * MIB)


def test_a_stream_goes_on_with_the_object_that_it_began_with(pair: Pair) -> None:
    old, new = b"o" * (3 * MIB), b"n" * (3 * MIB)
    pair.store.put("a", old)
    stream = pair.reader.stream("a", limit=3 * MIB)
    first = next(stream)
    pair.store.put("a", new)
    assert first + b"".join(stream) == old


def test_a_key_that_the_layout_cannot_produce_is_a_bug(pair: Pair) -> None:
    for key in BAD_KEYS:
        with pytest.raises(ValueError, match="not an object key"):
            pair.reader.get(key, limit=9)
        with pytest.raises(ValueError, match="not an object key"):
            pair.reader.stream(key, limit=9)
