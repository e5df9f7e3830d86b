"""Certificates made while a test runs: a CA, and server certificates of it with one thing wrong."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path

DAY = dt.timedelta(days=1)
LOCAL = (x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
ELSEWHERE = (x509.DNSName("s3.example.org"),)


class Authority:
    """A CA; ``path`` is its certificate, for AWS_CA_BUNDLE.

    Args:
        folder: where certificates and keys are written.
        name: of the CA.
        is_ca: what its certificate says of itself.
    """

    def __init__(self, folder: Path, name: str = "the CA", *, is_ca: bool = True) -> None:
        self._folder = folder
        self._name = name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.path = self._signed(name, self._key, LOCAL, (-DAY, DAY), ca=is_ca)

    def server(
        self,
        name: str = "server",
        *,
        names: tuple[x509.GeneralName, ...] = LOCAL,
        valid: tuple[dt.timedelta, dt.timedelta] = (-DAY, DAY),
    ) -> Path:
        """Write a server certificate and, beside it, its key.

        Args:
            name: of the file.
            names: hosts that it is for.
            valid: from and until, seen from now.
        """
        return self._signed(name, ec.generate_private_key(ec.SECP256R1()), names, valid, ca=False)

    def _signed(
        self,
        name: str,
        key: ec.EllipticCurvePrivateKey,
        names: tuple[x509.GeneralName, ...],
        valid: tuple[dt.timedelta, dt.timedelta],
        *,
        ca: bool,
    ) -> Path:
        now = dt.datetime.now(dt.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self._name)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + valid[0])
            .not_valid_after(now + valid[1])
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        path = self._folder / f"{name.replace(' ', '-')}.pem"
        plain = serialization.NoEncryption()
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        path.with_suffix(".key").write_bytes(private)
        path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        return path


def context(certificate: Path) -> ssl.SSLContext:
    """Serve by a certificate, whose key lies beside it."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate, certificate.with_suffix(".key"))
    return made


def self_signed(folder: Path, name: str = "alone") -> Path:
    """Write a server certificate that nobody but itself signed."""
    return Authority(folder, name, is_ca=False).path
