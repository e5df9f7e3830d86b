"""Promote: move a channel to what another channel has live, if its own trust rules accept that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagferry_publisher.errors import ChannelHeld, UsageError
from dagferry_publisher.ops.operation import apply
from dagferry_publisher.transaction import Move
from dagferry_publisher.upload import stored_digest
from dagferry_shared.errors import Reason, Refused
from dagferry_shared.pointer import Action

if TYPE_CHECKING:
    from dagferry_publisher.chain import Chain
    from dagferry_publisher.ops.outcome import Outcome
    from dagferry_publisher.transaction import Writer
    from dagferry_shared.pointer import Pointer
    from dagferry_shared.release import Release
    from dagferry_shared.rules import Signed


def refuse_if_held(content: Pointer | None, channel: str) -> None:
    """Raise ChannelHeld with who holds it and why."""
    if content and content.held:
        held = content.held
        raise ChannelHeld(
            f"channel {channel} is held by {held.actor} since {held.since} ({held.reason or 'no reason given'}): "
            "nothing was moved; dagctl resume lifts the hold"
        )


def next_tip(chain: Chain, head: Signed[Pointer] | None, promoted: Release) -> str:
    """Return the target's new tip: a commit that was here before is not its newest, and uncommitted work is of none.

    Where older history was pruned, a commit that was made before what is left of it may have been here.
    """
    commit = promoted.source.commit
    if head is None:
        return commit
    if promoted.dev:
        return head.content.tip
    for entry in chain.walk(head):
        if entry.content.commit == commit:
            return head.content.tip
    pruned = entry.content.previous is not None
    return head.content.tip if pruned and promoted.source.committed < entry.content.issued else commit


def promote(source: Chain, target: Chain, writer: Writer, *, reason: str, dry_run: bool = False) -> Outcome:
    """Move ``target`` to the live release of ``source``.

    Raises:
        Refused: the target channel's trust rules do not accept that release, or its archive is damaged.
        ChannelHeld: the target is held.
    """
    if source.channel == target.channel:
        raise UsageError("--from and --to name the same channel")
    origin = source.live().content
    release = target.release_of(origin).content
    archive = release.archive
    if stored_digest(target.store, target.layout.archive(archive.sha256), archive.size) != archive.sha256:
        raise Refused(Reason.WRONG_DIGEST, f"archive {archive.sha256[:16]}… of the release is damaged in the store")

    def decide(head: Signed[Pointer] | None) -> Move | None:
        if head and head.content.release == origin.release:
            return None
        refuse_if_held(head.content if head else None, target.channel)
        tip = next_tip(target, head, release)
        return Move(Action.PROMOTE, origin.release, origin.commit, tip, None, reason)

    return apply(target, writer, Action.PROMOTE, decide, dry_run=dry_run)
