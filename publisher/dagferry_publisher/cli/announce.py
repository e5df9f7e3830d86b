"""``dagctl announce``: see what people will be told, and whether it reaches them."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from dagferry_publisher.announce import Event, addresses, render, shown
from dagferry_publisher.cli import announcing
from dagferry_publisher.cli.command import BUNDLE, CHANNEL, JSON, command
from dagferry_publisher.cli.options import DryRun
from dagferry_publisher.cli.session import Cli
from dagferry_publisher.errors import NotFound
from dagferry_shared import times


def _example(cli: Cli, *, failure: bool) -> Event:
    bundle, channel = (cli.settings.find(name, cli.given(name)) for name in ("bundle", "channel"))
    return Event(
        action="publish",
        ok=not failure,
        bundle=bundle.value[0] if bundle else "example",
        channel=channel.value[0] if channel else "main",
        commit="0" * 40,
        epoch=1,
        sequence=1,
        actor=cli.actor(),
        reason="only a test of the announcements",
        error_reason="conflict" if failure else "",
        error="only a test" if failure else "",
        exit_code=4 if failure else 0,
        at=times.show(times.now()),
    )


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "announce", BUNDLE, CHANNEL, JSON)
    def run(
        cli: Cli,
        failure: Annotated[bool, typer.Option("--failure", help="As after a command that failed.")] = False,
        dry_run: DryRun = False,
    ) -> None:
        """Send a test to the webhooks that are told when a channel moved, or failed to.

        \b
        DAGFERRY_ANNOUNCE               addresses, separated by spaces, or @FILE that holds them; a context of
                                        dagctl.toml may have them as announce. They let whoever knows them write
                                        there, so they are never shown, and no option takes them.
        DAGFERRY_ANNOUNCE_TEXT          the text: {bundle} {channel} {action} {commit} {short} {epoch} {sequence}
                                        {actor} {reason} {note} {pipeline} {at} {why} {hold}
        DAGFERRY_ANNOUNCE_FAILURE_TEXT  the same for failures; also {error} {error_reason} {exit_code}

        A POST has these as JSON, and the text as "text". What is filled in can mention nobody. A webhook that does not
        answer within 5 s, or not with 2xx, costs a command a warning.

        \b
        Example: DAGFERRY_ANNOUNCE=@/etc/dagferry/webhooks dagctl announce --failure --dry-run
        """
        event = _example(cli, failure=failure)
        text = render(event, announcing.template(cli, ok=event.ok))
        urls = addresses(cli.settings.need("announce"))
        ok = not dry_run and announcing.send(cli, event)
        where = [shown(url) for url in urls]

        def show() -> None:
            cli.out.line(text)
            cli.out.line(f"{'sent to' if ok else 'would go to' if dry_run else 'failed:'} {', '.join(where)}")
            cli.out.line(json.dumps(asdict(event), ensure_ascii=False))

        cli.out.emit({"text": text, "sent": ok, "to": where, "facts": asdict(event)}, show)
        if not ok and not dry_run:
            raise NotFound("not every webhook took it; the warnings say why")
