"""The trust rules, all of them, in one pure class: bytes and instants in, a verified document or a Refused out."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Generic, TypeVar

from dagferry_shared import envelope, globs, pointer, release, times
from dagferry_shared.errors import Reason, Refused
from dagferry_shared.values import dataclass

if TYPE_CHECKING:
    from datetime import datetime

    from dagferry_shared.cut import Cut
    from dagferry_shared.pointer import Pointer
    from dagferry_shared.release import Release
    from dagferry_shared.trust import ChannelTrust, Role, TrustFile

    Document = TypeVar("Document", Pointer, Release, Cut)
else:  # with the two names as texts the first call of ``compile`` in a process would be here: 0.7 ms of each start
    Document = TypeVar("Document")

MAX_AHEAD = timedelta(seconds=300)  # a pointer may be issued this far in our future (clock skew)


@dataclass(frozen=True, slots=True)
class Signed(Generic[Document]):
    """A document whose signatures and rules were checked, with the bytes it came from.

    Attributes:
        content: what it says.
        raw: the envelope's bytes.
        digest: SHA-256 of the envelope (a release's name).
        payload_digest: SHA-256 of the payload (a pointer's identity).
        signers: ids of the keys that signed it.
    """

    content: Document
    raw: bytes
    digest: str
    payload_digest: str
    signers: frozenset[str]


@dataclass(frozen=True, slots=True)
class Seen:
    """The newest pointer ever accepted on a channel; it is stored before the pointer is acted on."""

    epoch: int
    sequence: int
    payload_digest: str

    @property
    def position(self) -> tuple[int, int]:
        """(epoch, sequence)."""
        return self.epoch, self.sequence


class Rules:
    """The rules of one channel under one snapshot of the trust file. No I/O, no clock, no state.

    A **new pointer** (``new_pointer``) is accepted if, in this order:
      1. its envelope is in its one encoding and signed by ``threshold`` keys of the role "pointer", none retired,
         none unknown;
      2. it parses;
      3. it names this bundle, this channel and the trust file's epoch;
      4. it was issued at most 300 s in the future;
      5. (epoch, sequence) is not below what was seen, and the same position has the same payload;
      6. its sequence is not below the floor;
      7. with ``max_ttl`` set it has an expiry;
      8. its release and its commit are not revoked.
    Whether it has expired is a separate question (``check_expiry``): what is already live stays live.

    A **pointer of the history** (``old_pointer``) needs 1 (retired keys may have signed), 2 and 3 without the epoch.

    A **cut** needs the same, and nothing more: it only counts at the entry that it names.

    A **release** is accepted if its bytes have the digest that the pointer names; it is signed by ``threshold`` keys
    of the role "release" (retired ones only if it is not new); it parses; a dev release only where the channel allows
    it; bundle, repository, paths, ref and selection are the channel's; neither its digest nor its commit is revoked;
    and its commit is the one the pointer names.
    """

    def __init__(self, trust: TrustFile, channel: str) -> None:
        self.trust = trust
        self.channel = channel
        self.entry: ChannelTrust = trust.channel(channel)

    def new_pointer(self, raw: bytes, *, now: datetime, seen: Seen | None = None) -> Signed[Pointer]:
        """Check a pointer that may become live; Refused says which rule it breaks."""
        signed = self._pointer(raw, retired=False)
        content = signed.content
        if content.epoch != self.trust.epoch:
            raise Refused(Reason.WRONG_EPOCH, f"pointer is of epoch {content.epoch}, trust of {self.trust.epoch}")
        if times.parse(content.issued) > now + MAX_AHEAD:
            raise Refused(Reason.FUTURE_DATED, f"pointer was issued at {content.issued}, it is {times.show(now)}")
        if seen is not None:
            self._check_seen(signed, seen)
        self._check_floor(content)
        if self.trust.max_ttl is not None and content.expires is None:
            raise Refused(Reason.NO_EXPIRY, "pointer has no expiry, and the trust file sets max_ttl")
        self._check_revoked(content.release, content.commit)
        return signed

    def old_pointer(self, raw: bytes) -> Signed[Pointer]:
        """Check a pointer that was live once: signatures (also by retired keys), form, bundle and channel."""
        return self._pointer(raw, retired=True)

    def cut(self, raw: bytes) -> Signed[Cut]:
        """Check where a history is said to begin: signatures (also by retired keys), form, bundle and channel."""
        from dagferry_shared import cut  # noqa: PLC0415 - most pullers never walk the history

        parsed = envelope.parse(raw, "cut")
        signers = self._verify(parsed, self.entry.pointer, "cut", retired=True)
        content = cut.parse(parsed)
        self._check_place(content, "cut")
        return Signed(content, raw, envelope.digest(raw), parsed.payload_digest, signers)

    def release(self, raw: bytes, *, digest: str, commit: str, new: bool) -> Signed[Release]:
        """Check a release.

        Args:
            raw: hostile bytes.
            digest: what their SHA-256 must be.
            commit: the commit that the pointer, or the version id, names.
            new: whether it is becoming live for the first time; then no retired key may have signed it.
        """
        if envelope.digest(raw) != digest:
            raise Refused(Reason.WRONG_DIGEST, f"release {digest[:16]}… has the digest {envelope.digest(raw)[:16]}…")
        parsed = envelope.parse(raw, "release")
        signers = self._verify(parsed, self.entry.release, "release", retired=not new)
        content = release.parse(parsed)
        self._check_source(content)
        self._check_revoked(digest, content.source.commit)
        if content.source.commit != commit:
            raise Refused(Reason.WRONG_COMMIT, f"release is of {content.source.commit[:12]}, not {commit[:12]}")
        return Signed(content, raw, digest, parsed.payload_digest, signers)

    def release_of(self, of: Signed[Pointer], raw: bytes) -> Signed[Release]:
        """Check the release that a verified pointer names; it is new if the pointer published it."""
        new = of.content.action is pointer.Action.PUBLISH
        return self.release(raw, digest=of.content.release, commit=of.content.commit, new=new)

    def check_standing(self, content: Pointer) -> None:
        """Check what can change under a pointer that is live: floor and revocation."""
        self._check_floor(content)
        self._check_revoked(content.release, content.commit)

    def expiry(self, content: Pointer) -> datetime | None:
        """Return the instant after which a pointer is not activated any more: its own, or max_ttl after issue."""
        ends = [] if content.expires is None else [times.parse(content.expires)]
        if self.trust.max_ttl is not None:
            issued, ttl = times.parse(content.issued), timedelta(seconds=self.trust.max_ttl)
            ends.append(issued + min(ttl, times.LAST - issued))
        return min(ends, default=None)

    def check_expiry(self, content: Pointer, *, now: datetime, grace: timedelta = timedelta(0)) -> None:
        """Refuse (EXPIRED) a pointer whose time is over by more than ``grace``."""
        end = self.expiry(content)
        if end is not None:
            self.check_end(end, now=now, grace=grace)

    @staticmethod
    def check_end(end: datetime, *, now: datetime, grace: timedelta = timedelta(0)) -> None:
        """Refuse (EXPIRED) if an ``expiry`` is over by more than ``grace``."""
        if now - grace > end:  # end + grace may lie after the last year there is
            raise Refused(Reason.EXPIRED, f"pointer expired at {times.show(end)}, it is {times.show(now)}")

    def _pointer(self, raw: bytes, *, retired: bool) -> Signed[Pointer]:
        parsed = envelope.parse(raw, "pointer")
        signers = self._verify(parsed, self.entry.pointer, "pointer", retired=retired)
        content = pointer.parse(parsed)
        self._check_place(content, "pointer")
        return Signed(content, raw, envelope.digest(raw), parsed.payload_digest, signers)

    def _check_place(self, content: Pointer | Cut, what: str) -> None:
        if content.bundle != self.trust.bundle:
            raise Refused(Reason.WRONG_BUNDLE, f"{what} is of bundle {content.bundle}, not {self.trust.bundle}")
        if content.channel != self.channel:
            raise Refused(Reason.WRONG_CHANNEL, f"{what} is of channel {content.channel}, not {self.channel}")

    def _verify(self, parsed: envelope.Envelope, role: Role, what: str, *, retired: bool) -> frozenset[str]:
        if not retired:
            for keyid, _ in parsed.signatures:
                if keyid in role.retired:
                    raise Refused(Reason.RETIRED_KEY, f"new {what} is signed by the retired key {keyid[:16]}…")
        allowed = (*role.keys, *role.retired)
        return envelope.verify(parsed, [self.trust.keys[keyid] for keyid in allowed], role.threshold, what)

    def _check_seen(self, signed: Signed[Pointer], seen: Seen) -> None:
        content = signed.content
        if content.position < seen.position:
            raise Refused(
                Reason.ROLLBACK,
                f"pointer {content.epoch}-{content.sequence} is older than {seen.epoch}-{seen.sequence}, seen before",
            )
        if content.position == seen.position and signed.payload_digest != seen.payload_digest:
            raise Refused(
                Reason.EQUIVOCATION,
                f"two different pointers {content.epoch}-{content.sequence} are signed: a key or a publisher is broken",
            )

    def _check_floor(self, content: Pointer) -> None:
        if content.epoch == self.trust.epoch and content.sequence < self.entry.floor:
            raise Refused(Reason.BELOW_FLOOR, f"pointer {content.sequence} is below the floor {self.entry.floor}")

    def _check_revoked(self, digest: str, commit: str) -> None:
        for revoked in {digest, commit} & self.trust.revoked:
            raise Refused(Reason.REVOKED, f"{revoked[:16]}… is revoked by the trust file")

    def _check_source(self, content: Release) -> None:
        source, entry = content.source, self.entry
        if content.dev and not entry.allow_dev:
            raise Refused(Reason.DEV_RELEASE, f"channel {self.channel} takes no dev releases")
        if content.bundle != self.trust.bundle:
            raise Refused(Reason.WRONG_BUNDLE, f"release is of bundle {content.bundle}, not {self.trust.bundle}")
        if source.repository != entry.repository:
            raise Refused(Reason.WRONG_REPOSITORY, f"release is of {source.repository}, trusted is {entry.repository}")
        if sorted(source.paths) != sorted(entry.paths):  # the order of directories changes no archive
            raise Refused(
                Reason.WRONG_PATH,
                f"release packs {', '.join(source.paths)}, trusted is {', '.join(entry.paths)}",
            )
        if not any(globs.matches(glob, source.ref) for glob in entry.refs):
            raise Refused(Reason.WRONG_REF, f"release is of ref {source.ref!r}, trusted is {', '.join(entry.refs)}")
        if source.selection != entry.selection:
            raise Refused(Reason.WRONG_SELECTION, "release has another selection than the trust file")
