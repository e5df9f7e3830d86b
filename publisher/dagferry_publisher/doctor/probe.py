"""Notifications end to end: RGW announces two scratch objects to a port here.

RGW serves the notifications of a PUT in the order of their ids, and one receiver that fails keeps the event from all
that follow. The probe's own comes last: an object that only the probe hears of shows that RGW reaches this machine, and
then a scratch pointer, which arrives here once every receiver of the bucket's own notifications has taken it.
"""

from __future__ import annotations

import secrets
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from dagferry_publisher.ceph.plan import CREATED, POINTER, Notification, Topic
from dagferry_publisher.doctor.result import Result, unchecked
from dagferry_publisher.errors import UsageError
from dagferry_shared.errors import StoreError

if TYPE_CHECKING:
    from dagferry_publisher.ceph.admin import S3Admin
    from dagferry_publisher.ceph.plan import Target

_CHECK = "notification probe"
_WAIT_SECONDS = 5.0
_MAX_BODY = 64 << 10
_ALONE = "/alone"  # what no notification but the probe's is about


class _Receiver(ThreadingHTTPServer):
    """Takes POSTs and remembers which of the keys they named."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], keys: tuple[str, ...]) -> None:
        self.came = {key: threading.Event() for key in keys}
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Receiver
    timeout = 5.0

    def do_POST(self) -> None:
        """Answer at once; look for the keys in the body."""
        length = self.headers.get("Content-Length", "")
        body = self.rfile.read(min(int(length), _MAX_BODY)) if length.isdigit() else b""
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
        for key, came in self.server.came.items():
            if key.encode() in body:
                came.set()

    def log_message(self, *_: object) -> None:
        """Stay silent."""


def address(text: str) -> tuple[str, int]:
    """Read HOST:PORT."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) >= 1 << 16:
        raise UsageError(f"--notify-probe is HOST:PORT, an address of this machine that RGW reaches; not {text!r}")
    return host, int(port)


def probe(admin: S3Admin, target: Target, listen: tuple[str, int]) -> Result:
    """Have RGW announce a scratch object and a scratch pointer to this machine; all that was made is removed again."""
    if not admin.is_ceph():
        return unchecked(_CHECK, "the store is not a Ceph RGW")
    name = f"zzz-dagferry-probe-{secrets.token_hex(8)}"
    prefix = f"{target.root}scratch/{name}"
    keys = (prefix + _ALONE, prefix + POINTER)
    try:
        receiver = _Receiver(listen, keys)
    except OSError as error:
        raise UsageError(f"--notify-probe {listen[0]}:{listen[1]}: cannot listen there: {error.strerror}") from error
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    arn = None
    try:
        arn = admin.create_topic(Topic(name, f"http://{listen[0]}:{receiver.server_port}/notify"))
        admin.put_notification(Notification(name, name, (CREATED,), prefix, ""), arn)
        return _announced(admin, keys, receiver)
    except StoreError as error:
        return Result(_CHECK, "failure", str(error), "the bucket's owner may set notifications: use its keys")
    finally:
        _clean_up(admin, name, arn, keys)
        receiver.shutdown()
        receiver.server_close()


def _announced(admin: S3Admin, keys: tuple[str, str], receiver: _Receiver) -> Result:
    took = [_took(admin, key, receiver) for key in keys]
    if took[0] is None:
        seen = f"RGW announced nothing to port {receiver.server_port} here within {_WAIT_SECONDS:.0f} s"
        return Result(
            _CHECK, "failure", seen, "open the way from the gateways to this address; radosgw's log says more"
        )
    if took[1] is None:
        seen = "RGW reaches this machine, but another receiver of the bucket fails: pointers are not announced"
        return Result(_CHECK, "failure", seen, "start the relay or broker that the line above names, or set it up anew")
    seen = f"RGW announced a scratch pointer here after {took[1] * 1000:.0f} ms, after every other receiver"
    return Result(_CHECK, "ok", f"{seen} (persistent ones aside) had taken it")


def _took(admin: S3Admin, key: str, receiver: _Receiver) -> float | None:
    begin = time.perf_counter()
    admin.write(key, b"doctor")
    return time.perf_counter() - begin if receiver.came[key].wait(_WAIT_SECONDS) else None


def _clean_up(admin: S3Admin, name: str, arn: str | None, keys: tuple[str, ...]) -> None:
    if arn is not None:  # the notification first: it would go on with its copy of the topic
        with suppress(StoreError):
            admin.delete_notification(name)
        with suppress(StoreError):
            admin.delete_topic(arn)
    for key in keys:
        with suppress(StoreError):
            admin.remove(key)
