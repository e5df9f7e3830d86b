"""What is relied on is durable before: a real puller's fsyncs and renames in their order, judged by a model of power
loss.

At the swap of the link the whole new version, its name, its envelope, the remembered pointer and the directories that
lead to them are durable; the link is before anything is retired. That holds for a start that goes on where another was
killed as well: its own calls may not rest on an fsync that was never made.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from support import strace
from support.durability import Disk
from support.scenarios import SCENARIOS
from support.wrecks import ON, Scenario, Yard

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from support.strace import Call

PUTS_ASIDE = {"retirement", "update-and-retirement", "repair-link", "repair-tree-by-renames"}
FSYNCS = {"fsync", "fdatasync"}
WITHOUT_FSYNC = [replace(one, settings={**one.settings, "no-fsync": ON}) for one in SCENARIOS]


class Judge:
    """Applies calls to the model, and demands at each what must be durable then.

    Args:
        yard: says what is to become live.
    """

    def __init__(self, yard: Yard) -> None:
        self._root = str(yard.path)
        self._link = os.path.join(self._root, yard.link)
        self._version = os.path.join(self._root, "versions", yard.target.version)
        meta = os.path.join(self._root, ".dagferry")
        envelopes = os.path.join(meta, "envelopes")
        pointer = f"pointer+{yard.simulator.bundle}+{yard.simulator.channel}.json"
        self._memory = [os.path.join(meta, "state.json"), os.path.join(envelopes, pointer)]
        self._needed = [
            self._version,
            os.path.join(envelopes, f"{yard.target.pointer.release}.json"),
            *self._memory,
        ]
        self._disk = Disk()
        self.swaps = self.retired = 0

    def see(self, calls: Sequence[Call]) -> None:
        """Judge one start."""
        for call in calls:
            if not call.failed and call.is_below(self._root) and call.name != "mkdir":  # the root is a mount point
                self._judge(call)
                self._disk.apply(call)

    def _judge(self, call: Call) -> None:
        target = call.paths[-1]
        if call.name == "renameat" and target == self._link:
            self.swaps += 1
            self._demand(self._needed, "before the link names it")
        elif call.name == "renameat" and os.path.basename(target).startswith(".retired-"):
            self.retired += 1
            if os.path.dirname(call.paths[0]) == os.path.join(self._root, "versions"):
                self._demand([self._link], "before an old version goes")
        elif call.name == "renameat" and os.path.dirname(target) == os.path.join(self._root, "versions"):
            inside = [path for path in self._disk.unsafe(call.paths[0]) if path.startswith(f"{call.paths[0]}/")]
            assert not [*inside, *(self._disk.content & {call.paths[0]})], "not durable before it has its name"
        elif call.name == "mkdirat" and os.path.basename(target).startswith(".tmp-"):
            self._demand(self._memory[1:], "before anything is done with the pointer")

    def _demand(self, paths: Sequence[str], when: str) -> None:
        unsafe = [found for path in paths for found in self._disk.unsafe(path)]
        assert not unsafe, f"not durable {when}: {unsafe}"

    def end(self) -> None:
        """Demand that all is durable when the command says that it is done."""
        self._demand([self._link, *self._needed], "at the end")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_nothing_is_relied_on_before_it_is_durable(yard: Yard, scenario: Scenario) -> None:
    yard.fresh()
    judge = Judge(yard)
    judge.see(yard.start().calls)
    judge.end()
    assert judge.swaps == (scenario.name not in {"retirement", "repair-state", "fetch-beside"})
    assert (judge.retired > 0) == (scenario.name in PUTS_ASIDE)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_start_after_a_kill_rests_on_no_fsync_that_was_never_made(
    yard: Yard, scenario: Scenario, record_property: pytest.RecordProperty
) -> None:
    yard.fresh()
    missed = [call for call in yard.start().calls if call.name in FSYNCS]
    for call in missed:
        yard.fresh()
        judge = Judge(yard)
        found = yard.start(f"{call.name}:signal=KILL:when={call.nth}")
        assert found.code == -9
        judge.see(found.calls)
        judge.see(yard.start().calls)
        judge.end()
    record_property("kill points", len(missed))


@pytest.mark.parametrize("scenario", WITHOUT_FSYNC, ids=str)
def test_without_fsync_there_is_none_and_the_order_is_the_same(yard: Yard, scenario: Scenario) -> None:
    yard.fresh()
    calls = yard.start().calls
    assert not [call for call in calls if call.name in FSYNCS]
    moved = [call.shape(str(yard.path)) for call in calls if call.name == "renameat"]
    yard.fresh()
    yard.settings.pop("no-fsync")
    assert moved == [call.shape(str(yard.path)) for call in yard.start().calls if call.name == "renameat"]


@pytest.mark.parametrize("scenario", SCENARIOS[:3], ids=str)
def test_command_itself_makes_the_calls_that_are_tried_here(yard: Yard, scenario: Scenario, tmp_path: Path) -> None:
    root = str(yard.path)
    yard.fresh()
    here = [call.shape(root) for call in yard.start().calls if call.changes and call.is_below(root)]
    yard.fresh()
    log = tmp_path / "command.log"
    done = yard.command(*strace.options(log), "-f")
    assert done.returncode == 0, done.stderr
    calls = strace.parse(log.read_text())
    assert here == [call.shape(root) for call in calls if call.changes and call.is_below(root)]
    judge = Judge(yard)
    judge.see(calls)
    judge.end()
