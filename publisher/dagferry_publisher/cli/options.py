"""Options that several commands share as their own, with the same words everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

from dagferry_publisher.cli.command import env_help

ReleaseKey = Annotated[
    list[str] | None,
    typer.Option(
        "--release-key",
        metavar="FILE",
        help=env_help("release-key", "Private key that signs the release; the variable may hold the PEM text itself."),
    ),
]
PointerKey = Annotated[
    list[str] | None,
    typer.Option(
        "--pointer-key",
        metavar="FILE",
        help=env_help("pointer-key", "Private key that signs the pointer; the variable may hold the PEM text itself."),
    ),
]
Expires = Annotated[
    str | None,
    typer.Option(
        "--expires",
        metavar="DURATION",
        help=env_help("expires", "Not activated any more after, e.g. 7d [default: never]."),
    ),
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept in the history.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything and say what would happen; write nothing.")]
Actor = Annotated[
    str | None, typer.Option("--actor", help=env_help("actor", "Who acts [default: CI's user, user@host]."))
]
Notify = Annotated[
    list[str] | None,
    typer.Option(
        "--notify",
        metavar="URL",
        help=env_help(
            "notify",
            "POST there once the pointer has moved: a puller or the relay, http[s]://HOST:PORT (/notify is added). It "
            "can be given again. Token: DAGFERRY_NOTIFY_TOKEN or DAGFERRY_NOTIFY_TOKEN_FILE. A failure is a warning.",
        ),
    ),
]
