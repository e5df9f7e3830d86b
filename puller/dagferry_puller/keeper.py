"""The keeper watches what is live: whether its release still verifies, and whether its tree is as it was signed.

It only reads, so a standby uses it as well; the puller acts on what it finds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagferry_puller.logs import fields, log
from dagferry_puller.status import Repair, Step
from dagferry_shared import envelope, names, release, times
from dagferry_shared.errors import Refused
from dagferry_shared.rules import Signed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dagferry_puller.disktree import Made
    from dagferry_puller.glance import Glance
    from dagferry_puller.options import Settings
    from dagferry_puller.recorder import Recorder
    from dagferry_puller.reuse import Base
    from dagferry_puller.volume import Volume
    from dagferry_shared.pointer import Pointer
    from dagferry_shared.release import Release
    from dagferry_shared.rules import Rules


_ROUND = 12  # periods in which each entry of the live tree is looked at once


class Keeper:
    """What is known of the live version.

    Attributes:
        version: id of the version that the link names, or should name; None on a cold pod.
        release: its release.
        damage: what is wrong with it: the link alone, or the tree; None if it is intact.
        revoked: why its release does not verify under the trust file; None if it does.
        known: the release that was live before the root was replaced under us: it goes before what lies on the root.
        unkept: whether it was adopted from there, so that the root has to be told what is live.
    """

    def __init__(self, volume: Volume, recorder: Recorder, settings: Settings, clock: Callable[[], float]) -> None:
        self._volume = volume
        self._recorder = recorder
        self._recheck = settings.recheck
        self._round = _ROUND * settings.period
        self._clock = clock
        self._verified_at = self._looked_at = 0.0
        self._glance: Glance | None = None  # at the tree when it was last read whole
        self._tree_is_good = False
        self._rules: Rules | None = None
        self._was_good = False
        self.version: str | None = None
        self.release: Signed[Release] | None = None
        self.damage: Repair | None = None
        self.revoked: Refused | None = None
        self.known: Signed[Release] | None = None
        self.unkept = False

    @property
    def intact(self) -> bool:
        """Whether link and tree were as signed when last looked at."""
        return self.version is not None and self.damage is None

    @property
    def ready(self) -> bool:
        """Whether a verified version is live.

        A release that is revoked while it runs does not make a pod unready (nothing is taken away unless
        ``--on-revoked stop`` says so), but a pod does not start with one.
        """
        return self.intact and self._was_good

    def facts(self) -> tuple[object, ...]:
        """Return all that others are told of, to see whether there is something new to tell."""
        return self.version, self.release, self.damage, self.revoked, self.ready, self._rules

    def adopt(self, rules: Rules) -> None:
        """Find out what is live at a start: by what this process knows, the link, or what the root remembers of it."""
        live, known = self._volume.state.live, self.known
        self.forget()
        for version in (self._volume.link.read(), live.version if live else None):
            found = known or (self._stored_release(version) if version else None)
            if found:
                self.version, self.release = names.version_id(found.content.source.commit, found.digest), found
                self.unkept = known is not None
                self.recheck(rules)
                return

    def took(self, version: str, signed: Signed[Release], rules: Rules, made: Made | None) -> None:
        """Note that a verified version was made live, and what is in it; None: nobody will look at it again."""
        self.version, self.release, self.revoked = version, signed, None
        self._rules, self.damage, self._was_good = rules, None, True
        self.unkept = False
        # Stamping changed the other entries after the tree was verified, so the glance is now. What somebody who can
        # write to the volume changes within these milliseconds is found by the next full check.
        glance = self._volume.glance(version, made.leaves) if made else None
        if made and glance is not None and not glance.confirms(made.linked):
            glance = None  # a shared file was changed since: read all of it at the next look
        self._glance, self._tree_is_good = glance, True
        self._verified_at = self._looked_at = self._clock()

    def base(self) -> Base | None:
        """Return what is live as a base for the next version; None if it is not whole, or not known well enough."""
        glance = self._glance
        if not self.intact or self.version is None or self.release is None or glance is None or not glance.is_learned:
            return None
        from dagferry_puller.reuse import Base  # noqa: PLC0415 - a cold pod has nothing to share

        return Base(self.version, self.release.content.tree, glance, self.relinked)

    def unlinking(self) -> None:
        """Look at all of the live tree before links to its files go: afterwards a ctime tells less."""
        if self.version is not None and self._glance is not None and not self._volume.holds(self.version, self._glance):
            self._glance = None  # so all of it is read at the next look

    def relinked(self, ctimes: Mapping[str, int] | None = None) -> None:
        """Note that this process made or removed hard links to files of the live version: their ctime is another."""
        if self.version is not None and self._glance is not None:
            self._volume.relinked(self.version, self._glance, ctimes)

    def forget(self) -> None:
        """Note that nothing is live."""
        self.version = self.release = self.revoked = self._rules = None
        self.damage = self._glance = self.known = None
        self._was_good = self.unkept = False

    def look_at_all(self) -> None:
        """Have the next look be at each entry of the live tree, not only at those whose turn it is."""
        self._looked_at = float("-inf")

    def recheck(self, rules: Rules) -> None:
        """Look at what may have changed: the rules, the tree (read again if stat or the time says so) and the link."""
        if self.version is None or self.release is None:
            return
        if rules is not self._rules:
            self._judge(rules, self.release)
        self._look_at_tree(self.version, self.release.content)
        self._find_damage(self.version)
        self._was_good = self._was_good or (self.intact and self.revoked is None)

    def expiry(self, content: Pointer) -> str | None:
        """Return the instant after which a pointer is not activated any more, under the rules in force."""
        end = self._rules.expiry(content) if self._rules else None
        return times.show(end) if end else None

    def _stored_release(self, version: str) -> Signed[Release] | None:
        """Read the kept release of a version: its bytes are right by their digest, its signatures are not checked."""
        commit, digest = names.split_version_id(version)
        raw = self._volume.envelopes.release(digest)
        if raw is None:
            return None
        try:
            parsed = envelope.parse(raw, "kept release")
            content = release.parse(parsed)
        except Refused:
            return None
        if content.source.commit != commit:
            return None
        return Signed(content, raw, digest, parsed.payload_digest, frozenset())

    def _judge(self, rules: Rules, signed: Signed[Release]) -> None:
        self._rules, before = rules, self.revoked
        try:
            rules.release(signed.raw, digest=signed.digest, commit=signed.content.source.commit, new=False)
            self.revoked = None
        except Refused as refusal:
            self.revoked = refusal
            if before is None:
                log.error(
                    "ALARM: the live release is no longer trusted: %s",
                    refusal,
                    extra=fields(version=self.version, reason=refusal.reason),
                )

    def _look_at_tree(self, version: str, content: Release) -> None:
        """Read the whole tree again if a glance at it shows a change, or if it is time.

        A glance is at as many entries as are due, so that each has its turn in a round.
        """
        now, old = self._clock(), self._glance
        share, self._looked_at = (now - self._looked_at) / self._round, now
        changed = old is None or not self._volume.holds(version, old, share)
        if not changed and now - self._verified_at < self._recheck:
            return
        if changed and old is not None:
            self._recorder.tree_changed()
        glance = self._volume.glance(version)  # before reading: what changes meanwhile shows at the next look
        with self._recorder.step(Step.VERIFY):
            found = self._volume.scan(version, content)
        self._tree_is_good = found is not None and found.is_tree(content.tree)
        if found is not None and glance is not None and self._tree_is_good:
            glance.learn(found.leaves)
        self._glance, self._verified_at = glance, now
        if changed and self._tree_is_good:
            log.debug("the live tree was read again: it is as it was signed", extra=fields(version=version))

    def _find_damage(self, version: str) -> None:
        before, self.damage = self.damage, None
        if not self._tree_is_good:
            self.damage = Repair.TREE
        elif not self._volume.link.names(version):
            self.damage = Repair.LINK
        if self.damage and self.damage is not before:
            log.error("ALARM: the live %s was changed from outside", self.damage, extra=fields(version=version))
