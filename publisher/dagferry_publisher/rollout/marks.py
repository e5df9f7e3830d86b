"""What a rollout writes into the reasons of the chain, and what can be read back from them. Pure.

Each entry of a rollout has a reason that begins with ``[rollout ID STEP STAGES]``. So the chain says who began what,
and how far it came: another machine can go on with it or undo it, and nothing else has to be kept anywhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from dagferry_shared import names
from dagferry_shared.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dagferry_shared.pointer import Pointer

MAX_STAGES = 10
_MARK = re.compile(r"\[rollout ([0-9a-f]{12}) (stage|done|undo) ([a-z0-9._,-]{1,640})\] ?(.*)", re.DOTALL)


class Step(StrEnum):
    """What an entry was for."""

    STAGE = "stage"  # the release came to this channel, or was there when the rollout began
    DONE = "done"  # all stages are well
    UNDO = "undo"  # rolled back


@dataclass(frozen=True, slots=True)
class Mark:
    """The head of a reason."""

    id: str
    step: Step
    stages: tuple[str, ...]

    def reason(self, words: str = "") -> str:
        """Return the whole reason, cut to what an entry may hold."""
        return names.clean_text(f"[rollout {self.id} {self.step} {','.join(self.stages)}] {words}")


def parse(reason: str) -> Mark | None:
    """Read a mark; None where there is none."""
    match = _MARK.fullmatch(reason)
    if match is None:
        return None
    stages = tuple(match[3].split(","))
    try:
        for stage in stages:
            names.name(stage, "stage")
    except Refused:
        return None
    return Mark(match[1], Step(match[2]), stages)


@dataclass(frozen=True, slots=True)
class Rollout:
    """A rollout as the chains show it.

    Attributes:
        id: random.
        stages: channels, in order.
        release: that is rolled out.
        commit: of it.
        entered: the channels that it reached.
        present: those that have its release live now.
        done: whether it came to its end.
        undone: whether somebody began to roll it back.
    """

    id: str
    stages: tuple[str, ...]
    release: str
    commit: str
    entered: tuple[str, ...]
    present: tuple[str, ...]
    done: bool
    undone: bool


def recall(chains: Mapping[str, Sequence[Pointer]], *, only: str | None = None) -> Rollout | None:
    """Find the newest rollout, or the one of an id, in the entries of some channels; None if there is none.

    Args:
        chains: entries of each channel, newest first.
        only: an id.
    """
    marked = [
        (entry, mark)
        for entries in chains.values()
        for entry in entries
        if (mark := parse(entry.reason)) and only in {None, mark.id}
    ]
    begun = [(entry, mark) for entry, mark in marked if mark.step is Step.STAGE and entry.channel in mark.stages]
    if not begun:
        return None
    newest, mark = max(begun, key=lambda one: one[0].issued)
    steps = [found.step for _, found in marked if found.id == mark.id]
    entered = {entry.channel for entry, found in begun if found.id == mark.id}
    present = {channel for channel, entries in chains.items() if entries and entries[0].release == newest.release}
    return Rollout(
        mark.id,
        mark.stages,
        newest.release,
        newest.commit,
        tuple(stage for stage in mark.stages if stage in entered),
        tuple(stage for stage in mark.stages if stage in entered and stage in present),
        done=Step.DONE in steps,
        undone=Step.UNDO in steps,
    )
