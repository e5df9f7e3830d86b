"""Showing results: tables and colour for people on stdout, one document with ``--json``, progress on stderr."""

from __future__ import annotations

import json
import sys
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from dagferry_publisher.cli.people import People
    from dagferry_publisher.notify import Told
    from dagferry_publisher.ops.outcome import Outcome
    from dagferry_shared.pointer import Pointer

SHORT = 12  # hex digits of a commit shown to people


def shown_commit(commit: str, *, dev: bool) -> str:
    """Shorten a commit for people; ``+dev`` says that what is meant is uncommitted work on top of it."""
    return commit[:SHORT] + ("+dev" if dev else "")


class Output:
    """Where a command's result goes. Nothing from the store is ever taken for markup."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    @cached_property
    def _people(self) -> People:
        from dagferry_publisher.cli.people import People  # noqa: PLC0415 - --json need not load rich

        return People()

    def emit(self, document: Mapping[str, object], show: Callable[[], None]) -> None:
        """Print the document, or show it to a person."""
        if self.as_json:
            sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
        else:
            show()

    def line(self, text: str, style: str = "") -> None:
        """Print a line for a person."""
        self._people.show_line(text, style)

    def lines(self, texts: Iterable[str]) -> None:
        """Print some lines for a person."""
        for text in texts:
            self.line(text)

    def progress(self, text: str) -> None:
        """Say on stderr what is being done; silent with ``--json``."""
        if not self.as_json:
            sys.stderr.write(f"… {text}\n")

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]], styles: Sequence[str] | None = None) -> None:
        """Print a table; with a style for each row if it is to be seen from afar."""
        self._people.show_table(columns, rows, styles)


def pointer_line(content: Pointer, *, dev: bool = False) -> str:
    """Say in one line where a channel is; ``dev``: at uncommitted work."""
    held = f", HELD by {content.held.actor} ({content.held.reason or 'no reason given'})" if content.held else ""
    position = f"{content.epoch}-{content.sequence}"
    commit = shown_commit(content.commit, dev=dev)
    return f"{content.bundle}/{content.channel} is at commit {commit}, sequence {position}{held}"


def show_outcome(out: Output, outcome: Outcome, told: Sequence[Told] = ()) -> None:
    """Print what an operation did, and who was told of it."""

    def show() -> None:
        if outcome.dry_run:
            out.line(f"dry run: {outcome.note}", "yellow")
            return
        verb = "done" if outcome.changed else "unchanged"
        out.line(f"{outcome.action}: {verb}", "green" if outcome.changed else "yellow")
        if outcome.pointer:
            out.line(pointer_line(outcome.pointer.content, dev=outcome.dev))
        if outcome.note:
            out.line(outcome.note)
        if any(one.ok for one in told):
            out.line(f"notified: {', '.join(one.url for one in told if one.ok)}")

    out.emit({**outcome.as_json(), "notified": [one.as_json() for one in told]}, show)
