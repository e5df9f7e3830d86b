"""From what the puller knows to what it says of the live version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagferry_puller.status import LiveInfo
from dagferry_shared.values import replace

if TYPE_CHECKING:
    from dagferry_puller.keeper import Keeper
    from dagferry_puller.recorder import Recorder
    from dagferry_puller.state import Live
    from dagferry_shared.pointer import Pointer
    from dagferry_shared.rules import Seen, Signed


class Reporter:
    """Tells the recorder of what an owner has live, when there is something new to tell.

    Args:
        recorder: what others read.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._shown: tuple[object, ...] = ()

    def show(self, keeper: Keeper, live: Live | None, pointer: Signed[Pointer] | None, seen: Seen | None) -> None:
        """Tell what is live.

        Args:
            keeper: knows its release, and whether all is well with it.
            live: what is remembered of the swap.
            pointer: the newest pointer that is known to name a live version.
            seen: the newest pointer accepted on the channel.
        """
        known = (*keeper.facts(), live, pointer, seen)
        if known == self._shown:
            return
        self._shown = known
        self._recorder.update(
            ready=keeper.ready,
            live=live_info(keeper, live, pointer),
            revoked=keeper.revoked and str(keeper.revoked),
            damaged=keeper.version is not None and not keeper.intact,
            seen=seen,
        )


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
