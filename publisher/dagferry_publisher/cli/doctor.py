"""``dagctl doctor``: is everything as publishing and pulling need it?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dagferry_publisher.ceph.plan import Target
from dagferry_publisher.cli.command import TARGET, command
from dagferry_publisher.cli.session import Cli
from dagferry_publisher.doctor import basics
from dagferry_publisher.doctor.result import Result, unchecked
from dagferry_publisher.errors import FoundProblems, UnsafeStore, UsageError
from dagferry_publisher.stores import open_store
from dagferry_shared import names, times
from dagferry_shared.errors import StoreError
from dagferry_shared.layout import Layout
from dagferry_shared.store.url import StoreUrl, parse_store_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagferry_publisher.ceph.admin import Keys

_VARIABLES = ("DAGFERRY_PULLER_ACCESS_KEY_ID", "DAGFERRY_PULLER_SECRET_ACCESS_KEY", "DAGFERRY_PULLER_SESSION_TOKEN")


def puller_keys(cli: Cli, file: str | None, profile: str | None) -> Keys | None:
    """Return a puller's keys: from an AWS credentials file, a profile, or variables; never from the command line."""
    from dagferry_publisher.ceph.admin import Keys  # noqa: PLC0415 - boto3 takes half a second to load

    if file or profile:
        return Keys(file=file or "", profile=profile or ("default" if file else ""))
    access, secret, token = (cli.settings.environ.get(name, "") for name in _VARIABLES)
    if bool(access) != bool(secret):
        raise UsageError(f"{_VARIABLES[0]} and {_VARIABLES[1]} go together")
    return Keys(access, secret, token) if access else None


def reached(first: Result) -> bool:
    """Whether the store answered the first check."""
    return first.state != "failure" or first.seen.startswith("it answers")


def _unreached(*names: str) -> Iterator[Result]:
    return (unchecked(name, "the store was not reached") for name in names)


def in_any_store(cli: Cli, layout: Layout, channel: str | None) -> Iterator[Result]:
    """Make the checks that need no S3."""
    store = open_store(cli.one("store"))  # one that does not wait for a store that is away
    first = basics.check_clock(store, times.now)
    yield first
    if not reached(first):
        yield from _unreached("publisher's rights", basics.CONDITIONS, "latency")
    else:
        yield basics.check_rights(store, layout)
        yield basics.check_conditions(store, layout)
        yield basics.check_latency(store, layout)
    if cli.settings.find("trust") or cli.given("trust"):
        yield basics.check_trust(cli.trust, layout.bundle, channel)
    else:
        yield unchecked("trust file", "no --trust")


def on_s3(
    url: StoreUrl, layout: Layout, channel: str | None, keys: Keys | None, listen: tuple[str, int] | None
) -> Iterator[Result]:
    """Make the checks of a bucket."""
    from dagferry_publisher.ceph.admin import S3Admin  # noqa: PLC0415
    from dagferry_publisher.doctor import bucket as checks  # noqa: PLC0415 - boto3 takes half a second to load
    from dagferry_publisher.doctor.probe import probe  # noqa: PLC0415

    target = Target(url.bucket_or_path, f"{url.prefix}/".lstrip("/") + layout.root)
    admin = S3Admin(target.bucket)
    yield checks.check_bucket(admin)
    yield checks.check_lifecycle(admin, target)
    if keys is None:
        words = f"no keys of a puller: --puller-credentials FILE, --puller-profile NAME, or {_VARIABLES[0]} and so on"
        yield unchecked("puller's rights", words)
    else:
        try:
            yield checks.check_puller(admin, S3Admin(target.bucket, keys), target)
        except StoreError as error:
            yield Result("puller's rights", "failure", str(error), "give the file or profile of a puller's keys")
    yield checks.check_tls(admin.endpoint, admin.ca, times.now())
    pointer = target.root.removesuffix(layout.root) + layout.pointer(channel or "main")
    yield checks.check_notifications(admin, pointer)
    if listen:
        yield probe(admin, target, listen)


def on_s3_unreached(bucket: str) -> Iterator[Result]:
    """Look at the certificate, which may be why; each of the others would wait for its time-out."""
    from dagferry_publisher.ceph.admin import S3Admin  # noqa: PLC0415
    from dagferry_publisher.doctor import bucket as checks  # noqa: PLC0415 - boto3 takes half a second to load

    admin = S3Admin(bucket)
    yield from _unreached("bucket", "lifecycle", "puller's rights")
    yield checks.check_tls(admin.endpoint, admin.ca, times.now())
    yield from _unreached("notifications")


def _show(cli: Cli, results: list[Result]) -> None:
    rows: list[tuple[str, str, str]] = []
    for result in results:
        rows.append((result.check, result.state, result.seen))
        if result.cure:
            rows.append(("", "", f"→ {result.cure}"))
    cli.out.table(("check", "result", "what was seen, and what to do"), rows)


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "doctor", *TARGET)
    def run(
        cli: Cli,
        puller_credentials: Annotated[
            str | None,
            typer.Option(metavar="FILE", help="AWS credentials file with a puller's keys, to check its rights."),
        ] = None,
        puller_profile: Annotated[
            str | None, typer.Option(metavar="NAME", help="Profile of that file, or of the AWS files.")
        ] = None,
        notify_probe: Annotated[
            str | None,
            typer.Option(
                metavar="HOST:PORT", help="Have RGW announce a scratch pointer to this address of this machine."
            ),
        ] = None,
    ) -> None:
        """Check store, bucket, rights, conditional writes, clock, latency, TLS, trust file, notifications.

        Says what was seen, and the cure. Writes scratch keys alone. A puller's keys may also be in
        DAGFERRY_PULLER_ACCESS_KEY_ID and DAGFERRY_PULLER_SECRET_ACCESS_KEY. Exit 3 on any failure, 10 if conditional
        writes are not safe; warnings alone are 0.

        \b
        Example: dagctl doctor --store s3://dags/prod --bundle analytics --puller-profile puller
        """
        from dagferry_publisher.doctor.probe import address  # noqa: PLC0415 - http.server

        url = parse_store_url(cli.one("store"))
        layout = Layout(cli.bundle())
        named = cli.settings.find("channel", cli.given("channel"))
        channel = names.name(named.value[0], "--channel") if named else None
        listen = address(notify_probe) if notify_probe else None
        results = [*in_any_store(cli, layout, channel)]
        if url.scheme == "s3" and not reached(results[0]):
            results += on_s3_unreached(url.bucket_or_path)
        elif url.scheme == "s3":
            results += on_s3(url, layout, channel, puller_keys(cli, puller_credentials, puller_profile), listen)
        facts = [{"check": r.check, "state": r.state, "seen": r.seen, "cure": r.cure} for r in results]
        cli.out.emit({"store": str(url), "bundle": layout.bundle, "checks": facts}, lambda: _show(cli, results))
        failed = [result for result in results if result.state == "failure"]
        if any(result.check == basics.CONDITIONS for result in failed):
            raise UnsafeStore(f"{len(failed)} checks failed; publishing to this store is not safe")
        if failed:
            raise FoundProblems(f"{len(failed)} checks failed; each is named above")
