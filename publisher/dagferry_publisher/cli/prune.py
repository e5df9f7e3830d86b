"""``dagctl prune``: remove what no channel needs any more."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dagferry_publisher.cli.command import BUNDLE, JSON, STORE, TRUST, command
from dagferry_publisher.cli.options import DryRun, PointerKey, Reason
from dagferry_publisher.cli.progress import Progress
from dagferry_publisher.cli.pruneview import document, show_end, show_plan, size
from dagferry_publisher.cli.session import Cli
from dagferry_publisher.cuts import Cutter
from dagferry_publisher.errors import UsageError
from dagferry_publisher.keyring import read_bounded
from dagferry_publisher.retention import keeplist
from dagferry_publisher.retention.history import Policy
from dagferry_publisher.retention.inventory import Reader
from dagferry_publisher.retention.plan import Fate, total
from dagferry_publisher.retention.prune import Means, Prune
from dagferry_shared import names, times
from dagferry_shared.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagferry_shared.keys import FileSigner
    from dagferry_shared.trust import TrustFile

    Signers = Callable[[str], list[FileSigner]]

_MAX_DAYS = 36500

_KeepList = Annotated[
    Path | None,
    typer.Option(
        "--keep-list",
        metavar="FILE",
        help="Keep these, too: version ids, commits or digests, one a line, as pinned Airflow runs need them.",
    ),
]
_Grace = Annotated[
    str,
    typer.Option(
        metavar="DURATION", help="How long a cut is known before the first release goes: rollbacks may be under way."
    ),
]


def _policy(keep: int, days: int, keep_list: Path | None) -> Policy:
    pinned = keeplist.parse(read_bounded(str(keep_list), "keep-list", keeplist.MAX_FILE)) if keep_list else ()
    return Policy(keep, timedelta(days=days), pinned=pinned)


def _means(cli: Cli, policy: Policy, signers: Signers | None, reason: str, grace: str) -> Means:
    """Return what a run works with; a dry run without keys takes every channel for one that can be cut."""

    def can_cut(channel: str) -> bool:
        return signers is None or bool(signers(channel))

    def cutter(channel: str) -> Cutter:
        assert signers is not None  # noqa: S101 - a dry run cuts nothing
        return Cutter(cli.actor(), signers(channel), reason)

    wait = timedelta(0) if grace in {"0", "0s"} else times.duration(grace, "--grace")
    reader = Reader(cli.store, cli.remover, cli.trust(), can_cut, cli.out.progress)
    return Means(reader, cli.remover, policy, cutter, wait, say=cli.out.progress)


def _signers(cli: Cli, trust: TrustFile, given: list[str] | None) -> Signers:
    """Return what tells the keys that sign for a channel: none if they are too few."""
    loaded = cli.load_keys("pointer-key", given)

    def signers(channel: str) -> list[FileSigner]:
        role = trust.channel(channel).pointer
        able = [signer for signer in loaded if signer.public.id in role.keys]
        return able if len(able) >= role.threshold else []

    return signers


def _agreed(cli: Cli, prune: Prune, *, yes: bool) -> bool:
    """Ask on a terminal, as nothing brings back what is removed."""
    doomed = prune.plan.of(Fate.REMOVE)
    if not doomed or yes or not sys.stdin.isatty():
        return True
    if cli.out.as_json:
        raise UsageError("--json asks nobody: give --yes")
    return typer.confirm(f"Remove {len(doomed)} objects ({size(total(doomed))}) for good?", err=True)


def _carry_out(cli: Cli, prune: Prune) -> None:
    with Progress("removed", quiet=cli.out.as_json or not sys.stderr.isatty()) as bar:
        prune.run(bar.show)
    if not cli.out.as_json:
        show_end(cli.out, prune)


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "prune", STORE, BUNDLE, TRUST, JSON)
    def run(  # noqa: PLR0913 - a parameter is an option here
        cli: Cli,
        keep: Annotated[int, typer.Option(min=1, help="Keep the newest N deployments of each channel.")] = 50,
        keep_days: Annotated[int, typer.Option(min=0, max=_MAX_DAYS, help="Keep all history that is younger.")] = 90,
        keep_list: _KeepList = None,
        pointer_key: PointerKey = None,
        reason: Reason = "",
        grace: _Grace = "60s",
        yes: Annotated[bool, typer.Option("--yes", help="Do not ask on a terminal.")] = False,
        dry_run: DryRun = False,
    ) -> None:
        """Remove history, releases and archives of the bundle that no channel needs any more.

        What any rule keeps is kept: what is live, what a rollback without --to goes to, the newest commit, the newest
        --keep deployments, what is younger than --keep-days, all that the kept history names, the --keep-list, and any
        object younger than 48 h. What dagferry does not know is shown and left alone. Nothing is removed while the
        chain of any channel is not whole.

        Before history goes, a signed cut (--pointer-key) says where it begins now, so that verify tells what was
        removed from what was lost. Run it with store credentials of its own: nothing else needs to delete.

        \b
        Example: AWS_PROFILE=prune dagctl prune --keep 50 --keep-days 90 --dry-run
        """
        policy, trust = _policy(keep, keep_days, keep_list), cli.trust()
        why = names.text(reason, "--reason") or f"prune --keep {keep} --keep-days {keep_days}"
        layout = Layout(cli.own_bundle(trust))
        has_keys = not dry_run or cli.settings.find("pointer-key", pointer_key)
        signers = _signers(cli, trust, pointer_key) if has_keys else None
        if not dry_run:
            cli.ready_to_write(layout)
        prune = Prune(_means(cli, policy, signers, why, grace))
        if not cli.out.as_json:
            show_plan(cli.out, prune.plan, layout.root)
        if dry_run:
            cli.out.progress("dry run: nothing was written or removed")
        elif _agreed(cli, prune, yes=yes):
            _carry_out(cli, prune)
        else:
            cli.out.progress("nothing was removed")
        cli.out.emit(document(prune, policy, dry_run=dry_run), lambda: None)
