"""When polls may come less often because notifications do: as a pure rule, and in the daemon's loop in virtual time."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from dagferry_puller import daemon, options
from dagferry_puller.pacing import LATE_SECONDS, PROVEN_SECONDS, Pacing
from dagferry_puller.prepare import new_recorder
from dagferry_puller.status import Outcome
from dagferry_shared.errors import StoreUnreachable
from dagferry_shared.rules import Seen
from support.clocks import Hours

if TYPE_CHECKING:
    from collections.abc import Callable

FAST, SLOW = 5.0, 60.0


def after(*looks: tuple[float, bool, bool]) -> Pacing:
    """Return the rule after looks: when, announced, found a newer pointer."""
    pacing = Pacing(FAST, SLOW)
    for now, announced, newer in looks:
        pacing.looked(now, announced=announced, newer=newer)
    return pacing


def test_without_notifications_polls_keep_the_short_period() -> None:
    assert after((0, False, True), (5, False, False), (10, False, True)).seconds(10) == FAST


def test_notification_that_announced_a_newer_pointer_is_a_proof() -> None:
    assert after((0, True, True)).seconds(0) == SLOW
    assert after((0, True, True), (60, False, False), (120, False, False)).seconds(120) == SLOW


def test_notification_that_finds_nothing_proves_nothing() -> None:
    assert after(*((float(n), True, False) for n in range(100))).seconds(100) == FAST


def test_pointer_that_no_notification_announced_ends_the_slower_period() -> None:
    assert after((0, True, True), (60, False, True)).seconds(60) == FAST
    assert after((0, True, True), (60, False, True), (65, False, False)).seconds(65) == FAST


def test_notification_that_comes_just_after_the_poll_was_only_late() -> None:
    assert after((0, False, True), (LATE_SECONDS, True, False)).seconds(LATE_SECONDS) == SLOW
    late = LATE_SECONDS + 1
    assert after((0, False, True), (late, True, False)).seconds(late) == FAST


def test_late_notification_proves_one_pointer_once() -> None:
    pacing = after((0, False, True), (1, True, False), (2, False, True), (2.1, False, True))
    assert pacing.seconds(3) == FAST


def test_proof_holds_for_a_day() -> None:
    pacing = after((0, True, True))
    assert pacing.seconds(PROVEN_SECONDS - 1) == SLOW
    assert pacing.seconds(PROVEN_SECONDS) == FAST
    pacing.looked(PROVEN_SECONDS - 1, announced=True, newer=True)
    assert pacing.seconds(PROVEN_SECONDS) == SLOW


def test_slower_period_that_is_shorter_changes_nothing() -> None:
    pacing = Pacing(300.0, 60.0)
    pacing.looked(0, announced=True, newer=True)
    assert pacing.seconds(0) == 300.0


class World:
    """A daemon in virtual time on a channel that moves when a test says; jitter is left out.

    Attributes:
        looks: when each look began.
        found: when a look found each sequence.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(daemon, "uniform", lambda: 0.5)
        given = {"store": "s", "bundle": "b", "channel": "c", "trust": "t", "root": "/r"}
        settings = options.resolve("run", given, {})
        self.clock, self.recorder = Hours(), new_recorder(settings)
        self.sequence, self.away = 1, False
        self.looks: list[float] = []
        self.found: dict[int, float] = {}
        self.daemon = daemon.Daemon(settings, self, self.recorder, self.clock)  # type: ignore[arg-type]

    def turn(self) -> Outcome:
        self.looks.append(self.clock.now)
        if self.away:
            raise StoreUnreachable("away")
        self.recorder.update(seen=Seen(1, self.sequence, "d"))
        newer = self.found.setdefault(self.sequence, self.clock.now) == self.clock.now
        return Outcome.SWAPPED if newer else Outcome.UNCHANGED

    def publish(self, at: float, *, notified_after: float | None = None) -> None:
        def publish() -> None:
            self.sequence += 1

        self.clock.at(at, publish)
        if notified_after is not None:
            self.clock.at(at + notified_after, self.daemon.triggers.notified)

    def set_away(self, away: bool) -> Callable[[], None]:
        return lambda: setattr(self, "away", away)

    def work(self, seconds: float) -> None:
        def stop() -> None:
            self.daemon._stopping = True
            self.daemon.triggers.stop()

        self.clock.at(seconds, stop)
        self.daemon._work()

    def waits(self, start: float, end: float) -> set[float]:
        inside = [look for look in self.looks if start <= look <= end]
        return {round(after - before, 6) for before, after in pairwise(inside)}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_daemon_polls_every_minute_while_each_publish_is_notified(world: World) -> None:
    for hour in range(1, 5):
        world.publish(3600.0 * hour + 2, notified_after=0.05)
    world.work(5 * 3600)
    assert world.waits(0, 3600) == {5.0}
    assert all(world.found[hour + 1] == 3600.0 * hour + 2.05 for hour in range(1, 5))
    assert world.waits(3602.05, 7200) == {60.0}
    assert world.recorder.snapshot().proven


def test_lost_notification_costs_one_minute_once_and_then_polls_are_quick_again(world: World) -> None:
    world.publish(102, notified_after=0)
    world.publish(1000)
    world.publish(2000)
    world.work(3000)
    assert 0 < world.found[3] - 1000 <= 60
    assert world.waits(world.found[3], 3000) == {5.0}
    assert 0 < world.found[4] - 2000 <= 5
    assert not world.recorder.snapshot().proven


def test_flood_of_notifications_without_a_publish_keeps_polls_quick(world: World) -> None:
    for number in range(50):
        world.clock.at(100 + number / 10, world.daemon.triggers.notified)
    world.work(200)
    assert world.waits(106, 200) == {5.0}
    assert len([look for look in world.looks if 100 <= look < 106]) <= 8


def test_word_of_an_operator_is_no_notification(world: World) -> None:
    world.publish(101)
    world.clock.at(102, world.daemon.triggers.look_now)
    world.work(200)
    assert world.found[2] == 102
    assert world.waits(102, 200) == {5.0}


def test_store_that_fails_while_notified_is_asked_again_after_seconds_not_minutes(world: World) -> None:
    world.publish(102, notified_after=0)
    world.clock.at(999, world.set_away(True))
    world.publish(1000, notified_after=0)
    world.clock.at(1001, world.set_away(False))
    world.work(1100)
    assert 1000 in world.looks
    assert world.found[3] - 1000 <= 10
