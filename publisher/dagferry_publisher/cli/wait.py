"""``dagctl wait``: block until what was published has arrived."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dagferry_publisher import baseline
from dagferry_publisher.cli import fleet, podwait
from dagferry_publisher.cli.command import TARGET, command, env_help
from dagferry_publisher.cli.fleet import Deadline, Targets
from dagferry_publisher.cli.options import Expires, Notify, PointerKey
from dagferry_publisher.cli.output import SHORT
from dagferry_publisher.cli.session import Cli
from dagferry_publisher.errors import UsageError
from dagferry_publisher.fleet import quorum as quorums
from dagferry_shared import targets as targets_of
from dagferry_shared import times
from dagferry_shared.airflowapi import address, credentials

if TYPE_CHECKING:
    from dagferry_publisher.airflowwait import Plan
    from dagferry_publisher.chain import Chain
    from dagferry_publisher.cli.waitreport import Report
    from dagferry_publisher.fleet.quorum import Count
    from dagferry_shared.airflowapi.address import Address
    from dagferry_shared.airflowapi.client import Airflow
    from dagferry_shared.targets import Target

_Airflow = Annotated[
    str | None,
    typer.Option(
        "--airflow",
        metavar="URL",
        help=env_help(
            "airflow",
            "API server (2.11: webserver) of the Airflow that parses the channel. Who we are: "
            "DAGFERRY_AIRFLOW_USERNAME and _PASSWORD, or DAGFERRY_AIRFLOW_TOKEN, or --airflow-credentials-file.",
        ),
    ),
]
_Bundle = Annotated[
    str | None,
    typer.Option(metavar="NAME", help=env_help("airflow-bundle", "Airflow 3's name of the bundle [default: all].")),
]
_Credentials = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help=env_help("airflow-credentials-file", "Lines username=… and password=…, or token=…"),
    ),
]
_Ca = Annotated[
    str | None, typer.Option(metavar="FILE", help=env_help("airflow-ca", "CA certificates for an https Airflow."))
]
_Snapshot = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Only write what Airflow has now, for a later --baseline; needs no store."),
]
_Baseline = Annotated[
    str | None,
    typer.Option(
        "--baseline", metavar="FILE", help="What Airflow had before the publish [default: as the wait begins]."
    ),
]
_Puller = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Ask this puller (http://HOST[:9474]) when it has the version live."),
]
_Delivery = Annotated[
    str, typer.Option(metavar="TIME", help="Without --puller, and without DagferryBundle: assumed to be live then.")
]
_Settle = Annotated[str, typer.Option(metavar="TIME", help="Nothing may change for so long after all is parsed.")]
_Timeout = Annotated[str, typer.Option(metavar="TIME", help="Give up after this time; exit 11.")]
_Rollback = Annotated[
    bool,
    typer.Option(
        "--rollback-on-failure", help="Roll back, and hold, on new import errors; needs --baseline and a key."
    ),
]


_Commit = Annotated[
    str | None,
    typer.Option(
        "--commit",
        metavar="SHA",
        help=env_help(
            "commit", "For --targets: commit, 7 digits or more [default: CI_COMMIT_SHA, else what the channel is at]."
        ),
    ),
]
_Quorum = Annotated[str, typer.Option("--quorum", metavar="SHARE", help="How many pods are enough: 90%, or a number.")]


def _pods(  # noqa: PLR0913 - as many options
    cli: Cli,
    commit: str | None,
    targets: list[str] | None,
    quorum: str,
    deadline: str,
    timeout: str,
    *,
    alone: bool,
) -> Count | None:
    """Wait for the pods, if there are any to ask; they need not be named where Airflow is waited for."""
    if cli.settings.find("targets", targets) is None and not alone:
        return None
    setting = cli.settings.find("commit", commit)
    wanted = podwait.commit_prefix(setting.value[0]) if setting else cli.chain().live().content.version
    survey = fleet.open_survey(cli, targets, deadline)
    counted = podwait.wait_for_pods(cli, survey, wanted, quorums.parse(quorum), timeout)
    if alone:
        podwait.show(cli, wanted, counted)
    return counted


def _address(text: str, option: str) -> Address:
    try:
        return address.parse(text)
    except ValueError as error:
        raise UsageError(f"{option} {error}") from error


def _pod(text: str) -> Target:
    try:
        return targets_of.parse(text, "/status")
    except ValueError as error:
        raise UsageError(f"--puller: {error}") from error


def _seconds(text: str, option: str) -> float:
    return 0.0 if text in {"0", "0s"} else times.duration(text, option).total_seconds()


def connect(cli: Cli, url: str | None, file: str | None, ca: str | None) -> Airflow:
    """Make a client of what the settings name; nothing is asked yet."""
    from dagferry_shared.airflowapi.client import Airflow  # noqa: PLC0415 - http.client: other commands need no Airflow

    where = _address(cli.settings.one("airflow", url), "--airflow")
    path, bundle = (cli.settings.find(*pair) for pair in (("airflow-credentials-file", file), ("airflow-ca", ca)))
    try:
        who = credentials.from_file(path.value[0]) if path else credentials.from_environ(cli.settings.environ)
    except ValueError as error:
        raise UsageError(f"{path.origin if path else credentials.PREFIX + '*'}: {error}") from error
    try:
        return Airflow(where, who, ca=bundle.value[0] if bundle else "")
    except ValueError as error:
        raise UsageError(f"--airflow-ca {error}") from error


def _take_snapshot(cli: Cli, client: Airflow, plan: Plan, path: str) -> None:
    from dagferry_shared.airflowapi import parsed  # noqa: PLC0415 - as above

    taken = baseline.of_before(parsed.take(client, plan.bundle))
    taken.write(path)
    facts = {"snapshot": path, "dags": taken.dags, "import_errors": len(taken.failing)}
    cli.out.emit(facts, lambda: cli.out.line(f"{path}: {taken.dags} DAGs, {len(taken.failing)} import errors"))


def _wait(cli: Cli, client: Airflow, plan: Plan, chain: Chain, file: str | None) -> Report:
    from dagferry_publisher.airflowwait import AirflowWait  # noqa: PLC0415 - as above
    from dagferry_publisher.cli.waitreport import Report  # noqa: PLC0415
    from dagferry_shared.airflowapi import parsed  # noqa: PLC0415

    known = baseline.read(file) if file else None
    pointer = chain.live().content
    if known is None:
        known = baseline.of_start(parsed.take(client, plan.bundle), times.parse(pointer.issued))
    cli.out.progress(f"waiting for commit {pointer.commit[:SHORT]}, published {pointer.issued}")
    wait = AirflowWait(client, pointer, plan, lambda: chain.live().content, cli.out.progress)
    return Report(pointer, known, plan, wait.run())


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "wait", *TARGET)
    def run(  # noqa: PLR0913 - a parameter is an option here
        cli: Cli,
        commit: _Commit = None,
        targets: Targets = None,
        quorum: _Quorum = "100%",
        deadline: Deadline = "2s",
        airflow: _Airflow = None,
        airflow_bundle: _Bundle = None,
        airflow_credentials_file: _Credentials = None,
        airflow_ca: _Ca = None,
        snapshot: _Snapshot = None,
        baseline_file: _Baseline = None,
        puller: _Puller = None,
        delivery: _Delivery = "15s",
        settle: _Settle = "5s",
        timeout: _Timeout = "10m",
        rollback_on_failure: _Rollback = False,
        pointer_key: PointerKey = None,
        expires: Expires = None,
        notify: Notify = None,
    ) -> None:
        """Wait until a commit is live on every pod, or Airflow has parsed what the channel is at, or for both.

        With --targets: until --commit, or without one what the channel is at, is live on the channel's pods. Exit 0:
        on all; 13: on the --quorum, not on all (in GitLab "allow_failure: exit_codes: 13" lets such a job pass); 11:
        not in time. A pod that cannot be reached counts as one that has it not. Then, or without --targets, Airflow is
        waited for, if --airflow is set.

        Exit 12 if there are import errors that were not there before, 11 after --timeout. With DagferryBundle "parsed"
        is proven by the version that Airflow names. Without, and on 2.11, by the time of each DAG's parse: it began
        (2.11: ended) after --puller had the version live, or, without --puller, --delivery after the publish.

        \b
        Example: dagctl wait --commit $CI_COMMIT_SHA --targets dns://dagferry-pods:9474 --quorum 90% --timeout 2m
                 dagctl wait --airflow https://airflow.example.org --snapshot before.json
                 dagctl publish
                 dagctl wait --airflow https://airflow.example.org --baseline before.json --rollback-on-failure
        """
        alone = cli.settings.find("airflow", airflow) is None and not snapshot
        counted = None if snapshot else _pods(cli, commit, targets, quorum, deadline, timeout, alone=alone)
        if counted is not None and alone:
            podwait.require_all(counted)
            return
        from dagferry_publisher.airflowwait import Plan  # noqa: PLC0415 - http.client, which other commands need not load

        found = cli.settings.find("airflow-bundle", airflow_bundle)
        plan = Plan(
            bundle=found.value[0] if found else "",
            puller=_pod(puller) if puller else None,
            delivery=_seconds(delivery, "--delivery"),
            settle=_seconds(settle, "--settle"),
            timeout=_seconds(timeout, "--timeout"),
        )
        client = connect(cli, airflow, airflow_credentials_file, airflow_ca)
        if snapshot and (baseline_file or rollback_on_failure):
            raise UsageError(
                "--snapshot is for before a publish: it takes neither --baseline nor --rollback-on-failure"
            )
        if rollback_on_failure and not baseline_file:
            raise UsageError(
                "--rollback-on-failure needs --baseline, a --snapshot of before the publish: without, an old import "
                "error may look new"
            )
        if snapshot:
            _take_snapshot(cli, client, plan, snapshot)
            return
        chain, writer = cli.begin(pointer_key, expires, dry_run=False) if rollback_on_failure else (cli.chain(), None)
        report = _wait(cli, client, plan, chain, baseline_file)
        if writer is not None and report.new:
            report.roll_back(cli, chain, writer, notify)
        cli.out.emit(report.as_json(), lambda: report.show(cli.out))
        report.judge()
        if counted is not None:
            podwait.require_all(counted)
