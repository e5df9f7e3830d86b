"""Repair of a history whose older part is lost, or whose cut no longer verifies: a new cut, signed by a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagferry_publisher import cuts
from dagferry_publisher.ops.outcome import Outcome
from dagferry_shared.pointer import Action

if TYPE_CHECKING:
    from dagferry_publisher.chain import Chain
    from dagferry_publisher.transaction import Writer


def recut(chain: Chain, writer: Writer, *, reason: str, dry_run: bool = False) -> Outcome:
    """Sign that the history begins with the oldest entry that is still linked to the live pointer.

    Nothing is removed by it; the pointer does not move. It is for a person to decide: what is missing may have been
    taken away on purpose.

    Raises:
        Conflict: somebody else wrote a cut meanwhile, or the one that is there is newer than all of the chain.
    """
    live = chain.live()
    entries, broken = chain.whole_part(live)
    if broken is None and chain.beginning().problem is None:
        return Outcome(Action.REPAIR, changed=False, pointer=live, note="the history is whole", dry_run=dry_run)
    oldest = entries[-1]
    epoch, sequence = oldest.content.position
    note = f"the history begins at {epoch}-{sequence}, of {oldest.content.issued}"
    if not dry_run:
        cuts.write(chain, oldest, cuts.Cutter(writer.actor, writer.signers, reason))
    return Outcome(
        Action.REPAIR, changed=True, pointer=live, note=f"would: {note}" if dry_run else note, dry_run=dry_run
    )
