"""``dagctl doctor`` and ``setup ceph`` where no RGW is needed: directories, moto, wrong clocks and certificates."""

from __future__ import annotations

import datetime as dt
import secrets
import socket
import ssl
import threading
from contextlib import closing, contextmanager
from dataclasses import replace
from email.utils import formatdate
from typing import TYPE_CHECKING

import pytest

from dagferry_publisher.doctor import basics
from dagferry_publisher.doctor import bucket as bucket_checks
from dagferry_shared import times
from dagferry_shared.layout import Layout
from dagferry_shared.store.memory import MemoryStore
from dagferry_shared.trust import Role
from support import tls
from support.moto_server import MotoServer
from support.raw_server import RawServer, reply

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.sites import Site

USAGE, REFUSED, UNSAFE = 2, 3, 10
PULLER = {"DAGFERRY_PULLER_ACCESS_KEY_ID": "pod", "DAGFERRY_PULLER_SECRET_ACCESS_KEY": "SECRETSHOWNNOWHERE"}


def checks(site: Site, *arguments: object, code: int = 0, **environ: str) -> dict[str, dict[str, str]]:
    result = site.dagctl("doctor", "--json", *arguments, code=code, **environ)
    assert "SECRETSHOWN" not in result.out + result.err
    return {check["check"]: check for check in result.json["checks"]}


@pytest.fixture(scope="module")
def moto() -> Iterator[MotoServer]:
    with MotoServer() as server:
        yield server


@pytest.fixture
def bucket(site: Site, moto: MotoServer) -> str:
    import boto3

    name = f"test-{secrets.token_hex(8)}"
    site.dagctl.environ.update(moto.environ, DAGFERRY_STORE=f"s3://{name}/x")
    with closing(
        boto3.client(
            "s3",
            endpoint_url=moto.endpoint,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )
    ) as client:
        client.create_bucket(Bucket=name)
    return name


@contextmanager
def serving(certificate: Path) -> Iterator[str]:
    """Shake hands once by a certificate."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            plain, _ = listener.accept()
            with plain:
                try:
                    tls.context(certificate).wrap_socket(plain, server_side=True).close()
                except (ssl.SSLError, OSError):
                    return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(5)


def test_a_directory_is_healthy_and_nothing_is_left_in_it(site: Site) -> None:
    found = checks(site)
    assert {found[name]["state"] for name in ("store", "publisher's rights", "conditional writes")} == {"ok"}
    assert "signs both" in found["trust file"]["seen"]
    assert site.tree() == {}


def test_a_trust_file_that_is_wrong(site: Site) -> None:
    assert "it is of bundle analytics" in checks(site, "--bundle", "other", code=REFUSED)["trust file"]["seen"]
    assert checks(site, "--channel", "nowhere", code=REFUSED)["trust file"]["state"] == "failure"
    site.trust.write_text("{")
    assert checks(site, "--bundle", "analytics", code=REFUSED)["trust file"]["state"] == "failure"


def test_without_a_trust_file_the_rest_is_looked_at(site: Site) -> None:
    site.dagctl.environ.pop("DAGFERRY_TRUST")
    assert checks(site, "--bundle", "analytics")["trust file"]["state"] == "not checked"


def test_a_trust_file_without_warnings(site: Site) -> None:
    trusted = site.chain().rules.trust
    apart = replace(trusted.channels["main"], pointer=Role(1, (site.key_id("ops"),)))
    found = basics.check_trust(lambda: replace(trusted, channels={"main": apart}), "analytics", "main")
    assert found == basics.Result("trust file", "ok", "bundle analytics, epoch 1, channels main")


def test_a_store_that_is_away(site: Site) -> None:
    aws = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "x", "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    found = checks(site, "--store", "s3://bucket/x", code=REFUSED, **aws)
    assert found["store"]["state"] == "failure"
    assert found["conditional writes"]["state"] == "not checked"


def test_a_wrong_clock(site: Site) -> None:
    class Late(MemoryStore):
        def now(self) -> dt.datetime:
            return super().now() - dt.timedelta(seconds=100)

    found = basics.check_clock(Late(), times.now)
    assert (found.state, "100 s off the store's" in found.seen) == ("failure", True)


def test_a_store_that_ignores_conditions_is_unsafe(site: Site) -> None:
    aws = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "x"}
    with RawServer(reply("200 OK", Date=formatdate(usegmt=True))) as server:
        found = checks(site, "--store", "s3://bucket/x", code=UNSAFE, AWS_ENDPOINT_URL=server.endpoint, **aws)
    assert "ignores If-None-Match" in found["conditional writes"]["seen"]


def test_a_slow_store_is_told_of_nagle() -> None:
    ticks = iter(range(100))
    found = basics.check_latency(MemoryStore(), Layout("b"), lambda: next(ticks) * 0.044)
    assert found.state == "warning"
    assert found.seen == "44.0 ms for a small GET (median of 10)"
    assert "tcp_nodelay=1" in found.cure


def test_a_bucket_without_rights_or_rules(site: Site, bucket: str) -> None:
    found = checks(site, code=REFUSED, **PULLER)
    assert found["conditional writes"]["state"] == found["bucket"]["state"] == "ok"
    assert found["lifecycle"]["cure"] == "dagctl setup ceph"
    assert found["puller's rights"]["seen"] == "they may read, but also write and delete", "moto checks no credentials"
    assert found["TLS"]["state"] == "warning"
    assert found["notifications"]["seen"] == "the store is not a Ceph RGW"
    shown = site.dagctl("doctor", code=REFUSED, **PULLER).out
    for name, check in found.items():
        assert name in shown
        assert name == "latency" or (check["seen"] in shown and check["cure"] in shown)


def test_a_bucket_that_is_not_there(site: Site, bucket: str) -> None:
    found = checks(site, "--store", "s3://not-there/x", code=REFUSED, **PULLER)
    assert found["bucket"]["seen"] == "there is no bucket not-there"
    assert found["puller's rights"]["state"] == "not checked"


def test_a_puller_whose_profile_is_not_there(site: Site, bucket: str) -> None:
    found = checks(site, "--puller-profile", "gone", code=REFUSED)
    assert "gone" in found["puller's rights"]["seen"]
    assert "go together" in site.dagctl("doctor", code=USAGE, DAGFERRY_PULLER_ACCESS_KEY_ID="x").message


@pytest.mark.parametrize(
    ("days", "state"), [(dt.timedelta(days=90), "ok"), (dt.timedelta(days=2), "warning")], ids=["long", "soon"]
)
def test_when_a_certificate_expires(tmp_path: Path, days: dt.timedelta, state: str) -> None:
    ca = tls.Authority(tmp_path)
    with serving(ca.server(valid=(-tls.DAY, days))) as endpoint:
        found = bucket_checks.check_tls(endpoint, str(ca.path), times.now())
    assert found.state == state
    assert f"certificate until {times.now() + days:%Y-%m-%d}, signed by the CA in" in found.seen


def test_a_ca_as_the_server_and_a_certificate_of_nobody(tmp_path: Path) -> None:
    ca = tls.Authority(tmp_path)
    with serving(ca.path) as endpoint:
        found = bucket_checks.check_tls(endpoint, str(ca.path), times.now())
    assert (found.state, "rustls" in found.cure) == ("failure", True)
    with serving(ca.server()) as endpoint:
        assert bucket_checks.check_tls(endpoint, None, times.now()).cure == "set AWS_CA_BUNDLE to the CA's file"
    expired = ca.server("old", valid=(-2 * tls.DAY, -tls.DAY))
    with serving(expired) as endpoint:
        assert bucket_checks.check_tls(endpoint, str(ca.path), times.now()).cure == "replace it"
    assert bucket_checks.check_tls(endpoint, str(ca.path), times.now()).state == "not checked"


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [("what is this", "is not a URL"), ("http://u:SECRETSHOWNNOWHERE@127.0.0.1:1", "has a user or password in it")],
)
def test_an_endpoint_that_is_none_is_not_shown(site: Site, bucket: str, endpoint: str, words: str) -> None:
    for command in (["doctor"], ["setup", "ceph", "--puller-user", "pod"]):
        result = site.dagctl.ended(*command, AWS_ENDPOINT_URL_S3=endpoint)
        assert words in result.message
        assert "SECRETSHOWN" not in result.out + result.err


def test_setup_on_another_store_is_refused(site: Site, bucket: str) -> None:
    message = site.dagctl("setup", "ceph", "--puller-user", "pod", code=USAGE).message
    assert "is not a Ceph RGW" in message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--puller-user is needed"),
        (("--puller-user", "a b"), "is not a user id of RGW"),
        (("--notify-url", "ftp://x"), "--notify-url is http"),
        (("--notify-url", "http://u:p@x/"), "without a password"),
        (("--amqp", "http://x"), "--amqp is amqp"),
        (("--amqp", "amqp://u:p@x"), "give it as DAGFERRY_AMQP"),
        (("--amqp", "amqp://x", "--notify-url", "http://x/"), "exclude each other"),
        (("--store", "file:///x"), "--store must be s3://"),
    ],
)
def test_setup_says_which_option_is_wrong(
    site: Site, bucket: str, arguments: tuple[str, ...], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagferry_publisher.ceph.admin.S3Admin.is_ceph", lambda _: True)
    assert words in site.dagctl("setup", "ceph", *arguments, code=USAGE).message


def test_setup_keeps_a_policy_and_rules_that_it_made(site: Site, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but notifications works on moto, once it is taken for an RGW."""
    monkeypatch.setattr("dagferry_publisher.ceph.admin.S3Admin.is_ceph", lambda _: True)

    def actions(*arguments: str) -> dict[str, str]:
        steps = site.dagctl("setup", "ceph", "--json", *arguments).json["steps"]
        return {step["item"]: step["action"] for step in steps}

    wanted = ("--store", f"s3://{bucket}-2/x", "--puller-user", "pod")
    assert (
        actions(*wanted, "--dry-run") == actions(*wanted) == dict.fromkeys(("bucket", "policy", "lifecycle"), "create")
    )
    assert actions(*wanted)["policy"] == "keep"
    environ = {"DAGFERRY_AMQP": "amqp://u:SECRETSHOWNNOWHERE@x"}
    shown = site.dagctl("setup", "ceph", *wanted, "--notify-url", "http://x/notify", "--persistent", "--dry-run").out
    assert "wedges" in shown
    assert "radosgw-admin user create --uid='pod'" in shown
    assert "SECRETSHOWN" not in site.dagctl("setup", "ceph", *wanted, **environ).out
    assert "dry run" in site.dagctl("setup", "ceph", *wanted[:2], "--remove", "--dry-run").out
