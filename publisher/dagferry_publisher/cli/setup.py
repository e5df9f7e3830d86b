"""``dagctl setup``: make a store ready for a bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dagferry_publisher.ceph.plan import Target, Topic, admin_commands
from dagferry_publisher.cli.command import BUNDLE, JSON, STORE, TRUST, command, env_help
from dagferry_publisher.cli.options import DryRun
from dagferry_publisher.cli.session import Cli
from dagferry_publisher.errors import UsageError
from dagferry_shared.layout import Layout
from dagferry_shared.store.url import parse_store_url

if TYPE_CHECKING:
    from dagferry_publisher.ceph.setup import Step
    from dagferry_publisher.settings import Setting

_WEDGES = (
    "persistent HTTP push wedges in RGW: a receiver that refuses connections stops the queue until radosgw restarts, "
    "and one that answers 503 is asked 770 times a second: take --amqp, or do without --persistent (pullers poll)"
)
_TOPICS = "any user of this RGW can read and overwrite topics; a notification is a hint to look, and nothing is trusted"

NotifyUrl = Annotated[
    str | None,
    typer.Option(
        "--notify-url", metavar="URL", help="RGW posts here when a pointer is written: http://relay:9475/notify."
    ),
]
Amqp = Annotated[
    str | None,
    typer.Option(
        "--amqp",
        metavar="URL",
        help=env_help("amqp", "RGW publishes to this broker: amqp://host:5672; with a password by the variable alone."),
    ),
]


def target(cli: Cli) -> Target:
    """Return the bundle's place; UsageError for a store that is not S3."""
    url = parse_store_url(cli.one("store"))
    if url.scheme != "s3":
        raise UsageError("--store must be s3://bucket or s3://bucket/prefix here")
    return Target(url.bucket_or_path, f"{url.prefix}/".lstrip("/") + Layout(cli.bundle()).root)


def wanted_topic(
    place: Target, url: str | None, broker: Setting | None, exchange: str, *, persistent: bool
) -> Topic | None:
    """Return the topic that the options ask for."""
    if url and broker:
        raise UsageError("--notify-url and --amqp exclude each other: a bundle has one topic")
    if url:
        if not url.startswith(("http://", "https://")) or "@" in url:
            raise UsageError("--notify-url is http://host:port/notify or https://…, without a password")
        return Topic(place.topic_name, url, persistent=persistent)
    if not broker:
        return None
    address = broker.value[0]
    if not address.startswith(("amqp://", "amqps://")):
        raise UsageError("--amqp is amqp://host:port or amqps://host:port")
    if "@" in address and broker.origin.startswith("--"):
        raise UsageError("--amqp with a password shows in the list of processes: give it as DAGFERRY_AMQP")
    return Topic(place.topic_name, address, exchange, "broker" if persistent else "none", persistent)


def warnings(topic: Topic | None) -> list[str]:
    """Return what to know of a topic."""
    if topic is None:
        return []
    return [_TOPICS, _WEDGES] if topic.persistent and not topic.exchange else [_TOPICS]


def _show(cli: Cli, document: dict[str, object], steps: list[Step], *, dry_run: bool) -> None:
    def show() -> None:
        cli.out.table(("what", "action", "is then"), [(step.item, step.action, step.detail) for step in steps])
        for line in document["warnings"]:  # type: ignore[attr-defined]
            cli.out.line(f"warning: {line}", "yellow")
        if document["admin"]:
            cli.out.line("an administrator of the cluster runs, unless it was done (dagctl has no rights for it):")
            cli.out.lines(f"  {line}" for line in document["admin"])  # type: ignore[attr-defined]
        cli.out.line("dry run: nothing was done" if dry_run else "done", "yellow" if dry_run else "green")

    cli.out.emit(document, show)


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(name="setup", no_args_is_help=True, help="Make a store ready for a bundle.")
    group.callback()(lambda: None)

    @command(group, "ceph", STORE, BUNDLE, TRUST, JSON)
    def ceph(  # noqa: PLR0913 - a parameter is an option here
        cli: Cli,
        puller_user: Annotated[
            list[str] | None,
            typer.Option("--puller-user", metavar="UID", help="RGW user of pullers, or TENANT$UID; repeatable."),
        ] = None,
        prune_user: Annotated[
            list[str] | None,
            typer.Option("--prune-user", metavar="UID", help="RGW user that runs dagctl prune; repeatable."),
        ] = None,
        notify_url: NotifyUrl = None,
        amqp: Amqp = None,
        amqp_exchange: Annotated[
            str, typer.Option(metavar="NAME", help="Exchange that RGW publishes to.")
        ] = "dagferry",
        persistent: Annotated[
            bool, typer.Option("--persistent", help="RGW keeps events until they are taken; for --amqp only.")
        ] = False,
        remove: Annotated[
            bool, typer.Option("--remove", help="Take back what this command made; the bucket and its objects stay.")
        ] = False,
        dry_run: DryRun = False,
    ) -> None:
        """Make a bucket of Ceph RGW ready: bucket, rights of pullers, lifecycle, notification. Run it again at will.

        With the keys of the bucket's owner in the AWS settings. What others put into policy, lifecycle and
        notifications stays. --dry-run shows what there is and what would change.

        \b
        Example: dagctl setup ceph --store s3://dags/prod --bundle analytics --puller-user dagferry-puller
                 --notify-url http://relay.airflow.svc:9475/notify --dry-run
        """
        from dagferry_publisher.ceph.admin import S3Admin  # noqa: PLC0415
        from dagferry_publisher.ceph.setup import CephSetup  # noqa: PLC0415 - boto3 takes half a second to load

        place = target(cli)
        broker = cli.settings.find("amqp", amqp)
        topic = wanted_topic(place, notify_url, broker, amqp_exchange, persistent=persistent)
        users = list(dict.fromkeys(puller_user or []))
        if not users and not remove:
            raise UsageError("--puller-user is needed: the RGW user id that pullers have")
        setup = CephSetup(S3Admin(place.bucket), place)
        pruners = list(dict.fromkeys(prune_user or []))
        steps = setup.removal() if remove else setup.plan(users, topic, pruners)
        if not dry_run:
            for step in steps:
                if step.run and step.action != "keep":
                    cli.out.progress(f"{step.item}: {step.action}")
                    step.run()
        document: dict[str, object] = {
            "dry_run": dry_run,
            "steps": [{"item": step.item, "action": step.action, "detail": step.detail} for step in steps],
            "warnings": [] if remove else warnings(topic),
            "admin": [] if remove else admin_commands(place, users, pruners),
        }
        _show(cli, document, steps, dry_run=dry_run)

    app.add_typer(group)
