"""The relay's pace: a hundred at once, then so many a second, whenever they come."""

from __future__ import annotations

from dagferry_puller.relay.fanout import Pace


def delays(pace: Pace, now: float, count: int) -> list[float]:
    return [round(pace.delay(now), 6) for _ in range(count)]


def test_some_come_at_once_and_the_others_evenly() -> None:
    pace = Pace(rate=500, at_once=100)
    assert delays(pace, 1000.0, 100) == [0.0] * 100
    assert delays(pace, 1000.0, 3) == [0.002, 0.004, 0.006]
    assert max(delays(pace, 1000.0, 2897)) == 5.8, "3,000 pods take six seconds"


def test_pause_gives_back_no_more_than_may_come_at_once() -> None:
    pace = Pace(rate=10, at_once=5)
    assert delays(pace, 0.0, 7) == [0.0] * 5 + [0.1, 0.2]
    assert delays(pace, 0.5, 5) == [0.0] * 3 + [0.1, 0.2], "three of five are saved again, as two were taken before"
    assert delays(pace, 1e6, 6) == [0.0] * 5 + [0.1]


def test_who_comes_evenly_never_waits() -> None:
    pace = Pace(rate=10, at_once=1)
    assert [round(pace.delay(number * 0.1), 6) for number in range(50)] == [0.0] * 50
