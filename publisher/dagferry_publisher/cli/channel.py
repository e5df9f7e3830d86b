"""``dagctl hold``, ``resume``, ``refresh``, ``promote`` and ``repair``: moves of a channel that need no clone."""

from __future__ import annotations

from typing import Annotated

import typer

from dagferry_publisher.cli.command import BUNDLE, JSON, STORE, TARGET, TRUST, command
from dagferry_publisher.cli.moving import move
from dagferry_publisher.cli.options import DryRun, Expires, Notify, PointerKey, Reason
from dagferry_publisher.cli.session import Cli
from dagferry_publisher.errors import UsageError
from dagferry_publisher.ops import hold, promote, recut, refresh, repair
from dagferry_shared import names


def _register_hold(app: typer.Typer) -> None:
    @command(app, "hold", *TARGET)
    def run_hold(
        cli: Cli,
        pointer_key: PointerKey = None,
        expires: Expires = None,
        reason: Reason = "",
        dry_run: DryRun = False,
        notify: Notify = None,
    ) -> None:
        """Hold a channel where it is: publish and promote upload, and move nothing, until dagctl resume.

        \b
        Example: dagctl hold --reason "incident 4711"
        """
        chain, writer = cli.begin(pointer_key, expires, dry_run=dry_run)
        why = names.text(reason, "--reason")
        move(cli, notify, writer, lambda w: hold.hold(chain, w, reason=why, dry_run=dry_run))

    @command(app, "resume", *TARGET)
    def run_resume(
        cli: Cli,
        pointer_key: PointerKey = None,
        expires: Expires = None,
        reason: Reason = "",
        dry_run: DryRun = False,
        notify: Notify = None,
    ) -> None:
        """Lift a hold, and say what the next publish meets. Nothing is deployed by it.

        A commit that was rolled back stays off: the next publish must descend from it, or bring it back with --force.

        \b
        Example: dagctl resume --reason "incident 4711 is over"
        """
        chain, writer = cli.begin(pointer_key, expires, dry_run=dry_run)
        why = names.text(reason, "--reason")
        move(cli, notify, writer, lambda w: hold.resume(chain, w, reason=why, dry_run=dry_run))


def _register_refresh(app: typer.Typer) -> None:
    @command(app, "refresh", *TARGET)
    def run_refresh(
        cli: Cli,
        pointer_key: PointerKey = None,
        expires: Expires = None,
        reason: Reason = "",
        dry_run: DryRun = False,
        notify: Notify = None,
    ) -> None:
        """Sign the live release again, with a new expiry; a hold stays. Run it on a schedule where pointers expire.

        \b
        Example: dagctl refresh --expires 7d
        """
        chain, writer = cli.begin(pointer_key, expires, dry_run=dry_run)
        why = names.text(reason, "--reason")
        move(cli, notify, writer, lambda w: refresh.refresh(chain, w, reason=why, dry_run=dry_run))


def _register_promote(app: typer.Typer) -> None:
    @command(app, "promote", STORE, BUNDLE, TRUST, JSON)
    def run_promote(  # noqa: PLR0913 - a parameter is an option here
        cli: Cli,
        source: Annotated[str, typer.Option("--from", metavar="CHANNEL", help="Channel whose live release is taken.")],
        target: Annotated[str, typer.Option("--to", metavar="CHANNEL", help="Channel that is moved to it.")],
        pointer_key: PointerKey = None,
        expires: Expires = None,
        reason: Reason = "",
        dry_run: DryRun = False,
        notify: Notify = None,
    ) -> None:
        """Move a channel to what another one has live, if its own trust rules accept that release.

        \b
        Example: dagctl promote --from canary --to main
        """
        origin = cli.chain(source)
        chain, writer = cli.begin(pointer_key, expires, dry_run=dry_run, channel=target)
        why = names.text(reason, "--reason")
        move(cli, notify, writer, lambda w: promote.promote(origin, chain, w, reason=why, dry_run=dry_run))


def _register_repair(app: typer.Typer) -> None:
    @command(app, "repair", *TARGET)
    def run_repair(  # noqa: PLR0913 - a parameter is an option here
        cli: Cli,
        pointer_key: PointerKey = None,
        expires: Expires = None,
        reason: Reason = "",
        new_epoch: Annotated[
            bool,
            typer.Option(
                "--new-epoch", help="Begin the trust file's epoch (after a compromised key, a restored bucket)."
            ),
        ] = False,
        cut: Annotated[
            bool,
            typer.Option(
                "--cut",
                help="Sign that the history begins where it is whole (older copies lost, cut by a removed key).",
            ),
        ] = False,
        dry_run: DryRun = False,
        notify: Notify = None,
    ) -> None:
        """Bring back a pointer that is gone, damaged or behind its history: the newest copy that verifies.

        Run dagctl verify first: it says what is wrong. A new entry is written on top of that copy, so the chain shows
        that it happened; objects of the store that are no entries stay.

        \b
        Example: dagctl repair --reason "pointer was overwritten"
                 dagctl repair --new-epoch --reason "bucket restored"     (after dagctl trust epoch)
        """
        chain, writer = cli.begin(pointer_key, expires, dry_run=dry_run)
        why = names.text(reason, "--reason")
        if cut and new_epoch:
            raise UsageError("--cut and --new-epoch are two repairs: first --new-epoch")
        if cut:
            move(cli, notify, writer, lambda w: recut.recut(chain, w, reason=why, dry_run=dry_run))
            return
        move(cli, notify, writer, lambda w: repair.repair(chain, w, reason=why, new_epoch=new_epoch, dry_run=dry_run))


def register(app: typer.Typer) -> None:
    """Add the commands."""
    _register_hold(app)
    _register_refresh(app)
    _register_promote(app)
    _register_repair(app)
