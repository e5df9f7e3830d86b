"""A table on a terminal that is drawn again in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.console import Group
from rich.live import Live
from rich.text import Text

from dagferry_publisher.cli import fleet
from dagferry_publisher.cli.people import make_table

if TYPE_CHECKING:
    from types import TracebackType

    from dagferry_publisher.cli.fleet import View

_MOST_LINES = 10  # of troubles, below the table


class LiveTable:
    """The fleet on the whole screen, until it is left; what was there before comes back."""

    def __init__(self) -> None:
        self._live = Live(auto_refresh=False, screen=True, vertical_overflow="crop")

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, traceback)

    def show(self, view: View) -> None:
        """Draw a fleet; what is not well comes first."""
        head = [*fleet.channel_lines(view), f"{view.summary()}   {view.moment}   Ctrl-C ends"]
        styles = [fleet.STYLES.get(row.state, "red") for row in view.rows]
        table = make_table(fleet.COLUMNS, [fleet.cells(row) for row in view.rows], styles)
        foot = [*(f"note: {words}" for words in view.warnings), *fleet.troubles(view)][:_MOST_LINES]
        lines = [*map(Text, head), *(Text(line, style="red") for line in foot)]
        self._live.update(Group(*lines, table), refresh=True)
