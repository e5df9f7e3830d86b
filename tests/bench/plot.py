"""The plot for the documentation, an SVG by hand: a row a peer, a column a figure, bars on a logarithmic scale."""

from __future__ import annotations

import math
from html import escape
from typing import Any

from bench.bundle_peers import PEERS

PANELS = {
    "cold.wall": "cold start, wall (ms)",
    "cold.cpu": "cold start, CPU (ms)",
    "idle.cpu": "nothing new, CPU (ms)",
    "update.wall": "4 files changed, wall (ms)",
    "update.cpu": "4 files changed, CPU (ms)",
    "update.bytes": "4 files changed, wire (kB)",
}
LEFT, PANEL, BAR, GAP, ROW, TOP = 250, 190, 130, 34, 20, 46
OURS, OTHER = "#1f6f4a", "#9aa7b4"


def _text(x: float, y: float, words: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{escape(words)}</text>'


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _panel(x: float, y: float, figure: str, peers: dict[str, Any]) -> list[str]:
    """Draw one column of a tree: its title, and a bar for each peer that has the figure."""
    found = {name: figures[figure]["median"] for name, figures in peers.items() if figure in figures}
    lines = [_text(x, y - 8, PANELS[figure], 'class="title"')]
    if not found:
        return lines
    low = min(found.values()) / 2 or 0.001
    span = math.log(max(found.values()) / low) or 1.0
    for row, name in enumerate(peers):
        if name not in found:
            continue
        width = max(1.0, BAR * math.log(max(found[name], low) / low) / span)
        at = y + row * ROW
        colour = OURS if name == "dagferry" else OTHER
        lines.append(f'<rect x="{x}" y="{at}" width="{width:.1f}" height="{ROW - 7}" fill="{colour}"/>')
        lines.append(_text(x + width + 4, at + 10, _shown(found[name])))
    return lines


def draw(result: dict[str, Any]) -> str:
    """Return the SVG of a result as ``--json`` writes it."""
    lines: list[str] = []
    y = TOP
    for tree, peers in result["trees"].items():
        lines.append(_text(10, y - 8, f"{tree} tree", 'class="tree"'))
        lines += [_text(10, y + row * ROW + 10, PEERS[name].name) for row, name in enumerate(peers)]
        for column, figure in enumerate(PANELS):
            lines += _panel(LEFT + column * PANEL, y, figure, peers)
        y += len(peers) * ROW + GAP
    machine = result["machine"]
    words = "Medians; bars are logarithmic. {cpus} CPUs, volumes on {volumes}, S3: {s3}, load {load_at_start}"
    lines.append(_text(10, y - 6, words.format(**machine)))
    width, height = LEFT + len(PANELS) * PANEL, y + 8
    style = "text{font:11px sans-serif;fill:#223}.tree{font-weight:bold;font-size:13px}.title{font-weight:bold}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
    return "\n".join(
        [head, f"<style>{style}</style>", '<rect width="100%" height="100%" fill="#fff"/>', *lines, "</svg>\n"]
    )
