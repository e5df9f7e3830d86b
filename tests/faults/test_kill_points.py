"""SIGKILL at each call of a real puller that changes the file system, and what the next start makes of it.

A recording run lists the calls; each is then made the last thing that a start comes to. As a kill comes before the
call, neighbours cover before and after of each.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from support.scale import scale
from support.scenarios import SCENARIOS
from support.wrecks import Scenario, Yard

if TYPE_CHECKING:
    from support.strace import Call

CHUNKS = 2


def points(calls: list[Call], root: str) -> list[Call]:
    """Return the calls to be killed at."""
    return [call for call in calls if call.changes and call.is_below(root)]


def kill(yard: Yard, call: Call) -> None:
    """Let a start be killed when it comes to a call."""
    found = yard.start(f"{call.name}:signal=KILL:when={call.nth}", names=[call.name])
    last = [made for made in found.calls if made.name == call.name][-1]
    assert (found.code, last.nth) == (-9, call.nth), f"{call} was not reached: {found.stderr}"
    assert last.shape(str(yard.path)) == call.shape(str(yard.path)), f"not the same calls as before: {found.calls}"


@pytest.mark.parametrize("chunk", range(CHUNKS))
@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_kill_at_each_call_loses_nothing(
    yard: Yard, scenario: Scenario, chunk: int, record_property: pytest.RecordProperty
) -> None:
    yard.fresh()
    recorded = yard.start()
    assert recorded.code == 0, recorded.stderr
    wanted = yard.inventory()
    killed = points(recorded.calls, str(yard.path))[chunk::CHUNKS]
    for call in killed:
        yard.fresh()
        kill(yard, call)
        yard.check_reader()
        yard.check_memory()
        yard.check_replay()
        yard.check_recovery(wanted)
        yard.check_reader()
    record_property("kill points", len(killed))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_kill_of_a_start_and_of_the_next_one_loses_nothing(
    yard: Yard, scenario: Scenario, record_property: pytest.RecordProperty
) -> None:
    yard.fresh()
    calls = points(yard.start().calls, str(yard.path))
    wanted = yard.inventory()
    chosen = random.Random(scenario.name).sample(calls, min(len(calls), scale(5, 40)))
    for call in chosen:
        yard.fresh()
        kill(yard, call)
        yard.check_reader()
        found = yard.start(f"{call.name}:signal=KILL:when={max(1, call.nth // 2)}")
        assert found.code in (-9, 0)
        yard.check_reader()
        yard.check_memory()
        done = yard.command()
        assert (done.returncode, yard.debris()) == (0, []), done.stderr
        yard.check_inventory(wanted)
    record_property("kill points", 2 * len(chosen))
