"""Repair: bring back a pointer that is gone, damaged or behind its history, from the newest verified history copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagferry_publisher.errors import Conflict, NotFound, UsageError
from dagferry_publisher.ops.operation import keep_release
from dagferry_publisher.ops.outcome import Outcome
from dagferry_publisher.transaction import Transaction, ensure_history
from dagferry_shared.errors import Refused
from dagferry_shared.pointer import Action

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagferry_publisher.chain import Chain, Head, Position
    from dagferry_publisher.transaction import Writer
    from dagferry_shared.pointer import Pointer
    from dagferry_shared.rules import Signed


def _candidates(chain: Chain, head: Head, positions: list[Position]) -> Iterator[Signed[Pointer]]:
    """Yield what could be restored, newest first: the pointer if it verifies, and each verified history copy."""
    pending = [head.signed] if head.signed else []
    for position in reversed(positions):
        while pending and pending[0].content.position >= position:
            yield pending.pop()
        if signed := chain.verified_copy(position):  # None: signed by a removed key, or garbage
            yield signed
    yield from pending


def _newest_usable(chain: Chain, head: Head, positions: list[Position]) -> Signed[Pointer]:
    for signed in _candidates(chain, head, positions):
        try:
            chain.release_of(signed.content)
        except (Refused, NotFound):  # revoked, or lost: an older one it is
            continue
        return signed
    raise NotFound(
        f"no entry of channel {chain.channel} verifies under this trust file: dagctl publish --new-epoch begins anew"
    )


def _check_epoch(chain: Chain, base: Signed[Pointer], *, new_epoch: bool) -> None:
    epoch, trusted = base.content.epoch, chain.rules.trust.epoch
    if new_epoch and epoch >= trusted:
        raise UsageError(f"the chain is at epoch {epoch} already: first raise the trust file's with dagctl trust epoch")
    if not new_epoch and epoch != trusted:
        raise Conflict(f"the chain is of epoch {epoch}, the trust file of {trusted}: run dagctl repair --new-epoch")


def _restore_copy(chain: Chain, live: Signed[Pointer]) -> None:
    """Write the live pointer's history copy, also over something that is no entry at all; Conflict if it is one."""
    key = chain.layout.history_entry(chain.channel, *live.content.position)
    try:
        ensure_history(chain, live)
    except Conflict:
        info = chain.store.head(key)
        if info is None or chain.verified_copy(live.content.position):
            raise
        chain.store.replace(key, live.raw, etag=info.etag)


def repair(chain: Chain, writer: Writer, *, reason: str, new_epoch: bool = False, dry_run: bool = False) -> Outcome:
    """Restore the newest entry that verifies and whose release does, as a new entry; a hold is carried forward.

    With ``new_epoch`` the entry begins the trust file's epoch, and replaces a pointer that no longer verifies.

    Raises:
        NotFound: nothing in the history verifies.
        Conflict: somebody moved the pointer meanwhile.
    """
    head, positions = chain.head(), chain.positions()
    base = _newest_usable(chain, head, positions)
    _check_epoch(chain, base, new_epoch=new_epoch)
    epoch = chain.rules.trust.epoch
    behind = bool(positions) and positions[-1] > base.content.position
    if base is head.signed and not dry_run:
        _restore_copy(chain, base)  # also before it is left: with the pointer replaced its bytes would be gone
    if base is head.signed and not behind and not new_epoch:
        return Outcome(Action.REPAIR, changed=False, pointer=base, note="the pointer is whole", dry_run=dry_run)
    sequence = max([at for in_epoch, at in positions if in_epoch == epoch] + [_sequence_in(base, epoch)]) + 1
    old = base.content
    note = f"restores {old.epoch}-{old.sequence} (commit {old.commit[:12]}) as {epoch}-{sequence}"
    if dry_run:
        return Outcome(Action.REPAIR, changed=True, pointer=head.signed, note=f"would: {note}", dry_run=True)
    move = keep_release(base.content, Action.REPAIR, base.content.held, reason)
    written = Transaction(chain, writer).write(base, head.etag, (epoch, sequence), move)
    if written is None:
        raise Conflict("the pointer moved during the repair: look with dagctl history, and run it again if need be")
    return Outcome(Action.REPAIR, changed=True, pointer=written, note=note)


def _sequence_in(base: Signed[Pointer], epoch: int) -> int:
    return base.content.sequence if base.content.epoch == epoch else 0
