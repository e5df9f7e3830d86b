"""Where a channel's history begins: reading the signed cut, and writing it before anything is removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagferry_publisher.errors import Conflict
from dagferry_shared import cut, envelope, times
from dagferry_shared.errors import BlobMissing, Refused, StoreConflict, StoreDenied, StoreUnreachable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagferry_publisher.chain import Chain, Entry
    from dagferry_shared.cut import Cut
    from dagferry_shared.keys import Signer
    from dagferry_shared.rules import Signed
    from dagferry_shared.store import Blob


@dataclass(frozen=True, slots=True)
class Beginning:
    """The cut as read: none, a verified one, or one that does not verify.

    Attributes:
        etag: what a compare-and-swap must name; None if there is no cut.
        signed: the verified cut.
        problem: why it does not verify.
    """

    etag: str | None = None
    signed: Signed[Cut] | None = None
    problem: Refused | None = None

    @property
    def entry(self) -> str | None:
        """Payload digest of the entry that the history begins with; None if no verified cut says."""
        return self.signed.content.entry if self.signed else None

    def words(self) -> str:
        """Say what a broken chain has to do with it."""
        if self.problem:
            return f"; its cut is not acceptable ({self.problem.detail})"
        return f"; its cut is at {self.signed.content.epoch}-{self.signed.content.sequence}" if self.signed else ""


def read(chain: Chain) -> Beginning:
    """Read and verify a channel's cut; one that does not verify is a Beginning with a problem, not an error."""
    key = chain.layout.cut(chain.channel)
    try:
        blob = chain.store.get(key, limit=envelope.MAX_ENVELOPE)
    except (BlobMissing, StoreDenied):  # who may not list is denied what is not there
        return Beginning()
    except Refused as problem:
        info = chain.store.head(key)
        return Beginning(info.etag if info else None, problem=problem)
    assert blob is not None  # noqa: S101 - only a conditional get may return None
    return _judged(chain, blob)


def _judged(chain: Chain, blob: Blob) -> Beginning:
    try:
        return Beginning(blob.etag, chain.rules.cut(blob.data))
    except Refused as problem:
        return Beginning(blob.etag, problem=problem)


@dataclass(frozen=True, slots=True)
class Cutter:
    """Who signs cuts, with which keys, and why."""

    actor: str
    signers: Sequence[Signer]
    reason: str = ""


def write(chain: Chain, entry: Entry, cutter: Cutter) -> None:
    """Sign that the channel's history begins with an entry. It must be one of the chain; a cut never moves back.

    Raises:
        Conflict: somebody else wrote one meanwhile, or the one that is there is newer.
        StoreUnreachable: it could not be written, nor seen to be there.
    """
    there = read(chain)
    if there.signed and there.signed.content.position > entry.content.position:
        epoch, sequence = there.signed.content.position
        raise Conflict(f"the history of channel {chain.channel} begins at {epoch}-{sequence} already: run it again")
    if there.entry == entry.payload_digest:
        return
    epoch, sequence = entry.content.position
    content = cut.Cut(
        bundle=chain.layout.bundle,
        channel=chain.channel,
        epoch=epoch,
        sequence=sequence,
        entry=entry.payload_digest,
        issued=times.show(times.now()),
        actor=cutter.actor,
        reason=cutter.reason,
    )
    raw = envelope.sign(cut.PAYLOAD_TYPE, content.payload(), cutter.signers).encode()
    chain.rules.cut(raw)
    _swap(chain, raw, there.etag)


def _swap(chain: Chain, raw: bytes, etag: str | None) -> None:
    key = chain.layout.cut(chain.channel)
    try:
        if etag is None:
            chain.store.create(key, raw)
        else:
            chain.store.replace(key, raw, etag=etag)
    except (StoreConflict, StoreUnreachable) as error:
        there = read(chain).signed
        if there and there.raw == raw:  # the answer was lost
            return
        if isinstance(error, StoreUnreachable):
            raise
        raise Conflict(f"somebody else is pruning channel {chain.channel}: run it again") from error
