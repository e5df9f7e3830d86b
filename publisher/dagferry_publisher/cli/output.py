"""Showing results: tables and colour for people on stdout, one document with ``--json``, progress on stderr."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from dagferry_publisher.ops.outcome import Outcome
    from dagferry_shared.pointer import Pointer

_PIPE_WIDTH = 300  # columns where nobody's terminal says how wide it is
SHORT = 12  # hex digits of a commit shown to people


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Let ``command`` end it, as for any other output; rich would exit with 1."""
        raise  # noqa: PLE0704 - rich calls this while it handles the BrokenPipeError


class Output:
    """Where a command's result goes. Nothing from the store is ever taken for markup."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        width = None if sys.stdout.isatty() else _PIPE_WIDTH
        self._console = _Console(highlight=False, soft_wrap=True, width=width)
        self._status = _Console(stderr=True, highlight=False, soft_wrap=True)

    def emit(self, document: Mapping[str, object], show: Callable[[], None]) -> None:
        """Print the document, or show it to a person."""
        if self.as_json:
            sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
        else:
            show()

    def line(self, text: str, style: str = "") -> None:
        """Print a line for a person."""
        self._console.print(Text(text, style=style))

    def lines(self, texts: Iterable[str]) -> None:
        """Print some lines for a person."""
        for text in texts:
            self.line(text)

    def progress(self, text: str) -> None:
        """Say on stderr what is being done; silent with ``--json``."""
        if not self.as_json:
            self._status.print(Text(f"… {text}", style="dim"))

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a table."""
        table = Table(*columns, box=None, pad_edge=False, header_style="bold")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        self._console.print(table)


def pointer_line(content: Pointer) -> str:
    """Say in one line where a channel is."""
    held = f", HELD by {content.held.actor} ({content.held.reason or 'no reason given'})" if content.held else ""
    position = f"{content.epoch}-{content.sequence}"
    return f"{content.bundle}/{content.channel} is at commit {content.commit[:SHORT]}, sequence {position}{held}"


def show_outcome(out: Output, outcome: Outcome) -> None:
    """Print what an operation did."""

    def show() -> None:
        if outcome.dry_run:
            out.line(f"dry run: {outcome.note}", "yellow")
            return
        verb = "done" if outcome.changed else "unchanged"
        out.line(f"{outcome.action}: {verb}", "green" if outcome.changed else "yellow")
        if outcome.pointer:
            out.line(pointer_line(outcome.pointer.content))
        if outcome.note:
            out.line(outcome.note)

    out.emit(outcome.as_json(), show)
