"""The ``dagctl`` command: its groups, its global options, and the last line of defence."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from dagferry_publisher.cli.exits import Exit, epilog
from dagferry_publisher.cli.summaries import COMMANDS, GROUPS
from dagferry_shared import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

# Which module has which command: loading one instead of all halves the start.
_MODULES = {
    "keygen": "keygen",
    "trust": "trust",
    "publish": "publish",
    "rollback": "rollback",
    **dict.fromkeys(("hold", "resume", "refresh", "promote", "repair"), "channel"),
    **dict.fromkeys(("history", "list", "show", "diff"), "history"),
    "verify": "verify",
    "prune": "prune",
    "status": "status",
    "log": "log",
    "why": "why",
    "rollout": "rollout",
    "announce": "announce",
    "wait": "wait",
    "archive": "archive",
    "doctor": "doctor",
    "setup": "setup",
    **dict.fromkeys(("config", "context"), "config"),
}


def is_help(arguments: Sequence[str]) -> bool:
    """Tell whether the help of the whole is asked for, and no command's."""
    words = iter(arguments)
    for word in words:
        if word == "--context":
            next(words, None)
        elif word in {"-h", "--help"}:
            return True
        elif not word.startswith("-"):
            return False
    return not arguments


def modules(arguments: Sequence[str]) -> list[str]:
    """Return the modules to load: the one of the command that is called, or all for help and completion."""
    words = iter(arguments)
    for word in words:
        if word == "--context":
            next(words, None)
        elif not word.startswith("-"):
            return [_MODULES[word]] if word in _MODULES else list(dict.fromkeys(_MODULES.values()))
    return list(dict.fromkeys(_MODULES.values()))


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"dagctl {__version__}")
        raise typer.Exit


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


def build(arguments: Sequence[str] = (), *, only_help: bool = False) -> typer.Typer:
    """Make the command line that ``arguments`` need; all of it without any.

    Args:
        arguments: of the command line.
        only_help: commands are only named, for the help of the whole.
    """
    app = typer.Typer(
        name="dagctl",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(epilog=epilog())(root)
    if only_help:
        _name_all(app)
        return app
    for name in modules(arguments):
        importlib.import_module(f"dagferry_publisher.cli.{name}").register(app)
    return app


def _name_all(app: typer.Typer) -> None:
    for name, summary in COMMANDS.items():
        app.command(name, help=summary)(_nothing)
    for name, summary in GROUPS.items():
        group = typer.Typer(help=summary)
        group.command("nothing")(_nothing)
        app.add_typer(group, name=name)


def _nothing() -> None:
    """Stand for a command in the help of the whole."""


def main() -> None:
    """Run ``dagctl``; the entry point of the package."""
    arguments = sys.argv[1:]
    try:
        build(arguments, only_help=is_help(arguments) and "_DAGCTL_COMPLETE" not in os.environ)(prog_name="dagctl")
    except OSError as error:  # this machine's fault: disk full, no permission
        sys.stderr.write(
            f"dagctl: unexpected: {error.strerror or error}{f': {error.filename}' if error.filename else ''}\n"
        )
        sys.exit(Exit.UNEXPECTED)
