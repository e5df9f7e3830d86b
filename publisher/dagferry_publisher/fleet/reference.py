"""What the store says that the channels of a fleet are at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagferry_publisher.chain import Chain
from dagferry_publisher.devmarks import is_dev
from dagferry_publisher.fleet.judge import Reference
from dagferry_shared.errors import DagferryError
from dagferry_shared.rules import Rules

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dagferry_publisher.fleet.judge import Line
    from dagferry_shared.pointer import Pointer
    from dagferry_shared.rules import Signed
    from dagferry_shared.store import Store
    from dagferry_shared.trust import TrustFile

_MOST = 32  # channels looked up; the names come from whoever answers


def as_reference(signed: Signed[Pointer], *, dev: bool = False) -> Reference:
    """Return a verified pointer as what its channel is at; ``dev``: at uncommitted work."""
    content = signed.content
    return Reference(
        content.position,
        signed.payload_digest,
        content.release,
        content.commit,
        content.issued,
        held=content.held is not None,
        of_store=True,
        dev=dev,
    )


def of_store(store: Store, trust: TrustFile, lines: Iterable[Line]) -> tuple[dict[Line, Reference], list[str]]:
    """Read and verify the pointers of these channels; returns them, and why some cannot be had."""
    found: dict[Line, Reference] = {}
    warnings: list[str] = []
    for bundle, channel in sorted(set(lines))[:_MOST]:
        try:
            if bundle != trust.bundle:
                warnings.append(f"bundle {bundle} is not the trust file's: judged by what its pods say")
                continue
            chain = Chain(store, Rules(trust, channel))
            signed, _ = chain.verified_head()
            dev = signed is not None and is_dev(chain, signed.content)
        except DagferryError as error:
            warnings.append(f"channel {channel} is judged by what its pods say, as its pointer cannot be had: {error}")
            continue
        if signed:
            found[bundle, channel] = as_reference(signed, dev=dev)
    return found, warnings
