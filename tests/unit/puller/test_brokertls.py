"""What the relay says of the broker's TLS: one line with the cure, for each thing that a real handshake finds wrong."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

import pytest

from dagferry_puller.relay import brokertls
from support import tls
from support.raw_server import RawServer

if TYPE_CHECKING:
    from pathlib import Path

HOST = "localhost"


def handshake(server: ssl.SSLContext, ca: str) -> ssl.SSLError:
    """Return how a handshake failed."""
    with RawServer(lambda _: None, tls=server) as broker:
        port = int(broker.endpoint.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as plain, pytest.raises(ssl.SSLError) as failed:
            brokertls.context(ca).wrap_socket(plain, server_hostname=HOST)
    return failed.value


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ({"valid": (-2 * tls.DAY, -tls.DAY)}, "has expired, or the clock of this machine is wrong: renew it"),
        ({"valid": (tls.DAY, 2 * tls.DAY)}, "is not valid yet, or the clock of this machine is wrong"),
        ({"names": tls.ELSEWHERE}, "is for another name: put a name that it has into the broker's URL"),
    ],
)
def test_certificate_that_is_not_good_is_named_with_the_cure(
    tmp_path: Path, made: dict[str, object], words: str
) -> None:
    authority = tls.Authority(tmp_path)
    error = handshake(tls.context(authority.server(**made)), str(authority.path))  # type: ignore[arg-type]
    assert brokertls.advice(error, HOST, str(authority.path)).startswith(f"the certificate of {HOST} {words}")


def test_self_signed_certificate_is_of_no_known_ca(tmp_path: Path) -> None:
    error = handshake(tls.context(tls.self_signed(tmp_path)), "")
    assert brokertls.advice(error, HOST, "").endswith("machine knows: set --amqp-ca to the file of its CA")


def test_server_that_wants_another_version_of_tls_is_quoted(tmp_path: Path) -> None:
    authority = tls.Authority(tmp_path)
    old = tls.context(authority.server())
    old.set_ciphers("PSK")  # none that a client without a shared key has
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    error = handshake(old, str(authority.path))
    assert brokertls.advice(error, HOST, "").startswith(f"the TLS handshake with {HOST} failed: ")


def test_verification_that_fails_otherwise_is_quoted(tmp_path: Path) -> None:
    error = ssl.SSLCertVerificationError(1, "x")
    error.verify_code, error.verify_message = 24, "invalid CA certificate"
    assert brokertls.advice(error, HOST, "") == f"the certificate of {HOST} does not verify: invalid CA certificate"
