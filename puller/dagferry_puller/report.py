"""From what the puller knows to what it says of the live version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagferry_puller.status import LiveInfo
from dagferry_shared.values import replace

if TYPE_CHECKING:
    from dagferry_puller.keeper import Keeper
    from dagferry_puller.state import Live
    from dagferry_shared.pointer import Pointer
    from dagferry_shared.rules import Signed


def live_info(keeper: Keeper, live: Live | None, pointer: Signed[Pointer] | None) -> LiveInfo | None:
    """Describe the live version.

    Args:
        keeper: knows its release.
        live: what is remembered of the swap.
        pointer: the newest pointer that is known to name a live version; used only if it names this one.
    """
    if keeper.version is None or keeper.release is None:
        return None
    content = keeper.release.content
    info = LiveInfo(
        version=keeper.version,
        commit=content.source.commit,
        release=keeper.release.digest,
        tree=content.tree,
        repository=content.source.repository,
        ref=content.source.ref,
        since=live.since if live and live.version == keeper.version else None,
        dev=content.dev,
    )
    if pointer is None or pointer.content.version != keeper.version:
        return info
    entry, end = pointer.content, keeper.expiry(pointer.content)
    return replace(
        info,
        epoch=entry.epoch,
        sequence=entry.sequence,
        pointer=pointer.payload_digest,
        action=entry.action,
        actor=entry.actor,
        reason=entry.reason,
        held=entry.held is not None,
        issued=entry.issued,
        expires=end,
    )
