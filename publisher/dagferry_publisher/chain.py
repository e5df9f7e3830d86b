"""Reading a channel's state: the pointer, and the chain of history copies behind it, newest first."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagferry_publisher import cuts
from dagferry_publisher.errors import Conflict, NotFound
from dagferry_shared import envelope, layout, pointer
from dagferry_shared.errors import BlobMissing, Reason, Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagferry_shared.pointer import Pointer
    from dagferry_shared.release import Release
    from dagferry_shared.rules import Rules, Signed
    from dagferry_shared.store import Store

_READERS = 8  # history copies fetched at once
_WINDOW = 32

Position = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Head:
    """The pointer as read: nothing, a verified one, or one that does not verify.

    Attributes:
        etag: what a compare-and-swap must name; None if there is no pointer.
        signed: the verified pointer.
        problem: why it does not verify.
    """

    etag: str | None = None
    signed: Signed[Pointer] | None = None
    problem: Refused | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the chain.

    The hash link from its successor vouches for its bytes; ``problem`` says why its own signature does not verify
    today (a key that was removed since), None if it does.
    """

    content: Pointer
    raw: bytes
    payload_digest: str
    problem: Refused | None = None


def _is_first(entry: Entry, beginning: cuts.Beginning) -> bool:
    return entry.content.previous is None or entry.payload_digest == beginning.entry


class Chain:
    """The pointer and history of one channel in one store.

    Args:
        store: the store.
        rules: of the channel.
        begin_epoch: the trust file's epoch begins from nothing: a pointer that does not verify or is of an older
            epoch counts as none (and is replaced by the first publish), and so does its history.
    """

    def __init__(self, store: Store, rules: Rules, *, begin_epoch: bool = False) -> None:
        self._begin_epoch = begin_epoch
        self.store = store
        self.rules = rules
        self.layout = layout.Layout(rules.trust.bundle)
        self.channel = rules.channel

    def head(self) -> Head:
        """Read and verify the pointer; a malformed or wrongly signed one is a Head with a problem, not an error."""
        key = self.layout.pointer(self.channel)
        try:
            blob = self.store.get(key, limit=envelope.MAX_ENVELOPE)
        except BlobMissing:
            return Head()
        except Refused as problem:
            info = self.store.head(key)
            return Head(info.etag if info else None, problem=problem)
        assert blob is not None  # noqa: S101 - only a conditional get may return None
        try:
            return Head(blob.etag, self.rules.old_pointer(blob.data))
        except Refused as problem:
            return Head(blob.etag, problem=problem)

    def verified_head(self) -> tuple[Signed[Pointer] | None, str | None]:
        """Return the verified pointer and its ETag, (None, None) on a new channel, (None, ETag) where an epoch begins.

        Raises:
            Conflict: the pointer is gone though there is history, or of another epoch; names the cure.
            Refused: it does not verify.
        """
        head = self.head()
        if self._begin_epoch and self._is_of_the_past(head):
            return None, head.etag
        if head.etag is None and self.positions():
            head = self.head()  # the channel's first publish may have come between the two requests
            if head.etag is None:
                raise Conflict(f"channel {self.channel} has a history but no pointer: run dagctl repair")
        if head.problem:
            cure = "look with dagctl verify, then dagctl repair (with --new-epoch if a key was compromised)"
            raise Refused(head.problem.reason, f"the live pointer is not acceptable ({head.problem.detail}); {cure}")
        if head.signed is None:
            return None, None
        epoch = head.signed.content.epoch
        if epoch != self.rules.trust.epoch:
            cure = "run dagctl repair --new-epoch" if epoch < self.rules.trust.epoch else "use the newest trust file"
            raise Conflict(f"the pointer is of epoch {epoch}, the trust file of {self.rules.trust.epoch}: {cure}")
        return head.signed, head.etag

    def _is_of_the_past(self, head: Head) -> bool:
        return head.signed is None or head.signed.content.epoch < self.rules.trust.epoch

    def live(self) -> Signed[Pointer]:
        """Return the verified pointer; NotFound if nothing was ever published on the channel."""
        signed, _ = self.verified_head()
        if signed is None:
            raise NotFound(f"nothing is published on channel {self.channel} of bundle {self.layout.bundle}")
        return signed

    def positions(self) -> list[Position]:
        """List the positions that have a history copy, oldest first."""
        keys = self.store.keys(self.layout.history(self.channel))
        found = [layout.history_position(key) for key in keys]
        return sorted(position for position in found if position)

    def history_copy(self, position: Position) -> bytes | None:
        """Read one history copy, None if there is none. It is not verified; one that is too large reads as empty."""
        try:
            blob = self.store.get(self.layout.history_entry(self.channel, *position), limit=envelope.MAX_ENVELOPE)
        except BlobMissing:
            return None
        except Refused:  # oversize: something is there, and it is no entry
            return b""
        return blob.data if blob else None

    def verified_copy(self, position: Position) -> Signed[Pointer] | None:
        """Read one history copy; None if there is none, or it does not verify or is of another position."""
        raw = self.history_copy(position)
        try:
            signed = self.rules.old_pointer(raw) if raw else None
        except Refused:
            return None
        return signed if signed and signed.content.position == position else None

    def entry(self, raw: bytes) -> Entry:
        """Judge one history copy; Refused only if it cannot even be read."""
        parsed = envelope.parse(raw, "history copy")
        try:
            signed = self.rules.old_pointer(raw)
            return Entry(signed.content, raw, signed.payload_digest)
        except Refused as problem:
            return Entry(pointer.parse(parsed), raw, parsed.payload_digest, problem)

    def beginning(self) -> cuts.Beginning:
        """Read the cut: where the history begins, after older entries were removed."""
        return cuts.read(self)

    def walk(self, newest: Signed[Pointer]) -> Iterator[Entry]:
        """Yield the chain from ``newest`` back to the channel's first entry, or to the one that a signed cut names.

        Raises:
            Refused: BROKEN_CHAIN where a copy is missing or is not the one that its successor names.
        """
        current = Entry(newest.content, newest.raw, newest.payload_digest)
        yield current
        passed, beginning = {current.payload_digest}, self.beginning()
        with ThreadPoolExecutor(_READERS) as pool:
            while not _is_first(current, beginning):
                for position, raw in self._copies_before(current, pool):
                    found = self._linked(raw, current)
                    if found is None:
                        self._demand_cut(current, passed)
                        return
                    current = found
                    yield current
                    passed.add(current.payload_digest)
                    # another epoch, or a repair skipped positions
                    if current.content.position != position or _is_first(current, beginning):
                        break

    def whole_part(self, newest: Signed[Pointer]) -> tuple[list[Entry], Refused | None]:
        """Return the chain as far back as it is whole, newest first, and what is wrong where it ends early."""
        entries: list[Entry] = []
        try:
            entries.extend(self.walk(newest))
        except Refused as broken:
            return entries, broken
        return entries, None

    def _copies_before(self, entry: Entry, pool: ThreadPoolExecutor) -> Iterator[tuple[Position, bytes | None]]:
        """Fetch the copies of the positions right before an entry's."""
        epoch, sequence = entry.content.position
        window = [(epoch, at) for at in range(sequence - 1, max(0, sequence - 1 - _WINDOW), -1)]
        if not window:
            return iter([((epoch, 0), None)])
        return zip(window, pool.map(self.history_copy, window), strict=True)

    def _linked(self, raw: bytes | None, successor: Entry) -> Entry | None:
        """Return the entry that ``successor`` names: the copy before it, or after a repair an older one."""
        entry = self._readable(raw)
        if entry and entry.payload_digest == successor.content.previous:
            return entry
        for position in reversed(self.positions()):
            if position < successor.content.position:
                entry = self._readable(self.history_copy(position))
                if entry and entry.payload_digest == successor.content.previous:
                    return entry
        return None

    def _demand_cut(self, last: Entry, passed: set[str]) -> None:
        """Accept that an entry's predecessor is gone only if a cut, by now, begins the history there or later.

        Raises:
            Refused: BROKEN_CHAIN.
        """
        beginning = self.beginning()
        if beginning.entry in passed:  # written since the walk began
            return
        epoch, sequence = last.content.position
        raise Refused(
            Reason.BROKEN_CHAIN,
            f"the history copy that {epoch}-{sequence} of channel {self.channel} follows is missing or damaged"
            + beginning.words(),
        )

    def _readable(self, raw: bytes | None) -> Entry | None:
        try:
            return self.entry(raw) if raw is not None else None
        except Refused:  # garbage beside the chain: the hash link decides, not the name
            return None

    def release_bytes(self, digest: str) -> bytes:
        """Read a release's envelope; NotFound if the store lost it. It is not verified."""
        try:
            blob = self.store.get(self.layout.release(digest), limit=envelope.MAX_ENVELOPE)
        except BlobMissing as error:
            raise NotFound(f"release {digest[:16]}… is not in the store (or may not be read)") from error
        assert blob is not None  # noqa: S101 - only a conditional get may return None
        return blob.data

    def release_of(self, content: Pointer, *, new: bool = False) -> Signed[Release]:
        """Read and verify the release of a chain entry, as history unless ``new``."""
        raw = self.release_bytes(content.release)
        return self.rules.release(raw, digest=content.release, commit=content.commit, new=new)
