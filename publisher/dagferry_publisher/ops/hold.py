"""Hold and resume: stop publish and promote from moving a channel, and let them again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dagferry_publisher.ops.operation import apply, keep_release, live
from dagferry_shared import times
from dagferry_shared.pointer import Action, Held

if TYPE_CHECKING:
    from dagferry_publisher.chain import Chain
    from dagferry_publisher.ops.outcome import Outcome
    from dagferry_publisher.transaction import Move, Writer
    from dagferry_shared.pointer import Pointer
    from dagferry_shared.rules import Signed


def hold(chain: Chain, writer: Writer, *, reason: str, dry_run: bool = False) -> Outcome:
    """Hold a channel; nothing changes if it is held already."""

    def decide(head: Signed[Pointer] | None) -> Move | None:
        content = live(head, chain)
        if content.held:
            return None
        held = Held(writer.actor, reason, times.show(times.now()))
        return keep_release(content, Action.HOLD, held, reason)

    outcome = apply(chain, writer, Action.HOLD, decide, dry_run=dry_run)
    held = outcome.pointer.content.held if outcome.pointer else None
    if outcome.changed or held is None:
        return outcome
    return replace(outcome, note=f"already held by {held.actor} since {held.since}: {held.reason or 'no reason given'}")


def resume(chain: Chain, writer: Writer, *, reason: str, dry_run: bool = False) -> Outcome:
    """Lift a hold, and say what the next publish meets; nothing changes if the channel is not held."""

    def decide(head: Signed[Pointer] | None) -> Move | None:
        content = live(head, chain)
        return keep_release(content, Action.RESUME, None, reason) if content.held else None

    outcome = apply(chain, writer, Action.RESUME, decide, dry_run=dry_run)
    content = live(outcome.pointer, chain)
    if not outcome.changed:
        return replace(outcome, note="the channel is not held")
    if content.tip == content.commit:
        note = f"live is {content.commit[:12]}, the newest commit published here"
    else:
        note = (
            f"live is {content.commit[:12]}; the newest commit published here is {content.tip[:12]}, which stays off: "
            "the next publish must descend from it, or bring it back with --force"
        )
    return replace(outcome, note=f"{outcome.note}; {note}" if outcome.note else note)
