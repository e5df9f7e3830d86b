"""What a puller says of itself: one snapshot, from which ``/status`` and ``/metrics`` are both made."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING

from dagferry_puller.histogram import Histogram
from dagferry_shared import times
from dagferry_shared.errors import Reason
from dagferry_shared.values import dataclass, field, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from dagferry_puller.hooks.info import HookInfo
    from dagferry_puller.tellinfo import AirflowInfo
    from dagferry_shared.rules import Seen

STEP_BUCKETS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
PATCHES = ("made", "refused", "unavailable", "failed")  # after all but the first the whole archive is taken
DELIVERY_BUCKETS = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)


class Outcome(StrEnum):
    """How a sync ended."""

    UNCHANGED = "unchanged"
    SWAPPED = "swapped"
    REFUSED = "refused"
    BACKED_OFF = "backed-off"
    UNREACHABLE = "store-unreachable"
    DENIED = "store-denied"
    NOT_FOUND = "not-found"
    STANDBY = "standby"
    VOLUME = "volume-failed"
    UNEXPECTED = "unexpected"


class Step(StrEnum):
    """The parts of a sync that are timed."""

    POINTER = "pointer"
    RELEASE = "release"
    DOWNLOAD = "download"
    UNPACK = "unpack"
    CHECK = "check"
    VERIFY = "verify"
    STAMP = "stamp"
    SWAP = "swap"
    RETIRE = "retire"


class Repair(StrEnum):
    """What was repaired."""

    LINK = "link"
    TREE = "tree"
    STATE = "state"
    ROOT = "root"


@dataclass(frozen=True, slots=True)
class LiveInfo:
    """The version that is live.

    Attributes:
        version: id.
        commit: of the source.
        release: digest of the release's envelope.
        tree: SHA-256 git tree id.
        repository: of the source.
        ref: of the source.
        since: when the link was swapped.
        epoch: of the pointer that made it live; None for a pinned version, or while that pointer is not known.
        sequence: the same.
        pointer: payload digest of that pointer: differs between pods only if somebody equivocates.
        action: of that pointer.
        actor: of that pointer.
        reason: of that pointer.
        held: whether the channel is held.
        issued: of that pointer.
        expires: instant after which it is not activated any more, None: never.
    """

    version: str
    commit: str
    release: str
    tree: str
    repository: str
    ref: str
    since: str | None = None
    epoch: int | None = None
    sequence: int | None = None
    pointer: str | None = None
    action: str | None = None
    actor: str | None = None
    reason: str | None = None
    held: bool = False
    issued: str | None = None
    expires: str | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the last sync did not end well."""

    outcome: str
    reason: str | None  # of a refusal
    detail: str
    since: str
    times: int


@dataclass(frozen=True, slots=True)
class Status:
    """The document that ``/status`` serves, field by field; ``format`` changes only if one changes its meaning.

    Attributes:
        format: 1.
        program: version of dagferry.
        mode: run or once.
        role: "starting", "owner" or "standby".
        bundle: name.
        channel: name.
        store: URL.
        root: path.
        link: path below the root.
        started: when the process started.
        host: name of the machine; in a pod the pod's.
        period, notified_period: seconds between polls; the latter while notifications are relied on.
        ready: whether a verified version is live.
        live: that version, or one that stays live although it no longer is to be trusted.
        revoked: why the live release no longer verifies under the trust file, None if it does.
        damaged: whether the live tree or link is not as it was signed.
        seen: newest pointer accepted on this channel: {epoch, sequence, payload_digest}.
        last_attempt: when a sync last started.
        last_success: when the store last gave a pointer that was accepted, and its version was live at the end.
        problem: what the last sync failed with.
        failures: syncs failed in a row.
        versions: on the volume.
        publish_to_live_seconds: of the last swap: from signing to the link.
        fetched_bytes: since the start.
        tree_changes: times that the live tree looked changed, and was read again for it.
        tampered: entries that were extra, missing or changed in live trees.
        alarms: equivocations seen.
        notifications: taken by POST /notify, since the start.
        proven: whether notifications are relied on, and polls come at --notified-period.
        syncs: by outcome.
        refusals: by reason.
        repairs: by what was repaired.
        patches: versions made from the live one and a delta, or not (refused, unavailable, failed), by result.
        steps: histograms of seconds by step.
        deliveries: histogram of publish-to-live seconds.
        hooks: what is done after a swap, by name.
        airflow: the Airflow that is told of swaps; None without --airflow.
    """

    program: str
    mode: str
    bundle: str
    channel: str
    store: str
    root: str
    link: str
    started: str
    format: int = 1
    host: str = ""
    period: float = 0.0
    notified_period: float = 0.0
    role: str = "starting"
    ready: bool = False
    live: LiveInfo | None = None
    revoked: str | None = None
    damaged: bool = False
    seen: Seen | None = None
    last_attempt: str | None = None
    last_success: str | None = None
    problem: Problem | None = None
    failures: int = 0
    versions: int = 0
    publish_to_live_seconds: float | None = None
    fetched_bytes: int = 0
    tree_changes: int = 0
    tampered: int = 0
    alarms: int = 0
    notifications: int = 0
    proven: bool = False
    syncs: dict[str, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    refusals: dict[str, int] = field(default_factory=dict)
    repairs: dict[str, int] = field(default_factory=lambda: dict.fromkeys(Repair, 0))
    patches: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PATCHES, 0))
    steps: dict[str, Histogram] = field(default_factory=lambda: {s: Histogram.empty(STEP_BUCKETS) for s in Step})
    deliveries: Histogram = field(default_factory=lambda: Histogram.empty(DELIVERY_BUCKETS))
    hooks: dict[str, HookInfo] = field(default_factory=dict)
    airflow: AirflowInfo | None = None


class Recorder:
    """The one holder of the status; any thread may write or take a snapshot.

    Args:
        status: where it starts.
        clock: monotonic seconds.
    """

    def __init__(self, status: Status, clock: Callable[[], float] = time.monotonic) -> None:
        self._status = status
        self._clock = clock
        self._lock = threading.Lock()
        self._beat = clock()

    def snapshot(self) -> Status:
        """Return the status as it is now."""
        with self._lock:
            return self._status

    def update(self, **changes: object) -> None:
        """Replace fields of the status."""
        with self._lock:
            self._status = replace(self._status, **changes)

    def beat(self) -> None:
        """Say that the worker is alive."""
        self._beat = self._clock()

    def silence(self) -> float:
        """Return the seconds since the worker last said that it is alive."""
        return self._clock() - self._beat

    @contextmanager
    def step(self, step: Step) -> Iterator[None]:
        """Time a part of a sync, also one that fails."""
        self.beat()
        start = self._clock()
        try:
            yield
        finally:
            with self._lock:
                steps = self._status.steps
                seconds = self._clock() - start
                self._status = replace(self._status, steps={**steps, step: steps[step].observed(seconds)})

    def fetched(self, count: int) -> None:
        """Count bytes from the store."""
        self.beat()
        with self._lock:
            self._status = replace(self._status, fetched_bytes=self._status.fetched_bytes + count)

    def notified(self) -> None:
        """Count a notification."""
        with self._lock:
            self._status = replace(self._status, notifications=self._status.notifications + 1)

    def tree_changed(self) -> None:
        """Count a glance that found the live tree changed."""
        with self._lock:
            self._status = replace(self._status, tree_changes=self._status.tree_changes + 1)

    def repaired(self, what: Repair, tampered: int = 0) -> None:
        """Count a repair and the entries that were not as signed."""
        with self._lock:
            repairs = self._status.repairs
            self._status = replace(
                self._status,
                repairs={**repairs, what: repairs[what] + 1},
                tampered=self._status.tampered + tampered,
            )

    def patched(self, result: str) -> None:
        """Count an attempt to make a version from the live one, by one of PATCHES."""
        with self._lock:
            patches = self._status.patches
            self._status = replace(self._status, patches={**patches, result: patches[result] + 1})

    def refused(self, reason: Reason) -> None:
        """Count a refusal; equivocation is an alarm of its own: a key or a publisher is broken."""
        with self._lock:
            refusals = {**self._status.refusals, reason: self._status.refusals.get(reason, 0) + 1}
            alarms = self._status.alarms + (reason is Reason.EQUIVOCATION)
            self._status = replace(self._status, refusals=refusals, alarms=alarms)

    def delivered(self, issued: datetime) -> None:
        """Record that the link was swapped to what was signed at that instant."""
        seconds = max(0.0, (times.now() - issued).total_seconds())
        with self._lock:
            self._status = replace(
                self._status,
                publish_to_live_seconds=seconds,
                deliveries=self._status.deliveries.observed(seconds),
            )

    def ended(self, outcome: Outcome, problem: Problem | None) -> None:
        """Record the end of a sync."""
        self.beat()
        with self._lock:
            old = self._status
            syncs = {**old.syncs, outcome: old.syncs[outcome] + 1}
            if problem is not None:
                self._status = replace(old, syncs=syncs, problem=problem, failures=old.failures + 1)
                return
            success = old.last_success if outcome is Outcome.STANDBY else times.show(times.now())
            self._status = replace(old, syncs=syncs, problem=None, failures=0, last_success=success)
