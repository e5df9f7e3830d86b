"""The ``dagctl`` command: its groups, its global options, and the last line of defence."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from dagferry_publisher.cli import (
    archive,
    channel,
    config,
    history,
    keygen,
    publish,
    rollback,
    trust,
    verify,
)
from dagferry_publisher.cli.exits import Exit, epilog
from dagferry_shared import __version__

app = typer.Typer(
    name="dagctl",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (keygen, trust, publish, rollback, channel, history, verify, archive, config):
    group.register(app)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"dagctl {__version__}")
        raise typer.Exit


@app.callback(epilog=epilog())
def root(
    context: Annotated[
        str | None, typer.Option("--context", help="Named context of dagctl.toml. [env: DAGFERRY_CONTEXT]")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Deliver Airflow DAGs from a git commit to every pod, and bring them back in seconds.

    \b
    In CI:          dagctl publish
    When it burns:  dagctl rollback            (to what was live before; holds the channel)
                    dagctl rollback --to SHA   (to any release of the channel's history)
    Afterwards:     dagctl resume

    Every option can stand in the environment (DAGFERRY_<OPTION>) or in a named context of dagctl.toml or
    ~/.config/dagferry/config.toml; dagctl config shows what is in effect and where it comes from.
    """


def main() -> None:
    """Run ``dagctl``; the entry point of the package."""
    try:
        app()
    except OSError as error:  # this machine's fault: disk full, no permission
        sys.stderr.write(
            f"dagctl: unexpected: {error.strerror or error}{f': {error.filename}' if error.filename else ''}\n"
        )
        sys.exit(Exit.UNEXPECTED)
