"""Rollback: move a channel to a release of its own history, and hold it there."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dagferry_publisher.errors import Conflict, NotFound, UsageError
from dagferry_publisher.ops.operation import apply, live
from dagferry_publisher.transaction import Move
from dagferry_shared import times
from dagferry_shared.errors import Reason, Refused
from dagferry_shared.pointer import Action, Held

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dagferry_publisher.chain import Chain, Entry
    from dagferry_publisher.ops.outcome import Outcome
    from dagferry_publisher.transaction import Writer
    from dagferry_shared.pointer import Pointer
    from dagferry_shared.rules import Signed

MIN_PREFIX = 7  # hex digits of a commit or digest
_FIRST_PUTS = {Action.PUBLISH, Action.PROMOTE}


@dataclass(frozen=True, slots=True)
class RollbackRequest:
    """What to roll back to.

    Attributes:
        to: prefix of a commit or release digest of this channel's history; None for the default target.
        reason: why, in words.
        hold: whether to hold the channel, so that no publish undoes the rollback.
        only_from: digest of the release that must be live; None: any.
    """

    to: str | None = None
    reason: str = ""
    hold: bool = True
    only_from: str | None = None


def default_target(chain: Iterable[Entry]) -> Entry | None:
    """Return what was live before the entry (publish or promote) that first put the live release there.

    So a second rollback goes further back, and never returns to what the first one left. None if there is nothing.

    Args:
        chain: the channel's entries, newest first.
    """
    entries = list(chain)
    live_release = entries[0].content.release
    if entries[-1].content.release == live_release:  # the channel began with it
        return None
    for newer, older in reversed(list(itertools.pairwise(entries))):
        if newer.content.release == live_release and newer.content.action in _FIRST_PUTS:
            return older
    return None


def named_target(chain: Iterable[Entry], prefix: str) -> Entry:
    """Return the entry whose commit or release digest begins with ``prefix``.

    Raises:
        UsageError: it is too short, not hex, or fits several releases; lists their digests.
        NotFound: no entry of this channel's history fits.
    """
    wanted = prefix.lower()
    if len(wanted) < MIN_PREFIX or set(wanted) - set("0123456789abcdef"):
        raise UsageError(f"--to takes at least {MIN_PREFIX} hex digits of a commit or release digest")
    found: dict[str, Entry] = {}
    for entry in chain:
        content = entry.content
        if content.commit.startswith(wanted) or content.release.startswith(wanted):
            found.setdefault(content.release, entry)
    if not found:
        raise NotFound(f"no release of this channel's history begins with {prefix!r}; see dagctl history")
    if len(found) > 1:
        rows = ", ".join(f"{digest[:16]} (commit {e.content.commit[:12]})" for digest, e in sorted(found.items()))
        raise UsageError(f"--to {prefix} fits several releases; give a digest: {rows}")
    return next(iter(found.values()))


def _choose(entries: list[Entry], broken: Refused | None, request: RollbackRequest) -> Entry | None:
    """Choose the target; a history that is damaged further back does not stop a named one that is found."""
    if request.to is None:
        if broken:
            raise Refused(broken.reason, f"{broken.detail}; what was live before is not known: name a target with --to")
        return default_target(entries)
    try:
        return named_target(entries, request.to)
    except NotFound:
        if broken:
            raise broken from None
        raise


def _target(chain: Chain, head: Signed[Pointer], request: RollbackRequest) -> Pointer:
    entries, broken = chain.whole_part(head)
    entry = _choose(entries, broken, request)
    if entry is None:
        cut = entries[-1].content.previous is not None
        why = "; older history was pruned: name a target with --to (dagctl history)" if cut else ""
        raise NotFound(f"nothing was live before {head.content.commit[:12]} on channel {chain.channel}{why}")
    if entry.problem:
        others = (other for other in entries if other.content.release == entry.content.release and not other.problem)
        other = next(others, None)
        if other is None:
            raise Refused(
                entry.problem.reason, f"the history entry of the target is not acceptable: {entry.problem.detail}"
            )
        entry = other
    chain.release_of(entry.content)
    return entry.content


def rollback(chain: Chain, writer: Writer, request: RollbackRequest, *, dry_run: bool = False) -> Outcome:
    """Move a channel back; works on a held channel.

    Raises:
        NotFound: there is no such release in the channel's history.
        UsageError: ``to`` fits several releases.
        Conflict: another release is live than the one to roll back from.
        Refused: the target is revoked, or the trust rules do not accept it any more.
    """

    def decide(head: Signed[Pointer] | None) -> Move | None:
        content = live(head, chain)
        assert head is not None  # noqa: S101 - live() raised
        if request.only_from not in {None, content.release}:
            raise Conflict(f"channel {chain.channel} has moved on, to commit {content.commit[:12]}")
        target = _target(chain, head, request)
        if target.release == content.release:
            return None
        held = content.held
        if request.hold and held is None:
            held = Held(
                writer.actor, request.reason or f"rolled back from {content.commit[:12]}", times.show(times.now())
            )
        return Move(Action.ROLLBACK, target.release, target.commit, content.tip, held, request.reason)

    try:
        outcome = apply(chain, writer, Action.ROLLBACK, decide, dry_run=dry_run)
    except Refused as refusal:
        if refusal.reason is Reason.REVOKED:
            raise Refused(refusal.reason, f"{refusal.detail}; choose another release with --to") from refusal
        raise
    return outcome if outcome.changed else replace(outcome, note="it is live already; nothing changed")
