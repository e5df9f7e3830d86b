"""``once``: bring one version live (or onto the volume) and end; for init containers, images, cron and people."""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING

from dagferry_puller import state
from dagferry_puller.attempt import attempt, record
from dagferry_puller.backoff import Backoff, uniform
from dagferry_puller.exits import ConfigError, Exit, TimedOut, code_for, line_for
from dagferry_puller.logs import Complaints, log
from dagferry_puller.signals import DONE, Inbox, leave
from dagferry_puller.status import Outcome
from dagferry_shared import times
from dagferry_shared.envelope import MAX_ENVELOPE
from dagferry_shared.errors import StoreDenied, StoreUnreachable
from dagferry_shared.layout import Layout

if TYPE_CHECKING:
    from dagferry_puller.options import Settings
    from dagferry_puller.recorder import Recorder
    from dagferry_puller.session import Session
    from dagferry_puller.sync import Puller
    from dagferry_puller.trustfile import TrustSource
    from dagferry_shared.store import BlobReader

OWNER_POLL_SECONDS = 0.3  # how often a once looks whether another puller is done
_RETRY_SECONDS = 1.0


class Once:
    """One run of ``once``.

    Args:
        settings: all options.
        reader: the store.
        trust: the rules.
        session: the root.
        recorder: what happened.
    """

    def __init__(
        self, settings: Settings, reader: BlobReader, trust: TrustSource, session: Session, recorder: Recorder
    ) -> None:
        self._settings = settings
        self._reader = reader
        self._trust = trust
        self._session = session
        self._recorder = recorder
        self._complaints = Complaints()
        self._problem: Exception | None = None  # why it is not done yet
        self._result: Outcome | Exception = Outcome.UNCHANGED

    def run(self) -> Exit:
        """Work until the version is live, an error is final, or the time is over."""
        inbox = Inbox(signal.SIGTERM, signal.SIGINT)
        threading.Thread(target=self._worker, args=(inbox,), name="sync", daemon=True).start()
        received = inbox.wait(self._settings.timeout)
        if received not in {None, DONE}:
            leave(128 + (received or 0))
        result = self._late() if received is None else self._result
        if isinstance(result, Exception):
            code = code_for(result)
            is_bug = code is Exit.UNEXPECTED and not isinstance(result, OSError)
            log.error("%s", line_for(result), exc_info=result if is_bug else None)
            if received is None:  # the worker may be stuck in a read
                leave(code)
            return code
        return Exit.OK

    def _worker(self, inbox: Inbox) -> None:
        self._result = attempt(self._work)
        inbox.done()

    def _late(self) -> Exception:
        seconds = self._settings.timeout
        if isinstance(self._problem, StoreUnreachable):
            return self._problem
        return TimedOut(f"not done after {seconds:.0f} s (--timeout){f': {self._problem}' if self._problem else ''}")

    def _work(self) -> Outcome:
        backoff = Backoff(_RETRY_SECONDS, longest=10.0)
        while True:
            puller = self._session.own()
            try:
                if puller is None:
                    if self._other_is_done():
                        return Outcome.STANDBY
                    time.sleep(OWNER_POLL_SECONDS)
                    continue
                return self._pull(puller)
            except (StoreUnreachable, StoreDenied) as error:
                if self._may_stay_offline():
                    log.warning("%s; the verified version that is live is kept (--offline-ok)", line_for(error))
                    return Outcome.UNCHANGED
                if isinstance(error, StoreDenied) or self._settings.no_retry:
                    raise
                self._problem = error
                record(error, self._recorder, self._complaints)
            backoff.failures += 1
            time.sleep(backoff.delay(uniform()))

    def _pull(self, puller: Puller) -> Outcome:
        if self._settings.no_link:
            return puller.fetch(self._settings.pin)
        if self._settings.pin:
            return puller.pin(self._settings.pin)
        if self._settings.commit:
            return puller.at_commit(self._settings.commit)
        return puller.sync()

    def _may_stay_offline(self) -> bool:
        status, settings = self._recorder.snapshot(), self._settings
        if status.live is None or status.revoked or not status.ready or not settings.offline_ok:
            return False
        if settings.commit and status.live.dev:  # uncommitted work on a commit is not that commit
            return False
        return settings.commit in {"", status.live.commit} and settings.pin in {"", status.live.version}

    def _other_is_done(self) -> bool:
        """Tell whether the root's owner has what we want live; nothing of the root is changed."""
        rules, settings = self._trust.rules(), self._settings
        owner = self._session.owner()
        watcher = self._session.watch(rules)
        live = watcher.version if watcher.ready and watcher.revoked is None else None
        if settings.pin or settings.commit:
            is_work = watcher.release is not None and watcher.release.content.dev
            wanted = f"{settings.commit or '-'}-"
            if live is not None and (live == settings.pin or (live.startswith(wanted) and not is_work)):
                return True
            if owner and owner.mode == "run":
                raise ConfigError("--root", f"is owned by another puller ({owner}), which follows its channel")
            return False
        self._problem = TimedOut(f"waiting for {owner or 'another puller'}, which owns the root")
        blob = self._reader.get(Layout(settings.bundle).pointer(settings.channel), limit=MAX_ENVELOPE)
        seen = state.load(self._session.open().root).seen.get(f"{settings.bundle}/{settings.channel}")
        pointer = rules.new_pointer(blob.data if blob else b"", now=times.now(), seen=seen)
        return live == pointer.content.version
