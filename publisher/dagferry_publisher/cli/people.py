"""Lines and tables on a person's terminal, through rich; loaded only where a person is shown something (30 ms)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_PIPE_WIDTH = 300  # columns where nobody's terminal says how wide it is


class People(Console):
    """Standard output for people. Nothing that is shown is ever taken for markup."""

    def __init__(self) -> None:
        super().__init__(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _PIPE_WIDTH)

    def on_broken_pipe(self) -> None:
        """Let ``command`` end it, as for any other output; rich would exit with 1."""
        raise  # noqa: PLE0704 - rich calls this while it handles the BrokenPipeError

    def show_line(self, text: str, style: str) -> None:
        """Print a line."""
        self.print(Text(text, style=style))

    def show_table(
        self, columns: Sequence[str], rows: Iterable[Sequence[str]], styles: Sequence[str] | None = None
    ) -> None:
        """Print a table."""
        self.print(make_table(columns, rows, styles))


def make_table(columns: Sequence[str], rows: Iterable[Sequence[str]], styles: Sequence[str] | None = None) -> Table:
    """Return a table of plain texts, a style for each row."""
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for number, row in enumerate(rows):
        table.add_row(*(Text(cell, style=styles[number] if styles else "") for cell in row))
    return table
