"""Who is told that another version is live: after a turn of the worker, quickly, and never in its way."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagferry_puller.recorder import Recorder
    from dagferry_puller.status import LiveInfo


class AfterSwap:
    """Sees swaps in the status, and hands each to whoever wants it.

    What listens must only take note, and must not raise: its work is for a thread of its own. At a start the version
    that is live counts as swapped in, for somebody may have stopped us before it was told. A standby tells nobody.

    Args:
        recorder: the status.

    Attributes:
        listeners: called with each version that is newly live.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._last: tuple[str, str | None] | None = None
        self.listeners: list[Callable[[LiveInfo], None]] = []

    def looked(self) -> None:
        """Look once; called after each turn."""
        status = self._recorder.standing()
        live = status.live
        if status.role != "owner" or live is None or not status.ready or (live.version, live.since) == self._last:
            return
        self._last = (live.version, live.since)
        for listener in self.listeners:
            listener(live)
