"""When people are told: after each command that moves a channel, and after each that was to and did not."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from dagferry_publisher import announce
from dagferry_publisher.announce import FAILURE, SUCCESS, Event
from dagferry_publisher.cli.exits import describe
from dagferry_shared import times
from dagferry_shared.errors import DagferryError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dagferry_publisher.cli.session import Cli
    from dagferry_publisher.ops.outcome import Outcome
    from dagferry_shared.pointer import Pointer

_QUIET = frozenset({"refresh"})  # done by a schedule: only its failures are news


def succeeded(cli: Cli, outcome: Outcome) -> None:
    """Tell of a channel that moved."""
    if outcome.dry_run or not outcome.changed or outcome.pointer is None or outcome.action in _QUIET:
        return
    content = outcome.pointer.content
    event = Event(
        action=outcome.action,
        ok=True,
        bundle=content.bundle,
        channel=content.channel,
        commit=content.commit,
        epoch=content.epoch,
        sequence=content.sequence,
        actor=content.actor,
        reason=content.reason,
        held=content.held is not None,
        note=outcome.note,
        pipeline=_setting(cli, "pipeline"),
        at=content.issued,
        dev=outcome.dev,
    )
    send(cli, event)


def failed(cli: Cli, action: str, options: Mapping[str, object], error: DagferryError) -> None:
    """Tell of a command that failed, unless nothing was to happen.

    Args:
        cli: its surroundings.
        action: its name.
        options: of the command.
        error: what ended it.
    """
    if options.get("dry_run"):
        return
    facts = describe(error)["error"]
    target, commit = options.get("target"), options.get("commit")
    event = Event(
        action=action,
        ok=False,
        bundle=_bundle(cli),
        channel=target if isinstance(target, str) else _setting(cli, "channel", cli.given("channel")),
        commit=_setting(cli, "commit", commit if isinstance(commit, str) else None) if action == "publish" else "",
        actor=_actor(cli),
        reason=str(options.get("reason") or ""),
        error_reason=str(facts["reason"]),
        error=str(facts["message"]),
        exit_code=int(str(facts["exit_code"])),
        pipeline=_setting(cli, "pipeline"),
        at=times.show(times.now()),
    )
    send(cli, event)


def send_rollout(cli: Cli, content: Pointer, stages: Sequence[str], note: str) -> None:
    """Tell of a rollout that came to its end."""
    event = Event(
        action="rollout",
        ok=True,
        bundle=content.bundle,
        channel=",".join(stages),
        commit=content.commit,
        epoch=content.epoch,
        sequence=content.sequence,
        actor=_actor(cli),
        note=note,
        pipeline=_setting(cli, "pipeline"),
        at=times.show(times.now()),
    )
    send(cli, event)


def send(cli: Cli, event: Event) -> bool:
    """Tell everybody that the settings name, if any; tells whether all took it. What fails is a warning."""
    setting = cli.settings.find("announce")
    if setting is None:
        return False
    try:
        poster = announce.announcer(announce.addresses(setting.value))
        poster.start(announce.body(event, template(cli, ok=event.ok)))
    except DagferryError as error:
        _warn(cli, f"nobody was told: {error}")
        return False
    told = poster.results()
    for one in told:
        if not one.ok:
            _warn(cli, f"{one.url} was not told of the {event.action}: {one.detail}")
    return all(one.ok for one in told)


def template(cli: Cli, *, ok: bool) -> str:
    """Return the text's template, checked."""
    option = "announce-text" if ok else "announce-failure-text"
    setting = cli.settings.find(option)
    return announce.check_template(setting.value[0], option) if setting else (SUCCESS if ok else FAILURE)


def _setting(cli: Cli, option: str, given: str | None = None) -> str:
    setting = cli.settings.find(option, given)
    return setting.value[0] if setting else ""


def _bundle(cli: Cli) -> str:
    try:
        return cli.bundle()
    except DagferryError:  # that may be what failed
        return ""


def _actor(cli: Cli) -> str:
    try:
        return cli.actor()
    except DagferryError:
        return ""


def _warn(cli: Cli, message: str) -> None:
    warning = {"warning": {"reason": "not-announced", "message": message}}
    sys.stderr.write(json.dumps(warning) + "\n" if cli.out.as_json else f"dagctl: warning: {message}\n")
