"""Walking a channel's signed history back from its pointer: each entry names the digest of the one before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagferry_shared.errors import BlobMissing, Reason, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagferry_shared.pointer import Pointer
    from dagferry_shared.rules import Rules, Signed

MAX_ENTRIES = 1000


def find(
    fetch: Callable[[int, int], bytes], rules: Rules, head: Signed[Pointer], commit: str, most: int = MAX_ENTRIES
) -> Signed[Pointer]:
    """Return the newest entry of a commit, within the epoch of the pointer.

    Args:
        fetch: returns the history copy of (epoch, sequence).
        rules: the channel's.
        head: the verified pointer.
        commit: full id.
        most: entries to look at.

    Raises:
        Refused: BROKEN_CHAIN, or an entry that does not verify.
        BlobMissing: the commit was not deployed on this channel, or too long ago.
    """
    entry = head
    for _ in range(most):
        content = entry.content
        if content.commit == commit:
            return entry
        if content.sequence == 1:
            break
        older = rules.old_pointer(fetch(content.epoch, content.sequence - 1))
        if older.payload_digest != content.previous or older.content.position != (content.epoch, content.sequence - 1):
            raise Refused(
                Reason.BROKEN_CHAIN, f"history {content.epoch}-{content.sequence - 1} is not what the next entry names"
            )
        entry = older
    raise BlobMissing(
        f"commit {commit[:12]} is not in the last {most} entries of the history of channel {head.content.channel}"
    )
