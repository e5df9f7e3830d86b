"""``dagctl verify``: check what lies in the store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dagferry_publisher.audit import Audit
from dagferry_publisher.cli.command import TARGET, command
from dagferry_publisher.cli.session import Cli
from dagferry_publisher.errors import FoundProblems
from dagferry_publisher.gitrepo import Repo


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "verify", *TARGET)
    def run(
        cli: Cli,
        everything: Annotated[
            bool, typer.Option("--all", help="All channels of the bundle, all archives, every object's digest.")
        ] = False,
        rebuild: Annotated[
            Path | None,
            typer.Option(
                "--rebuild", metavar="DIR", help="Clone to pack each commit from again, and compare the bytes."
            ),
        ] = None,
    ) -> None:
        """Check every signature, digest and link of a channel's chain, and the live archive. Exit 3 on any finding."""
        chain = cli.chain()
        audit = Audit(chain, rebuild=Repo(rebuild) if rebuild else None, progress=cli.out.progress)
        if everything:
            audit.everything()
        else:
            audit.channel(chain, all_archives=rebuild is not None)
        report = audit.report

        def show() -> None:
            cli.out.line("checked: " + (", ".join(f"{n} {what}" for what, n in report.checked.items()) or "nothing"))
            for note in report.notes:
                cli.out.line(f"note: {note}", "yellow")
            for finding in report.findings:
                cli.out.line(f"{finding.key}: {finding.problem}", "red")
            if not report.findings:
                cli.out.line("all of it verifies", "green")

        cli.out.emit(report.as_json(), show)
        if report.findings:
            raise FoundProblems(f"{len(report.findings)} findings; each is named above")
