"""What of a bundle's objects is kept, what goes, and why. Pure: nothing is read or written here.

Rules, in this order; the first that fits an object says why it stays:
  1. pointers and cuts;
  2. a history copy from the oldest kept entry on (``history.kept_history``), or beside the chain above it;
  3. a release that a kept entry names, or any other history copy that stays, or that is pinned;
  4. an archive, or delta archive, that a kept release names, or that is pinned;
  5. anything younger than the safety age;
  6. anything that dagferry does not know: it is reported, and never removed.
What is left goes: history copies before releases before archives, so that nothing that is there names what is gone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from dagferry_publisher.retention.history import Kept, kept_history
from dagferry_shared.errors import Reason, Refused
from dagferry_shared.layout import history_position

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from dagferry_publisher.chain import Entry
    from dagferry_publisher.retention.history import Line, Policy
    from dagferry_shared.layout import Layout
    from dagferry_shared.release import Release
    from dagferry_shared.store import Listed

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Kind(StrEnum):
    """What an object is, in the order of removal."""

    HISTORY = "history"
    RELEASE = "release"
    ARCHIVE = "archive"
    SCRATCH = "scratch"
    POINTER = "pointer"
    CUT = "cut"
    UNKNOWN = "unknown"


class Fate(StrEnum):
    """What becomes of an object."""

    KEEP = "keep"
    REMOVE = "remove"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Decision:
    """One object: what becomes of it, and why."""

    found: Listed
    kind: Kind
    fate: Fate
    why: str


@dataclass(frozen=True, slots=True)
class Cutting:
    """A channel's history is to begin with an entry; so many older ones go."""

    channel: str
    entry: Entry
    before: int
    why: str


@dataclass(frozen=True, slots=True)
class Inventory:
    """A bundle as it was read.

    Attributes:
        layout: of the bundle.
        objects: all of them, listed before the chains were read.
        lines: every channel's chain.
        releases: those that can be read, by digest.
        revoked: release digests and commits.
        beside: what history copies that are not of a chain name, by key: an epoch before, or what was stepped over.
    """

    layout: Layout
    objects: Sequence[Listed]
    lines: Sequence[Line]
    releases: Mapping[str, Release]
    revoked: frozenset[str] = frozenset()
    beside: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a retention run does.

    Attributes:
        decisions: on every object; removals are in the order in which they are done.
        cuts: what is signed before the first removal.
        unmatched: what was pinned, and is not there.
        uncut: channels whose history stays as it is, as no key signs a cut.
    """

    decisions: Sequence[Decision]
    cuts: Sequence[Cutting]
    unmatched: Sequence[str] = ()
    uncut: Sequence[str] = ()

    def of(self, fate: Fate) -> list[Decision]:
        """Return the decisions that end so."""
        return [one for one in self.decisions if one.fate is fate]


def decide(inventory: Inventory, policy: Policy, now: datetime) -> Plan:
    """Decide on every object of a bundle.

    Raises:
        Refused: a release that is to be kept cannot be read, so it is not known which archives it needs.
    """
    histories = {line.channel: kept_history(line, policy, inventory.revoked, now) for line in inventory.lines}
    needs = _Needs(inventory, policy, histories, now)
    decisions = [needs.decide(found) for found in inventory.objects]
    decisions.sort(key=lambda one: ([*Kind].index(one.kind), one.found.modified, one.found.key))
    cuts = [
        Cutting(line.channel, line.entries[kept.index], len(line.entries) - 1 - kept.index, kept.why)
        for line, kept in zip(inventory.lines, histories.values(), strict=True)
        if kept.index + 1 < len(line.entries)
    ]
    uncut = [line.channel for line in inventory.lines if not line.can_cut]
    return Plan(decisions, cuts, sorted(set(policy.pinned) - needs.matched), uncut)


@dataclass
class _Needs:
    """What is needed, by whom."""

    inventory: Inventory
    policy: Policy
    histories: Mapping[str, Kept]
    now: datetime
    matched: set[str] = field(default_factory=set)
    _releases: dict[str, str] = field(default_factory=dict)  # digest to why it is kept
    _archives: dict[str, str] = field(default_factory=dict)
    _starts: dict[str, tuple[tuple[int, int], str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for line in self.inventory.lines:
            self._line(line, self.histories[line.channel])
        self._copies_that_stay()
        for found in self.inventory.objects:
            if digest := self._digest(found.key, "releases/", ".json"):
                release = self.inventory.releases.get(digest)
                self._pin(digest, release)
                if release and self._is_young(found):
                    self._releases.setdefault(digest, self._young())
        for digest, why in self._releases.items():
            self._archives_of(digest, why)

    def _line(self, line: Line, kept: Kept) -> None:
        self._starts[line.channel] = line.entries[kept.index].content.position, kept.why
        for index, entry in enumerate(line.entries[: kept.index + 1]):
            epoch, sequence = entry.content.position
            why = f"live on {line.channel}" if index == 0 else f"named by {epoch}-{sequence} of {line.channel}"
            self._releases.setdefault(entry.content.release, why)

    def _copies_that_stay(self) -> None:
        """Keep what they name, as far as it is there: one that names what is gone is in nobody's way."""
        layout = self.inventory.layout
        named = dict(self.inventory.beside)
        for line in self.inventory.lines:
            for entry in line.entries[self.histories[line.channel].index + 1 :]:
                named[layout.history_entry(line.channel, *entry.content.position)] = entry.content.release
        for found in self.inventory.objects:
            digest = named.get(found.key, "")
            if digest in self.inventory.releases and self.decide(found).fate is Fate.KEEP:
                self._releases.setdefault(digest, f"named by {found.key.removeprefix(layout.root)}, which stays")

    def _pin(self, digest: str, release: Release | None) -> None:
        for word in self.policy.pinned:
            if _names(word, digest, release):
                self.matched.add(word)
                self._releases.setdefault(digest, f"pinned by {word[:16]}")

    def _archives_of(self, digest: str, why: str) -> None:
        release = self.inventory.releases.get(digest)
        if release is not None:
            commit = release.source.commit[:12]
            for digest in (release.archive.sha256, *(delta.sha256 for delta in release.archive.deltas)):
                self._archives.setdefault(digest, f"of commit {commit}, {why}")
        elif not self._is_revoked(digest):
            raise Refused(
                Reason.BROKEN_CHAIN,
                f"release {digest[:16]}… ({why}) is missing, damaged, or of a newer version, so it is not known which "
                "archives it needs, and nothing is removed: look with dagctl verify --all",
            )

    def _is_revoked(self, digest: str) -> bool:
        entries = (entry.content for line in self.inventory.lines for entry in line.entries)
        named = {digest} | {content.commit for content in entries if content.release == digest}
        return bool(self.inventory.revoked & named)

    def decide(self, found: Listed) -> Decision:
        """Decide on one object."""
        name, layout = found.key.removeprefix(self.inventory.layout.root), self.inventory.layout
        if digest := self._digest(found.key, "releases/", ".json"):
            return self._release(found, digest)
        if digest := self._digest(found.key, "archives/", ".tar.zst"):
            return self._object(found, Kind.ARCHIVE, self._pinned(digest) or self._archives.get(digest))
        if name.startswith("scratch/"):
            return self._object(found, Kind.SCRATCH, None)
        for channel in self._starts:
            if found.key in {layout.pointer(channel), layout.cut(channel)}:
                kind = Kind.POINTER if found.key == layout.pointer(channel) else Kind.CUT
                return Decision(found, kind, Fate.KEEP, f"{kind} of {channel}")
            if found.key.startswith(layout.history(channel)) and history_position(found.key):
                return self._copy(found, channel)
        return Decision(found, Kind.UNKNOWN, Fate.UNKNOWN, "not an object of dagferry's")

    def _digest(self, key: str, folder: str, ending: str) -> str:
        """Return the digest that an object of a folder is named by; empty for any other object."""
        start = self.inventory.layout.root + folder
        digest = key.removeprefix(start).removesuffix(ending)
        return digest if key == f"{start}{digest}{ending}" and _DIGEST.fullmatch(digest) else ""

    def _release(self, found: Listed, digest: str) -> Decision:
        if digest not in self.inventory.releases and digest not in self._releases:
            return Decision(found, Kind.RELEASE, Fate.UNKNOWN, "not a release of that digest, or of a newer version")
        return self._object(found, Kind.RELEASE, self._releases.get(digest))

    def _copy(self, found: Listed, channel: str) -> Decision:
        position = history_position(found.key)
        assert position is not None  # noqa: S101 - the caller looked
        start, why = self._starts[channel]
        if found.key != self.inventory.layout.history_entry(channel, *position):
            return Decision(found, Kind.UNKNOWN, Fate.UNKNOWN, "not an object of dagferry's")
        epoch, sequence = start
        reason = f"the history is kept from {epoch}-{sequence} on ({why})" if position >= start else None
        if reason is None and found.modified > self.now - self.policy.age:
            reason = "younger than what is kept"
        return self._object(found, Kind.HISTORY, reason)

    def _pinned(self, digest: str) -> str | None:
        if digest in self.policy.pinned:
            self.matched.add(digest)
            return "pinned"
        return None

    def _object(self, found: Listed, kind: Kind, reason: str | None) -> Decision:
        if reason is None and self._is_young(found):
            reason = self._young()
        if reason is not None:
            return Decision(found, kind, Fate.KEEP, reason)
        return Decision(found, kind, Fate.REMOVE, _GONE[kind])

    def _is_young(self, found: Listed) -> bool:
        return found.modified > self.now - self.policy.safety

    def _young(self) -> str:
        return f"younger than {self.policy.safety.total_seconds() / 3600:g} h"


_GONE = {
    Kind.HISTORY: "before the kept history",
    Kind.RELEASE: "no kept entry names it",
    Kind.ARCHIVE: "no kept release names it",
    Kind.SCRATCH: "a proof that is over",
}


def _names(word: str, digest: str, release: Release | None) -> bool:
    """Tell whether a pinned word names a release, whose commit is not known if it cannot be read."""
    commit, _, version = word.rpartition("-")
    if commit:
        return version == digest
    return digest.startswith(word) or bool(release and release.source.commit.startswith(word))


def total(decisions: Iterable[Decision]) -> int:
    """Return the bytes of some objects."""
    return sum(one.found.size for one in decisions)
