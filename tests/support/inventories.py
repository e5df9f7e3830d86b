"""Bundles to decide on, without a store: entries, releases and objects made from short words."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from dagferry_publisher.chain import Entry
from dagferry_publisher.retention.history import Line
from dagferry_publisher.retention.plan import Inventory
from dagferry_shared import times
from dagferry_shared.layout import Layout
from dagferry_shared.pointer import Action, Pointer
from dagferry_shared.release import ArchiveInfo, DeltaInfo, Release
from dagferry_shared.store import Listed
from support.docs import a_release

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NOW = datetime(2026, 6, 1, tzinfo=UTC)
LAYOUT = Layout("prod")
ACTIONS = {
    "p": Action.PUBLISH,
    "m": Action.PROMOTE,
    "r": Action.ROLLBACK,
    "f": Action.REFRESH,
    "h": Action.HOLD,
    "x": Action.REPAIR,
}


def sha(word: str) -> str:
    """Make up a digest."""
    return hashlib.sha256(word.encode()).hexdigest()


def commit(word: str) -> str:
    """Make up a commit."""
    return hashlib.sha1(word.encode()).hexdigest()


def ago(days: float) -> datetime:
    """Return the instant so many days before ``NOW``."""
    return NOW - timedelta(days=days)


def a_line(text: str, ages: Sequence[float], channel: str = "main") -> Line:
    """Return a chain of ``pA pB rA`` (action letter and release, oldest first), each entry so many days old."""
    entries: list[Entry] = []
    tip = ""
    for sequence, (word, days) in enumerate(zip(text.split(), ages, strict=True), 1):
        name = word[1:]
        tip = commit(name) if word[0] in "pm" or not tip else tip
        content = Pointer(
            bundle="prod",
            channel=channel,
            epoch=1,
            sequence=sequence,
            issued=times.show(ago(days)),
            expires=None,
            release=sha(name),
            commit=commit(name),
            tip=tip,
            previous=entries[-1].payload_digest if entries else None,
            action=ACTIONS[word[0]],
            held=None,
            actor="a",
            reason="",
        )
        entries.append(Entry(content, b"", sha(f"{channel} {sequence}")))
    return Line(channel, entries[::-1])


def the_release(name: str, deltas: Iterable[str] = ()) -> Release:
    """Return a release, its archive and deltas named by words."""
    base = a_release(source={"commit": commit(name)})
    made = tuple(DeltaInfo(sha(f"tree {word}"), sha(f"archive {word}"), 1, 1) for word in deltas)
    return replace(base, archive=ArchiveInfo(sha(f"archive {name}"), 10, 100, 1, made))


@dataclass
class Bundle:
    """A bundle's objects and chains.

    Attributes:
        objects: as listed.
        lines: chains.
        releases: by digest.
    """

    objects: list[Listed] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    releases: dict[str, Release] = field(default_factory=dict)
    revoked: frozenset[str] = frozenset()

    def put(self, key: str, days: float) -> str:
        """Add an object of that age."""
        self.objects.append(Listed(key, 10, ago(days)))
        return key

    def line(self, text: str, ages: Sequence[float], channel: str = "main") -> None:
        """Add a channel with all its objects, each as old as its entry."""
        made = a_line(text, ages, channel)
        self.lines.append(made)
        self.put(LAYOUT.pointer(channel), ages[-1])
        for entry in made.entries:
            days = (NOW - times.parse(entry.content.issued)) / timedelta(days=1)
            self.put(LAYOUT.history_entry(channel, *entry.content.position), days)
        for word, days in zip(text.split(), ages, strict=True):
            self.release(word[1:], days)

    def release(self, name: str, days: float, deltas: Sequence[str] = ()) -> None:
        """Add a release and its archives, once."""
        if sha(name) in self.releases:
            return
        self.releases[sha(name)] = the_release(name, deltas)
        self.put(LAYOUT.release(sha(name)), days)
        for word in (name, *deltas):
            self.archive(word, days)

    def archive(self, name: str, days: float) -> None:
        """Add an archive, once."""
        key = LAYOUT.archive(sha(f"archive {name}"))
        if all(found.key != key for found in self.objects):
            self.put(key, days)

    def inventory(self) -> Inventory:
        """Return what to decide on."""
        return Inventory(LAYOUT, self.objects, self.lines, self.releases, self.revoked)
