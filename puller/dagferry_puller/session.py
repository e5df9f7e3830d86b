"""A root, and our part in it: its owner, or a standby that takes over when the owner is gone."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from dagferry_puller import lock
from dagferry_puller.keeper import Keeper
from dagferry_puller.logs import fields, log
from dagferry_puller.report import live_info
from dagferry_puller.root import Root
from dagferry_puller.status import Outcome, Repair
from dagferry_puller.sync import Puller
from dagferry_puller.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagferry_puller.options import Settings
    from dagferry_puller.recorder import Recorder
    from dagferry_puller.trustfile import TrustSource
    from dagferry_shared.release import Release
    from dagferry_shared.rules import Rules, Seen, Signed
    from dagferry_shared.store import BlobReader


class Session:
    """What one process does with one root, turn by turn.

    Args:
        settings: all options.
        reader: the store.
        trust: the rules.
        recorder: what happened.
    """

    def __init__(self, settings: Settings, reader: BlobReader, trust: TrustSource, recorder: Recorder) -> None:
        self._settings = settings
        self._reader = reader
        self._trust = trust
        self._recorder = recorder
        self._me = lock.Owner.me(settings.mode, settings.bundle, settings.channel)
        self._root: Root | None = None
        self._volume: Volume | None = None
        self._lock: int | None = None
        self._watcher: Keeper | None = None
        self._asked = False  # somebody wants to know of the whole live tree
        self._replaced = False  # the root's directories are not the ones that we made
        # These outlive a root: who replaces ``.dagferry`` by nothing or by an older one brings nothing old back.
        self._seen: Mapping[str, Seen] = {}
        self._known: Signed[Release] | None = None
        self.puller: Puller | None = None

    def open(self) -> Volume:
        """Open the root, again if it was replaced under us (a volume that vanished and came back).

        Raises:
            OSError: it cannot be opened.
        """
        if self._root is not None and not self._root.is_in_place():
            self._replaced = True
            self._known = (self.puller.keeper.release or self.puller.keeper.known) if self.puller else None
            log.error("ALARM: the root or a part of it was removed or replaced", extra=fields(root=self._root.path))
            self.close()
        if self._volume is None or self._root is None:
            self._root = Root(self._settings.root, durable=not self._settings.no_fsync, clear=self._replaced)
            self._volume = Volume(self._root, self._settings, self._seen)
            if self._replaced:
                self._recorder.repaired(Repair.ROOT)
                self._replaced = False
            self._watcher = Keeper(self._volume, self._recorder, self._settings, time.monotonic)
        return self._volume

    def close(self) -> None:
        """Give the root up."""
        if self._volume is not None:
            self._seen = self._volume.state.seen
        if self._lock is not None:
            os.close(self._lock)
        if self._root is not None:
            self._root.close()
            self._recorder.update(ready=False, role="starting")
        self._root = self._volume = self._lock = self._watcher = self.puller = None

    def own(self) -> Puller | None:
        """Return the puller of the root, if the root is ours or becomes it now."""
        volume = self.open()
        if self._lock is not None and not lock.is_held(self._lock, volume.root.meta):
            log.error("ALARM: the lock file was removed; this puller gives the root up and tries to get it again")
            self.close()
            volume = self.open()
        if self._lock is None:
            self._lock = lock.acquire(volume.root.meta, self._me)
            known, self._known = self._known, None  # while another owns the root, what we know gets old
            if self._lock is None:
                return None
            if self._watcher is not None:
                self._watcher.forget()  # it holds descriptors of what it watched
            self.puller = Puller(self._settings, self._reader, volume, self._trust, self._recorder)
            self.puller.keeper.known = known
            self._recorder.update(role="owner")
            log.info("this puller owns the root", extra=fields(root=volume.root.path))
        return self.puller

    def owner(self) -> lock.Owner | None:
        """Return who says to own the root."""
        return lock.owner(self.open().root.meta)

    def look_at_all(self) -> None:
        """Have the next turn look at all of the live tree. May be called from any thread."""
        self._asked = True

    def turn(self) -> Outcome:
        """Do one sync as the owner, or look after the live version as a standby."""
        puller = self.own()
        keeper = puller.keeper if puller is not None else self._watcher
        if self._asked and keeper is not None:
            self._asked = False
            keeper.look_at_all()
        if puller is not None:
            return puller.sync()
        self.watch(self._trust.rules())
        return Outcome.STANDBY

    def watch(self, rules: Rules) -> Keeper:
        """Look at what another owner has live; nothing is changed."""
        volume = self.open()
        watcher = self._watcher or Keeper(volume, self._recorder, self._settings, time.monotonic)
        if watcher.version is None or not volume.link.names(watcher.version):
            watcher.adopt(rules)
        else:
            watcher.recheck(rules)
        if self._recorder.standing().role != "standby":
            self._recorder.update(role="standby")
            log.info("standing by: the root is owned by %s", self.owner() or "another puller")
        self._recorder.update(ready=watcher.ready, live=live_info(watcher, None, None))
        return watcher
