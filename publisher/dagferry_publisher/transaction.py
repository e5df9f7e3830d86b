"""The one commit point: replacing the pointer by compare-and-swap.

Everything before it is content-addressed and invisible; everything after it is repaired by the next writer.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from dagferry_publisher.errors import Conflict
from dagferry_publisher.patience import GivenUp
from dagferry_shared import envelope, pointer, times
from dagferry_shared.errors import Refused, StoreConflict, StoreError, StoreUnreachable
from dagferry_shared.pointer import Action, Held, Pointer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dagferry_publisher.chain import Chain, Position
    from dagferry_shared.keys import Signer
    from dagferry_shared.rules import Signed

MAX_ATTEMPTS = 200  # lost races before giving up; each costs three small requests
_MAX_PAUSE = 0.5  # seconds between two of them
_REREADS = 6  # after a lost answer
_COPY_ATTEMPTS = 3  # to write a history copy; it is create-only and always the same, so it may be repeated


@dataclass(frozen=True, slots=True)
class Move:
    """What the next entry of the chain shall say."""

    action: Action
    release: str
    commit: str
    tip: str
    held: Held | None
    reason: str


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes entries, with which keys, how long they are valid (None: for ever), and who is told at once."""

    actor: str
    signers: Sequence[Signer]
    ttl: timedelta | None = None
    committed: Callable[[], None] = lambda: None


def ensure_history(chain: Chain, signed: Signed[Pointer]) -> None:
    """Write the history copy of a live pointer if it is missing: the repair of a crash right after the commit point.

    Raises:
        Conflict: the copy of that position is of another pointer.
        StoreUnreachable: it could not be written, nor seen to be there, in several attempts.
    """
    for attempt in range(_COPY_ATTEMPTS):
        try:
            _write_copy(chain, signed)
            return
        except StoreUnreachable:
            if attempt == _COPY_ATTEMPTS - 1:
                raise
            _pause(attempt)


def _write_copy(chain: Chain, signed: Signed[Pointer]) -> None:
    position = signed.content.position
    key = chain.layout.history_entry(chain.channel, *position)
    try:
        chain.store.create(key, signed.raw)
    except StoreConflict as error:
        if is_copy(chain, position, {signed.payload_digest}):
            return
        if chain.history_copy(position) is None:  # S3 answers 409 while another writer is at it
            raise StoreUnreachable(f"the store refused to write {key}, and has none") from error
        raise Conflict(f"{key} is not the copy of the live pointer: run dagctl verify, then dagctl repair") from error


def is_copy(chain: Chain, position: Position, digests: set[str]) -> bool:
    """Tell whether the history copy of a position is of one of these payloads."""
    copy = chain.history_copy(position)
    return copy is not None and _payload_digest(copy) in digests


def _payload_digest(copy: bytes) -> str | None:
    """Return what identifies a history copy; None if it is no envelope at all."""
    try:
        return envelope.parse(copy, "history copy").payload_digest
    except Refused:
        return None


def next_position(chain: Chain, head: Signed[Pointer] | None) -> Position:
    """Return the position after the head: the next sequence, or 1 in the trust file's epoch on a new channel."""
    return (head.content.epoch, head.content.sequence + 1) if head else (chain.rules.trust.epoch, 1)


def build(chain: Chain, head: Signed[Pointer] | None, position: Position, move: Move, writer: Writer) -> bytes:
    """Sign the pointer for a move and check it as a puller would; Refused says which trust rule it breaks."""
    now = times.now()
    ttl = writer.ttl
    if ttl is None and chain.rules.trust.max_ttl is not None:
        ttl = timedelta(seconds=chain.rules.trust.max_ttl)
    content = Pointer(
        bundle=chain.layout.bundle,
        channel=chain.channel,
        epoch=position[0],
        sequence=position[1],
        issued=times.show(now),
        expires=times.show(now + ttl) if ttl else None,
        release=move.release,
        commit=move.commit,
        tip=move.tip,
        previous=head.payload_digest if head else None,
        action=move.action,
        held=move.held,
        actor=writer.actor,
        reason=move.reason,
    )
    raw = envelope.sign(pointer.PAYLOAD_TYPE, content.payload(), writer.signers).encode()
    chain.rules.new_pointer(raw, now=now)
    return raw


def _pause(attempt: int) -> None:
    time.sleep(random.uniform(0, min(_MAX_PAUSE, 0.01 * 2**attempt)))  # noqa: S311 - jitter, not a secret


class Transaction:
    """One change of one channel. Repeats its decision on the newest pointer until it is in the chain, or refused."""

    def __init__(self, chain: Chain, writer: Writer) -> None:
        self.chain = chain
        self.writer = writer
        self._ours: set[str] = set()  # payload digests of all that this transaction ever tried to write
        self._tried: set[Position] = set()  # and where; a write whose answer was lost may land late

    def run(self, decide: Callable[[Signed[Pointer] | None], Move | None]) -> tuple[Signed[Pointer] | None, bool]:
        """Apply a decision.

        Args:
            decide: from the verified pointer to the move to make, None if there is nothing to do; raises to refuse.

        Returns:
            The pointer that holds the change (or made it unnecessary), and whether this run wrote it.

        Raises:
            Conflict: the race was lost too often, or the pointer is behind its history.
            StoreUnreachable: also when it cannot be known whether the write happened.
        """
        for attempt in range(MAX_ATTEMPTS):
            head, etag = self.chain.verified_head()
            if landed := self._find_ours(head):  # in this very reading: nothing is ever decided on top of our own
                return landed, True
            if head:
                ensure_history(self.chain, head)
            move = decide(head)
            if move is None:
                return head, False
            position = next_position(self.chain, head)
            if self._pointer_is_behind(head, position):
                continue
            if written := self.write(head, etag, position, move):
                return written, True
            _pause(attempt)
        raise Conflict(f"lost the race for channel {self.chain.channel} {MAX_ATTEMPTS} times: try again")

    def _pointer_is_behind(self, head: Signed[Pointer] | None, position: Position) -> bool:
        """Tell whether the pointer moved on since it was read; Conflict if it did not though its successor exists."""
        if self.chain.history_copy(position) is None:
            return False
        newer, _ = self.chain.verified_head()
        if newer and (head is None or newer.content.position > head.content.position):
            return True
        raise Conflict(
            f"history has {position[0]}-{position[1]}, and the pointer of channel {self.chain.channel} is older "
            "(restored bucket?): run dagctl repair"
        )

    def write(
        self, head: Signed[Pointer] | None, etag: str | None, position: Position, move: Move
    ) -> Signed[Pointer] | None:
        """Sign the entry that follows ``head`` and swap it in, in one attempt.

        Args:
            head: the entry it follows.
            etag: what the pointer object must still be; None: it must not exist.
            position: epoch and sequence of the new entry.
            move: what it says.

        Returns:
            The entry if it is in the chain, None if somebody else's is.
        """
        raw = build(self.chain, head, position, move, self.writer)
        signed = self.chain.rules.old_pointer(raw)
        self._ours.add(signed.payload_digest)
        self._tried.add(position)
        key = self.chain.layout.pointer(self.chain.channel)
        try:
            if etag is None:
                self.chain.store.create(key, raw)
            else:
                self.chain.store.replace(key, raw, etag=etag)
        except StoreConflict:
            return self._reread()
        except StoreUnreachable as lost:
            return self._find_ours_after(lost, move.action)
        return self._committed(signed)

    def _committed(self, signed: Signed[Pointer]) -> Signed[Pointer]:
        self.writer.committed()
        try:
            ensure_history(self.chain, signed)
        except StoreError as error:
            raise StoreUnreachable(
                f"sequence {signed.content.sequence} IS live, but its history copy could not be written ({error}); "
                "the next publish or dagctl repair writes it"
            ) from error
        return signed

    def _reread(self) -> Signed[Pointer] | None:
        head, _ = self.chain.verified_head()
        return self._find_ours(head)

    def _find_ours(self, head: Signed[Pointer] | None) -> Signed[Pointer] | None:
        """Look whether a write of ours is live, or was live before ``head`` and is in the history by now."""
        if head and head.payload_digest in self._ours:
            return self._committed(head)
        for position in sorted(self._tried):
            copy = self.chain.history_copy(position)
            if copy is None:
                continue
            if _payload_digest(copy) in self._ours:
                return self.chain.rules.old_pointer(copy)
            self._tried.discard(position)  # somebody else's: a write of ours there finds another ETag for ever
        return None

    def _find_ours_after(self, lost: StoreUnreachable, action: Action) -> Signed[Pointer] | None:
        for attempt in range(_REREADS):
            try:
                return self._reread()
            except GivenUp:
                break
            except StoreUnreachable:
                time.sleep(random.uniform(0.5, 1) * 0.2 * 2**attempt)  # noqa: S311 - jitter, not a secret
        cure = "look with dagctl history and run the command again: it is safe to repeat"
        if action is Action.ROLLBACK:
            cure = "look with dagctl history before you run it again: without --to, a second rollback goes further back"
        raise StoreUnreachable(
            f"the store went away during the commit, so it is not known whether the channel moved ({lost}); {cure}"
        ) from lost
