"""How ``dagctl prune`` is shown: what goes and why, what stays, and the document of ``--json``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagferry_publisher.retention.plan import Fate, Kind, total

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagferry_publisher.cli.output import Output
    from dagferry_publisher.retention.history import Policy
    from dagferry_publisher.retention.plan import Cutting, Decision, Plan
    from dagferry_publisher.retention.prune import Prune
    from dagferry_shared.strictjson import Json

_KIB, _MIB = 1 << 10, 1 << 20


def document(prune: Prune, policy: Policy, *, dry_run: bool) -> dict[str, Json]:
    """Return what ``--json`` prints."""
    plan = prune.plan
    return {
        "dry_run": dry_run,
        "keep": policy.keep,
        "keep_days": policy.age.days,
        "cuts": [_cut(one) for one in plan.cuts],
        "objects": [_decision(one) for one in plan.decisions],
        "doomed": {"objects": len(plan.of(Fate.REMOVE)), "bytes": total(plan.of(Fate.REMOVE))},
        "removed": {"objects": len(prune.removed), "bytes": total(prune.removed)},
        "spared": [one.found.key for one in prune.spared],
        "unmatched": list(plan.unmatched),
        "uncut": list(plan.uncut),
    }


def _decision(one: Decision) -> dict[str, Json]:
    return {"key": one.found.key, "kind": one.kind, "size": one.found.size, "action": one.fate, "reason": one.why}


def _cut(one: Cutting) -> dict[str, Json]:
    epoch, sequence = one.entry.content.position
    return {
        "channel": one.channel,
        "epoch": epoch,
        "sequence": sequence,
        "entry": one.entry.payload_digest,
        "before": one.before,
        "reason": one.why,
    }


def size(count: int) -> str:
    """Write a number of bytes for people."""
    return f"{count / _MIB:.1f} MiB" if count >= _MIB else f"{count / _KIB:.1f} KiB"


def show_plan(out: Output, plan: Plan, root: str) -> None:
    """Show what goes and why, and how much stays.

    Args:
        out: where to.
        plan: what was decided.
        root: prefix of all keys, which is left out.
    """
    if doomed := plan.of(Fate.REMOVE):
        rows = [(one.kind, size(one.found.size), one.why, one.found.key.removeprefix(root)) for one in doomed]
        out.table(("goes", "size", "why", "object"), rows)
    for cut in plan.cuts:
        epoch, sequence = cut.entry.content.position
        out.line(f"channel {cut.channel} begins at {epoch}-{sequence} ({cut.why}); {cut.before} older entries go")
    for channel in plan.uncut:
        out.line(f"channel {channel} keeps its history: no --pointer-key signs for it", "yellow")
    for one in plan.of(Fate.UNKNOWN):
        out.line(f"left alone: {one.found.key}: {one.why}", "yellow")
    for word in plan.unmatched:
        out.line(f"--keep-list names {word}, which is not in the store", "yellow")
    out.table(("kind", "stays", "size", "goes", "size"), _summary(plan.decisions))


def _summary(decisions: Sequence[Decision]) -> list[tuple[str, ...]]:
    """Return a row for each kind of object that there is."""
    rows: list[tuple[str, ...]] = []
    for kind in Kind:
        of_kind = [one for one in decisions if one.kind is kind]
        goes = [one for one in of_kind if one.fate is Fate.REMOVE]
        stays = [one for one in of_kind if one.fate is not Fate.REMOVE]
        if of_kind:
            rows.append((str(kind), str(len(stays)), size(total(stays)), str(len(goes)), size(total(goes))))
    return rows


def show_end(out: Output, prune: Prune) -> None:
    """Say what was removed."""
    out.line(f"removed {len(prune.removed)} objects, {size(total(prune.removed))}", "green")
    if prune.spared:
        out.line(f"{len(prune.spared)} stayed after all: channels moved, or they were written again", "yellow")
