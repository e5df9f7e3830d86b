"""Reading a bundle for a retention run: every object, every channel's verified chain, every release."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagferry_publisher import journal
from dagferry_publisher.chain import Chain
from dagferry_publisher.errors import Conflict, NotFound
from dagferry_publisher.retention.history import Line
from dagferry_publisher.retention.plan import Inventory
from dagferry_shared import envelope, pointer, release
from dagferry_shared.errors import BlobMissing, Reason, Refused
from dagferry_shared.layout import Layout, history_position
from dagferry_shared.rules import Rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from dagferry_publisher.chain import Entry
    from dagferry_shared.pointer import Pointer
    from dagferry_shared.release import Release
    from dagferry_shared.rules import Signed
    from dagferry_shared.store import Listed, Remover, Store
    from dagferry_shared.trust import TrustFile

_READERS = 8  # releases read at once


@dataclass(frozen=True, slots=True)
class Reading:
    """A bundle as it was read, with what tells whether it still is so.

    Attributes:
        inventory: what to decide on.
        chains: by channel.
        etags: of the pointers, by channel.
    """

    inventory: Inventory
    chains: Mapping[str, Chain]
    etags: Mapping[str, str]

    def moved(self) -> str | None:
        """Look at every pointer again: the channel of one that is not as it was read, None if all are."""
        for channel, etag in self.etags.items():
            chain = self.chains[channel]
            key = chain.layout.pointer(channel)
            try:
                if chain.store.get(key, limit=envelope.MAX_ENVELOPE, if_none_match=etag) is not None:
                    return channel
            except (BlobMissing, Refused):
                return channel
        return None


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads a bundle.

    Attributes:
        store: reads it.
        remover: lists it.
        trust: the trust file.
        can_cut: tells for which channels there are keys that sign a cut.
        progress: told what is being done.
    """

    store: Store
    remover: Remover
    trust: TrustFile
    can_cut: Callable[[str], bool]
    progress: Callable[[str], None] = lambda _: None

    def read(self) -> Reading:
        """Read all of it; objects first, so that whatever is written meanwhile is not decided on.

        Raises:
            Refused: a channel's pointer or history does not verify, or the trust file does not know a channel.
            Conflict: a pointer is gone, behind its history, or of another epoch.
        """
        layout = Layout(self.trust.bundle)
        self.progress(f"listing bundle {layout.bundle}")
        objects = tuple(self.remover.listed(layout.root))
        known, strange = journal.channels(self.store, self.trust)
        if strange:
            raise Refused(
                Reason.UNTRUSTED_CHANNEL,
                f"the trust file does not know channel {', '.join(strange)}, so it is not known what that needs, and "
                "nothing is removed: use a trust file with all channels of the bundle",
            )
        chains = {channel: Chain(self.store, Rules(self.trust, channel)) for channel in known}
        etags: dict[str, str] = {}
        lines = []
        for channel, chain in chains.items():
            self.progress(f"reading channel {channel}")
            head, etags[channel] = _head(chain)
            _check_newest(chain, head, objects)
            lines.append(Line(channel, tuple(_entries(chain, head)), self.can_cut(channel)))
        releases = self._releases(layout, objects)
        beside = self._beside(layout, objects, lines)
        inventory = Inventory(layout, objects, lines, releases, frozenset(self.trust.revoked), beside)
        return Reading(inventory, chains, etags)

    def _beside(self, layout: Layout, objects: Iterable[Listed], lines: Iterable[Line]) -> dict[str, str]:
        """Read what history copies that are not of a chain name. They are not verified: it only keeps what is there."""
        of_chains = {layout.history_entry(one.channel, *e.content.position) for one in lines for e in one.entries}
        folders = tuple(layout.history(line.channel) for line in lines)
        keys = [found.key for found in objects if found.key.startswith(folders) and history_position(found.key)]
        strays = [key for key in keys if key not in of_chains]
        with ThreadPoolExecutor(_READERS) as pool:
            return {key: named for key, named in zip(strays, pool.map(self._named, strays), strict=True) if named}

    def _named(self, key: str) -> str | None:
        try:
            blob = self.store.get(key, limit=envelope.MAX_ENVELOPE)
            return pointer.parse(envelope.parse(blob.data, "history copy")).release if blob else None
        except (BlobMissing, Refused):
            return None

    def _releases(self, layout: Layout, objects: Iterable[Listed]) -> dict[str, Release]:
        prefix = layout.release("").removesuffix(".json")
        digests = [
            found.key.removeprefix(prefix).removesuffix(".json") for found in objects if found.key.startswith(prefix)
        ]
        self.progress(f"reading {len(digests)} releases")
        with ThreadPoolExecutor(_READERS) as pool:
            read = pool.map(self._release, (layout.release(digest) for digest in digests), digests)
            return {digest: content for digest, content in zip(digests, read, strict=True) if content}

    def _release(self, key: str, digest: str) -> Release | None:
        """Read a release by its digest, which is what vouches for it; None for anything else of that name."""
        try:
            blob = self.store.get(key, limit=envelope.MAX_ENVELOPE)
            if blob is None or envelope.digest(blob.data) != digest:
                return None
            return release.parse(envelope.parse(blob.data, "release"))
        except (BlobMissing, Refused):
            return None


def _head(chain: Chain) -> tuple[Signed[Pointer], str]:
    signed, etag = chain.verified_head()
    if signed is None or etag is None:
        raise Conflict(f"channel {chain.channel} has objects but no pointer: run dagctl repair")
    return signed, etag


def _check_newest(chain: Chain, head: Signed[Pointer], objects: Iterable[Listed]) -> None:
    """Demand that no history copy that was listed before is ahead of the pointer."""
    prefix = chain.layout.history(chain.channel)
    positions = (history_position(found.key) for found in objects if found.key.startswith(prefix))
    newest = max((position for position in positions if position), default=head.content.position)
    if newest > head.content.position:
        raise Conflict(
            f"history has {newest[0]}-{newest[1]}, and the pointer of channel {chain.channel} is older (restored "
            "bucket?), so nothing is removed: run dagctl repair"
        )


def _entries(chain: Chain, head: Signed[Pointer]) -> Iterable[Entry]:
    try:
        yield from chain.walk(head)
    except Refused as broken:
        raise Refused(
            broken.reason,
            f"{broken.detail}; nothing is removed while a history is not whole: look with dagctl verify --all, then "
            f"dagctl repair --cut --channel {chain.channel} signs that it begins where it is whole",
        ) from broken


def check_live(reading: Reading) -> list[str]:
    """Say what of the live releases is gone, as only a race that nothing prevents can make it."""
    problems = []
    for channel, chain in reading.chains.items():
        head, _ = _head(chain)
        try:
            raw = chain.release_bytes(head.content.release)
        except NotFound:
            problems.append(f"the live release of channel {channel} is gone")
            continue
        archive = release.parse(envelope.parse(raw, "release")).archive
        if chain.store.head(chain.layout.archive(archive.sha256)) is None:
            problems.append(f"the archive of commit {head.content.commit[:12]}, live on channel {channel}, is gone")
    return problems
