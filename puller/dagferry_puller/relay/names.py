"""What the targets' names are at this moment, as far as the resolver says so in time.

A resolver whose servers are away takes up to minutes to say so. Nobody waits for that: a name is then what it last was,
and pods that the late answer brings are told when it comes.
"""

from __future__ import annotations

import threading
from concurrent.futures import wait
from typing import TYPE_CHECKING

from dagferry_puller.logs import Complaints
from dagferry_puller.relay.post import NotTaken
from dagferry_shared.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from dagferry_puller.relay.status import RelayRecorder
    from dagferry_shared.targets import Address, Target

PROMPT_SECONDS = 0.2  # that an answer may take to count for the notification that asked
MAX_PODS = 5000  # addresses of a name; one that has more is somebody's joke


class Names:
    """All targets, each asked for in a thread of its own.

    Args:
        targets: whom to tell.
        recorder: counts names that could not be resolved.
        newcomer: called with each address that an answer after its time brings.
    """

    def __init__(self, targets: Sequence[Target], recorder: RelayRecorder, newcomer: Callable[[Address], None]) -> None:
        self._names = [_Name(target, recorder, newcomer) for target in targets]
        self._pool = Pool(len(targets), "resolve")

    def look(self) -> list[Address]:
        """Ask for all names; returns, each once, what they are or last were."""
        wait([name.ask(self._pool) for name in self._names], PROMPT_SECONDS)
        return list(dict.fromkeys(address for name in self._names for address in name.addresses()))


class _Name:
    def __init__(self, target: Target, recorder: RelayRecorder, newcomer: Callable[[Address], None]) -> None:
        self._target = target
        self._recorder = recorder
        self._newcomer = newcomer
        self._complaints = Complaints()
        self._lock = threading.Lock()
        self._asked: Future[None] | None = None
        self._late = False  # whether the answer that is waited for comes too late for those who asked
        self._known: list[Address] = []

    def ask(self, pool: Pool) -> Future[None]:
        """Have the name resolved, unless the resolver is still at it: one that hangs is asked once."""
        if self._asked is None or self._asked.done():
            self._late = False
            self._asked = pool.submit(self._resolve)
        return self._asked

    def addresses(self) -> list[Address]:
        """Return what is known by now."""
        with self._lock:
            self._late = True
            return self._known

    def _resolve(self) -> None:
        try:
            found = self._target.addresses()[:MAX_PODS]
        except (OSError, UnicodeError) as error:
            self._recorder.count(unresolved=1)
            why = getattr(error, "strerror", None) or "it is no name"
            self._complaints.failed(NotTaken(f"{self._target} cannot be resolved: {why}"))
            return
        with self._lock:
            new = [address for address in found if address not in self._known] if self._late else []
            self._known = found
        self._complaints.well()
        for address in new:
            self._newcomer(address)
