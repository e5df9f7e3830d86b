"""The table for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.contest import Contest
    from bench.measure import Figure
    from bench.trees import Tree

OURS = "dagferry"
COLUMNS = {
    "cold start": [
        "cold.wall",
        "cold.cpu",
        "cold.pss",
        "cold.anonymous",
        "cold.bytes",
        "cold.requests",
        "cold.written",
    ],
    "nothing new": ["idle.wall", "idle.cpu", "idle.bytes", "idle.requests"],
    "update of 4 files": ["update.wall", "update.cpu", "update.bytes", "update.requests"],
    "rollback": ["rollback.wall", "rollback.cpu", "rollback.bytes", "rollback.requests"],
}


def heading(machine: dict[str, object]) -> str:
    """Say where the figures come from."""
    return ", ".join(f"{name} {value}" for name, value in machine.items())


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _cell(figure: Figure | None, ours: Figure | None) -> str:
    if figure is None:
        return "-"
    text = _number(figure.median)
    if len(figure.samples) > 2:
        text += f" ({_number(min(figure.samples))}…{_number(max(figure.samples))}, n={len(figure.samples)})"
    if ours is not None and ours is not figure and ours.median:
        text += f" = {_number(figure.median / ours.median)} of ours"
    return text


def table(tree: Tree, contest: Contest) -> str:
    """Return all figures of a tree: a line a peer, medians (lowest … highest), and how much of ours that is."""
    lines = [f"\n{tree.name}: {tree.files:,} files, {tree.files * tree.mean / 1e6:.2g} MB"]
    for scenario, columns in COLUMNS.items():
        lines.append(f"\n  {scenario}")
        for name, figures in contest.figures.items():
            ours = contest.figures.get(OURS, {})
            cells = {c: _cell(figures.get(c), ours.get(c)) for c in columns if c in figures}
            if cells:
                lines.append(f"    {contest.peers[name].name}")
                lines += [f"      {_label(c, figures[c]):<22} {text}" for c, text in cells.items()]
    lines += ["", *_rest(contest)]
    return "\n".join(lines)


def _label(column: str, figure: Figure) -> str:
    return f"{column.partition('.')[2]}, {figure.unit}" if figure.unit else column.partition(".")[2]


def _rest(contest: Contest) -> list[str]:
    """Return what only some have: versions on disk, memory while idle."""
    shown = [one for columns in COLUMNS.values() for one in columns]
    lines = []
    for name, figures in contest.figures.items():
        rest = {one: figure for one, figure in figures.items() if one not in shown}
        words = [f"{one} {_number(figure.median)} {figure.unit}".strip() for one, figure in rest.items()]
        if words:
            lines.append(f"  {contest.peers[name].name}: {', '.join(words)}")
    return lines
