"""The relay and a real RabbitMQ over TLS: whose certificate it takes, and what it says of others."""

from __future__ import annotations

import secrets
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from support import tls
from support.rabbit import Rabbit
from support.relays import relay

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.pods import Running

TARGETS = "http://127.0.0.1:1"
PASSWORD = "PASSWORDSHOWNNOWHERE"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tls.Authority:
    return tls.Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def broker(authority: tls.Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rabbit]:
    with Rabbit(tmp_path_factory.mktemp("rabbit") / "node", authority.server()) as made:
        yield made


def names() -> dict[str, str]:
    word = secrets.token_hex(4)
    return {"amqp_exchange": f"exchange-{word}", "amqp_queue": f"queue-{word}"}


def problem(running: Running) -> str:
    """Wait for what is wrong, which must be one line, in the log as well as in /status."""
    said = str(running.wait("it is refused", lambda s: s["problem"])["problem"])
    assert "\n" not in said
    assert said in running.logs("warning")[0]["message"]
    assert not running.ready()
    assert PASSWORD not in running.text()
    return said


def test_messages_come_over_tls_from_a_broker_of_the_given_ca(
    broker: Rabbit, authority: tls.Authority, tmp_path: Path
) -> None:
    own = names()
    with relay(tmp_path, targets=TARGETS, amqp=broker.tls_url(), amqp_ca=str(authority.path), **own) as running:
        before = running.wait("consumed", lambda s: s["connected"])["notifications"]
        with closing(broker.connect()) as connection:
            connection.channel().basic_publish(own["amqp_exchange"], "a.topic", b"{}")
        running.wait("taken", lambda s: s["notifications"] > before)
        assert running.ready()


def test_ca_of_the_environment_counts_where_none_is_given(
    broker: Rabbit, authority: tls.Authority, tmp_path: Path
) -> None:
    environ = {"SSL_CERT_FILE": str(authority.path), "DAGFERRY_AMQP": broker.tls_url("localhost")}
    with relay(tmp_path, targets=TARGETS, environ=environ, **names()) as running:
        running.wait("consumed", lambda s: s["connected"])


def test_broker_of_an_unknown_ca_is_refused_with_the_setting_to_change(broker: Rabbit, tmp_path: Path) -> None:
    url = broker.tls_url().replace("//", f"//relay:{PASSWORD}@")
    with relay(tmp_path, targets=TARGETS, environ={"DAGFERRY_AMQP": url}) as running:
        assert problem(running) == (
            "the broker: the certificate of 127.0.0.1 is not signed by a CA that this machine knows: "
            "set --amqp-ca to the file of its CA"
        )


def test_right_ca_that_comes_later_is_taken_without_a_restart(
    broker: Rabbit, authority: tls.Authority, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    file = tmp_path / "ca.pem"
    file.write_bytes(tls.Authority(tmp_path / "other", "another CA").path.read_bytes())
    with relay(tmp_path, targets=TARGETS, amqp=broker.tls_url(), amqp_ca=str(file), **names()) as running:
        assert problem(running) == (
            f"the broker: the certificate of 127.0.0.1 is not signed by the CA in {file}: "
            "set --amqp-ca to the file of its CA"
        )
        file.write_bytes(authority.path.read_bytes())
        running.wait("consumed", lambda s: s["connected"])


def test_ca_file_that_vanishes_is_named_and_read_again_when_it_is_back(
    broker: Rabbit, authority: tls.Authority, tmp_path: Path
) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(authority.path.read_bytes())
    with relay(tmp_path, targets=TARGETS, amqp=broker.tls_url(), amqp_ca=str(file), **names()) as running:
        running.wait("consumed", lambda s: s["connected"])
        file.unlink()
        broker.kill()
        running.wait(
            "it is said", lambda s: s["problem"] == f"--amqp-ca: cannot read {file}: No such file or directory"
        )
        broker.start()
        file.write_bytes(authority.path.read_bytes())
        running.wait("consumed again", lambda s: s["connected"])


@pytest.mark.parametrize("host", ["127.0.0.2", "rabbit.example.org"])
def test_certificate_for_another_name_is_refused_with_the_name(
    broker: Rabbit, authority: tls.Authority, tmp_path: Path, host: str
) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost rabbit.example.org\n")
    settings = {"amqp": broker.tls_url(host), "amqp_ca": str(authority.path)}
    with relay(tmp_path, etc={"hosts": hosts}, targets=TARGETS, **settings) as running:
        assert problem(running) == (
            f"the broker: the certificate of {host} is for another name: "
            "put a name that it has into the broker's URL, or renew it"
        )


def test_port_without_tls_is_said(broker: Rabbit, authority: tls.Authority, tmp_path: Path) -> None:
    url = broker.url.replace("amqp:", "amqps:")
    with relay(tmp_path, targets=TARGETS, amqp=url, amqp_ca=str(authority.path)) as running:
        assert "127.0.0.1 does not speak TLS on this port: amqps:// is usually port 5671" in problem(running)


def test_port_with_tls_is_said_to_a_relay_that_speaks_none(broker: Rabbit, tmp_path: Path) -> None:
    with relay(tmp_path, targets=TARGETS, amqp=broker.tls_url().replace("amqps:", "amqp:")) as running:
        assert problem(running) == (
            "the broker: it does not speak AMQP on this port; if this is a port for TLS, write amqps://"
        )
