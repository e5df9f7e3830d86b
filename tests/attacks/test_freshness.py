"""Frozen, expired and future pointers, wrong clocks, floors: how old a pointer may be, and what then stays live."""

from __future__ import annotations

import pytest

from dagferry_puller.status import Outcome
from dagferry_shared.errors import Reason
from dagferry_shared.pointer import Action
from support.attacker import Target
from support.bundles import ago
from support.clocks import DAY, shift
from support.refusals import refused

# Freeze


def test_new_pointer_that_has_expired_is_refused(target: Target) -> None:
    told = target.publish("two", expires=ago(1))
    target.refuses(Reason.EXPIRED, remembered=True)
    target.accepts(target.simulator.again(told, expires=ago(-60)))


def test_frozen_live_pointer_is_refused_once_it_expires_and_what_is_live_stays(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = target.simulator.again(target.last, Action.REFRESH, expires=ago(-DAY))
    target.keeps(frozen)
    shift(monkeypatch, 2 * DAY)
    target.refuses(Reason.EXPIRED)
    assert target.puller.keeper.ready
    target.keeps(target.simulator.again(frozen, Action.REFRESH, expires=ago(-DAY)))


def test_unexpired_pointer_that_is_older_than_max_ttl_is_refused(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    target.write_trust(max_ttl=int(DAY))
    frozen = target.simulator.again(target.last, Action.REFRESH, expires=ago(-365 * DAY))
    target.keeps(frozen)
    shift(monkeypatch, 2 * DAY)
    target.refuses(Reason.EXPIRED)
    target.write_trust(max_ttl=int(7 * DAY))
    target.keeps(frozen)


def test_pointer_without_expiry_is_refused_where_max_ttl_is_set(target: Target) -> None:
    target.write_trust(max_ttl=int(DAY))
    target.refuses(Reason.NO_EXPIRY)
    target.keeps(target.simulator.again(target.last, Action.REFRESH, expires=ago(-60)))


@pytest.mark.parametrize("changes", [{"expires": ago(60)}, {"expires": ago(-DAY), "issued": ago(9 * DAY)}])
def test_pod_without_memory_refuses_a_frozen_pointer(cold: Target, changes: dict[str, str]) -> None:
    cold.write_trust(max_ttl=int(7 * DAY))
    told = cold.publish("one", **changes)
    cold.refuses(Reason.EXPIRED, remembered=True)
    cold.accepts(cold.simulator.again(told, Action.REFRESH, expires=ago(-DAY)))


def test_grace_for_expired_pointers_is_no_way_around_what_was_seen(cold: Target) -> None:
    """--accept-expired-for lets a cold pod take an old pointer, once; not go back with it afterwards."""
    cold.start(accept_expired_for="30d")
    one = cold.publish("one", expires=ago(20 * DAY))
    two = cold.publish("two", expires=ago(10 * DAY))
    cold.accepts(two)
    cold.simulator.show(one)
    cold.refuses(Reason.ROLLBACK)


def test_grace_for_expired_pointers_is_for_pods_without_a_version_alone(cold: Target) -> None:
    cold.start(accept_expired_for="1h")
    cold.warm()
    told = cold.publish("two", expires=ago(600))
    cold.refuses(Reason.EXPIRED, remembered=True)
    cold.accepts(cold.simulator.again(told, expires=ago(-600)))


# Clocks


def test_future_dated_pointer_is_refused(target: Target) -> None:
    told = target.publish("two", issued=ago(-301))
    target.refuses(Reason.FUTURE_DATED)
    target.accepts(target.simulator.again(told, issued=ago(-290)))


def test_clock_set_back_brings_no_old_pointer_back(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = target.last, target.publish("two")
    target.accepts(two)
    shift(monkeypatch, -365 * DAY)
    target.simulator.show(one)
    target.refuses(Reason.FUTURE_DATED)
    monkeypatch.undo()
    target.refuses(Reason.ROLLBACK)


def test_clock_set_forward_takes_nothing_away(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = target.simulator.again(target.last, Action.REFRESH, expires=ago(-DAY))
    target.keeps(frozen)
    shift(monkeypatch, 9999 * DAY)
    target.refuses(Reason.EXPIRED)
    assert target.puller.keeper.ready
    monkeypatch.undo()
    target.keeps(frozen)


# Floor


def test_pod_without_memory_refuses_a_pointer_below_the_floor(cold: Target) -> None:
    one, two = cold.publish("one"), cold.publish("two")
    cold.write_trust(floor=2)
    cold.simulator.show(one)
    cold.refuses(Reason.BELOW_FLOOR)
    cold.simulator.show(two)
    cold.accepts(two)


def test_floor_raised_above_what_is_live_keeps_it_and_refuses_its_pointer(target: Target) -> None:
    target.write_trust(floor=2)
    target.refuses(Reason.BELOW_FLOOR)
    assert target.puller.keeper.ready
    target.accepts(target.publish("two"))


def test_history_below_the_floor_is_refused(target: Target) -> None:
    """``once --commit`` reaches into the history: the floor holds there, too."""
    one = target.last
    target.accepts(target.publish("two"))
    target.write_trust(floor=2)
    with target.unchanged(["pointer", "history 1-1"]), refused(Reason.BELOW_FLOOR):
        target.puller.at_commit(one.pointer.commit)
    target.write_trust()
    assert target.puller.at_commit(one.pointer.commit) is Outcome.SWAPPED


def test_old_code_under_a_new_pointer_above_the_floor_is_a_rollback_and_taken(target: Target) -> None:
    """The control of the floor: it is about pointers, not about code; ``revoked`` is about code."""
    one = target.last
    target.accepts(target.publish("two"))
    target.write_trust(floor=3)
    target.accepts(target.simulator.again(one))
