"""How often to poll while notifications come: a rule that believes in them only while they prove themselves.

Polls are the safety net, so the slower period is for those who need it less:

1. Notifications are *proven* by a look that one of them asked for and that found a newer pointer. A notification that
   finds nothing proves nothing: anybody can send those.
2. While they are proven, polls come at the slower period; for a day after the last proof at most.
3. A newer pointer that a look found without one is a notification that was lost, or late: the short period at once.
   If it was only late (it comes within 10 s), that look was its proof.

So a notification route that breaks costs one delivery: that one is late by the slower period, and no other.
"""

from __future__ import annotations

from dagferry_shared.values import dataclass

PROVEN_SECONDS = 86_400.0  # how long a proof holds
LATE_SECONDS = 10.0  # a poll may be quicker than the notification of the same pointer


@dataclass(slots=True)
class Pacing:
    """The period of polls, in time that somebody else measures.

    Attributes:
        period: seconds, without notifications.
        slower: seconds, while they are proven; a shorter one than the period counts as the period.
    """

    period: float
    slower: float
    _proven: float | None = None
    _unannounced: float | None = None

    def looked(self, now: float, *, announced: bool, newer: bool) -> None:
        """Take in the end of a look.

        Args:
            now: monotonic seconds.
            announced: a notification asked for it.
            newer: it found a newer pointer.
        """
        if announced:
            late = self._unannounced is not None and now - self._unannounced <= LATE_SECONDS
            if newer or late:
                self._proven, self._unannounced = now, None
        elif newer:
            self._proven, self._unannounced = None, now

    def proven(self, now: float) -> bool:
        """Tell whether notifications are proven."""
        return self._proven is not None and now - self._proven < PROVEN_SECONDS

    def seconds(self, now: float) -> float:
        """Return the period for the next poll, jitter aside."""
        return max(self.period, self.slower) if self.proven(now) else self.period
