"""``dagctl rollback``: bring a channel back to a release of its history."""

from __future__ import annotations

from typing import Annotated

import typer

from dagferry_publisher.cli.command import TARGET, command
from dagferry_publisher.cli.moving import move
from dagferry_publisher.cli.options import DryRun, Expires, Notify, PointerKey, Reason
from dagferry_publisher.cli.session import Cli
from dagferry_publisher.ops.rollback import RollbackRequest, rollback
from dagferry_shared import names


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "rollback", *TARGET)
    def run(  # noqa: PLR0913 - a parameter is an option here
        cli: Cli,
        to: Annotated[
            str | None,
            typer.Option(
                "--to", metavar="SHA|DIGEST", help="Commit or release digest, 7 digits or more, of the history."
            ),
        ] = None,
        pointer_key: PointerKey = None,
        expires: Expires = None,
        reason: Reason = "",
        no_hold: Annotated[
            bool, typer.Option("--no-hold", help="Let the next publish move the channel; by default it is held.")
        ] = False,
        dry_run: DryRun = False,
        notify: Notify = None,
    ) -> None:
        """Bring every pod of a channel back, in seconds.

        Without --to: to what was live before the release that is live now was first deployed; again, to what was live
        before that. The channel is then held: publishes upload and move nothing, until dagctl resume. Needs no clone,
        no release key and no GitLab.

        \b
        Example: dagctl rollback --to 3f2a91c --reason "DAG imports fail"
        """
        chain, writer = cli.begin(pointer_key, expires, dry_run=dry_run)
        request = RollbackRequest(to, names.text(reason, "--reason"), hold=not no_hold)
        move(cli, notify, writer, lambda writer: rollback(chain, writer, request, dry_run=dry_run))
