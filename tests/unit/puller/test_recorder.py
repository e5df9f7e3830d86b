"""The recorder: what polls only note is in every status that somebody asks for, in the order in which it happened."""

from __future__ import annotations

import pytest

from dagferry_puller.recorder import Recorder
from dagferry_puller.status import Outcome, Problem, Status, Step
from dagferry_shared import times

STARTED = "2026-01-01T00:00:00.000Z"


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    moment = [STARTED]
    monkeypatch.setattr(times, "now", lambda: times.parse(moment[0]))
    return moment


@pytest.fixture
def recorder() -> Recorder:
    ticks = iter(range(10_000))
    return Recorder(Status("1", "run", "b", "c", "s", "r", "l", STARTED), clock=lambda: float(next(ticks)))


def problem(times: int) -> Problem:
    return Problem("refused", "expired", "pointer expired", STARTED, times)


def test_good_ends_are_counted_and_the_last_one_is_told(recorder: Recorder, now: list[str]) -> None:
    for minute in range(5):
        now[0] = f"2026-01-01T00:{minute:02}:00.000Z"
        recorder.ended(Outcome.UNCHANGED, None)
    recorder.ended(Outcome.SWAPPED, None)
    now[0] = "2026-01-01T00:09:00.000Z"
    recorder.ended(Outcome.STANDBY, None)
    status = recorder.snapshot()
    assert (status.syncs["unchanged"], status.syncs["swapped"], status.syncs["standby"]) == (5, 1, 1)
    assert status.last_success == "2026-01-01T00:04:00.000Z", "a standby's turn says nothing of the store"
    assert recorder.snapshot() == status, "told once"


def test_failures_and_successes_keep_their_order(recorder: Recorder, now: list[str]) -> None:
    recorder.ended(Outcome.UNCHANGED, None)
    recorder.ended(Outcome.REFUSED, problem(1))
    recorder.ended(Outcome.REFUSED, problem(2))
    status = recorder.snapshot()
    assert (status.failures, status.problem, status.last_success) == (2, problem(2), STARTED)
    now[0] = "2026-01-01T00:01:00.000Z"
    recorder.ended(Outcome.UNCHANGED, None)
    status = recorder.snapshot()
    assert (status.failures, status.problem, status.last_success) == (0, None, now[0])
    assert (status.syncs["unchanged"], status.syncs["refused"]) == (2, 2)


def test_steps_are_timed_also_those_that_fail(recorder: Recorder) -> None:
    for _ in range(3):
        with recorder.step(Step.POINTER):
            pass
    with pytest.raises(ZeroDivisionError), recorder.step(Step.SWAP):
        raise ZeroDivisionError
    steps = recorder.snapshot().steps
    assert (sum(steps["pointer"].counts), sum(steps["swap"].counts), sum(steps["verify"].counts)) == (3, 1, 0)
    assert steps["pointer"].total > 0


def test_what_is_told_at_once_stands_beside_what_was_noted(recorder: Recorder) -> None:
    recorder.ended(Outcome.UNCHANGED, None)
    recorder.update(role="owner", versions=3)
    assert (recorder.standing().role, recorder.standing().versions) == ("owner", 3)
    status = recorder.snapshot()
    assert (status.role, status.versions, status.syncs["unchanged"]) == ("owner", 3, 1)


def test_notes_do_not_grow_while_nobody_asks(recorder: Recorder) -> None:
    for _ in range(1000):
        with recorder.step(Step.POINTER):
            pass
        recorder.ended(Outcome.UNCHANGED, None)
    assert 900 < recorder.standing().syncs["unchanged"] < 1000, "they are worked in now and then"
    assert recorder.snapshot().syncs["unchanged"] == sum(recorder.snapshot().steps["pointer"].counts) == 1000
