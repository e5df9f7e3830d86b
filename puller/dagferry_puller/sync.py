"""One pull, step by step, as design.md §5 says it. Every method may raise, and leaves what is live whole."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from dagferry_puller.activate import Activator
from dagferry_puller.backoff import BackedOff, DigestBackoff
from dagferry_puller.keeper import Keeper
from dagferry_puller.logs import fields, log
from dagferry_puller.report import Reporter
from dagferry_puller.status import Outcome, Repair, Step
from dagferry_shared import names, times
from dagferry_shared.envelope import MAX_ENVELOPE
from dagferry_shared.errors import Refused, StoreError
from dagferry_shared.layout import Layout
from dagferry_shared.rules import Seen

if TYPE_CHECKING:
    from dagferry_puller.options import Settings
    from dagferry_puller.recorder import Recorder
    from dagferry_puller.trustfile import TrustSource
    from dagferry_puller.volume import Volume
    from dagferry_shared.pointer import Pointer
    from dagferry_shared.release import Release
    from dagferry_shared.rules import Rules, Signed
    from dagferry_shared.store import BlobReader

_RETIRE_SECONDS = 600.0  # how often versions are looked through when nothing changes


class Puller:
    """Keeps one channel's version live on a root that this process owns.

    Args:
        settings: all options.
        reader: the store.
        volume: the root.
        trust: the rules, read again when they change.
        recorder: what happened.

    Attributes:
        keeper: what is live.
    """

    def __init__(
        self, settings: Settings, reader: BlobReader, volume: Volume, trust: TrustSource, recorder: Recorder
    ) -> None:
        self._settings = settings
        self._reader = reader
        self._volume = volume
        self._trust = trust
        self._recorder = recorder
        self._reporter = Reporter(recorder)
        self._layout = Layout(settings.bundle)
        backoff = DigestBackoff(max(settings.period, 5.0), time.monotonic)
        self._activator = Activator(settings, reader, volume, recorder, backoff)
        self.keeper = Keeper(volume, recorder, settings, time.monotonic)
        self._started = self._recalled = False
        self._generation = 0
        self._etag: str | None = None
        self._pointer: Signed[Pointer] | None = None  # the newest accepted one
        self._live_pointer: Signed[Pointer] | None = None  # the one that made the live version live
        self._retired_at = float("-inf")

    def start(self) -> None:
        """Remove our own leftovers, recall what was seen and adopt what is live. Done once, or tried again."""
        if not self._started:
            self._volume.clean()
            self._recall_softly()
            rules = self._trust.last or self._trust.rules()
            self.keeper.adopt(rules)
            self._find_live_pointer(rules)
            self._started = True
            self._recorder.update(versions=len(self._volume.versions()))
            self._show()

    def sync(self) -> Outcome:
        """Bring the version that the channel's pointer names live.

        Raises:
            Refused, BackedOff, StoreError, OSError: what is live stays so, but for a revoked release that is to be
                stopped.
        """
        self.start()
        try:
            rules = self._rules()
            self._act_on_revocation()
            self._require_memory()
            self._settle()
            trouble = self._mend(rules)
            pointer = self._look(rules)
            self._remember(pointer)
            self._check_expiry(rules, pointer)
            outcome = self._make_live(rules, pointer, trouble)
            self._retire(outcome)
        finally:
            self._show()
        return outcome

    def pin(self, version: str) -> Outcome:
        """Bring an exact version live: its release's rules and revocation apply; there is no pointer."""
        return self._bring(self._begin(), version)

    def fetch(self, version: str) -> Outcome:
        """Bring an exact version onto the volume by the rules of ``pin``, and leave alone what is live."""
        return self._bring(self._begin(), version, swap=False)

    def at_commit(self, commit: str) -> Outcome:
        """Bring the version of a commit live, out of the channel's signed history."""
        from dagferry_puller import history  # noqa: PLC0415 - for this alone

        rules = self._begin()
        head = self._look(rules)
        self._remember(head)
        self._check_expiry(rules, head)
        entry = history.find(self._document, rules, head, commit)
        rules.check_standing(entry.content)
        self._live_pointer = entry
        return self._bring(rules, entry.content.version)

    def _begin(self) -> Rules:
        self.start()
        rules = self._rules()
        self._require_memory()
        self._settle()
        return rules

    def is_live(self, version: str) -> bool:
        """Tell whether this version is live, whole and trusted."""
        keeper = self.keeper
        return keeper.version == version and keeper.intact and keeper.revoked is None

    # Step 1: the trust file, and what is live under it

    def _rules(self) -> Rules:
        try:
            rules = self._trust.rules()
        except Refused:
            last = self._trust.last
            if last is not None and self._recalled:  # what is live is still looked after, and nothing new comes
                self.keeper.recheck(last)
                self._mend(last)
            raise
        if self._trust.generation != self._generation:
            self._generation, self._etag = self._trust.generation, None
        self.keeper.recheck(rules)
        return rules

    def _act_on_revocation(self) -> None:
        if self.keeper.revoked is not None and self._settings.on_revoked == "stop":
            log.error("the live release was revoked: the link is removed", extra=fields(version=self.keeper.version))
            self._volume.link.remove()
            if self._recalled:
                self._volume.update(live=None)
            self.keeper.forget()

    def _recall_softly(self) -> None:
        """Recall the state; if it is lost, what is live may be served all the same, and ``sync`` refuses pointers."""
        try:
            self._require_memory()
        except Refused as refusal:
            log.error("ALARM: %s", refusal.detail)

    def _require_memory(self) -> None:
        if not self._recalled:
            if self._volume.recall():
                log.warning("state.json was damaged; it was rebuilt from the stored pointers")
                self._recorder.repaired(Repair.STATE)
            self._recalled = True

    def _settle(self) -> None:
        """Remember the last swap, if a crash or a failing disk kept us from that."""
        version, live = self.keeper.version, self._volume.state.live
        if version is not None and self.keeper.intact and (live is None or live.version != version):
            self._volume.went_live(version)

    def _mend(self, rules: Rules) -> StoreError | Refused | BackedOff | None:
        """Repair what is live, beside it and by a swap; returns why that failed, for a newer version may cure it."""
        keeper = self.keeper
        if keeper.release is None or keeper.revoked is not None or (keeper.intact and not keeper.unkept):
            return None
        self._show()  # at once: a repair may take long
        try:
            link_was_good = self._volume.link.read() == keeper.version
            self._activate(rules, keeper.release)
            if not link_was_good:
                self._recorder.repaired(Repair.LINK)
        except (StoreError, Refused, BackedOff) as error:
            return error
        return None

    # Steps 1 to 3: the pointer

    def _look(self, rules: Rules) -> Signed[Pointer]:
        with self._recorder.step(Step.POINTER):
            key = self._layout.pointer(self._settings.channel)
            blob = self._reader.get(key, limit=MAX_ENVELOPE, if_none_match=self._etag)
        if blob is None and self._pointer is not None:
            rules.check_standing(self._pointer.content)
            return self._pointer
        self._etag = None
        raw = blob.data if blob else b""
        self._recorder.fetched(len(raw))
        pointer = rules.new_pointer(raw, now=times.now(), seen=self._volume.seen)
        if blob is not None:
            self._pointer, self._etag = pointer, blob.etag
        return pointer

    def _remember(self, pointer: Signed[Pointer]) -> None:
        content = pointer.content
        self._volume.remember(pointer, Seen(content.epoch, content.sequence, pointer.payload_digest))

    def _check_expiry(self, rules: Rules, pointer: Signed[Pointer]) -> None:
        """Refuse an expired pointer; what is live stays. The grace is for pods that have nothing else."""
        end = rules.expiry(pointer.content)
        if end is None:
            return
        has_other = self.keeper.version is not None and not self.is_live(pointer.content.version)
        grace = timedelta(0) if has_other else timedelta(seconds=self._settings.accept_expired_for)
        rules.check_end(end, now=times.now(), grace=grace)

    # Steps 4 to 8: the version

    def _make_live(
        self, rules: Rules, pointer: Signed[Pointer], trouble: StoreError | Refused | BackedOff | None
    ) -> Outcome:
        content, was_warm = pointer.content, self.keeper.ready
        if self.is_live(content.version):
            self._live_pointer = pointer
            return Outcome.UNCHANGED
        if trouble is not None and self.keeper.version == content.version:
            raise trouble
        self._activate(rules, rules.release_of(pointer, self._release_bytes(content.release)))
        self._live_pointer = pointer
        if was_warm:  # a pod that starts late says nothing about how long delivery takes
            self._recorder.delivered(times.parse(content.issued))
        return Outcome.SWAPPED

    def _bring(self, rules: Rules, version: str, *, swap: bool = True) -> Outcome:
        """Make a version live, or just bring it onto the volume, that no pointer has to name."""
        outcome = Outcome.UNCHANGED
        if not self.is_live(version):
            commit, digest = names.split_version_id(version)
            signed = rules.release(self._release_bytes(digest), digest=digest, commit=commit, new=False)
            if swap:
                self._activate(rules, signed)
                outcome = Outcome.SWAPPED
            else:
                self._volume.wanted(self._activator.bring(signed, self.keeper.base())[0])
        self._retire(outcome)
        self._show()
        return outcome

    def _release_bytes(self, digest: str) -> bytes:
        kept = self._volume.envelopes.release(digest)
        if kept is not None:
            return kept
        with self._recorder.step(Step.RELEASE):
            blob = self._reader.get(self._layout.release(digest), limit=MAX_ENVELOPE)
        raw = blob.data if blob else b""
        self._recorder.fetched(len(raw))
        return raw

    def _document(self, key: str) -> bytes:
        blob = self._reader.get(key, limit=MAX_ENVELOPE)
        return blob.data if blob else b""

    def _activate(self, rules: Rules, signed: Signed[Release]) -> None:
        before = self.keeper.version
        version, made = self._activator.activate(signed, self.keeper.base())
        self.keeper.took(version, signed, rules, made if self._settings.mode == "run" else None)  # live from here on
        self._volume.went_live(version)
        source = signed.content.source
        details = fields(version=version, ref=source.ref, before=before)
        log.info("live: %s %s", source.commit[:12], source.subject, extra=details)

    def _retire(self, outcome: Outcome) -> None:
        if outcome is Outcome.SWAPPED or time.monotonic() - self._retired_at >= _RETIRE_SECONDS:
            keeper = self.keeper
            unlinking = None if outcome is Outcome.SWAPPED else keeper.unlinking  # a swap has just looked at all
            with self._recorder.step(Step.RETIRE):
                left = self._volume.retire(unlinking=unlinking, relinked=keeper.relinked)
                self._recorder.update(versions=left)
            self._retired_at = time.monotonic()

    # What others see

    def _find_live_pointer(self, rules: Rules) -> None:
        """Find the pointer of what is live among the stored ones: it is shown, and nothing depends on it."""
        raw = self._volume.envelopes.pointer(self._settings.bundle, self._settings.channel)
        if raw is not None:
            with suppress(Refused):
                self._live_pointer = rules.old_pointer(raw)

    def _show(self) -> None:
        self._reporter.show(self.keeper, self._volume.state.live, self._live_pointer, self._volume.seen)
