"""Why a commit is not live, in one plain sentence and one line of cure for each reason. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagferry_publisher.errors import ChannelHeld, Conflict, FoundProblems, NotFound, PartOfFleet
from dagferry_publisher.fleet.judge import State
from dagferry_publisher.why.cures import of_pod, of_refusal
from dagferry_shared.errors import BlobMissing, DagferryError, Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagferry_publisher.fleet.judge import Row
    from dagferry_publisher.why.facts import Facts
    from dagferry_shared.pointer import Pointer


@dataclass(frozen=True, slots=True)
class Why:
    """A reason.

    Attributes:
        where: channel or pod.
        sentence: what is in the way.
        cure: what to do.
        kind: which error it is, for the exit code.
    """

    where: str
    sentence: str
    cure: str
    kind: type[DagferryError]


def where_it_is(facts: Facts) -> str:
    """Say in a sentence what a channel has live."""
    if not facts.entries:
        return f"Nothing is live on channel {facts.channel}."
    live = facts.entries[0]
    reason = f" ({live.reason})" if live.reason else ""
    what = f"uncommitted work on {live.commit[:12]}" if facts.is_dev else f"commit {live.commit[:12]}"
    where = f"Channel {facts.channel} is at {what}, sequence {live.epoch}-{live.sequence}"
    return f"{where}: {live.action} by {live.actor} at {_moment(live)}{reason}."


def of_channel(facts: Facts) -> list[Why]:
    """Say what of a channel is in the way; nothing if the commit is live there, or none is missed.

    In this order: the pointer cannot be had; nothing was ever published; the commit is revoked; was live and was
    moved away from; is kept out by a hold; does not descend from what was published; was uploaded or not. Last,
    whether pods may still activate what is live.
    """
    where = f"channel {facts.channel}"
    if facts.problem is not None:
        return [Why(where, f"Its pointer cannot be used: {facts.problem}.", _pointer_cure(facts.problem), _kind(facts))]
    if not facts.entries:
        sentence = f"Nothing was ever published on channel {facts.channel}."
        return [Why(where, sentence, "Run dagctl publish there, or look at the CI job that should have.", NotFound)]
    found = [] if facts.commit is None or _is_live(facts) else [_missing(facts, facts.commit, where)]
    if facts.standing is not None:
        sentence = f"Pods that do not have it yet will refuse what is live there: {facts.standing}."
        found.append(Why(where, sentence, of_refusal(facts.standing), type(facts.standing)))
    return found


def _kind(facts: Facts) -> type[DagferryError]:
    return type(facts.problem) if facts.problem else FoundProblems


def _pointer_cure(problem: DagferryError) -> str:
    if isinstance(problem, Refused | Conflict):
        return "Run dagctl verify, which says what is wrong, and then dagctl repair."
    return "Run dagctl doctor, which says what is wrong with store, rights and network."


def _is_live(facts: Facts) -> bool:
    """Tell whether the commit is live; uncommitted work on top of it is something else."""
    if facts.is_dev:
        return False
    live = facts.entries[0].commit
    return bool(facts.commit and live.startswith(facts.commit)) or facts.is_contained is True


def _missing(facts: Facts, commit: str, where: str) -> Why:
    short, live = commit[:12], facts.entries[0]
    if facts.is_revoked:
        sentence = f"{short} is revoked by the trust file, so nobody may activate it."
        return Why(where, sentence, "Publish a commit that is not revoked on top of it.", FoundProblems)
    if facts.is_dev and (live.commit.startswith(commit) or facts.is_contained):
        sentence = (
            f"Uncommitted work on {live.commit[:12]} is live, by {live.actor}: that has {short}, and may undo it."
        )
        return Why(where, sentence, f"Run dagctl publish --commit {short}, or dagctl rollback.", Conflict)
    moved = _moved_away(facts, commit)
    if moved is not None:
        return _was_live(moved, live, short, where)
    if live.held:
        sentence = (
            f"The channel is held by {live.held.actor} since {live.held.since[:19]}Z "
            f"({live.held.reason or 'no reason given'}): publishes upload, and move nothing."
        )
        return Why(where, sentence, "Run dagctl resume, and then the publish job again.", ChannelHeld)
    if facts.descends is False:
        newest = f"{live.tip[:12]}, the newest commit published there"
        sentence = f"{short} does not descend from {newest}, so its publish is refused."
        cure = f"Merge {live.tip[:12]} into it and publish that, or publish it all the same with --force."
        return Why(where, sentence, cure, Conflict)
    return _never_live(facts, short, where)


def _never_live(facts: Facts, short: str, where: str) -> Why:
    if facts.is_uploaded:
        sentence = f"A release of {short} is in the store, and no entry of this channel ever named it."
        cure = "Run its publish job again: it moves the channel, or says why not."
    else:
        sentence = f"{short} was never published on this channel: its publish job did not run, failed, or was refused."
        cure = f"Look at its CI job, or let dagctl publish --commit {short} --dry-run say what is refused."
    return Why(where, sentence, cure, NotFound)


def _moved_away(facts: Facts, commit: str) -> Pointer | None:
    """Return the entry that took a commit off the channel, None if it never was there."""
    newer = None
    for entry in facts.entries:
        if entry.commit.startswith(commit):
            return newer
        newer = entry
    return None


def _was_live(moved: Pointer, live: Pointer, short: str, where: str) -> Why:
    reason = f" ({moved.reason})" if moved.reason else ""
    sentence = (
        f"{short} was live until {_moment(moved)}, when {moved.actor} moved the channel to {moved.commit[:12]} by "
        f"{moved.action}{reason}."
    )
    if live.held:
        sentence = sentence[:-1] + f"; it is held by {live.held.actor} since then."
        cure = "Run dagctl resume, and publish a commit on top of it (or itself with --force)."
        return Why(where, sentence, cure, ChannelHeld)
    return Why(where, sentence, f"Publish a commit on top of it, or run dagctl rollback --to {short}.", Conflict)


def _moment(entry: Pointer) -> str:
    return f"{entry.issued[:10]} {entry.issued[11:19]} UTC"


def of_pods(rows: Sequence[Row], commit: str | None) -> list[Why]:
    """Say what of each pod is in the way.

    Args:
        rows: judged pods.
        commit: that is missed, None: what the channel is at.
    """
    found = []
    for row in rows:
        live = row.answer.status.live if row.answer.status else None
        if row.well or (commit and row.state in _HARMLESS and live and live.commit.startswith(commit)):
            continue
        who = row.answer.status.host if row.answer.status and row.answer.status.host else ""
        where = f"pod {row.answer.pod}" + (f" ({who})" if who else "")
        sentence = f"{row.cause[0].upper()}{row.cause[1:].rstrip('.')}"
        sentence += "" if sentence.endswith("?") else "."
        found.append(Why(where, sentence, of_pod(row), PartOfFleet))
    return found


_HARMLESS = {State.BEHIND, State.FAILING, State.QUIET}  # where the commit in question is live


def error_of(found: Sequence[Why]) -> DagferryError | None:
    """Return what the command ends with: of the kind of the first reason."""
    if not found:
        return None
    words = f"{len(found)} reasons; each is named above" if len(found) > 1 else "the reason is named above"
    first = found[0].kind
    if issubclass(first, Refused):
        return FoundProblems(words)
    return first(words) if not issubclass(first, BlobMissing) else NotFound(words)
