"""``dagctl why``: why is my merge not live?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dagferry_publisher.cli import fleet
from dagferry_publisher.cli.command import TARGET, command, env_help
from dagferry_publisher.cli.fleet import Deadline, Targets
from dagferry_publisher.cli.session import Cli
from dagferry_publisher.errors import NotFound, UsageError
from dagferry_publisher.fleet.survey import Survey
from dagferry_publisher.gitrepo import Repo
from dagferry_publisher.why import verdict
from dagferry_publisher.why.facts import gather
from dagferry_shared import times
from dagferry_shared.errors import Refused
from dagferry_shared.targets import parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagferry_publisher.fleet.judge import Row
    from dagferry_publisher.why.facts import Facts
    from dagferry_publisher.why.verdict import Why

_MIN_PREFIX = 7


def _commit(cli: Cli, given: str | None, repo: Repo | None) -> str | None:
    """Return the commit that is missed: by the clone its full id, else the digits that were given."""
    setting = cli.settings.find("commit", given)
    if setting is None:
        return None
    text = setting.value[0]
    if repo is not None:
        try:
            return repo.resolve(text)
        except NotFound:
            pass  # not in this clone: its digits may do
    if len(text) < _MIN_PREFIX or set(text.lower()) - set("0123456789abcdef"):
        raise UsageError(f"--commit {text[:60]!r} is no commit of the clone, nor {_MIN_PREFIX} hex digits of one")
    return text.lower()


def _repo(cli: Cli, given: str | None) -> Repo | None:
    """Return the clone that is named, else the one here, if there is one."""
    setting = cli.settings.find("repo", given)
    path = Path(setting.value[0] if setting else ".")
    return Repo(path) if setting or (path / ".git").exists() else None


def _rows(cli: Cli, what: str | None, targets: list[str] | None, deadline: str) -> list[Row]:
    """Ask the pods: the one that is named, else all that the settings name; none if they name none."""
    pod = _address(what) if what else None
    if pod is not None:
        survey = Survey([parse(f"http://{pod}", "/status")], fleet.seconds_of(deadline, "--deadline"))
        return list(fleet.look(cli, survey, None).rows)
    if cli.settings.find("targets", targets) is None:
        return []
    return list(fleet.look(cli, fleet.open_survey(cli, targets, deadline), None).rows)


def _address(what: str) -> str | None:
    """Return an address with a port, such as ``10.0.0.7:9474``; None for a name."""
    host, separator, port = what.rpartition(":")
    return what if separator and host and port.isdecimal() else None


def _is_channel(cli: Cli, what: str) -> bool:
    try:
        cli.trust().channel(what)
    except Refused:
        return False
    return True


def _choose(cli: Cli, what: str | None, rows: Sequence[Row]) -> tuple[str, list[Row]]:
    """Return the channel in question, and its pods or the one that is named.

    Raises:
        NotFound: it is neither a channel nor a pod.
    """
    if what is None or _is_channel(cli, what):
        channel = what or cli.one("channel")
        return channel, [r for r in rows if r.answer.status is None or r.answer.status.channel == channel]
    found = [r for r in rows if r.answer.pod == what or (r.answer.status and r.answer.status.host == what)]
    if not found:
        raise NotFound(f"{what[:80]!r} is neither a channel of the trust file nor one of the {len(rows)} pods asked")
    status = found[0].answer.status
    return status.channel if status else cli.one("channel"), found


def _show(cli: Cli, facts: Facts, found: Sequence[Why], pods: int) -> None:
    cli.out.line(verdict.where_it_is(facts))
    for why in found:
        cli.out.line(f"{why.where}: {why.sentence}", "red")
        cli.out.line(f"  → {why.cure}", "yellow")
    if not found:
        what = f"Commit {facts.commit[:12]} is live" if facts.commit else "All is well"
        cli.out.line(f"{what}{f' on all {pods} pods' if pods else ', as far as the store says'}.", "green")


def _json(facts: Facts, found: Sequence[Why], pods: int) -> dict[str, object]:
    live = facts.entries[0] if facts.entries else None
    reasons = [{"where": why.where, "sentence": why.sentence, "cure": why.cure} for why in found]
    return {
        "channel": facts.channel,
        "commit": facts.commit,
        "live": live.commit if live else None,
        "pods": pods,
        "reasons": reasons,
    }


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "why", *TARGET)
    def run(
        cli: Cli,
        what: Annotated[
            str | None, typer.Argument(metavar="[CHANNEL|POD]", help="A channel, or a pod's address or host name.")
        ] = None,
        commit: Annotated[
            str | None,
            typer.Option(metavar="SHA", help=env_help("commit", "What should be live [default: CI_COMMIT_SHA].")),
        ] = None,
        repo: Annotated[
            str | None,
            typer.Option(help=env_help("repo", "Clone that says what descends from what [default: the one here].")),
        ] = None,
        targets: Targets = None,
        deadline: Deadline = "2s",
    ) -> None:
        """Say why a commit is not live: a plain sentence and a line of cure for each reason. Exit 0: it is live.

        Asks the channel's signed chain, a clone if there is one, and the pods if --targets names any. The exit code is
        of the first reason: 5 held, 4 not a descendant or moved away from, 8 never published, 13 a pod, 3 the rest.

        \b
        Example: dagctl why --commit 3f2a91c
                 dagctl why airflow-scheduler-0 --targets dns://dagferry-pods:9474
        """
        clone = _repo(cli, repo)
        missed = _commit(cli, commit, clone)
        channel, rows = _choose(cli, what, _rows(cli, what, targets, deadline))
        facts = gather(cli.chain(channel), missed, clone if missed and len(missed) in {40, 64} else None, times.now())
        found = [*verdict.of_channel(facts), *verdict.of_pods(rows, missed)]
        cli.out.emit(_json(facts, found, len(rows)), lambda: _show(cli, facts, found, len(rows)))
        error = verdict.error_of(found)
        if error is not None:
            raise error
