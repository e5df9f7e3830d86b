"""``dagctl status``: what is live where, and is anything wrong."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from dagferry_publisher.cli import fleet
from dagferry_publisher.cli.command import TARGET, command
from dagferry_publisher.cli.fleet import Deadline, Targets, View
from dagferry_publisher.cli.session import Cli
from dagferry_publisher.errors import PartOfFleet

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagferry_publisher.cli.output import Output


def _show(out: Output, view: View) -> None:
    for warning in view.warnings:
        out.line(f"note: {warning}", "yellow")
    out.lines(fleet.channel_lines(view))
    rows = [fleet.cells(row) for row in view.rows]
    out.table(fleet.COLUMNS, rows, [fleet.STYLES.get(row.state, "red") for row in view.rows])
    for line in fleet.troubles(view):
        out.line(line, "red")
    out.line(view.summary(), "green" if view.well else "red")


def _show_again(out: Output, view: View) -> None:
    out.line(f"--- {view.moment}")
    _show(out, view)


def _watch(cli: Cli, ask: Callable[[], View], interval: float) -> None:
    """Show the fleet again and again, until somebody has had enough."""
    if cli.out.as_json:
        _repeat(lambda: sys.stdout.write(fleet.compact(fleet.view_json(ask()))), interval)
    elif sys.stdout.isatty():
        from dagferry_publisher.cli.livetable import LiveTable  # noqa: PLC0415 - 30 ms that only a terminal needs

        with LiveTable() as live:
            _repeat(lambda: live.show(ask()), interval)
    else:
        _repeat(lambda: _show_again(cli.out, ask()), interval)


def _repeat(turn: Callable[[], object], interval: float) -> None:
    pause = threading.Event()
    try:
        while True:
            turn()
            sys.stdout.flush()
            pause.wait(interval)
    except KeyboardInterrupt:
        return


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "status", *TARGET)
    def run(
        cli: Cli,
        targets: Targets = None,
        watch: Annotated[bool, typer.Option("--watch", help="Look again and again, until Ctrl-C.")] = False,
        interval: Annotated[str, typer.Option(metavar="DURATION", help="Time between two looks.")] = "2s",
        deadline: Deadline = "2s",
    ) -> None:
        """Ask every pod what it has live, and say what is wrong. Exit 0: all are well; 13: some are not.

        Each pod is judged by its channel's verified pointer, where a store and a trust file are set; otherwise, and
        when the store is away, by the newest pointer that the other pods have accepted. A pod that has another
        pointer of the same sequence has diverged: it was shown another store, or a key is in wrong hands. --channel
        shows the pods of one channel alone.

        \b
        Example: dagctl status --targets dns://dagferry-pods.airflow.svc.cluster.local:9474
        """
        survey = fleet.open_survey(cli, targets, deadline)
        pause = fleet.seconds_of(interval, "--interval")
        channel = cli.given("channel")
        if watch:
            _watch(cli, lambda: fleet.look(cli, survey, channel), pause)
            return
        view = fleet.look(cli, survey, channel)
        cli.out.emit(fleet.view_json(view), lambda: _show(cli.out, view))
        if not view.well:
            raise PartOfFleet(view.summary())
