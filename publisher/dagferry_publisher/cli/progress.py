"""How far something is, on stderr: a bar on a terminal, a line at each change elsewhere, nothing with ``--json``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import Progress as Bar


class Progress:
    """A bar that fills.

    Args:
        title: what is being waited for.
        quiet: show nothing.
    """

    def __init__(self, title: str, *, quiet: bool) -> None:
        self._title = title
        self._quiet = quiet
        self._bar: Bar | None = None
        self._shown: tuple[int, int] | None = None

    def __enter__(self) -> Self:
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console  # noqa: PLC0415 - 30 ms that only a terminal needs
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - as above

            columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()
            self._bar = Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True))
            self._bar.add_task(self._title, total=None)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def show(self, done: int, total: int) -> None:
        """Say how far it is."""
        if self._bar:
            self._bar.update(self._bar.task_ids[0], completed=done, total=total)
        elif not self._quiet and (done, total) != self._shown:
            sys.stderr.write(f"… {self._title}: {done} of {total}\n")
        self._shown = done, total
