"""How far back a channel's history is kept. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from dagferry_publisher.ops.rollback import default_target
from dagferry_shared import times

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from dagferry_publisher.chain import Entry

SAFETY_AGE = timedelta(hours=48)  # twice the age at which a publish writes an object again instead of relying on it


@dataclass(frozen=True, slots=True)
class Policy:
    """What is kept; whatever one rule keeps is kept.

    Attributes:
        keep: so many of the newest deployments of each channel: entries that changed what is live, to a release that
            is not revoked.
        age: history entries younger than this.
        safety: objects younger than this, whatever they are: an upload may be under way.
        pinned: version ids, commits (or their first digits), digests of releases or archives.
    """

    keep: int
    age: timedelta
    safety: timedelta = SAFETY_AGE
    pinned: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """A channel's chain.

    Attributes:
        channel: name.
        entries: verified, newest first.
        can_cut: there are keys to sign a cut with; without, the history stays as it is.
    """

    channel: str
    entries: Sequence[Entry]
    can_cut: bool = True


@dataclass(frozen=True, slots=True)
class Kept:
    """The oldest entry that is kept, by its index, and why."""

    index: int
    why: str


def kept_history(line: Line, policy: Policy, revoked: frozenset[str], now: datetime) -> Kept:
    """Say how far back a channel's history is kept: to the oldest entry that anything needs."""
    entries = line.entries
    if not line.can_cut:
        return Kept(len(entries) - 1, "no --pointer-key of this channel signs a cut")
    kept = max(_needed(entries, policy, revoked, now), key=lambda one: one.index)
    last = _to_the_same_target(entries, kept.index)
    return Kept(last, kept.why if last == kept.index else "default target of a rollback")


def _to_the_same_target(entries: Sequence[Entry], last: int) -> int:
    """Go further back until a rollback without a target goes where it would with all of the history.

    One that began with the live release would hide what was live before it; where the whole one did begin with that,
    one that begins with another would make up a target.
    """
    live, has_target = entries[0].content.release, default_target(entries) is not None
    if not has_target and default_target(entries[: last + 1]) is None:
        return last
    while last + 1 < len(entries) and (entries[last].content.release == live) == has_target:
        last += 1
    return last


def _needed(entries: Sequence[Entry], policy: Policy, revoked: frozenset[str], now: datetime) -> Iterator[Kept]:
    yield Kept(0, "live")
    before = default_target(entries)
    tip = entries[0].content.tip
    young = now - max(policy.age, policy.safety)
    for index, entry in enumerate(entries):
        if entry is before:
            yield Kept(index, "default target of a rollback")
        if times.parse(entry.content.issued) >= young:
            yield Kept(index, "young")
    newest = next((index for index, entry in enumerate(entries) if entry.content.commit == tip), 0)
    yield Kept(newest, "tip")
    deployed = list(_deployments(entries, revoked))[: policy.keep]
    yield from (Kept(index, f"one of the newest {policy.keep} deployments") for index in deployed)


def _deployments(entries: Sequence[Entry], revoked: frozenset[str]) -> Iterator[int]:
    """Yield the indices of the entries that changed what is live, newest first."""
    for index, entry in enumerate(entries):
        content = entry.content
        changed = index + 1 == len(entries) or entries[index + 1].content.release != content.release
        if changed and not revoked & {content.release, content.commit}:
            yield index
