"""An error from each call of a real puller that changes the file system, and from then on: disk full, I/O error,
read-only, out of descriptors, interrupted.

The start ends with a documented exit code and one clear line; readers keep a whole tree; nothing lies about that could
be removed; no failed fsync is passed over; the next start makes it good.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from dagferry_puller.exits import Exit
from support.scale import LONG, scale
from support.scenarios import SCENARIOS
from support.wrecks import Scenario, Yard

if TYPE_CHECKING:
    from support.strace import Call
    from support.zygote import Traced

CHUNKS = 2
ERRORS = ("EIO", "ENOSPC", "EROFS", "EINTR")
DOCUMENTED = {Exit.UNEXPECTED, Exit.CONFIG}
# What may fail without consequences: it says who owns the lock, or removes what a start can remove as well.
TOLERATED = {"ftruncate", "pwrite64", "unlinkat", "fchmod", "openat", "renameat", "renameat2"}
# Calls that a volume refuses once it is read-only, and that are about nothing else.
WRITING = ("mkdirat", "symlinkat", "renameat", "renameat2", "unlinkat", "fchmod", "utimensat", "fsync")


def tries(calls: list[Call], root: str) -> list[tuple[Call, str]]:
    """Pair calls with errors: all with all in the long form, else each call with one, in turn."""
    below = [call for call in calls if call.is_below(root)]
    found = [(call, "EMFILE") for call in below if call.name == "openat"][:: scale(3, 1)]
    for i, call in enumerate(call for call in below if call.changes):
        errors = ERRORS if LONG else {ERRORS[i % len(ERRORS)], *(["EIO"] if call.name == "fsync" else [])}
        found += [(call, error) for error in errors]
    return found


def check_end(traced: Traced, *, may_be_well: bool) -> None:
    """Demand an exit code that is documented, and one line that says why."""
    assert "Traceback" not in traced.stderr
    lines = [line for line in traced.stderr.splitlines() if "ERROR" in line or "error:" in line]
    told = [line for line in lines if "ALARM" not in line and " WARNING " not in line]
    if traced.code == 0:
        assert may_be_well, "the error was passed over"
        assert told == []
    else:
        assert traced.code in DOCUMENTED
        assert len(told) == 1


def check_link(yard: Yard, calls: list[Call], failed: Call) -> None:
    """Demand, of a failed call before the swap, that there was no swap."""
    link = os.path.join(yard.path, yard.link)
    swap = next((i for i, call in enumerate(calls) if call.name == "renameat" and call.paths[-1] == link), None)
    if swap is not None and calls.index(failed) < swap:
        assert yard.target_of_link() == yard.linked


@pytest.mark.parametrize("chunk", range(CHUNKS))
@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_error_of_each_call_leaves_the_old_tree_and_no_debris(
    yard: Yard, scenario: Scenario, chunk: int, record_property: pytest.RecordProperty
) -> None:
    yard.fresh()
    recorded = yard.start()
    wanted = yard.inventory()
    tried = tries(recorded.calls, str(yard.path))[chunk::CHUNKS]
    for call, error in tried:
        yard.fresh()
        found = yard.start(f"{call.name}:error={error}:when={call.nth}", names=[call.name])
        warned = "cannot remove the leftover" in found.stderr
        check_end(found, may_be_well=error == "EINTR" or call.name in TOLERATED or scenario.forgiving)
        yard.check_reader()
        yard.check_memory()
        assert warned or yard.debris() == []
        if found.code:
            assert os.strerror(getattr(errno, error)) in found.stderr
            check_link(yard, recorded.calls, call)
        elif not warned:
            yard.check_inventory(wanted)
        yard.check_recovery(wanted)
    record_property("error points", len(tried))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_volume_that_turns_read_only_at_each_call_keeps_a_whole_tree(
    yard: Yard, scenario: Scenario, record_property: pytest.RecordProperty
) -> None:
    yard.fresh()
    recorded = yard.start()
    wanted = yard.inventory()
    made: Counter[str] = Counter()
    points = []
    for call in recorded.calls:
        if call.name in WRITING:
            points.append([f"{name}:error=EROFS:when={made[name] + 1}+" for name in WRITING])
            made[call.name] += 1
    points = points[:: scale(4, 1)]
    for inject in points:
        yard.fresh()
        found = yard.start(*inject, names=WRITING)
        check_end(found, may_be_well=True)
        yard.check_reader()
        yard.check_memory()
        yard.check_recovery(wanted)
    record_property("error points", len(points))
