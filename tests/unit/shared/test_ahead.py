"""Working ahead: the same pieces and the same error, never too far, and no thread left behind."""

from __future__ import annotations

import gc
import threading
import weakref
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from dagferry_shared.ahead import ahead, joined
from dagferry_shared.errors import Reason, Refused
from support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name == "ahead"] == []


class Source:
    """Counts what it made, and tells in which thread it ended."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.made = 0
        self.ended_in = ""
        self._error = error

    def pieces(self, count: int) -> Generator[bytes]:
        try:
            for number in range(count):
                self.made += 1
                yield b"%d" % number
            if self._error:
                raise self._error
        finally:
            self.ended_in = threading.current_thread().name


@pytest.mark.parametrize("count", [0, 1, 16, 17, 1000])
def test_pieces_come_in_order(count: int) -> None:
    assert list(ahead(Source().pieces(count))) == [b"%d" % number for number in range(count)]


@pytest.mark.parametrize("error", [Refused(Reason.BAD_ARCHIVE, "torn"), OSError(5, "disk"), KeyboardInterrupt()])
@pytest.mark.parametrize("count", [0, 100])
def test_error_is_raised_after_the_pieces_before_it(error: BaseException, count: int) -> None:
    taken = ahead(Source(error).pieces(count))
    assert [next(taken) for _ in range(count)] == [b"%d" % number for number in range(count)]
    with pytest.raises(type(error)) as caught:
        next(taken)
    assert caught.value is error


def test_no_more_is_made_than_there_is_room_for() -> None:
    source = Source()
    with closing(ahead(source.pieces(1000))) as pieces:
        next(pieces)
        wait_for(lambda: source.made == 18, "one taken, sixteen ready, and one that waits for room")
        next(pieces)
        wait_for(lambda: source.made == 19, "as many again as were taken")
    assert source.made <= 20
    assert source.ended_in == "ahead"


def test_pieces_that_nobody_asks_for_are_never_begun() -> None:
    source = Source()
    ahead(source.pieces(10)).close()
    assert (source.made, source.ended_in) == (0, "")


def test_user_that_fails_ends_the_thread_before_it_goes_on() -> None:
    source = Source()

    def use() -> None:
        with closing(ahead(source.pieces(1000))) as pieces:
            next(pieces)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        use()
    assert source.ended_in == "ahead"


def test_error_holds_nothing_once_it_was_dealt_with() -> None:
    class Held:
        pass

    def pieces() -> Generator[bytes]:
        held = Held()
        holders.append(weakref.ref(held))
        yield b"x"
        raise OSError(5, "disk")

    holders: list[weakref.ref[Held]] = []
    gc.disable()
    try:
        with pytest.raises(OSError, match="disk"):
            list(ahead(pieces()))
        wait_for(lambda: holders[0]() is None, "freed without the garbage collector")
    finally:
        gc.enable()


def test_source_that_stands_still_holds_nobody_who_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagferry_shared.ahead._PATIENCE_SECONDS", 0.01)
    goes_on = threading.Event()

    def pieces() -> Generator[bytes]:
        yield b"x"
        goes_on.wait()

    taken = ahead(pieces())
    next(taken)
    taken.close()
    goes_on.set()
    wait_for(lambda: "ahead" not in {thread.name for thread in threading.enumerate()}, "the thread ends then")


def test_where_no_thread_can_be_started_all_goes_on_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", full)
    source = Source(OSError(5, "disk"))
    taken = ahead(source.pieces(3))
    assert [next(taken) for _ in range(3)] == [b"0", b"1", b"2"]
    with pytest.raises(OSError, match="disk") as caught:
        next(taken)
    assert source.ended_in == "MainThread"
    assert "thread" not in repr(caught.value.__context__), "no word of that"


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [([], []), ([3], [3]), ([0], []), ([9, 1, 0, 5], [10, 5]), ([30, 1, 9], [30, 10]), ([10, 10], [10, 10])],
)
def test_small_pieces_are_joined(sizes: list[int], expected: list[int]) -> None:
    pieces = [bytes([65 + number]) * size for number, size in enumerate(sizes)]
    made = list(joined(iter(pieces), 10))
    assert [len(piece) for piece in made] == expected
    assert b"".join(made) == b"".join(pieces)
