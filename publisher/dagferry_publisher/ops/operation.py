"""What all operations share: running a decision for real or dry, and moves that keep the live release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagferry_publisher.errors import NotFound
from dagferry_publisher.ops.outcome import Outcome
from dagferry_publisher.transaction import Move, Transaction, next_position

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagferry_publisher.chain import Chain
    from dagferry_publisher.transaction import Writer
    from dagferry_shared.pointer import Action, Held, Pointer
    from dagferry_shared.rules import Signed

    Decide = Callable[[Signed[Pointer] | None], Move | None]


def live(head: Signed[Pointer] | None, chain: Chain) -> Pointer:
    """Return what is live; NotFound if nothing ever was."""
    if head is None:
        raise NotFound(f"nothing is published on channel {chain.channel} of bundle {chain.layout.bundle}")
    return head.content


def keep_release(content: Pointer, action: Action, held: Held | None, reason: str) -> Move:
    """Return a move that keeps the live release."""
    return Move(action, content.release, content.commit, content.tip, held, reason)


def apply(chain: Chain, writer: Writer, action: Action, decide: Decide, *, dry_run: bool) -> Outcome:
    """Run a decision through the transaction, or with ``dry_run`` only say what it would do."""
    if not dry_run:
        signed, changed = Transaction(chain, writer).run(decide)
        return Outcome(action, changed, signed)
    head, _ = chain.verified_head()
    move = decide(head)
    if move is None:
        return Outcome(action, changed=False, pointer=head, note="nothing would change", dry_run=True)
    epoch, sequence = next_position(chain, head)
    note = f"would write {epoch}-{sequence}: {move.action} commit {move.commit[:12]} on channel {chain.channel}"
    note += f", held by {move.held.actor}" if move.held else ""
    return Outcome(action, changed=True, pointer=head, note=note, dry_run=True)
