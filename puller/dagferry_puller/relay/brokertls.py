"""TLS to the broker: whose certificates count, and what to do about one that does not."""

from __future__ import annotations

import ssl

from dagferry_puller.exits import ConfigError

SETTING = "--amqp-ca"
# X509_V_ERR_* of OpenSSL's x509_vfy.h
_NOT_YET_VALID, _EXPIRED = 9, 10
_UNKNOWN_CA = {2, 18, 19, 20, 21}
_OTHER_NAME = {62, 64}
_NOT_TLS = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNSUPPORTED_PROTOCOL"}


def context(ca: str) -> ssl.SSLContext:
    """Return what verifies the broker: certificate and host name, always.

    Args:
        ca: file of the CA certificates that count; empty: those of this machine (SSL_CERT_FILE moves them).

    Raises:
        ConfigError: the file cannot be read, or is not of certificates.
    """
    try:
        return ssl.create_default_context(cafile=ca or None)
    except ssl.SSLError as error:
        raise ConfigError(SETTING, f"{ca} holds no CA certificate in PEM") from error
    except OSError as error:
        raise ConfigError(SETTING, f"cannot read {ca}: {error.strerror}") from error


def advice(error: ssl.SSLError, host: str, ca: str) -> str:
    """Say what is wrong with the broker's TLS, and the cure.

    Args:
        error: of the handshake.
        host: name or address in the broker's URL.
        ca: as for ``context``.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate(error.verify_code, error.verify_message, host, ca)
    if error.reason in _NOT_TLS:
        return f"{host} does not speak TLS on this port: amqps:// is usually port 5671, amqp:// without TLS 5672"
    return f"the TLS handshake with {host} failed: {error.reason or error.strerror or 'no reason given'}"


def _certificate(code: int, message: str, host: str, ca: str) -> str:
    certificate = f"the certificate of {host}"
    if code in _UNKNOWN_CA:
        known = f"the CA in {ca}" if ca else "a CA that this machine knows"
        return f"{certificate} is not signed by {known}: set {SETTING} to the file of its CA"
    if code in _OTHER_NAME:
        return f"{certificate} is for another name: put a name that it has into the broker's URL, or renew it"
    if code == _EXPIRED:
        return f"{certificate} has expired, or the clock of this machine is wrong: renew it, or set the clock"
    if code == _NOT_YET_VALID:
        return f"{certificate} is not valid yet, or the clock of this machine is wrong: set the clock"
    return f"{certificate} does not verify: {message}"
