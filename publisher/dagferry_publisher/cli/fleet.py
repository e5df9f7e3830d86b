"""What ``dagctl status`` and ``wait`` share: whom to ask, and how a fleet is shown."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from dagferry_publisher.cli.command import env_help
from dagferry_publisher.cli.output import shown_commit
from dagferry_publisher.errors import UsageError
from dagferry_publisher.fleet import judge
from dagferry_publisher.fleet.judge import Row, State
from dagferry_publisher.fleet.reference import of_store
from dagferry_publisher.fleet.survey import Survey, read_targets
from dagferry_publisher.patience import Patience, Patient
from dagferry_shared import times

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dagferry_publisher.cli.session import Cli
    from dagferry_publisher.fleet.judge import Line, Reference
    from dagferry_publisher.fleet.survey import Answer

Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--targets",
        metavar="URLS",
        help=env_help(
            "targets",
            "Pods, separated by commas: dns://NAME:PORT is every address that the name has (a headless Service), "
            "http://HOST:PORT is one, @FILE is a file of them. It can be given again.",
        ),
    ),
]
Deadline = Annotated[str, typer.Option("--deadline", metavar="DURATION", help="The time that one pod has to answer.")]
COLUMNS = ("pod", "host", "channel", "state", "commit", "sequence", "live since (UTC)", "lag", "checked", "refused")
STYLES = {State.LIVE: "green", State.BEHIND: "yellow", State.FAILING: "yellow", State.QUIET: "yellow"}


@dataclass(frozen=True, slots=True)
class View:
    """A fleet at one moment.

    Attributes:
        rows: its pods.
        references: what their channels are at.
        warnings: why some are not known from the store.
        moment: when it was asked.
    """

    rows: Sequence[Row]
    references: Mapping[Line, Reference]
    warnings: Sequence[str]
    moment: str

    @property
    def well(self) -> bool:
        """Whether every pod is as it should be, and there are some."""
        return bool(self.rows) and all(row.well for row in self.rows)

    @property
    def counts(self) -> Counter[str]:
        """How many pods are in each state."""
        return Counter(row.state for row in self.rows)

    def summary(self) -> str:
        """Say it in a line."""
        return f"{len(self.rows)} pods: " + (", ".join(f"{n} {state}" for state, n in self.counts.most_common()) or "-")


def open_survey(cli: Cli, targets: list[str] | None, deadline: str) -> Survey:
    """Prepare to ask the pods that options, environment or context name."""
    words = cli.settings.need("targets", targets)
    return Survey(read_targets(words), times.duration(deadline, "--deadline").total_seconds())


def look(cli: Cli, survey: Survey, channel: str | None, *, with_store: bool = True) -> View:
    """Ask everybody once, and judge the answers by the store where one is set.

    Args:
        cli: the command's surroundings.
        survey: whom to ask.
        channel: pods of other channels are left out; None: all are shown.
        with_store: else pods are judged by each other alone.
    """
    answers = [answer for answer in survey.ask() if _wanted(answer, channel)]
    lines = {judge.line_of(answer.status) for answer in answers if answer.status}
    references, warnings = _references(cli, lines) if with_store else ({}, [])
    now = times.now()
    rows = judge.judge(answers, references, now)
    for line in lines - references.keys():
        of_pods = judge.reference_of(a.status for a in answers if a.status and judge.line_of(a.status) == line)
        if of_pods:
            references[line] = of_pods
    return View(sorted(rows, key=lambda row: (row.well, row.answer.pod)), references, warnings, times.show(now))


def _wanted(answer: Answer, channel: str | None) -> bool:
    return channel is None or answer.status is None or answer.status.channel == channel


def _references(cli: Cli, lines: set[Line]) -> tuple[dict[Line, Reference], list[str]]:
    """Return what the store says; nothing, with a word about it, where none is set."""
    if not cli.settings.find("store", cli.given("store")) or not cli.settings.find("trust", cli.given("trust")):
        return {}, ["no store and trust file are set: pods are judged by each other alone"]
    store = cli.store
    if isinstance(store, Patient):
        store.patience = Patience(0.0)  # a store that is away is worth a word, and no wait
    return of_store(store, cli.trust(), lines)


def row_json(row: Row) -> dict[str, object]:
    """Return a pod as ``--json`` shows it."""
    status = row.answer.status
    live = status.live if status else None
    position = live.position if live else None
    return {
        "pod": row.answer.pod,
        "state": str(row.state),
        "troubles": list(row.troubles),
        "host": status.host if status else None,
        "program": status.program if status else None,
        "role": status.role if status else None,
        "bundle": status.bundle if status else None,
        "channel": status.channel if status else None,
        "version": live.version if live else None,
        "commit": live.commit if live else None,
        "dev": live.dev if live else None,
        "epoch": position[0] if position else None,
        "sequence": position[1] if position else None,
        "live_since": live.since if live else None,
        "entries_behind": row.entries_behind,
        "lag_seconds": row.lag_seconds,
        "last_attempt": status.last_attempt if status else None,
        "last_success": status.last_success if status else None,
        "refusals": dict(status.refusals) if status else {},
        "alarms": status.alarms if status else 0,
    }


def view_json(view: View) -> dict[str, object]:
    """Return a fleet as ``--json`` shows it."""
    channels = [
        {
            "bundle": bundle,
            "channel": channel,
            "epoch": reference.position[0],
            "sequence": reference.position[1],
            "commit": reference.commit,
            "dev": reference.dev,
            "issued": reference.issued,
            "held": reference.held,
            "from": "store" if reference.of_store else "pods",
        }
        for (bundle, channel), reference in sorted(view.references.items())
    ]
    return {
        "asked": view.moment,
        "well": view.well,
        "counts": dict(view.counts),
        "channels": channels,
        "pods": [row_json(row) for row in view.rows],
        "warnings": list(view.warnings),
    }


def compact(document: dict[str, object]) -> str:
    """Return a document as one line."""
    return json.dumps(document, ensure_ascii=False) + "\n"


def channel_lines(view: View) -> list[str]:
    """Say what each channel is at."""
    lines = []
    for (bundle, channel), reference in sorted(view.references.items()):
        where = f"{reference.position[0]}-{reference.position[1]}"
        commit = f"commit {shown_commit(reference.commit, dev=reference.dev)}, " if reference.commit else ""
        held = ", HELD" if reference.held else ""
        by = "" if reference.of_store else " (by what its pods say)"
        lines.append(f"{bundle}/{channel} is at {commit}sequence {where}{held}{by}")
    return lines


def cells(row: Row) -> tuple[str, ...]:
    """Return a pod as a row of ``COLUMNS``."""
    status = row.answer.status
    if status is None:
        return row.answer.pod, "", "", row.state, *[""] * 6
    live, now = status.live, times.now()
    position = f"{live.position[0]}-{live.position[1]}" if live and live.position else ""
    checked = judge.age(status.last_success or status.last_attempt, status, now)
    return (
        row.answer.pod,
        status.host or "",
        status.channel,
        row.state,
        shown_commit(live.commit, dev=live.dev) if live else "",
        position,
        live.since.replace("T", " ")[:19] if live and live.since else "",
        _lag(row),
        "never" if checked is None else f"{_ago(checked)} ago",
        " ".join(f"{reason}:{count}" for reason, count in sorted(status.refusals.items())),
    )


def _lag(row: Row) -> str:
    entries = "" if row.entries_behind is None else f"{row.entries_behind} behind"
    seconds = "" if row.lag_seconds is None else _ago(row.lag_seconds)
    return ", ".join(filter(None, (seconds, entries)))


def _ago(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"


def troubles(view: View) -> list[str]:
    """Say what is wrong with each pod, a line each."""
    return [f"{row.answer.pod}: {words}" for row in view.rows for words in row.troubles]


def seconds_of(text: str, option: str) -> float:
    """Read an option that is a duration."""
    if text in {"0", "0s"}:
        raise UsageError(f"{option} must be above zero")
    return times.duration(text, option).total_seconds()
