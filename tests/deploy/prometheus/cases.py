"""For each alert: series on which it fires, with what it says then, and series on which it must not.

Series are in promtool's notation, a sample a minute; the pod ``a`` and, where two are needed, the pod ``b``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

Series = dict[str, str]

A, B = 'job="pods", instance="a"', 'job="pods", instance="b"'


def puller(name: str, labels: str = A) -> str:
    return f"dagferry_puller_{name}{{{labels}}}"


def relay(name: str) -> str:
    return f"dagferry_relay_{name}{{{A}}}"


def syncs(outcome: str) -> str:
    return puller("syncs_total", f'{A}, outcome="{outcome}"')


def info(pod: str = A, sequence: str = "5", release: str = "r5") -> Series:
    """The release that is live on a pod."""
    labels = f'bundle="etl", channel="main", epoch="1", sequence="{sequence}", release="{release}"'
    return {puller("release_info", f"{pod}, {labels}"): "1x60"}


def seen(pod: str, sequence: int) -> Series:
    return {puller("seen_sequence", f'{pod}, epoch="1"'): f"{sequence}x60"}


@dataclass(frozen=True)
class Case:
    """An alert on series, a sample a minute.

    Attributes:
        fires: series on which it fires.
        at: minutes.
        labels: of the alert, the severity aside.
        summary: what it says.
        quiet: series on which it does not.
    """

    fires: Series
    at: int
    labels: dict[str, str]
    summary: str
    quiet: Series = field(default_factory=dict)


POD = {"job": "pods", "instance": "a"}
CHANNEL = {"bundle": "etl", "channel": "main"}
BOTH = info(A) | info(B)


def growing(series: str, at: int, summary: str, labels: dict[str, str] | None = None) -> Case:
    """A counter that grows, and the same one at rest, at whatever it came to before."""
    return Case({series: "0+1x60"}, at, labels or POD, summary, {series: "7x60"})


def gauge(name: str, at: int, summary: str, *, bad: int = 1, good: int = 0) -> Case:
    return Case({puller(name): f"{bad}x60"}, at, POD, summary, {puller(name): f"{good}x60"})


CASES = {
    "DagferryPodBehind": Case(
        BOTH | seen(A, 5) | seen(B, 7),
        15,
        CHANNEL | POD | {"epoch": "1"},
        "a is 2 entries behind on main",
        BOTH | seen(A, 7) | seen(B, 7),
    ),
    "DagferryFleetSplit": Case(
        info(A) | info(B, "6", "r6"),
        20,
        CHANNEL,
        "2 releases are live on etl/main",
        BOTH | info('job="pods", instance="pinned"', sequence="", release="old"),
    ),
    "DagferryDivergence": Case(
        info(A) | info(B, "5", "other"),
        1,
        CHANNEL | {"epoch": "1", "sequence": "5"},
        "Two releases for entry 1-5 of main",
        info(A) | info(B, "6", "r6"),
    ),
    "DagferryHeldForLong": Case(
        dict.fromkeys(info(A), "1x1500") | {puller("held"): "1x1500"},
        1450,
        CHANNEL,
        "etl/main is held for a day",
        dict.fromkeys(info(A), "1x1500") | {puller("held"): "1x1380 0x120"},
    ),
    "DagferryPointerHalfExpired": Case(
        info(A)
        | {puller("pointer_issued_timestamp_seconds"): "0x60", puller("pointer_expiry_timestamp_seconds"): "3000x60"},
        45,
        CHANNEL,
        "90% of the time of main's pointer has passed",
        info(A)
        | info(B)
        | {puller("pointer_issued_timestamp_seconds"): "0x60", puller("pointer_expiry_timestamp_seconds"): "3000x60"}
        | {
            puller("pointer_issued_timestamp_seconds", B): "0x20 1200x40",
            puller("pointer_expiry_timestamp_seconds", B): "3000x20 6000x40",
        },
    ),
    "DagferryPointerExpired": Case(
        info(A) | {puller("pointer_expiry_timestamp_seconds"): "600x60"},
        12,
        CHANNEL,
        "The pointer of etl/main has expired",
        info(A) | {puller("pointer_expiry_timestamp_seconds"): "6000x60"},
    ),
    "DagferryNoPullers": Case(
        {}, 15, {}, "No puller reports to Prometheus", {puller("build_info", f'{A}, version="0.1.0"'): "1x60"}
    ),
    "DagferryPullerDown": Case(
        {puller("build_info", f'{A}, version="0.1.0"'): "1x5", f"up{{{A}}}": "1x5 0x60"},
        15,
        POD,
        "a does not answer any more",
        {puller("build_info", f'{B}, version="0.1.0"'): "1x60", f"up{{{A}}}": "0x60", f"up{{{B}}}": "1x60"},
    ),
    "DagferryPullerRestarts": Case(
        {puller("process_start_time_seconds"): "0x5 300x5 600x5 900x40"},
        20,
        POD,
        "The puller at a has started 3 times in half an hour",
        {puller("process_start_time_seconds"): "0x5 300x60"},
    ),
    "DagferryNotReady": gauge("ready", 10, "a has no verified version live", bad=0, good=1),
    "DagferryStale": Case(
        {puller("since_last_success_seconds"): "1000x60", puller("owner"): "1x60"},
        5,
        POD,
        "a has accepted no pointer for 16m 40s",
        {puller("since_last_success_seconds"): "1000x60", puller("owner"): "0x60"},
    ),
    "DagferryRefused": growing(syncs("refused"), 5, "a refuses what the store holds", POD | {"outcome": "refused"}),
    "DagferryEquivocation": growing(puller("equivocations_total"), 5, "a was shown two pointers for one sequence"),
    "DagferryRevokedLive": gauge("release_revoked", 1, "a runs a release that is revoked, or no longer verifies"),
    "DagferryTampered": growing(
        puller("tampered_entries_total"), 5, "Files of the live tree at a were changed, and repaired"
    ),
    "DagferryDamaged": gauge("damaged", 10, "The live tree at a is damaged and cannot be repaired"),
    "DagferryVolumeFailed": growing(
        syncs("volume-failed"), 10, "a cannot write to its volume", POD | {"outcome": "volume-failed"}
    ),
    "DagferryStoreUnreachable": Case(
        {syncs("store-unreachable"): "0+1x60", puller("since_last_success_seconds"): "0+60x60"},
        20,
        POD | {"outcome": "store-unreachable"},
        "a has not reached the store for 10 looks",
        {syncs("store-unreachable"): "0+1x60", puller("since_last_success_seconds"): "60x60"},
    ),
    "DagferryStoreDenied": growing(
        syncs("store-denied"), 10, "The store denies a access", POD | {"outcome": "store-denied"}
    ),
    "DagferryPointerMissing": growing(
        syncs("not-found"), 10, "a finds no pointer, release or archive", POD | {"outcome": "not-found"}
    ),
    "DagferryBug": growing(
        syncs("unexpected"), 5, "The puller at a met an error that it does not know", POD | {"outcome": "unexpected"}
    ),
    "DagferryHookFailing": Case(
        {
            puller("hook_due", f'{A}, hook="exec"'): "1x60",
            puller("hook_attempts_total", f'{A}, hook="exec", result="failure"'): "0+1x60",
        },
        15,
        POD | {"hook": "exec"},
        "The exec hook at a fails",
        {
            puller("hook_due", f'{A}, hook="exec"'): "0x60",
            puller("hook_attempts_total", f'{A}, hook="exec", result="failure"'): "0+1x60",
        },
    ),
    "DagferryAirflowAway": gauge("airflow_up", 15, "a cannot tell Airflow of swaps", bad=0, good=1),
    "DagferryAirflowNotParsed": Case(
        {puller("airflow_parsed"): "0x60", puller("airflow_up"): "1x60"},
        20,
        POD,
        "Airflow has not parsed what is live at a",
        {puller("airflow_parsed"): "0x10 1x50", puller("airflow_up"): "1x60"},
    ),
    "DagferryAirflowImportErrors": gauge(
        "airflow_import_errors", 10, "Airflow cannot import 3 files of what is live at a", bad=3
    ),
    "DagferryRelayFailing": growing(relay("failed_total"), 30, "The relay at a does not reach pods"),
    "DagferryRelayDisconnected": Case(
        {relay("connected"): "0x60"}, 10, POD, "The relay at a has lost its broker", {relay("connected"): "1x60"}
    ),
}

# Other ways to the same alerts.
MORE = {
    "DagferryRefused": growing(
        syncs("backed-off"), 5, "a refuses what the store holds", POD | {"outcome": "backed-off"}
    ),
    "DagferryTampered": growing(
        puller("repairs_total", f'{A}, what="link"'), 5, "Files of the live tree at a were changed, and repaired"
    ),
    "DagferryRelayFailing": growing(relay("unresolved_total"), 30, "The relay at a does not reach pods"),
    "DagferryPullerDown": Case(
        {f'dagferry_relay_build_info{{{A}, version="0.1.0"}}': "1x5", f"up{{{A}}}": "1x5 0x60"},
        15,
        POD,
        "a does not answer any more",
        {f"up{{{A}}}": "0x60"},  # something else that Prometheus knows
    ),
}
