"""Carrying a plan out: cuts first, then one removal after the other, each after a look at all pointers."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from dagferry_publisher import cuts
from dagferry_publisher.errors import Conflict, FoundProblems
from dagferry_publisher.retention.inventory import check_live
from dagferry_publisher.retention.plan import Fate, Kind, Plan, decide
from dagferry_shared import times

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagferry_publisher.cuts import Cutter
    from dagferry_publisher.retention.history import Policy
    from dagferry_publisher.retention.inventory import Reader, Reading
    from dagferry_publisher.retention.plan import Cutting, Decision
    from dagferry_shared.store import Listed, Remover

MAX_DECISIONS = 100  # how often moving channels make a run decide again


@dataclass(frozen=True, slots=True)
class Means:
    """What a run works with.

    Attributes:
        reader: reads the bundle.
        remover: removes.
        policy: what is kept.
        cutter: signs a channel's cut.
        grace: how long a cut is known before the first release goes: a rollback that read the older history may still
            be on its way to the pointer, which is looked at before each removal.
        say: told what is being done.
        sleep: waits so many seconds.
    """

    reader: Reader
    remover: Remover
    policy: Policy
    cutter: Callable[[str], Cutter]
    grace: timedelta
    say: Callable[[str], None] = lambda _: None
    sleep: Callable[[float], None] = time.sleep


@dataclass
class Prune:
    """One retention run.

    Attributes:
        plan: what it was decided to do, from a reading of its own; it never does more than that.
        removed: what is gone.
        spared: what was to go, and stayed: it was written again meanwhile, or a channel moved.
    """

    means: Means
    plan: Plan = field(init=False)
    removed: list[Decision] = field(default_factory=list, init=False)
    spared: list[Decision] = field(default_factory=list, init=False)
    _reading: Reading = field(init=False)
    _cuts: dict[str, Cutting] = field(init=False)  # by the newest decision; ``plan`` is what was agreed to
    _doomed: set[Listed] = field(init=False)
    _decisions: int = field(default=0, init=False)
    _cuts_are_made: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._decide()

    def run(self, progress: Callable[[int, int], None] = lambda _done, _all: None) -> None:
        """Do it. What a crash leaves undone, the next run does.

        Args:
            progress: told how many of how many removals are done.

        Raises:
            Conflict: channels move faster than it can be decided.
            FoundProblems: something of what is live is gone, in a race that nothing prevents; says what to do.
        """
        self._cut()
        self._cuts_are_made = True
        self._decide()
        doomed = self.plan.of(Fate.REMOVE)
        waited = False
        for number, decision in enumerate(doomed):
            progress(number, len(doomed))
            if decision.kind is not Kind.HISTORY and not waited:
                self._wait()
                waited = True
            if self._still_goes(decision) and self.means.remover.remove(decision.found):
                self.removed.append(decision)
            else:
                self.spared.append(decision)
        progress(len(doomed), len(doomed))
        if problems := check_live(self._reading):
            cure = "publish the commit again, or roll back to another release (dagctl rollback --to)"
            raise FoundProblems(f"{'; '.join(problems)}: {cure}")

    def _decide(self) -> None:
        self._decisions += 1
        if self._decisions > MAX_DECISIONS:
            raise Conflict(
                f"channels moved {MAX_DECISIONS} times during this run; {len(self.removed)} objects were removed: run "
                "it again"
            )
        self._reading = self.means.reader.read()
        inventory = self._reading.inventory
        if self._cuts_are_made:  # what is not cut off by now is needed, however old it has become since
            inventory = replace(inventory, lines=[replace(line, can_cut=False) for line in inventory.lines])
        decided = decide(inventory, self.means.policy, times.now())
        self._cuts = {one.channel: one for one in decided.cuts}
        self._doomed = {one.found for one in decided.of(Fate.REMOVE)}
        if self._decisions == 1:
            self.plan = decided

    def _decide_again_if_moved(self) -> None:
        while channel := self._reading.moved():
            self.means.say(f"channel {channel} moved: deciding again")
            self._decide()

    def _cut(self) -> None:
        """Sign where each history begins; never later than was agreed to, nor than what is needed now."""
        for agreed in self.plan.cuts:
            self._decide_again_if_moved()
            if needed := self._cuts.get(agreed.channel):
                entry = min(agreed.entry, needed.entry, key=lambda one: one.content.position)
                epoch, sequence = entry.content.position
                self.means.say(f"channel {agreed.channel}: its history begins at {epoch}-{sequence}")
                cuts.write(self._reading.chains[agreed.channel], entry, self.means.cutter(agreed.channel))

    def _wait(self) -> None:
        """Wait until every cut has been known for long enough."""
        signed = (chain.beginning().signed for chain in self._reading.chains.values())
        issued = max((times.parse(one.content.issued) for one in signed if one), default=None)
        left = self.means.grace - (times.now() - issued) if issued else timedelta(0)
        seconds = min(left, self.means.grace).total_seconds()
        if seconds > 0:
            self.means.say(f"waiting {seconds:.0f} s, for a rollback that may be under way (--grace)")
            self.means.sleep(seconds)

    def _still_goes(self, decision: Decision) -> bool:
        self._decide_again_if_moved()
        return decision.found in self._doomed
