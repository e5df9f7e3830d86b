"""Walking a channel's signed history back from its pointer: each entry names the digest of the one before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagferry_shared.errors import BlobMissing, Reason, Refused, StoreDenied
from dagferry_shared.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagferry_shared.pointer import Pointer
    from dagferry_shared.rules import Rules, Signed

MAX_ENTRIES = 1000


def find(
    fetch: Callable[[str], bytes], rules: Rules, head: Signed[Pointer], commit: str, most: int = MAX_ENTRIES
) -> Signed[Pointer]:
    """Return the newest entry of a commit, within the epoch of the pointer; uncommitted work on top of it is passed.

    Args:
        fetch: reads a small object.
        rules: the channel's.
        head: the verified pointer.
        commit: full id.
        most: entries to look at.

    Raises:
        Refused: BROKEN_CHAIN, or an entry, or where dev releases are taken a release, that does not verify.
        BlobMissing: the commit was not deployed on this channel, or too long ago.
    """
    layout, entry, passed = Layout(rules.trust.bundle), head, {head.payload_digest}
    hint = ""
    for _ in range(most):
        content = entry.content
        if content.commit == commit:
            if not _is_work(fetch, rules, content):
                return entry
            hint = "; uncommitted work on it is, which --pin takes"
        if content.sequence == 1:
            break
        try:
            raw = fetch(layout.history_entry(rules.channel, content.epoch, content.sequence - 1))
        except (BlobMissing, StoreDenied) as missing:  # who may not list is denied what is not there
            if _begins_in(passed, rules, lambda: fetch(layout.cut(rules.channel))):
                break
            raise _gap(content, missing) from missing
        older = rules.old_pointer(raw)
        if older.payload_digest != content.previous or older.content.position != (content.epoch, content.sequence - 1):
            raise Refused(
                Reason.BROKEN_CHAIN, f"history {content.epoch}-{content.sequence - 1} is not what the next entry names"
            )
        entry = older
        passed.add(entry.payload_digest)
    raise BlobMissing(
        f"commit {commit[:12]} is not in the last {most} entries of the history of channel {head.content.channel}{hint}"
    )


def _is_work(fetch: Callable[[str], bytes], rules: Rules, content: Pointer) -> bool:
    """Tell whether an entry's release is uncommitted work: it says so, a pointer does not."""
    if not rules.entry.allow_dev:  # it would be refused later
        return False
    raw = fetch(Layout(rules.trust.bundle).release(content.release))
    return rules.release(raw, digest=content.release, commit=content.commit, new=False).content.dev


def _begins_in(passed: set[str], rules: Rules, fetch_cut: Callable[[], bytes]) -> bool:
    """Tell whether a signed cut begins the history with one of these entries; Refused for one that does not verify."""
    try:
        raw = fetch_cut()
    except (BlobMissing, StoreDenied):
        return False
    return rules.cut(raw).content.entry in passed


def _gap(content: Pointer, missing: BlobMissing | StoreDenied) -> Refused | StoreDenied:
    if isinstance(missing, StoreDenied):
        return missing
    return Refused(
        Reason.BROKEN_CHAIN,
        f"history {content.epoch}-{content.sequence - 1} of channel {content.channel} is gone, and no signed cut says "
        "that it was removed",
    )
