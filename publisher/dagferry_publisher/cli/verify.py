"""``dagctl verify``: check what lies in the store, or in an export of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dagferry_publisher import export, journal
from dagferry_publisher.audit import Audit
from dagferry_publisher.chain import Chain
from dagferry_publisher.cli.command import TARGET, command
from dagferry_publisher.cli.output import SHORT
from dagferry_publisher.cli.session import Cli
from dagferry_publisher.errors import FoundProblems, UsageError
from dagferry_publisher.gitrepo import Repo
from dagferry_shared.errors import Reason, Refused
from dagferry_shared.rules import Rules

if TYPE_CHECKING:
    from dagferry_publisher.audit import Report


def _show(cli: Cli, report: Report) -> None:
    cli.out.line("checked: " + (", ".join(f"{n} {what}" for what, n in report.checked.items()) or "nothing"))
    for note in report.notes:
        cli.out.line(f"note: {note}", "yellow")
    for finding in report.findings:
        cli.out.line(f"{finding.key}: {finding.problem}", "red")
    if not report.findings:
        cli.out.line("all of it verifies", "green")


def _of_export(cli: Cli, path: Path) -> Audit:
    """Check an export with the trust file alone."""
    trust = cli.trust()
    try:
        with path.open("rb") as file:
            store, exported = export.read(file, trust.bundle)
    except OSError as error:
        raise UsageError(f"--export {path} cannot be read: {error.strerror}") from error
    known, _ = journal.channels(store, trust)
    if not known:
        raise Refused(Reason.UNTRUSTED_CHANNEL, "the export holds no channel that the trust file knows")
    audit = Audit(Chain(store, Rules(trust, known[0])), documents_only=True, progress=cli.out.progress)
    audit.everything()
    audit.report.notes.append(f"the export says that it was made at {exported}; archives are not part of it")
    for name in known:
        head = Chain(store, Rules(trust, name)).head().signed
        if head:
            at, commit = head.content.position, head.content.commit[:SHORT]
            where = f"{at[0]}-{at[1]} of {head.content.issued}, commit {commit}, pointer {head.payload_digest}"
            audit.report.notes.append(f"channel {name} ends at {where}")
    return audit


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
        exported: Annotated[
            Path | None,
            typer.Option(
                "--export",
                metavar="FILE",
                help="Check this file of dagctl log --export instead, offline: it needs the trust file alone.",
            ),
        ] = None,
    ) -> None:
        """Check every signature, digest and link of a channel's chain, and the live archive. Exit 3 on any finding.

        \b
        Example: dagctl verify
                 dagctl verify --all --rebuild .          (each commit packs to the same bytes again)
                 dagctl verify --export chain.json        (offline: what the log was exported to)
        """
        if exported:
            audit = _of_export(cli, exported)
        else:
            chain = cli.chain()
            audit = Audit(chain, rebuild=Repo(rebuild) if rebuild else None, progress=cli.out.progress)
            if everything:
                audit.everything()
            else:
                audit.channel(chain, all_archives=rebuild is not None)
        cli.out.emit(audit.report.as_json(), lambda: _show(cli, audit.report))
        if audit.report.findings:
            raise FoundProblems(f"{len(audit.report.findings)} findings; each is named above")
