"""The Store contract, on every implementation."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from dagferry_shared.errors import BlobMissing, StoreConflict, StoreUnreachable

if TYPE_CHECKING:
    from pathlib import Path

    from dagferry_shared.store import Blob, Store

THREADS = 8


def read(store: Store, key: str) -> Blob:
    blob = store.get(key, limit=1 << 20)
    assert blob is not None
    return blob


def test_create_over_an_existing_object_is_a_conflict(store: Store) -> None:
    store.create("a/b", b"first")
    with pytest.raises(StoreConflict):
        store.create("a/b", b"second")
    with pytest.raises(StoreConflict):
        store.create("a/b", b"first")
    assert read(store, "a/b").data == b"first"


def test_replace_returns_the_etag_that_the_next_replace_needs(store: Store) -> None:
    etag = store.create("a", b"1")
    etag = store.replace("a", b"2", etag=etag)
    etag = store.replace("a", b"3", etag=etag)
    assert read(store, "a").data == b"3"
    assert read(store, "a").etag == etag


def test_replace_with_a_stale_etag_is_a_conflict(store: Store) -> None:
    stale = store.create("a", b"1")
    store.replace("a", b"2", etag=stale)
    with pytest.raises(StoreConflict):
        store.replace("a", b"3", etag=stale)
    assert read(store, "a").data == b"2"


def test_replace_of_a_missing_object_is_a_conflict(store: Store) -> None:
    etag = store.create("a", b"1")
    with pytest.raises(StoreConflict):
        store.replace("missing/b", b"2", etag=etag)
    assert store.head("missing/b") is None
    store.discard("a")
    with pytest.raises(StoreConflict):
        store.replace("a", b"2", etag=etag)
    assert store.head("a") is None


def test_one_of_many_creators_wins(store: Store) -> None:
    def create(number: int) -> int | None:
        try:
            store.create("race", b"%d" % number)
        except StoreConflict:
            return None
        return number

    with ThreadPoolExecutor(THREADS) as pool:
        winners = [number for number in pool.map(create, range(THREADS)) if number is not None]
    assert len(winners) == 1
    assert read(store, "race").data == b"%d" % winners[0]


def test_no_increment_of_a_counter_is_lost(store: Store) -> None:
    rounds = 10
    store.create("counter", b"0")

    def increment(_: int) -> int:
        done = unknown = 0
        while done < rounds:
            blob = read(store, "counter")
            try:
                store.replace("counter", b"%d" % (int(blob.data) + 1), etag=blob.etag)
                done += 1
            except StoreConflict:
                continue
            except StoreUnreachable:  # RGW answers 500 to one in ten of those who lose; it may mean either
                unknown += 1
        return unknown

    with ThreadPoolExecutor(THREADS) as pool:
        unknown = sum(pool.map(increment, range(THREADS)))
    assert THREADS * rounds <= int(read(store, "counter").data) <= THREADS * rounds + unknown


def test_a_reader_sees_the_old_or_the_new_object_and_never_a_part(store: Store) -> None:
    versions = [bytes([65 + number]) * 300_000 for number in range(4)]
    store.put("a", versions[0])

    def write() -> None:
        # One writer: moto answers 500 to some of several unconditional PUTs at once.
        for _ in range(5):
            for version in versions:
                store.put("a", version)

    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(write)
        while not writer.done():
            assert read(store, "a").data in versions
        writer.result()


def test_put_overwrites(store: Store) -> None:
    store.put("a", b"1")
    store.put("a", b"2")
    assert read(store, "a").data == b"2"


def test_put_reads_a_file_from_its_position_to_its_end(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"skipped" + b"data" * 100_000)
    with path.open("rb") as file:
        file.seek(7)
        store.put("a", file)
        assert not file.closed
    assert read(store, "a").data == b"data" * 100_000


def test_put_reads_a_buffer_from_its_position_to_its_end(store: Store) -> None:
    buffer = io.BytesIO(b"skipped,data")
    buffer.seek(8)
    store.put("a", buffer)
    assert read(store, "a").data == b"data"


def test_head_describes_an_object(store: Store) -> None:
    before = store.now() - timedelta(seconds=2)
    store.put("a", b"data")
    info = store.head("a")
    assert info is not None
    assert info.size == 4
    assert info.modified.utcoffset() == timedelta(0)
    assert before <= info.modified <= store.now() + timedelta(seconds=2)
    assert info.etag == read(store, "a").etag


def test_head_of_a_missing_object_is_none(store: Store) -> None:
    store.put("a/b", b"data")
    assert store.head("missing") is None
    assert store.head("a") is None
    assert store.head("a/b/c") is None


def test_keys_are_those_with_the_prefix(store: Store) -> None:
    everything = {"a/1", "a/2", "a/b/3", "ab/4", "b/5", "a.c"}
    for key in everything:
        store.put(key, b"")
    assert set(store.keys("")) == everything
    assert set(store.keys("a")) == everything - {"b/5"}
    assert set(store.keys("a/")) == {"a/1", "a/2", "a/b/3"}
    assert set(store.keys("a/b")) == {"a/b/3"}
    assert set(store.keys("a/1")) == {"a/1"}
    assert list(store.keys("a/1/")) == []
    assert list(store.keys("missing/x")) == []


def test_a_listing_of_more_than_one_page_is_complete(store: Store) -> None:
    everything = {f"history/1-{number}.json" for number in range(1100)}
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda key: store.put(key, b""), everything))
    listed = list(store.keys("history/"))
    assert len(listed) == len(everything)
    assert set(listed) == everything


def test_a_discarded_object_is_gone(store: Store) -> None:
    store.put("a/b", b"data")
    store.discard("a/b")
    assert store.head("a/b") is None
    assert list(store.keys("")) == []
    with pytest.raises(BlobMissing):
        store.get("a/b", limit=9)
    store.create("a/b", b"again")


def test_a_missing_object_can_be_discarded(store: Store) -> None:
    store.put("a", b"data")
    for key in ("missing", "b/missing", "a/below"):
        store.discard(key)
    assert list(store.keys("")) == ["a"]


def test_now_is_an_aware_time_near_ours(store: Store) -> None:
    now = store.now()
    assert now.utcoffset() == timedelta(0)
    assert abs(now - datetime.now(UTC)) < timedelta(minutes=5)


def test_a_key_that_the_layout_cannot_produce_is_a_bug(store: Store) -> None:
    for key in ("", "/a", "a/", "a//b", "..", "../a", "a/../b", ".lock", "a/.tmp-0", "a b", "a\n"):
        with pytest.raises(ValueError, match="not an object key"):
            store.head(key)
        with pytest.raises(ValueError, match="not an object key"):
            store.put(key, b"")
        with pytest.raises(ValueError, match="not an object key"):
            store.create(key, b"")
        with pytest.raises(ValueError, match="not an object key"):
            store.replace(key, b"", etag="abc")
        with pytest.raises(ValueError, match="not an object key"):
            store.discard(key)


def test_a_prefix_that_no_key_can_have_is_a_bug(store: Store) -> None:
    for prefix in ("/", "../", "a//", "a/../", ".tmp", "a b"):
        with pytest.raises(ValueError, match="not an object key"):
            list(store.keys(prefix))
