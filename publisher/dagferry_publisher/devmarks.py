"""Which entries of a chain are uncommitted work: their releases say so, pointers do not.

Only channels whose trust entry says ``allow_dev`` can have any, so nothing is asked for the others.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from dagferry_publisher.errors import NotFound
from dagferry_shared.errors import Refused, StoreDenied

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dagferry_publisher.chain import Chain
    from dagferry_shared.pointer import Pointer

_READERS = 8  # releases fetched at once


def is_dev(chain: Chain, content: Pointer) -> bool:
    """Tell whether an entry's release is uncommitted work; False where it is lost or does not verify."""
    if not chain.rules.entry.allow_dev:
        return False
    try:
        return chain.release_of(content).content.dev
    except (Refused, NotFound, StoreDenied):  # who may not list is denied what is not there
        return False


def dev_releases(chain: Chain, entries: Iterable[Pointer]) -> frozenset[str]:
    """Return the digests of those releases of entries that are uncommitted work."""
    if not chain.rules.entry.allow_dev:
        return frozenset()
    one_each = list({entry.release: entry for entry in entries}.values())
    with ThreadPoolExecutor(_READERS) as pool:
        marks = pool.map(lambda entry: is_dev(chain, entry), one_each)
        return frozenset(entry.release for entry, dev in zip(one_each, marks, strict=True) if dev)
