"""The chains of all channels of a bundle as one journal: filtered, newest first, and followed as it grows."""

from __future__ import annotations

import fnmatch
import heapq
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from dagferry_publisher.errors import UsageError
from dagferry_shared import times
from dagferry_shared.errors import DagferryError, Reason, Refused, StoreDenied, StoreUnreachable
from dagferry_shared.layout import Layout
from dagferry_shared.pointer import Action
from dagferry_shared.rules import Rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from dagferry_publisher.chain import Chain, Entry, Position
    from dagferry_shared.pointer import Pointer
    from dagferry_shared.rules import Signed
    from dagferry_shared.store import Store
    from dagferry_shared.trust import TrustFile

_SKEW = timedelta(seconds=300)  # between two publishers' clocks, so that entries are that much out of order
MIN_PREFIX = 7  # digits of a commit


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries are wanted; what is not given lets everything pass.

    Attributes:
        actors: globs, one of which must match.
        actions: one of them.
        commit: first digits.
        since: issued then or later.
    """

    actors: tuple[str, ...] = ()
    actions: tuple[Action, ...] = ()
    commit: str = ""
    since: datetime | None = None

    def accepts(self, content: Pointer) -> bool:
        """Tell whether an entry is wanted."""
        return (
            (not self.actors or any(fnmatch.fnmatchcase(content.actor, glob) for glob in self.actors))
            and (not self.actions or content.action in self.actions)
            and content.commit.startswith(self.commit)
            and (self.since is None or times.parse(content.issued) >= self.since)
        )

    def is_over(self, content: Pointer) -> bool:
        """Tell whether entries before this one are all too old, in spite of crooked clocks."""
        return self.since is not None and times.parse(content.issued) < self.since - _SKEW


def make_filter(
    actors: Iterable[str], actions: Iterable[str], commit: str | None, since: str | None, now: datetime
) -> Filter:
    """Check what was asked for.

    Args:
        actors: globs.
        actions: names.
        commit: first digits, 7 at least.
        since: an instant, a date, or a duration before ``now``.
        now: the current instant.

    Raises:
        UsageError: one of them is wrong.
    """
    names = tuple(actions)
    for name in names:
        if name not in set(Action):
            raise UsageError(f"--action {name[:40]!r} is none of: {', '.join(Action)}")
    wanted = (commit or "").lower()
    if commit is not None and (len(wanted) < MIN_PREFIX or set(wanted) - set("0123456789abcdef")):
        raise UsageError(f"--commit takes {MIN_PREFIX} hex digits of a commit or more")
    return Filter(tuple(actors), tuple(map(Action, names)), wanted, _since(since, now) if since else None)


def _since(text: str, now: datetime) -> datetime:
    for form in (text, f"{text.removesuffix('Z')}.000Z", f"{text}T00:00:00.000Z"):
        try:
            return times.parse(form)
        except Refused:
            continue
    try:
        return now - times.duration(text)
    except (Refused, OverflowError) as error:
        raise UsageError(
            f"--since {text[:40]!r} is neither a duration such as 2h or 7d, nor a UTC date such as 2026-11-25 or "
            "2026-11-25T12:00:00Z"
        ) from error


def channels(store: Store, trust: TrustFile) -> tuple[list[str], list[str]]:
    """Return the bundle's channels that the trust file knows, and those that it does not.

    Raises:
        StoreDenied: the store may not be listed.
    """
    prefix = Layout(trust.bundle).channel("")[:-1]
    found = sorted({key.removeprefix(prefix).split("/")[0] for key in store.keys(prefix)})
    known, strange = [], []
    for name in found:
        try:
            Rules(trust, name)
            known.append(name)
        except Refused:
            strange.append(name)
    return known, strange


def read(chains: Sequence[Chain], wanted: Filter, broken: Callable[[str, DagferryError], None]) -> Iterator[Entry]:
    """Yield the wanted entries of all chains, newest first; a chain is read no further back than is needed.

    Args:
        chains: the channels.
        wanted: which entries.
        broken: told which chain ends early, and why.
    """
    walks = [_walk(chain, wanted, broken) for chain in chains]
    for entry in heapq.merge(*walks, key=lambda entry: entry.content.issued, reverse=True):
        if wanted.accepts(entry.content):
            yield entry


def _walk(chain: Chain, wanted: Filter, broken: Callable[[str, DagferryError], None]) -> Iterator[Entry]:
    try:
        head, _ = chain.verified_head()
        if head is None:
            return
        for entry in chain.walk(head):
            if wanted.is_over(entry.content):
                return
            yield entry
    except (StoreUnreachable, StoreDenied):
        raise
    except DagferryError as error:
        broken(chain.channel, error)


@dataclass
class Follower:
    """Sees what is added to chains, look by look.

    Attributes:
        chains: the channels.
    """

    chains: Sequence[Chain]
    _known: dict[str, Signed[Pointer]] = field(default_factory=dict, init=False)
    _first: bool = field(default=True, init=False)

    def new(self) -> Iterator[Entry]:
        """Yield what was added since the last look, oldest first; the first look only learns what is there.

        Raises:
            DagferryError: a chain cannot be read, or does not verify. ROLLBACK or EQUIVOCATION: a pointer is not
                what follows the one that was seen before.
        """
        for chain in self.chains:
            head, _ = chain.verified_head()
            known = self._known.get(chain.channel)
            if head is not None and (known is None or head.payload_digest != known.payload_digest):
                yield from self._added(chain, head, known)
        self._first = False

    def _added(self, chain: Chain, head: Signed[Pointer], known: Signed[Pointer] | None) -> Iterator[Entry]:
        self._known[chain.channel] = head
        if known is None:
            yield from () if self._first else reversed(list(chain.walk(head)))
            return
        _check_follows(head.content.position, known.content.position, chain.channel)
        added = []
        for entry in chain.walk(head):
            if entry.content.position <= known.content.position:
                if entry.payload_digest != known.payload_digest:
                    words = f"what channel {chain.channel} has now does not follow what was seen before"
                    raise Refused(Reason.BROKEN_CHAIN, words)
                break
            added.append(entry)
        yield from reversed(added)


def _check_follows(now: Position, before: Position, channel: str) -> None:
    where = f"the pointer of channel {channel}"
    if now == before:
        raise Refused(Reason.EQUIVOCATION, f"{where} was replaced by another one of the same sequence")
    if now < before:
        steps = f"from {before[0]}-{before[1]} to {now[0]}-{now[1]}"
        raise Refused(Reason.ROLLBACK, f"{where} went back {steps}: was the bucket restored?")
