"""What every command that moves a pointer ends with: tell pods at the commit point, then say how it all went."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from dagferry_publisher.cli.announcing import succeeded
from dagferry_publisher.cli.output import show_outcome
from dagferry_publisher.notify import Notifier, Told, read_token

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dagferry_publisher.cli.session import Cli
    from dagferry_publisher.ops.outcome import Outcome
    from dagferry_publisher.transaction import Writer


def move(cli: Cli, urls: Sequence[str] | None, writer: Writer, operation: Callable[[Writer], Outcome]) -> None:
    """Run an operation and show its outcome; arguments as of ``carry_out``."""
    outcome, told = carry_out(cli, urls, writer, operation)
    show_outcome(cli.out, outcome, told)
    succeeded(cli, outcome)


def carry_out(
    cli: Cli, urls: Sequence[str] | None, writer: Writer, operation: Callable[[Writer], Outcome]
) -> tuple[Outcome, list[Told]]:
    """Run an operation; returns its outcome and who was told of it.

    Args:
        cli: the command's surroundings.
        urls: what ``--notify`` gave; told as soon as the pointer is written, while the rest is still under way.
        writer: signs pointers.
        operation: what moves the pointer.
    """
    setting = cli.settings.find("notify", urls)
    notifier = Notifier(setting.value if setting else (), read_token(cli.settings.environ) if setting else None)
    try:
        outcome = operation(replace(writer, committed=notifier.start))
    except BaseException:
        _warn(cli, notifier.results())  # the pointer may have moved all the same
        raise
    told = notifier.results()
    _warn(cli, told)
    return outcome, told


def _warn(cli: Cli, told: Sequence[Told]) -> None:
    for one in told:
        if one.ok:
            continue
        message = f"{one.url} was not notified: {one.detail}; its pods find the change by polling"
        warning = {"warning": {"reason": "not-notified", "message": message}}
        sys.stderr.write(json.dumps(warning) + "\n" if cli.out.as_json else f"dagctl: warning: {message}\n")
