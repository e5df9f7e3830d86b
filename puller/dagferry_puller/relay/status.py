"""What the relay says of itself: one snapshot, for ``/status`` and ``/metrics``."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from dagferry_puller.histogram import Histogram
from dagferry_puller.metrics import family, histogram, one, process
from dagferry_shared import times
from dagferry_shared.values import dataclass, field, replace

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "dagferry_relay_"
BUCKETS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)  # seconds


@dataclass(frozen=True, slots=True)
class RelayStatus:
    """The document that ``/status`` serves; ``format`` changes only if a field changes its meaning.

    Attributes:
        format: 1.
        program: version of dagferry.
        targets: whom it tells.
        broker: host of the AMQP broker, None without one.
        started: when the process started.
        connected: whether the broker's queue is being consumed; None without a broker.
        connections: to the broker, made since the start.
        problem: why it is not connected.
        notifications: taken, by HTTP or AMQP.
        last_notification: when the last one came.
        fanouts: done for them; those that came together are one.
        pods: addresses told last time.
        failed: pods that were not told, after two tries.
        unresolved: names that could not be resolved.
        seconds: histogram of what one pod took.
    """

    program: str
    targets: tuple[str, ...]
    broker: str | None
    started: str
    format: int = 1
    connected: bool | None = None
    connections: int = 0
    problem: str | None = None
    notifications: int = 0
    last_notification: str | None = None
    fanouts: int = 0
    pods: int = 0
    failed: int = 0
    unresolved: int = 0
    seconds: Histogram = field(default_factory=lambda: Histogram.empty(BUCKETS))


class RelayRecorder:
    """The one holder of the status; any thread may write or take a snapshot."""

    def __init__(self, status: RelayStatus) -> None:
        self._status = status
        self._lock = threading.Lock()
        self._beat = time.monotonic()

    def snapshot(self) -> RelayStatus:
        """Return the status as it is now."""
        with self._lock:
            return self._status

    def update(self, **changes: object) -> None:
        """Replace fields."""
        with self._lock:
            self._status = replace(self._status, **changes)

    def count(self, **more: int) -> None:
        """Add to fields."""
        with self._lock:
            changes: dict[str, Any] = {name: getattr(self._status, name) + number for name, number in more.items()}
            if "notifications" in more:
                changes["last_notification"] = times.show(times.now())
            self._status = replace(self._status, **changes)

    def told(self, seconds: float) -> None:
        """Record a pod that took its notification."""
        with self._lock:
            self._status = replace(self._status, seconds=self._status.seconds.observed(seconds))

    def beat(self) -> None:
        """Say that the fan-out is alive."""
        self._beat = time.monotonic()

    def silence(self) -> float:
        """Return the seconds since then."""
        return time.monotonic() - self._beat


def _families(status: RelayStatus) -> Iterator[str]:
    if status.connected is not None:
        yield from family(PREFIX + "connected", "gauge", "1 if the queue is consumed.", one(status.connected))
        yield from family(
            PREFIX + "connections_total", "counter", "Connections to the broker.", one(status.connections)
        )
    for name, words, value in (
        ("notifications_total", "Notifications taken.", status.notifications),
        ("fanouts_total", "Times that all pods were told.", status.fanouts),
        ("failed_total", "Pods that were not told, after two tries.", status.failed),
        ("unresolved_total", "Names that could not be resolved.", status.unresolved),
    ):
        yield from family(PREFIX + name, "counter", words, one(value))
    yield from family(PREFIX + "pods", "gauge", "Addresses told last time.", one(status.pods))
    if status.last_notification:
        moment = times.parse(status.last_notification).timestamp()
        yield from family(
            PREFIX + "last_notification_timestamp_seconds", "gauge", "When the last one came.", one(moment)
        )
    yield from family(PREFIX + "tell_seconds", "histogram", "What one pod took.", histogram(status.seconds, {}))
    yield from process(PREFIX, status.program, status.started)


def render(status: RelayStatus) -> str:
    """Write all metrics."""
    return "\n".join(_families(status)) + "\n"
