"""The Remover contract, on every implementation: what was written since it was listed stays."""

from __future__ import annotations

import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

import pytest

from dagferry_shared.errors import StoreDenied, StoreUnreachable
from dagferry_shared.store import Listed
from dagferry_shared.store.directory import DirectoryStore
from dagferry_shared.store.memory import MemoryStore
from dagferry_shared.store.removal import DirectoryRemover
from support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dagferry_shared.store import Remover, Store


class Both(NamedTuple):
    """A store and what removes from it."""

    store: Store
    remover: Remover


@pytest.fixture(params=["memory", "directory", "s3"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Both]:
    if request.param == "memory":
        seconds = count()
        start = datetime(2026, 1, 1, tzinfo=UTC)
        memory = MemoryStore(lambda: start + timedelta(seconds=next(seconds)))
        yield Both(memory, memory)
    elif request.param == "directory":
        (tmp_path / "store").mkdir()
        yield Both(DirectoryStore(tmp_path / "store"), DirectoryRemover(tmp_path / "store"))
    else:
        from dagferry_publisher.s3remover import S3Remover
        from dagferry_publisher.s3store import S3Store

        name = request.getfixturevalue("bucket")
        with ExitStack() as stack:
            store, remover = S3Store(name, "some/prefix"), S3Remover(name, "some/prefix")
            stack.callback(store.close)
            stack.callback(remover.close)
            yield Both(store, remover)


def one(both: Both, key: str) -> Listed:
    [found] = [listed for listed in both.remover.listed(key) if listed.key == key]
    return found


def test_a_listing_says_key_size_and_age(both: Both) -> None:
    both.store.put("x/a/1", b"12345")
    both.store.put("x/b", b"")
    both.store.put("y/c", b"1")
    found = {listed.key: listed for listed in both.remover.listed("x/")}
    assert {key: listed.size for key, listed in found.items()} == {"x/a/1": 5, "x/b": 0}
    for key, listed in found.items():
        info = both.store.head(key)
        assert info is not None
        assert abs(info.modified - listed.modified) < timedelta(seconds=1)
        assert listed.modified.tzinfo is not None


def test_nothing_is_listed_where_nothing_is(both: Both) -> None:
    assert list(both.remover.listed("x/")) == []


def test_a_listing_goes_on_over_pages(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    if client := getattr(both.remover, "_client", None):
        whole = client.list_objects_v2
        monkeypatch.setattr(client, "list_objects_v2", lambda **request: whole(**request, MaxKeys=3))
    for number in range(10):
        both.store.put(f"many/{number}", b"")
    assert len({listed.key for listed in both.remover.listed("many/")}) == 10


def test_what_is_removed_is_gone_and_nothing_else(both: Both) -> None:
    both.store.put("x/a", b"1")
    both.store.put("x/ab", b"2")
    assert both.remover.remove(one(both, "x/a")) is True
    assert both.store.head("x/a") is None
    assert both.store.head("x/ab") is not None


def test_what_is_gone_already_is_no_error(both: Both) -> None:
    both.store.put("x/a", b"1")
    found = one(both, "x/a")
    both.store.discard("x/a")
    assert both.remover.remove(found) is False
    assert both.remover.remove(Listed("x/never/there", 1, found.modified)) is False


def test_what_was_written_again_since_it_was_listed_stays(both: Both) -> None:
    both.store.put("x/a", b"same")
    found = one(both, "x/a")

    def again() -> bool:  # S3 tells times to the second
        both.store.put("x/a", b"same")
        return one(both, "x/a") != found

    wait_for(again, "the store's clock goes on")
    assert both.remover.remove(found) is False
    assert both.store.head("x/a") is not None


def test_a_key_that_is_none_is_the_callers_bug(both: Both) -> None:
    with pytest.raises(ValueError, match="not an object key"):
        both.remover.remove(Listed("../a", 1, datetime.now(UTC)))


def test_a_directory_that_may_not_be_changed_is_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "store").mkdir()
    store, remover = DirectoryStore(tmp_path / "store"), DirectoryRemover(tmp_path / "store")
    store.put("x/a", b"1")
    [found] = remover.listed("x/")

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("dagferry_shared.store.removal.os.unlink", denied)
    with pytest.raises(StoreDenied, match="remove"):
        remover.remove(found)


def test_a_link_or_a_directory_in_an_objects_place_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "store/x").mkdir(parents=True)
    (tmp_path / "store/x/a").mkdir()
    (tmp_path / "else").write_bytes(b"1")
    (tmp_path / "store/x/b").symlink_to(tmp_path / "else")
    remover = DirectoryRemover(tmp_path / "store")
    assert list(remover.listed("x/")) == []
    assert remover.remove(Listed("x/a", 1, datetime.fromtimestamp(time.time(), UTC))) is False
    with pytest.raises(StoreDenied):
        remover.remove(Listed("x/b", 1, datetime.now(UTC)))
    assert (tmp_path / "else").exists()


def test_a_store_that_is_away_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnreachable):
        list(DirectoryRemover(tmp_path / "none").listed("x/"))
