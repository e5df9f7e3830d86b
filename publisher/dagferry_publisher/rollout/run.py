"""A rollout, stage by stage; what fails is taken back in reverse order, or left with the words that say what to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from dagferry_publisher.errors import ChannelHeld, StageFailed, TimedOut
from dagferry_publisher.rollout import place
from dagferry_publisher.rollout.checks import CheckFailed
from dagferry_publisher.rollout.marks import Mark, Step
from dagferry_shared.errors import DagferryError, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dagferry_publisher.chain import Chain
    from dagferry_publisher.ops.outcome import Outcome
    from dagferry_publisher.rollout.checks import Check
    from dagferry_publisher.transaction import Writer
    from dagferry_shared.pointer import Pointer

_FAILURES = (CheckFailed, TimedOut, ChannelHeld, Refused)  # of a stage; anything else only stops the rollout


class Outside(Protocol):
    """What a rollout needs of its surroundings."""

    def say(self, words: str) -> None:
        """Tell what is being done."""

    def move(self, operation: Callable[[Writer], Outcome]) -> Outcome:
        """Move a channel, and tell pods and people."""

    def wait(self, channel: str, still: Callable[[], None]) -> str:
        """Wait until the release is live on a channel's pods; says on how many. TimedOut if it is not."""

    def pause(self, still: Callable[[], None]) -> None:
        """Let time pass."""

    def agree(self, question: str) -> bool:
        """Ask whether to go on; true where nobody is there to ask."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to roll out, and how.

    Attributes:
        id: of the rollout.
        stages: channels in order.
        origin: an entry that names the release.
        words: why, by whoever rolls out.
        checks: run after each stage.
        check_seconds: that each has.
        rollback: whether a failure takes everything back.
    """

    id: str
    stages: tuple[str, ...]
    origin: Pointer
    words: str = ""
    checks: Sequence[Check] = ()
    check_seconds: float = 60.0
    rollback: bool = True

    def mark(self, step: Step) -> Mark:
        """Return the mark of an entry."""
        return Mark(self.id, step, self.stages)

    def advice(self) -> str:
        """Say how to go on, and how to undo it, from any machine."""
        return f"to go on: dagctl rollout --resume --id {self.id}; to undo it: dagctl rollout --undo --id {self.id}"


@dataclass
class Run:
    """One run of a plan.

    Attributes:
        plan: what to do.
        chains: the channels of its stages.
        outside: its surroundings.
        states: what became of each stage, in words.
    """

    plan: Plan
    chains: Mapping[str, Chain]
    outside: Outside
    states: dict[str, str] = field(default_factory=dict)

    def preflight(self) -> None:
        """Check that every stage may take the release, before anything moves; as DagferryError it ends the rollout."""
        for stage in self.plan.stages:
            place.check(self.chains[stage], self.plan.origin)

    def go(self, first: int = 0) -> None:
        """Go through the stages, from the one of that index on.

        Raises:
            StageFailed: a stage failed or somebody said no; says what was taken back, or what to do.
            Conflict: somebody else moved a channel; nothing is taken back.
        """
        stages = self.plan.stages
        for index, stage in enumerate(stages[first:], first):
            try:
                self._stage(stage)
            except _FAILURES as error:
                self.states[stage] = f"failed: {error}"
                raise self._failure(stage, error) from error
            except DagferryError as error:
                raise type(error)(*_words(error, self.plan.advice())) from error
            following = stages[index + 1 : index + 2]
            if following and not self.outside.agree(f"{stage}: {self.states[stage]}. On to {following[0]}?"):
                raise StageFailed(f"stopped after stage {stage}; {self.plan.advice()}")
        last, release = self.chains[stages[-1]], self.plan.origin.release
        self.outside.move(lambda writer: place.note(last, writer, release, self.plan.mark(Step.DONE), self.plan.words))

    def _stage(self, stage: str) -> None:
        plan, chain = self.plan, self.chains[stage]
        self.outside.say(f"stage {stage}: commit {plan.origin.commit[:12]}")
        self.outside.move(lambda writer: place.place(chain, writer, plan.origin, plan.mark(Step.STAGE), plan.words))

        def still() -> None:
            place.require_release(chain.live().content, plan.origin.release)

        self.outside.wait(stage, still)
        self.outside.pause(still)
        live = self.outside.wait(stage, still)
        facts = {"stage": stage, "commit": plan.origin.commit, "release": plan.origin.release, "id": plan.id}
        for check in plan.checks:
            check.run(facts, plan.check_seconds)
        still()
        self.states[stage] = ", ".join(filter(None, (live, f"{len(plan.checks)} checks passed" if plan.checks else "")))

    def _failure(self, stage: str, error: DagferryError) -> StageFailed:
        words = f"stage {stage} failed: {error}"
        if not self.plan.rollback:
            return StageFailed(f"{words}; nothing was rolled back; {self.plan.advice()}")
        entered = self.plan.stages[: self.plan.stages.index(stage) + 1]
        return StageFailed(f"{words}; {self.undo(entered, f'stage {stage} failed')}")

    def undo(self, entered: Sequence[str], words: str) -> str:
        """Take the release back from these stages, last one first; returns what came of it."""
        report = [done for stage in reversed(entered) if (done := self._take_back(stage, words))]
        if not report:
            return "nothing had to be rolled back"
        return f"{', '.join(report)}; what is back is held: dagctl resume lifts that"

    def _take_back(self, stage: str, words: str) -> str:
        """Roll one stage back, unless it is at something else; returns what came of it."""
        chain, mark = self.chains[stage], self.plan.mark(Step.UNDO)
        try:
            head, _ = chain.verified_head()
            if head is None or head.content.release != self.plan.origin.release:
                return ""
            outcome = self.outside.move(lambda writer: place.take_back(chain, writer, mark, words))
        except DagferryError as error:
            self.states[stage] = f"not rolled back: {error}"
            return f"{stage} was NOT rolled back ({error})"
        commit = outcome.pointer.content.commit[:12] if outcome.pointer else ""
        self.states[stage] = f"rolled back to {commit}, held"
        return f"{stage} is back at {commit}"


def _words(error: DagferryError, advice: str) -> tuple[object, ...]:
    """Return an error's arguments with the advice added."""
    if isinstance(error, Refused):
        return error.reason, f"{error.detail}; {advice}"
    return (f"{error}; {advice}",)
