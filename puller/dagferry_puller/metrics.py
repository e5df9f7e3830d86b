"""The metrics, written out of one status snapshot in Prometheus' text format.

No client library: it imports ``http.server`` and more, 6 MiB and 25 ms in every pod, for what is one loop over a
snapshot. Since nothing is registered, the series of a version that is not live any more are gone at once.
"""

from __future__ import annotations

import os
import resource
import time
from typing import TYPE_CHECKING

from dagferry_shared import times

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dagferry_puller.histogram import Histogram
    from dagferry_puller.status import Status
    from dagferry_puller.tellinfo import AirflowInfo

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "dagferry_puller_"

Sample = tuple[str, "Mapping[str, object]", float]


def _escape(value: object) -> str:
    return str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _line(name: str, labels: Mapping[str, object], value: float) -> str:
    inner = ",".join(f'{label}="{_escape(text)}"' for label, text in labels.items())
    return f"{name}{{{inner}}} {value!r}" if inner else f"{name} {value!r}"


def family(full: str, kind: str, words: str, samples: list[Sample]) -> Iterator[str]:
    """Yield the lines of one metric; ``full`` is its whole name, a sample is suffix, labels and value."""
    yield f"# HELP {full} {words}"
    yield f"# TYPE {full} {kind}"
    for suffix, labels, value in samples:
        yield _line(full + suffix, labels, float(value))


def _family(name: str, kind: str, words: str, samples: list[Sample]) -> Iterator[str]:
    return family(PREFIX + name, kind, words, samples)


def one(value: float) -> list[Sample]:
    """Return the only sample of a metric without labels."""
    return [("", {}, value)]


def _counts(label: str, counts: Mapping[str, int]) -> list[Sample]:
    return [("", {label: key}, count) for key, count in counts.items()]


def histogram(observed: Histogram, labels: Mapping[str, object]) -> list[Sample]:
    """Return the samples of a histogram."""
    samples: list[Sample] = []
    total = 0
    for bound, count in zip((*observed.bounds, "+Inf"), observed.counts, strict=True):
        total += count
        samples.append(("_bucket", {**labels, "le": bound}, total))
    return [*samples, ("_sum", labels, observed.total), ("_count", labels, total)]


def _instant(value: str | None) -> list[Sample]:
    return one(times.parse(value).timestamp()) if value else []


def _live(status: Status) -> Iterator[str]:
    live = status.live
    info: list[Sample] = []
    if live is not None:
        labels = {
            "bundle": status.bundle,
            "channel": status.channel,
            "commit": live.commit,
            "epoch": "" if live.epoch is None else live.epoch,
            "sequence": "" if live.sequence is None else live.sequence,
            "release": live.release,
        }
        info = [("", labels, 1)]
    yield from _family("release_info", "gauge", "The release that is live; no series without one.", info)
    yield from _family("ready", "gauge", "1 if a verified version is live.", one(status.ready))
    yield from _family("owner", "gauge", "1 if this puller owns the root, 0 if it stands by.", one(_is_owner(status)))
    yield from _family("held", "gauge", "1 if the channel is held.", one(bool(live and live.held)))
    yield from _family(
        "release_revoked", "gauge", "1 if the live release no longer verifies.", one(status.revoked is not None)
    )
    yield from _family("damaged", "gauge", "1 if the live tree or link is not as it was signed.", one(status.damaged))
    yield from _family(
        "live_since_timestamp_seconds", "gauge", "When the link was swapped.", _instant(live.since if live else None)
    )
    yield from _family(
        "pointer_issued_timestamp_seconds",
        "gauge",
        "When the live pointer was signed.",
        _instant(live.issued if live else None),
    )
    yield from _family(
        "pointer_expiry_timestamp_seconds",
        "gauge",
        "When the live pointer expires; no series if it never does.",
        _instant(live.expires if live else None),
    )


def _is_owner(status: Status) -> bool:
    return status.role == "owner"


def _checks(status: Status, now: float) -> Iterator[str]:
    since = status.last_success or status.started
    age = max(0.0, now - times.parse(since).timestamp())
    yield from _family(
        "last_success_timestamp_seconds", "gauge", "When a pointer was last accepted.", _instant(status.last_success)
    )
    yield from _family(
        "since_last_success_seconds", "gauge", "Time since then, or since the start if there was none.", one(age)
    )
    yield from _family("consecutive_failures", "gauge", "Syncs that failed in a row.", one(status.failures))
    yield from _family("seen_sequence", "gauge", "Newest sequence accepted on this channel.", _seen(status))
    yield from _family("versions", "gauge", "Versions on the volume.", one(status.versions))


def _seen(status: Status) -> list[Sample]:
    return [("", {"epoch": status.seen.epoch}, status.seen.sequence)] if status.seen else []


def _events(status: Status) -> Iterator[str]:
    yield from _family("syncs_total", "counter", "Syncs by outcome.", _counts("outcome", status.syncs))
    yield from _family("refusals_total", "counter", "Refusals by reason.", _counts("reason", status.refusals))
    yield from _family(
        "patches_total",
        "counter",
        "Versions made from the live one, or not, by result.",
        _counts("result", status.patches),
    )
    yield from _family("repairs_total", "counter", "Repairs by what was repaired.", _counts("what", status.repairs))
    yield from _family(
        "tree_changes_total", "counter", "Times that the live tree looked changed.", one(status.tree_changes)
    )
    yield from _family(
        "tampered_entries_total", "counter", "Entries of a tree that were not as signed.", one(status.tampered)
    )
    yield from _family(
        "equivocations_total", "counter", "Two pointers signed for one sequence: an alarm.", one(status.alarms)
    )
    yield from _family("notifications_total", "counter", "Notifications taken.", one(status.notifications))
    yield from _family(
        "notifications_proven", "gauge", "1 if they are relied on: polls come less often.", one(status.proven)
    )
    yield from _family("fetched_bytes_total", "counter", "Bytes from the store.", one(status.fetched_bytes))
    steps = [sample for step, h in status.steps.items() for sample in histogram(h, {"step": step})]
    yield from _family("sync_step_seconds", "histogram", "Time that the steps of syncs took.", steps)
    yield from _family(
        "publish_to_live_seconds",
        "histogram",
        "From the signing of a pointer to the swap, on pods that were live before.",
        histogram(status.deliveries, {}),
    )


def _hooks(status: Status) -> Iterator[str]:
    if not status.hooks:
        return
    hooks = [({"hook": name}, info) for name, info in status.hooks.items()]
    results: list[Sample] = []
    for labels, info in hooks:
        results += [("", {**labels, "result": "success"}, info.successes)]
        results += [("", {**labels, "result": "failure"}, info.failures)]
    yield from _family("hook_attempts_total", "counter", "Attempts of each hook, by result.", results)
    due: list[Sample] = [("", labels, info.state in {"running", "failing"}) for labels, info in hooks]
    yield from _family("hook_due", "gauge", "1 if the live version is still to be told to it.", due)
    last: list[Sample] = [
        ("", labels, times.parse(info.last_success).timestamp()) for labels, info in hooks if info.last_success
    ]
    yield from _family("hook_last_success_timestamp_seconds", "gauge", "When it last ended well.", last)


def _airflow(airflow: AirflowInfo | None) -> Iterator[str]:
    if airflow is None:
        return
    yield from _family("airflow_up", "gauge", "1 if Airflow answered when last asked.", one(airflow.up))
    parsed = airflow.parsed_at is not None
    yield from _family("airflow_parsed", "gauge", "1 if Airflow has parsed the live version.", one(parsed))
    yield from _family("airflow_dags", "gauge", "DAGs that Airflow has.", one(airflow.dags))
    yield from _family("airflow_pending_dags", "gauge", "DAGs not parsed from the live version.", one(airflow.pending))
    yield from _family("airflow_import_errors", "gauge", "Files Airflow cannot import.", one(airflow.import_errors))
    seconds = airflow.swap_to_parsed_seconds
    yield from _family(
        "airflow_swap_to_parsed_seconds",
        "gauge",
        "From the last swap until all was parsed; no series before.",
        [] if seconds is None else one(seconds),
    )


def process(prefix: str, program: str, since: str) -> Iterator[str]:
    """Yield what there is to say of any process of ours: its version, age, memory and CPU time."""
    with open("/proc/self/statm", "rb") as file:
        pages = int(file.read().split()[1])
    usage = resource.getrusage(resource.RUSAGE_SELF)
    started = times.parse(since).timestamp()
    yield from family(prefix + "build_info", "gauge", "The program itself.", [("", {"version": program}, 1)])
    yield from family(prefix + "process_start_time_seconds", "gauge", "When the process started.", one(started))
    yield from family(
        prefix + "process_resident_memory_bytes", "gauge", "Resident memory.", one(pages * os.sysconf("SC_PAGE_SIZE"))
    )
    yield from family(
        prefix + "process_cpu_seconds_total",
        "counter",
        "CPU time, user and system.",
        one(usage.ru_utime + usage.ru_stime),
    )


def render(status: Status, now: float | None = None) -> str:
    """Write all metrics.

    Args:
        status: the snapshot.
        now: seconds since 1970.
    """
    moment = time.time() if now is None else now
    lines = (
        *_live(status),
        *_checks(status, moment),
        *_events(status),
        *_hooks(status),
        *_airflow(status.airflow),
        *process(PREFIX, status.program, status.started),
    )
    return "\n".join(lines) + "\n"
