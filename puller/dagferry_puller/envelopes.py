"""Signed documents kept beside the versions: releases by digest, and each channel's last accepted pointer.

What is read here is as hostile as what comes from the store: callers verify it again.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from dagferry_puller import fsio
from dagferry_shared import envelope, pointer
from dagferry_shared.errors import Refused
from dagferry_shared.rules import Seen

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dagferry_puller.root import Root

_RELEASE = r"[0-9a-f]{64}\.json"
_POINTER = r"pointer\+([a-z0-9._-]+)\+([a-z0-9._-]+)\.json"  # "+" is in no name


class Envelopes:
    """The directory ``.dagferry/envelopes``."""

    def __init__(self, root: Root) -> None:
        self._root = root

    def release(self, digest: str) -> bytes | None:
        """Return a kept release's envelope, if it still has that digest."""
        raw = fsio.read_file(f"{digest}.json", self._root.envelopes, limit=envelope.MAX_ENVELOPE)
        return raw if raw is not None and envelope.digest(raw) == digest else None

    def keep_release(self, raw: bytes) -> None:
        """Keep a release; its name is its digest."""
        self._save(f"{envelope.digest(raw)}.json", raw)

    def pointer(self, bundle: str, channel: str) -> bytes | None:
        """Return the channel's last accepted pointer."""
        return fsio.read_file(f"pointer+{bundle}+{channel}.json", self._root.envelopes, limit=envelope.MAX_ENVELOPE)

    def keep_pointer(self, bundle: str, channel: str, raw: bytes) -> None:
        """Replace the channel's last accepted pointer."""
        self._save(f"pointer+{bundle}+{channel}.json", raw)

    def seen(self) -> dict[str, Seen]:
        """Return what the stored pointers say was seen, by ``<bundle>/<channel>``.

        Signatures are not checked: a forged entry could only make this puller refuse more, and who can write here can
        do worse.
        """
        found = {}
        for name in os.listdir(self._root.envelopes):
            match = re.fullmatch(_POINTER, name)
            raw = self.pointer(match[1], match[2]) if match else None
            if match and raw is not None:
                try:
                    parsed = envelope.parse(raw, "stored pointer")
                    content = pointer.parse(parsed)
                except Refused:  # damaged as well: then it says nothing
                    continue
                found[f"{match[1]}/{match[2]}"] = Seen(content.epoch, content.sequence, parsed.payload_digest)
        return found

    def forget_releases(self, needed: Iterable[str]) -> None:
        """Remove the releases that are not among the ``needed`` digests."""
        kept = {f"{digest}.json" for digest in needed}
        for name in os.listdir(self._root.envelopes):
            if re.fullmatch(_RELEASE, name) and name not in kept:
                fsio.discard(name, self._root.envelopes)

    def _save(self, name: str, raw: bytes) -> None:
        if fsio.read_file(name, self._root.envelopes, limit=len(raw)) != raw:
            fsio.save(name, raw, self._root.envelopes, durable=self._root.durable)
        else:  # the fsync after its rename may have failed
            self._root.fsync(self._root.envelopes)
