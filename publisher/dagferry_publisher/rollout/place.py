"""Bringing one release to one channel, and back: moves of a rollout, with its mark as their reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagferry_publisher.errors import Conflict
from dagferry_publisher.ops.operation import apply, keep_release, live
from dagferry_publisher.ops.promote import next_tip, refuse_if_held
from dagferry_publisher.ops.rollback import RollbackRequest, rollback
from dagferry_publisher.rollout.marks import parse
from dagferry_publisher.transaction import Move
from dagferry_publisher.upload import stored_digest
from dagferry_shared.errors import Reason, Refused
from dagferry_shared.pointer import Action

if TYPE_CHECKING:
    from dagferry_publisher.chain import Chain
    from dagferry_publisher.ops.outcome import Outcome
    from dagferry_publisher.rollout.marks import Mark
    from dagferry_publisher.transaction import Writer
    from dagferry_shared.pointer import Pointer
    from dagferry_shared.rules import Signed


def check(target: Chain, origin: Pointer) -> None:
    """Check, before anything moves, that a channel may take a release.

    Raises:
        Refused: its trust rules do not accept it, or its archive is damaged.
        ChannelHeld: somebody holds it.
    """
    archive = target.release_of(origin).content.archive
    if stored_digest(target.store, target.layout.archive(archive.sha256), archive.size) != archive.sha256:
        raise Refused(Reason.WRONG_DIGEST, f"archive {archive.sha256[:16]}… of the release is damaged in the store")
    head, _ = target.verified_head()
    refuse_if_held(head.content if head else None, target.channel)


def place(target: Chain, writer: Writer, origin: Pointer, mark: Mark, words: str) -> Outcome:
    """Move a channel to a release; where it is that already, an entry says that the rollout found it there.

    Args:
        target: the channel.
        writer: signs.
        origin: an entry that names the release.
        mark: of the rollout.
        words: why, by the person who rolls out.

    Raises:
        ChannelHeld: somebody holds it.
        Refused: the trust rules do not accept the release.
    """

    def decide(head: Signed[Pointer] | None) -> Move | None:
        refuse_if_held(head.content if head else None, target.channel)
        if head and head.content.release == origin.release:
            known = parse(head.content.reason)
            if known and known.id == mark.id:
                return None
            return keep_release(head.content, Action.REFRESH, None, mark.reason(words))
        tip = next_tip(target, head, target.release_of(origin).content)
        return Move(Action.PROMOTE, origin.release, origin.commit, tip, None, mark.reason(words))

    return apply(target, writer, Action.PROMOTE, decide, dry_run=False)


def note(chain: Chain, writer: Writer, release: str, mark: Mark, words: str = "") -> Outcome:
    """Write an entry that changes nothing but what the chain remembers of a rollout."""

    def decide(head: Signed[Pointer] | None) -> Move:
        content = live(head, chain)
        require_release(content, release)
        return keep_release(content, Action.REFRESH, content.held, mark.reason(words))

    return apply(chain, writer, Action.REFRESH, decide, dry_run=False)


def take_back(chain: Chain, writer: Writer, mark: Mark, words: str) -> Outcome:
    """Roll a channel back to what was live before the rollout's release, and hold it there."""
    return rollback(chain, writer, RollbackRequest(None, mark.reason(words)))


def require_release(content: Pointer, release: str) -> None:
    """Raise Conflict if a channel is at another release: somebody else moved it."""
    if content.release != release:
        raise Conflict(
            f"channel {content.channel} was moved to {content.commit[:12]} by {content.actor} ({content.action}) "
            "meanwhile: the rollout stops here, and nothing is rolled back"
        )
