"""What ``dagctl doctor`` looks at on S3: the bucket, the rights of pullers, TLS, and how pointers are announced."""

from __future__ import annotations

import secrets
import socket
import ssl
from contextlib import suppress
from datetime import UTC, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cryptography import x509

from dagferry_publisher.ceph.plan import split_rules
from dagferry_publisher.doctor.result import Result, unchecked
from dagferry_shared.errors import StoreDenied, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from dagferry_publisher.ceph.admin import S3Admin
    from dagferry_publisher.ceph.plan import Notification, Target, Topic

_EXPIRES_SOON = timedelta(days=21)
_CONNECT_SECONDS = 5.0
_SETUP = "dagctl setup ceph"
_ROLES = "a key of a pod must only read: take every other right away from this user, and see the bucket policy"


def check_bucket(admin: S3Admin) -> Result:
    """Say whether the bucket is versioned or locked, and what that breaks."""
    check = "bucket"
    try:
        if not admin.exists():
            return Result(check, "failure", f"there is no bucket {admin.bucket}", _SETUP)
        versioning, locked = admin.versioning(), admin.locked()
    except StoreDenied:
        return unchecked(check, "these keys may not ask for its versioning; the proof of conditional writes counts")
    except StoreError as error:
        return Result(check, "failure", str(error), "see the lines above")
    if locked or versioning == "Enabled":
        what = "has object lock" if locked else "is versioned"
        seen = f"it {what}: Ceph RGW then ignores If-None-Match and refuses every If-Match, so nothing can be published"
        cure = "take a bucket without object lock" if locked else "suspend its versioning, or take another bucket"
        return Result(check, "failure", seen, cure)
    return Result(check, "ok", "versioning is suspended" if versioning else "not versioned, no object lock")


def check_lifecycle(admin: S3Admin, target: Target) -> Result:
    """Say whether what is left over goes away by itself."""
    check = "lifecycle"
    try:
        rules = split_rules(admin.lifecycle())
    except StoreError:
        return unchecked(check, "these keys may not read the bucket's rules")
    missing = [
        words
        for name, words in zip(target.rules(), ("aborted uploads", "scratch keys"), strict=True)
        if name not in rules
    ]
    if missing:
        return Result(check, "warning", f"no rule of ours for {' and '.join(missing)}: they stay for ever", _SETUP)
    return Result(check, "ok", "aborted uploads and scratch keys go after a day")


def check_puller(publisher: S3Admin, puller: S3Admin, target: Target) -> Result:
    """Try a puller's keys: they must read what the publisher writes, and must neither write nor delete."""
    check, key = "puller's rights", f"{target.root}scratch/doctor-{secrets.token_hex(8)}"
    try:
        publisher.write(key, b"doctor")
    except StoreError as error:
        return unchecked(check, f"no object to try them on: {error}")
    try:
        puller.read(key)
    except StoreError as error:
        return Result(check, "failure", str(error), f"{_SETUP} --puller-user UID, or give the puller's right keys")
    finally:
        may = [name for name, attempt in _forbidden(puller, key) if not _denied(attempt)]
        with suppress(StoreError):
            publisher.remove(key)
    if may:
        return Result(check, "failure", f"they may read, but also {' and '.join(may)}", _ROLES)
    return Result(check, "ok", "they may read the bundle, and neither write nor delete")


def _forbidden(puller: S3Admin, key: str) -> tuple[tuple[str, Callable[[], None]], ...]:
    return (("write", lambda: puller.write(key, b"puller")), ("delete", lambda: puller.remove(key)))


def _denied(attempt: Callable[[], None]) -> bool:
    try:
        attempt()
    except StoreError:
        return True
    return False


def check_tls(endpoint: str, ca: str | None, now: datetime) -> Result:
    """Look at the store's certificate, from its own handshake."""
    check, parts = "TLS", urlsplit(endpoint)
    if parts.scheme != "https":
        cure = "use https: on plain http the network reads the DAGs and holds updates back (it cannot change them)"
        return Result(check, "warning", f"{endpoint} is plain http", cure)
    address = (parts.hostname or "", parts.port or 443)
    try:
        context = ssl.create_default_context(cafile=ca)
        with (
            socket.create_connection(address, _CONNECT_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=parts.hostname) as tls,
        ):
            certificate = x509.load_der_x509_certificate(tls.getpeercert(binary_form=True) or b"")
    except ssl.SSLCertVerificationError as error:
        cure = "set AWS_CA_BUNDLE to the CA's file" if "issuer" in str(error) or "self" in str(error) else "replace it"
        return Result(check, "failure", f"its certificate does not verify: {error.verify_message}", cure)
    except (OSError, ValueError) as error:
        return unchecked(check, f"no handshake with {parts.hostname}:{address[1]} (a proxy?): {error}")
    return _certificate(certificate, ca, now)


def _certificate(certificate: x509.Certificate, ca: str | None, now: datetime) -> Result:
    check, end = "TLS", certificate.not_valid_after_utc.astimezone(UTC)
    signed = f"signed by the CA in {ca}" if ca else "signed by a CA that this machine knows"
    seen = f"certificate until {end:%Y-%m-%d}, {signed}"
    if _is_ca(certificate):
        cure = "give the server a certificate of its own, signed by that CA: pullers (rustls) refuse a CA as a server"
        return Result(check, "failure", f"{seen}; it is itself a CA's", cure)
    if end - now < _EXPIRES_SOON:
        return Result(
            check, "warning", seen, "renew it: pullers take nothing from a store whose certificate has expired"
        )
    return Result(check, "ok", seen)


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except x509.ExtensionNotFound:
        return False


def check_notifications(admin: S3Admin, pointer: str) -> Result:
    """Read how the bucket announces a pointer, and say what is missing or dangerous."""
    check = "notifications"
    try:
        if not admin.is_ceph():
            return unchecked(check, "the store is not a Ceph RGW")
        found = admin.notifications()
        topics = {entry.topic: admin.topic(entry.topic) for entry in found if entry.matches(pointer)}
    except StoreError as error:
        return unchecked(check, f"these keys may not read them: {error}")
    dangerous = [entry.id for entry in found if any("ObjectRemoved" in event for event in entry.events)]
    if dangerous:
        seen = f"{', '.join(dangerous)} announces ObjectRemoved: deleting several objects at once then ends radosgw"
        return Result(check, "failure", seen, "take ObjectRemoved out of the bucket's notifications")
    return _announced([entry for entry in found if entry.topic in topics], {n: t and t[1] for n, t in topics.items()})


def _announced(found: list[Notification], topics: dict[str, Topic | None]) -> Result:
    check = "notifications"
    if not found:
        return unchecked(
            check, "none for pointers: pullers see a change when they poll (dagctl setup ceph --notify-url)"
        )
    gone = sorted(name for name, topic in topics.items() if topic is None)
    if gone:
        return Result(check, "failure", f"topic {', '.join(gone)} is gone", f"{_SETUP} --notify-url URL, or --amqp URL")
    known = [topic for topic in topics.values() if topic]
    seen = "; ".join(f"{entry.shown()}" for entry in found) + ": " + "; ".join(topic.shown() for topic in known)
    if any(topic.persistent and not topic.exchange for topic in known):
        cure = f"{_SETUP} without --persistent, or with --amqp: persistent HTTP push wedges when its receiver is down"
        return Result(check, "warning", seen, cure)
    if any(topic.endpoint.startswith("kafka") for topic in known):
        return Result(check, "warning", seen, "many radosgw (Debian's) are built without Kafka, and accept it silently")
    return Result(check, "ok", seen)
