"""``run``: a worker thread does the syncs, the main thread only waits, so that signals are served at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING

from dagferry_puller import footprint
from dagferry_puller.attempt import attempt, record
from dagferry_puller.backoff import Backoff, jittered, uniform
from dagferry_puller.exits import Exit
from dagferry_puller.logs import Complaints, log
from dagferry_puller.pacing import Pacing
from dagferry_puller.signals import Inbox, leave
from dagferry_puller.status import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagferry_puller.options import Settings
    from dagferry_puller.recorder import Recorder
    from dagferry_puller.session import Session

JOIN_SECONDS = 0.4  # how long the worker may take to come to an end before the process leaves without it
MIN_GAP_SECONDS = 1.0  # between the starts of two syncs, however often somebody says "look now"
STANDBY_SECONDS = 1.0  # how often a standby tries the lock
_TRIGGER_SECONDS = 0.5  # how often the trigger file is looked at
_WELL = {Outcome.UNCHANGED, Outcome.SWAPPED}
_BACKS_OFF = {Outcome.UNREACHABLE, Outcome.DENIED, Outcome.NOT_FOUND, Outcome.VOLUME, Outcome.UNEXPECTED}


class Clock:
    """Time as the worker knows it: what it waits by. Tests let hours pass in a moment by another one."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait until the event is set, at most so long; tells whether it is."""
        return event.wait(seconds)


REAL_TIME = Clock()


class Triggers:
    """What makes the worker look: time, somebody's word, or a touched file.

    Args:
        path: the trigger file; empty: none.
        clock: what is waited by.
    """

    def __init__(self, path: str = "", clock: Clock = REAL_TIME) -> None:
        self._clock = clock
        self._path = path
        self._touched = self._stat()
        self._event = threading.Event()
        self._stopped = threading.Event()
        self._notified = False

    def stop(self) -> None:
        """End a wait at once, and all later ones."""
        self._stopped.set()
        self._event.set()

    def look_now(self) -> None:
        """Ask for a look; several asked for at once are one."""
        self._event.set()

    def notified(self) -> None:
        """Ask for a look because a notification says that there is something to see."""
        self._notified = True
        self._event.set()

    def wait(self, seconds: float, gap: float) -> bool:
        """Wait until it is time to look; tells whether a notification asked for it.

        Args:
            seconds: until the next look if nobody asks for one.
            gap: seconds that pass in any case.
        """
        clock = self._clock
        start = clock.monotonic()
        while (left := start + max(seconds, gap) - clock.monotonic()) > 0:
            turn = min(left, _TRIGGER_SECONDS) if self._path else left
            if clock.wait(self._event, turn) or self._was_touched():
                clock.wait(self._stopped, max(0.0, start + gap - clock.monotonic()))
                break
        self._event.clear()  # first: a notification between the two lines is looked after twice, never lost
        announced, self._notified = self._notified, False
        return announced

    def _stat(self) -> int:
        try:
            return os.stat(self._path).st_mtime_ns if self._path else 0
        except OSError:  # not there yet: appearing is a touch, too
            return 0

    def _was_touched(self) -> bool:
        before, self._touched = self._touched, self._stat()
        return self._touched not in {0, before}


class Daemon:
    """The sidecar.

    Args:
        settings: all options.
        session: the root.
        recorder: what happened.
        clock: what is waited by.
    """

    def __init__(self, settings: Settings, session: Session, recorder: Recorder, clock: Clock = REAL_TIME) -> None:
        self._clock = clock
        self._session = session
        self._recorder = recorder
        self._period = settings.period
        self._backoff = Backoff(settings.period)
        self._pacing = Pacing(settings.period, settings.notified_period)
        self._complaints = Complaints(clock.monotonic)
        self._stopping = False
        self.triggers = Triggers(settings.trigger_file, clock)
        self.looked: Callable[[], None] = lambda: None  # called after each turn; must be quick and not raise

    def run(self) -> Exit:
        """Work until SIGTERM or SIGINT; returns, or leaves the process, within a second of it."""
        inbox = Inbox(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        worker = threading.Thread(target=self._work, name="sync", daemon=True)
        worker.start()
        while (received := inbox.wait()) == signal.SIGHUP:
            log.info("SIGHUP: looking now")
            self._session.look_at_all()
            self.triggers.look_now()
        log.info("signal %s: ending", received)
        self._stopping = True
        self.triggers.stop()
        worker.join(JOIN_SECONDS)
        if worker.is_alive():
            leave(Exit.OK)
        return Exit.OK

    def _work(self) -> None:
        announced, rested = False, False
        while not self._stopping:
            begun = self._clock.monotonic()
            outcome = self._look(announced=announced)
            if outcome is Outcome.SWAPPED:  # every pod of the machine is at it now, and the next change may be near
                rested = False
            elif not rested:
                footprint.give_back()
                rested = True
            delay = self._delay(outcome)
            if not self._stopping:
                gap = min(MIN_GAP_SECONDS, self._period) - (self._clock.monotonic() - begun)
                announced = self.triggers.wait(delay, gap)

    def _look(self, *, announced: bool) -> Outcome:
        """Do one turn, and learn from it what notifications are worth."""
        before = self._recorder.standing().seen
        outcome = record(attempt(self._session.turn), self._recorder, self._complaints)
        self.looked()
        status, now = self._recorder.standing(), self._clock.monotonic()
        self._pacing.looked(now, announced=announced, newer=before is not None and status.seen != before)
        if self._pacing.proven(now) != status.proven:
            self._recorder.update(proven=not status.proven)
            log.info(
                "notifications %s: polling every %g s",
                "come" if not status.proven else "are not to be relied on",
                self._pacing.seconds(now),
            )
        return outcome

    def _delay(self, outcome: Outcome) -> float:
        """Return the seconds until the next look if nobody asks for one; the slower period is for when all is well."""
        self._backoff.failures = self._backoff.failures + 1 if outcome in _BACKS_OFF else 0
        if outcome is Outcome.STANDBY:
            return min(self._backoff.delay(uniform()), STANDBY_SECONDS)
        if outcome in _WELL:
            return jittered(self._pacing.seconds(self._clock.monotonic()), uniform())
        return self._backoff.delay(uniform())
