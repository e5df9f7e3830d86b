"""``dagctl rollout``: a release goes from channel to channel, watched and checked, or back."""

from __future__ import annotations

import itertools
import secrets
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from dagferry_publisher import journal
from dagferry_publisher.chain import Chain
from dagferry_publisher.cli import fleet
from dagferry_publisher.cli.announcing import send_rollout
from dagferry_publisher.cli.command import BUNDLE, JSON, STORE, TRUST, command
from dagferry_publisher.cli.fleet import Deadline, Targets
from dagferry_publisher.cli.options import DryRun, Expires, Notify, PointerKey, Reason
from dagferry_publisher.cli.session import Cli
from dagferry_publisher.cli.staging import Options, Surroundings
from dagferry_publisher.errors import Conflict, NotFound, StageFailed, UsageError
from dagferry_publisher.fleet import quorum as quorums
from dagferry_publisher.keyring import check_role
from dagferry_publisher.rollout import checks as all_checks
from dagferry_publisher.rollout import marks
from dagferry_publisher.rollout.run import Plan, Run
from dagferry_shared import names
from dagferry_shared.errors import DagferryError, Refused
from dagferry_shared.rules import Rules

if TYPE_CHECKING:
    from dagferry_publisher.rollout.marks import Rollout
    from dagferry_publisher.transaction import Writer
    from dagferry_shared.pointer import Pointer

_ENTRIES = 500  # of each channel in which a rollout is looked for


def _names(text: str) -> tuple[str, ...]:
    found = tuple(names.name(word.strip(), "--stages") for word in text.split(","))
    if len(set(found)) != len(found) or len(found) > marks.MAX_STAGES:
        raise UsageError(f"--stages names a channel twice, or more than {marks.MAX_STAGES}")
    return found


def _entries(chain: Chain) -> list[Pointer]:
    """Return a channel's newest entries, as far as they are whole; none if nothing was ever published."""
    found: list[Pointer] = []
    head, _ = chain.verified_head()
    if head is not None:
        with suppress(Refused):
            found.extend(entry.content for entry in itertools.islice(chain.walk(head), _ENTRIES))
    return found


def _recall(cli: Cli, stages: str | None, only: str | None) -> tuple[Rollout, Pointer]:
    """Find the rollout to go on with or to undo, and an entry of its release.

    Raises:
        NotFound: there is none.
    """
    trust = cli.trust()
    known = _names(stages) if stages else tuple(journal.channels(cli.store, trust)[0])
    entries = {name: _entries(Chain(cli.store, Rules(trust, name))) for name in known}
    found = marks.recall(entries, only=only)
    if found is None:
        which = f" {only}" if only else ""
        raise NotFound(f"no rollout{which} is in the history of {', '.join(known) or 'any channel'}")
    origin = next(entry for chain in entries.values() for entry in chain if entry.release == found.release)
    return found, origin


def _fresh(cli: Cli, stages: str | None, source: str | None) -> tuple[tuple[str, ...], Pointer]:
    if not stages:
        raise UsageError("--stages is needed: channels in order, e.g. canary,main (or --resume, or --undo)")
    found = _names(stages)
    if not source and len(found) < 2:
        raise UsageError("--stages names one channel: the first is where the release comes from, unless --from says so")
    return found, cli.chain(source or found[0]).live().content


def _report(cli: Cli, run: Run, *, done: bool) -> None:
    plan = run.plan
    document = {
        "rollout": plan.id,
        "commit": plan.origin.commit,
        "release": plan.origin.release,
        "done": done,
        "stages": [{"stage": stage, "state": run.states.get(stage, "not reached")} for stage in plan.stages],
    }

    def show() -> None:
        cli.out.line(f"rollout {plan.id} of commit {plan.origin.commit[:12]}")
        rows = [(stage, run.states.get(stage, "not reached")) for stage in plan.stages]
        cli.out.table(("stage", "state"), rows)

    cli.out.emit(document, show)


def _carry_on(cli: Cli, run: Run, first: int) -> None:
    """Go through the stages, and say how it ended, whatever ended it."""
    try:
        if not first:
            run.preflight()
        run.go(first)
    except DagferryError:
        _report(cli, run, done=False)
        raise
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write(f"\ndagctl: stopped; {run.plan.advice()}\n")
        raise
    send_rollout(cli, run.plan.origin, run.plan.stages, "; ".join(run.states.values()))
    _report(cli, run, done=True)


def _first(found: Rollout) -> int:
    """Return the stage to go on with: the last one that was reached, to be looked at again.

    Raises:
        Conflict: it is over, or somebody moved one of its channels since.
    """
    if found.done or found.undone:
        how = "rolled back" if found.undone else "done"
        raise Conflict(f"rollout {found.id} of {found.commit[:12]} is {how}: there is nothing to go on with")
    if moved := set(found.entered) - set(found.present):
        raise Conflict(f"{', '.join(sorted(moved))} was moved since rollout {found.id}: begin a new one, or --undo it")
    return max(0, len(found.entered) - 1)


def _undo(cli: Cli, run: Run, found: Rollout, why: str) -> None:
    words = run.undo(found.entered, why or "undone")
    _report(cli, run, done=False)
    cli.out.progress(words)
    if "NOT rolled back" in words:
        raise StageFailed(words)


def _show_plan(cli: Cli, run: Run) -> None:
    run.preflight()
    run.states.update({stage: f"would be moved, {i + 1}." for i, stage in enumerate(run.plan.stages)})
    _report(cli, run, done=False)


_Stages = Annotated[str | None, typer.Option("--stages", metavar="CHANNELS", help="In order, e.g. canary,main.")]
_Source = Annotated[
    str | None,
    typer.Option("--from", metavar="CHANNEL", help="Whose live release it is [default: the first stage's]."),
]
_Wait = Annotated[bool, typer.Option("--wait", help="Wait until each stage's pods have it (--targets).")]
_Timeout = Annotated[str, typer.Option("--timeout", metavar="DURATION", help="The time that a stage's pods have.")]
_Limit = Annotated[
    str,
    typer.Option("--failure-limit", metavar="SHARE", help="How many of a stage's pods may fail: 10%, or a number."),
]
_Pause = Annotated[str, typer.Option("--pause", metavar="DURATION", help="Time between live and the checks.")]
_Check = Annotated[
    list[str] | None,
    typer.Option("--check", metavar="CMD", help="Run after each stage; exit 0 is well. It can be given again."),
]
_CheckUrl = Annotated[
    list[str] | None,
    typer.Option("--check-url", metavar="URL", help="GET after each stage; 2xx is well. It can be given again."),
]
_CheckQuery = Annotated[
    list[str] | None,
    typer.Option(
        "--check-query",
        metavar="EXPR",
        help="Prometheus query after each stage; well if it finds something, and no 0. It can be given again.",
    ),
]
_Prometheus = Annotated[
    str | None, typer.Option("--prometheus", metavar="URL", help="The server that --check-query asks.")
]
_CheckTimeout = Annotated[str, typer.Option("--check-timeout", metavar="DURATION", help="The time that a check has.")]
_Resume = Annotated[bool, typer.Option("--resume", help="Go on with a rollout that was killed or stopped.")]
_Undo = Annotated[bool, typer.Option("--undo", help="Take a rollout back, last stage first.")]
_Id = Annotated[
    str | None,
    typer.Option("--id", metavar="ID", help="Which rollout to go on with or to undo [default: the newest]."),
]
_NoRollback = Annotated[
    bool, typer.Option("--no-rollback", help="Leave all where it is when a stage fails, and say what to do.")
]
_Yes = Annotated[bool, typer.Option("--yes", help="Ask nobody between stages.")]


def _writer(cli: Cli, chains: dict[str, Chain], keys: list[str] | None, expires: str | None) -> Writer:
    """Load the keys once, and check that every stage's trust entry gives them the role."""
    first, *others = chains.values()
    writer = cli.writer(first, keys, expires)
    for chain in others:
        check_role(chain.rules.entry.pointer, writer.signers, "pointer-key", chain.channel)
    return writer


def _which(
    cli: Cli, *, recalled: bool, stages: str | None, source: str | None, only: str | None
) -> tuple[Rollout | None, tuple[str, ...], Pointer]:
    """Return the rollout to go on with or to undo, if any; its stages; and an entry that names its release."""
    if recalled:
        found, origin = _recall(cli, stages, only)
        return found, found.stages, origin
    return None, *_fresh(cli, stages, source)


def _seconds(text: str, option: str) -> float:
    return 0.0 if text in {"0", "0s"} else fleet.seconds_of(text, option)


def _check_usage(cli: Cli, *, wait: bool, targets: list[str] | None, resume: bool, undo: bool) -> None:
    if wait and cli.settings.find("targets", targets) is None:
        raise UsageError("--wait needs --targets: which pods there are")
    if resume and undo:
        raise UsageError("--resume and --undo exclude each other")


def _act(cli: Cli, run: Run, found: Rollout | None, *, undo: bool, dry_run: bool) -> None:
    if dry_run:
        _show_plan(cli, run)
    elif found and undo:
        _undo(cli, run, found, run.plan.words)
    else:
        _carry_on(cli, run, _first(found) if found else 0)


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "rollout", STORE, BUNDLE, TRUST, JSON)
    def run(  # noqa: PLR0913 - a parameter is an option here
        cli: Cli,
        stages: _Stages = None,
        source: _Source = None,
        wait: _Wait = False,
        targets: Targets = None,
        deadline: Deadline = "2s",
        timeout: _Timeout = "5m",
        failure_limit: _Limit = "0",
        pause: _Pause = "0s",
        check: _Check = None,
        check_url: _CheckUrl = None,
        check_query: _CheckQuery = None,
        prometheus: _Prometheus = None,
        check_timeout: _CheckTimeout = "60s",
        resume: _Resume = False,
        undo: _Undo = False,
        rollout_id: _Id = None,
        no_rollback: _NoRollback = False,
        yes: _Yes = False,
        pointer_key: PointerKey = None,
        expires: Expires = None,
        reason: Reason = "",
        dry_run: DryRun = False,
        notify: Notify = None,
    ) -> None:
        """Move a release from channel to channel: wait for the pods, pause, check, ask on a terminal, go on.

        The release is what the first stage has live (publish there first), or what --from has. When a stage fails,
        every stage is rolled back, the last one first, and held. What a rollout did stands in the reasons of the
        channels' history, so that any machine can go on with it (--resume) or take it back (--undo). Exit 13: a stage
        failed, or somebody said no.

        Checks get DAGFERRY_ROLLOUT_STAGE, _COMMIT, _RELEASE and _ID, and no keys.

        \b
        Example: dagctl rollout --stages canary,main --wait --failure-limit 10% --pause 60s --check ./smoke-test
        """
        _check_usage(cli, wait=wait, targets=targets, resume=resume, undo=undo)
        checks = all_checks.read(check or (), check_url or (), check_query or (), prometheus)
        check_seconds = fleet.seconds_of(check_timeout, "--check-timeout")
        again = resume or undo
        found, order, origin = _which(cli, recalled=again, stages=stages, source=source, only=rollout_id)
        chains = {name: cli.chain(name) for name in order}
        options = Options(
            notify,
            _writer(cli, chains, pointer_key, expires),
            fleet.open_survey(cli, targets, deadline) if wait else None,
            quorums.parse_limit(failure_limit),
            fleet.seconds_of(timeout, "--timeout"),
            _seconds(pause, "--pause"),
            ask=sys.stdin.isatty() and not yes,
        )
        if not dry_run:
            cli.ready_to_write(chains[order[0]].layout)
        plan = Plan(
            found.id if found else secrets.token_hex(6),
            order,
            origin,
            names.text(reason, "--reason"),
            checks,
            check_seconds,
            rollback=not no_rollback,
        )
        made = Run(plan, chains, Surroundings(cli, options, origin.version))
        _act(cli, made, found, undo=undo, dry_run=dry_run)
