"""The worker's loop: how long it waits after what, with a session that a test scripts."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_puller import daemon, options
from dagferry_puller.prepare import new_recorder
from dagferry_puller.status import Outcome
from dagferry_shared.errors import Reason, Refused, StoreUnreachable

if TYPE_CHECKING:
    from pathlib import Path


class Script:
    """A session whose turns are given; the worker ends with the last one."""

    def __init__(self, *turns: Outcome | Exception) -> None:
        self.turns = list(turns)
        self.daemon: daemon.Daemon | None = None

    def turn(self) -> Outcome:
        result = self.turns.pop(0)
        if isinstance(result, Exception):
            raise result
        return result


def delays(monkeypatch: pytest.MonkeyPatch, *turns: Outcome | Exception) -> list[float]:
    monkeypatch.setattr(daemon, "uniform", lambda: 0.5)
    given = {"store": "x", "bundle": "b", "channel": "c", "trust": "t", "root": "/r", "period": "5s"}
    settings = options.resolve("run", given, {})
    script = Script(*turns)
    made = daemon.Daemon(settings, script, new_recorder(settings))  # type: ignore[arg-type]
    waited: list[float] = []

    def wait(seconds: float, gap: float) -> None:
        assert gap <= daemon.MIN_GAP_SECONDS
        waited.append(seconds)
        made._stopping = not script.turns

    monkeypatch.setattr(made.triggers, "wait", wait)
    made._work()
    return waited


def test_polls_come_at_the_period_and_a_store_that_fails_is_asked_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    away = StoreUnreachable("away")
    turns = [Outcome.SWAPPED, away, away, away, OSError(28, "full"), ZeroDivisionError(), Outcome.UNCHANGED, away]
    assert delays(monkeypatch, *turns) == [5, 10, 20, 40, 60, 60, 5, 10]


def test_refusal_is_no_reason_to_ask_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    assert delays(monkeypatch, *[Refused(Reason.EXPIRED, "old")] * 3) == [5, 5, 5]


def test_standby_tries_the_lock_every_second(monkeypatch: pytest.MonkeyPatch) -> None:
    assert delays(monkeypatch, Outcome.STANDBY, Outcome.STANDBY) == [1, 1]


def test_code_is_given_back_once_nothing_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []
    monkeypatch.setattr(daemon.footprint, "give_back", lambda: happened.append("given back"))
    monkeypatch.setattr(daemon, "record", lambda turn, *_: happened.append(turn.name.lower()) or turn)
    monkeypatch.setattr(daemon, "attempt", lambda turn: turn())
    swapped, unchanged = Outcome.SWAPPED, Outcome.UNCHANGED
    delays(monkeypatch, swapped, unchanged, unchanged, swapped, swapped, unchanged)
    quiet = ["unchanged", "given back"]
    assert happened == ["swapped", *quiet, "unchanged", "swapped", "swapped", *quiet]


def in_thread(work: Any) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_wait_ends_when_somebody_asks_and_keeps_the_gap() -> None:
    triggers = daemon.Triggers()
    triggers.look_now()
    triggers.wait(3600, gap=-1)
    triggers.look_now()
    start = time.monotonic()
    triggers.wait(3600, gap=0.3)
    assert time.monotonic() - start >= 0.3


def test_wait_of_no_time_returns() -> None:
    daemon.Triggers().wait(0.0, gap=-1.0)


def test_stop_ends_this_wait_and_all_later_ones() -> None:
    triggers = daemon.Triggers()
    waiting = in_thread(lambda: triggers.wait(3600, gap=3600))
    triggers.stop()
    waiting.join(20)
    assert not waiting.is_alive()


def test_touched_file_ends_a_wait_and_a_removed_one_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "_TRIGGER_SECONDS", 0.01)
    path = tmp_path / "trigger"
    path.touch()
    triggers = daemon.Triggers(str(path))
    path.unlink()
    triggers.wait(0.1, gap=-1)
    path.touch()
    triggers.wait(3600, gap=-1)
    os.utime(path, (1, 1))
    triggers.wait(3600, gap=-1)
