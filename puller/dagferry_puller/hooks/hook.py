"""One hook and its thread: the newest swap is told until that succeeds, with pauses that grow; older ones are dropped.

A hook is told at least once of the version that stays: after a restart again, if it never succeeded. It may be told
twice (we died between its success and our memory of it), with the same id, so it must be idempotent.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from dagferry_puller.attempt import attempt
from dagferry_puller.backoff import Backoff, uniform
from dagferry_puller.exits import line_for
from dagferry_puller.hooks.acts import HookFailed
from dagferry_puller.hooks.info import HookInfo, HookState
from dagferry_puller.logs import Complaints, fields, log
from dagferry_shared import times
from dagferry_shared.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagferry_puller.hooks.event import Event
    from dagferry_puller.hooks.memory import Memory

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 300.0  # seconds before another attempt, jitter aside


class Hook:
    """A hook.

    Args:
        name: exec, webhook or touch.
        act: does it once; raises HookFailed.
        memory: of its last success.
        show: told of each change of what is known.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        name: str,
        act: Callable[[Event, int], None],
        memory: Memory,
        show: Callable[[str, HookInfo], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._act = act
        self._memory = memory
        self._show = show
        self._clock = clock
        self._news = threading.Event()
        self._wanted: Event | None = None
        self._stopping = False
        self._complaints = Complaints(clock)
        self._info = HookInfo()
        show(name, self._info)

    def start(self) -> None:
        """Begin to work, in a thread that ends with the process, or by ``stop``."""
        threading.Thread(target=self._work, name=f"hook-{self.name}", daemon=True).start()

    def swapped(self, event: Event) -> None:
        """Take note of a swap; returns at once."""
        self._wanted = event
        self._news.set()

    def stop(self) -> None:
        """End the thread after its attempt."""
        self._stopping = True
        self._news.set()

    def _work(self) -> None:
        while True:
            self._news.wait()
            self._news.clear()
            if self._stopping:
                return
            event = self._wanted
            if event is not None:
                self._tell(event)

    def _tell(self, event: Event) -> None:
        """Tell one swap until that succeeds, or there is a newer one."""
        if self._memory.succeeded_with() == event.id:
            self._note(state=HookState.DONE, version=event.live.version, attempts=0, problem=None)
            return
        backoff = Backoff(FIRST_PAUSE, longest=LONGEST_PAUSE)
        self._note(version=event.live.version, attempts=0, problem=None)
        while not self._once(event):
            pause = backoff.delay(uniform())
            backoff.failures += 1
            if self._news.wait(pause):
                return

    def _once(self, event: Event) -> bool:
        number = self._info.attempts + 1
        self._note(state=HookState.RUNNING, attempts=number)
        begun = self._clock()
        error = attempt(lambda: self._act(event, number))
        seconds = self._clock() - begun
        if isinstance(error, Exception):
            self._failed(error, seconds)
            return False
        self._memory.success(event.id)
        self._complaints.well()
        now = times.show(times.now())
        done = self._info.successes + 1
        self._note(state=HookState.DONE, problem=None, successes=done, last_success=now, seconds=seconds)
        log.info("%s hook: done", self.name, extra=fields(version=event.live.version, attempts=number))
        return True

    def _failed(self, error: Exception, seconds: float) -> None:
        if not isinstance(error, HookFailed):
            log.error("a bug in dagferry: %s", line_for(error), exc_info=error)
        words = f"{self.name} hook: {error}"
        self._complaints.failed(HookFailed(words))
        failures = self._info.failures + 1
        self._note(state=HookState.FAILING, problem=str(error)[:500], failures=failures, seconds=seconds)

    def _note(self, **changes: object) -> None:
        """Change what is known; only this thread does."""
        self._info = replace(self._info, **changes)
        self._show(self.name, self._info)
