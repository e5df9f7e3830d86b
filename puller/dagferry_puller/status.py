"""What a puller says of itself: one snapshot, from which ``/status`` and ``/metrics`` are both made."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from dagferry_puller.histogram import Histogram
from dagferry_shared.values import dataclass, field

if TYPE_CHECKING:
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
        dev: whether it is uncommitted work.
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
    dev: bool = False


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
