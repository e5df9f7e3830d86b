"""Lies about one document, a pointer or a release, while all that surrounds it is honest."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dagferry_shared import envelope
from support.attacker import ONLY_POINTER, Target, up_to_release
from support.bundles import Published, Simulator, small_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dagferry_shared.errors import Reason
    from dagferry_shared.keys import FileSigner

    Lie = Callable[[bytes], bytes]

both = pytest.mark.parametrize("document", ["pointer", "release"])


def honest(raw: bytes) -> bytes:
    """Change nothing."""
    return raw


def signer_of(simulator: Simulator, document: str) -> FileSigner:
    """Return the key that may sign it."""
    return simulator.keys.pointer if document == "pointer" else simulator.keys.release


def tell(
    simulator: Simulator, document: str, lie: Lie = honest, *, signers: Iterable[FileSigner] = (), word: str = "lie"
) -> Published:
    """Publish a commit of which one document is changed after it was signed, in the place where it is looked for.

    Args:
        simulator: publishes.
        document: ``pointer`` or ``release``.
        lie: makes the stored envelope of the signed one.
        signers: sign it instead of the right key.
        word: names the commit.
    """
    keys = tuple(signers) or (signer_of(simulator, document),)
    made, packed = simulator.make_release(small_tree(word), word)
    raw = simulator.sign_release(made, *(keys if document == "release" else ()))
    if document == "release":
        raw = lie(raw)
    simulator.put(simulator.layout.archive(made.archive.sha256), packed)
    simulator.put(simulator.layout.release(envelope.digest(raw)), raw)
    entry = simulator.make_pointer(made, envelope.digest(raw))
    published = simulator.point(made, raw, entry, *(keys if document == "pointer" else ()))
    if document == "pointer":
        published = replace(published, raw=lie(published.raw))
        simulator.show(published)
    return published


def attack(target: Target, document: str, lie: Lie, reason: Reason, text: str = "", *, truth: Lie = honest) -> None:
    """Demand that a lie is refused as soon as its document is seen, and that the truth is then taken."""
    told = tell(target.simulator, document, lie)
    fetched = ONLY_POINTER if document == "pointer" else up_to_release(told)
    target.refuses(reason, fetched=fetched, text=text)
    target.accepts(tell(target.simulator, document, truth, word="truth"))


def with_signatures(raw: bytes, signatures: Iterable[tuple[str, bytes]]) -> bytes:
    """Put other signatures, (key id, signature), into an envelope as they are."""
    return replace(envelope.parse(raw, "envelope"), signatures=tuple(signatures)).encode()


def signatures_of(raw: bytes) -> tuple[tuple[str, bytes], ...]:
    """Return an envelope's signatures."""
    return envelope.parse(raw, "envelope").signatures


def signed_anew(raw: bytes, *signers: FileSigner) -> bytes:
    """Sign an envelope's payload by these keys alone."""
    parsed = envelope.parse(raw, "envelope")
    return envelope.sign(parsed.payload_type, parsed.payload, signers).encode()
