"""Refresh: sign the live release again with a new expiry; a hold is carried forward."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagferry_publisher.ops.operation import apply, keep_release, live
from dagferry_shared.pointer import Action

if TYPE_CHECKING:
    from dagferry_publisher.chain import Chain
    from dagferry_publisher.ops.outcome import Outcome
    from dagferry_publisher.transaction import Move, Writer
    from dagferry_shared.pointer import Pointer
    from dagferry_shared.rules import Signed


def refresh(chain: Chain, writer: Writer, *, reason: str, dry_run: bool = False) -> Outcome:
    """Write a new entry with the same release; Refused if the trust rules do not accept that release any more."""

    def decide(head: Signed[Pointer] | None) -> Move:
        content = live(head, chain)
        chain.release_of(content)
        return keep_release(content, Action.REFRESH, content.held, reason)

    return apply(chain, writer, Action.REFRESH, decide, dry_run=dry_run)
