"""TLS to the store, with one thing wrong at a time, for both commands; certificates are made while the test runs."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, NamedTuple

import pytest

from support import faults, tls
from support.moto_server import MotoServer
from support.pods import Pod
from support.sitefixtures import keys, line, shared_repo, site

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.s3site import S3Site
    from support.sites import Site

__all__ = ["keys", "line", "shared_repo", "site"]


class Certificates:
    """A CA, another one, and server certificates."""

    def __init__(self, folder: Path) -> None:
        ca = tls.Authority(folder)
        self.ca = ca.path
        self.other = tls.Authority(folder, "another CA").path
        self.good = ca.server()
        self.expired = ca.server("expired", valid=(-2 * tls.DAY, -tls.DAY))
        self.future = ca.server("future", valid=(tls.DAY, 2 * tls.DAY))
        self.elsewhere = ca.server("elsewhere", names=tls.ELSEWHERE)
        self.alone = tls.self_signed(folder)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


class Wrong(NamedTuple):
    """A fault of TLS: the server's certificate, the client's CA bundle, what each command says."""

    server: str
    bundle: str
    puller: str
    dagctl: str


WRONG = [
    Wrong("good", "other", "signed by an unknown CA: set AWS_CA_BUNDLE", "unable to get local issuer certificate"),
    Wrong("good", "", "signed by an unknown CA: set AWS_CA_BUNDLE", "set AWS_CA_BUNDLE"),
    Wrong("expired", "ca", "has expired, or the clock of this machine is wrong", "certificate has expired"),
    Wrong("future", "ca", "not valid yet, or the clock of this machine is wrong", "certificate is not yet valid"),
    Wrong("elsewhere", "ca", "for another host name: check the endpoint", "'localhost' doesn't match"),
    Wrong("alone", "", "signed by an unknown CA: set AWS_CA_BUNDLE", "self-signed certificate"),
    Wrong("ca", "ca", "itself a CA certificate, which is refused here", ""),  # OpenSSL takes it
]
IDS = ["another CA", "no CA", "expired", "not yet valid", "wrong host", "self-signed", "CA as server"]


def bundle(made: Certificates, name: str) -> dict[str, str]:
    return {"AWS_CA_BUNDLE": str(getattr(made, name))} if name else {}


@pytest.mark.parametrize("wrong", WRONG, ids=IDS)
def test_once_says_what_is_wrong_with_the_certificate(
    s3_site: S3Site, s3_pod: Pod, made: Certificates, wrong: Wrong
) -> None:
    s3_site.publish()
    s3_site.proxy.tls = tls.context(getattr(made, wrong.server))
    result = s3_pod.once(timeout="1s", environ={**s3_site.environ, **bundle(made, wrong.bundle)})
    assert (result.code, s3_pod.live()) == (7, None), result.stderr
    assert wrong.puller in result.stderr
    assert s3_site.proxy.requests == []  # no request, no credentials


@pytest.mark.parametrize("setting", ["AWS_CA_BUNDLE", "SSL_CERT_FILE"])
@pytest.mark.parametrize(("server", "ca"), [("good", "ca"), ("alone", "alone")], ids=["own CA", "self-signed"])
def test_own_ca_and_self_signed_certificate_are_trusted_by_a_setting(
    s3_site: S3Site, s3_pod: Pod, made: Certificates, server: str, ca: str, setting: str
) -> None:
    first = s3_site.publish()
    s3_site.proxy.tls = tls.context(getattr(made, server))
    environ = {**s3_site.environ, setting: str(getattr(made, ca))}
    assert s3_pod.once(environ=environ).code == 0
    assert s3_pod.live() == first.version


def test_warm_pod_outlives_each_bad_certificate_and_recovers_with_the_good_one(
    s3_site: S3Site, s3_pod: Pod, made: Certificates
) -> None:
    first = s3_site.publish()
    s3_site.proxy.tls = good = tls.context(made.good)
    running = s3_pod.run(environ={**s3_site.environ, **bundle(made, "ca")})
    running.wait_live(first.version)
    for wrong in (WRONG[2], WRONG[3], WRONG[4], WRONG[6]):
        s3_site.proxy.tls = tls.context(getattr(made, wrong.server))
        s3_site.proxy.hang_up()
        running.wait_problem("store-unreachable")
        second = s3_site.publish()
        status = running.wait(wrong.server, lambda s, w=wrong: s["problem"] and w.puller in s["problem"]["detail"])
        assert (status["ready"], s3_pod.live()) == (True, first.version)
        s3_site.proxy.tls = good
        running.wait_live(second.version)
        first = second
    assert running.process.poll() is None


def test_https_on_a_plain_port_is_named(s3_pod: Pod, moto: MotoServer) -> None:
    environ = {**moto.environ, "AWS_ENDPOINT_URL_S3": moto.endpoint.replace("http:", "https:")}
    result = s3_pod.once(timeout="1s", environ=environ)
    assert (result.code, s3_pod.live()) == (7, None)
    assert "does not speak https on this port: check the endpoint" in result.stderr


def wants_client_certificate(context: ssl.SSLContext, made: Certificates) -> None:
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(made.ca)


def only_old_ciphers(context: ssl.SSLContext, made: Certificates) -> None:
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-SHA")


@pytest.mark.parametrize(
    ("change", "words"),
    [(wants_client_certificate, "wants a client certificate"), (only_old_ciphers, "an old TLS version or cipher?")],
)
def test_store_that_speaks_another_tls_is_told(
    s3_site: S3Site, s3_pod: Pod, made: Certificates, change: Callable[[ssl.SSLContext, Certificates], None], words: str
) -> None:
    s3_site.proxy.tls = tls.context(made.good)
    change(s3_site.proxy.tls, made)
    result = s3_pod.once(timeout="1s", environ={**s3_site.environ, **bundle(made, "ca")})
    assert (result.code, words in result.stderr) == (7, True), result.stderr


def test_plain_http_on_a_tls_port_is_named(s3_site: S3Site, s3_pod: Pod, made: Certificates) -> None:
    s3_site.proxy.tls = tls.context(made.good)
    environ = {**s3_site.environ, "AWS_ENDPOINT_URL_S3": s3_site.proxy.endpoint.replace("https:", "http:")}
    result = s3_pod.once(timeout="1s", environ=environ)
    assert (result.code, s3_pod.live()) == (7, None)
    assert "http where the store speaks https?" in result.stderr


def test_faults_inside_tls_are_told_as_those_without(s3_site: S3Site, s3_pod: Pod, made: Certificates) -> None:
    first = s3_site.publish()
    s3_site.proxy.tls = tls.context(made.good)
    running = s3_pod.run(environ={**s3_site.environ, **bundle(made, "ca")})
    running.wait_live(first.version)
    for fault in (faults.reset_in_body, faults.cut_short, faults.reset_before, faults.SLOW_DOWN):
        s3_site.proxy.fail(fault)
        second = s3_site.publish()
        running.wait_problem("store-unreachable")
        s3_site.proxy.heal()
        running.wait_live(second.version)


@pytest.mark.parametrize("wrong", WRONG[:6], ids=IDS[:6])
def test_dagctl_says_what_is_wrong_with_the_certificate(
    site: Site, line: list[str], s3_site: S3Site, made: Certificates, wrong: Wrong
) -> None:
    s3_site.proxy.tls = tls.context(getattr(made, wrong.server))
    environ = {**s3_site.environ, **bundle(made, wrong.bundle), "DAGFERRY_STORE": s3_site.store}
    result = site.publish(line[0], code=7, **environ)
    assert wrong.dagctl in result.message
    assert s3_site.proxy.requests == []


def test_dagctl_publishes_over_tls_with_its_own_ca(
    site: Site, line: list[str], s3_site: S3Site, made: Certificates
) -> None:
    s3_site.proxy.tls = tls.context(made.good)
    site.publish(line[0], **{**s3_site.environ, **bundle(made, "ca"), "DAGFERRY_STORE": s3_site.store})
    assert {asked.method for asked in s3_site.proxy.requests} >= {"GET", "PUT", "HEAD"}


def test_dagctl_names_https_on_a_plain_port_and_the_reverse(
    site: Site, line: list[str], s3_site: S3Site, made: Certificates, moto: MotoServer
) -> None:
    environ = {**moto.environ, "DAGFERRY_STORE": s3_site.store}
    on_plain = {**environ, "AWS_ENDPOINT_URL_S3": moto.endpoint.replace("http:", "https:")}
    assert "WRONG_VERSION_NUMBER" in site.publish(line[0], code=7, **on_plain).message
    s3_site.proxy.tls = tls.context(made.good)
    on_tls = {**environ, "AWS_ENDPOINT_URL_S3": s3_site.proxy.endpoint.replace("https:", "http:")}
    assert "Connection was closed" in site.publish(line[0], code=7, **on_tls).message
