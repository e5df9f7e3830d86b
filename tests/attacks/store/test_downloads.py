"""Lies of whoever answers for the store, told of each kind of object."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_shared.errors import BlobMissing, Reason, StoreDenied, StoreError, StoreUnreachable
from support.attacker import Target, requests_up_to
from support.bundles import Published, small_tree
from support.hostile import SHORT, HostileStore
from support.raw_server import failure, reply

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from support.hostile import Lie

KINDS = ("pointer", "release", "archive")
ENDLESS = 1 << 40


def raw(data: bytes) -> Lie:
    return lambda _: lambda connection: connection.sendall(data)


HEAD = b'HTTP/1.1 200 OK\r\nConnection: close\r\nETag: "a"\r\nLast-Modified: Sun, 22 Nov 2026 16:49:08 GMT\r\n'


def flood(head: bytes, piece: bytes) -> Lie:
    """Send the same for ever."""

    def send(connection: socket.socket) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(piece)

    return lambda _: send


def with_body(**headers: Any) -> Lie:
    return lambda data: reply("200 OK", data, **headers)


def other(change: Any) -> Lie:
    return lambda data: reply("200 OK", change(data))


EXTRA, DIGEST = Reason.OVERSIZE, Reason.WRONG_DIGEST
OTHER_BYTES: dict[str, tuple[Lie, Reason, Reason]] = {  # and why a pointer and an archive are refused
    "one byte short": (other(lambda data: data[:-1]), Reason.MALFORMED, DIGEST),
    "half": (other(lambda data: data[: len(data) // 2]), Reason.MALFORMED, DIGEST),
    "empty": (other(lambda _: b""), Reason.MALFORMED, DIGEST),
    "one byte more": (other(lambda data: data + b"\n"), Reason.MALFORMED, EXTRA),
    "twice": (other(lambda data: data + data), Reason.MALFORMED, EXTRA),
    "a space first": (other(lambda data: b" " + data), Reason.MALFORMED, EXTRA),
    "a byte order mark first": (other(lambda data: b"\xef\xbb\xbf" + data), Reason.MALFORMED, EXTRA),
    "zeros": (other(lambda data: bytes(len(data))), Reason.MALFORMED, DIGEST),
    "backwards": (other(lambda data: data[::-1]), Reason.MALFORMED, DIGEST),
    "a page to log in": (other(lambda _: b"<html>please log in</html>"), Reason.MALFORMED, DIGEST),
    "a length too small": (lambda data: reply("200 OK", data, length=len(data) - 1), Reason.MALFORMED, DIGEST),
    "gzip": (lambda data: reply("200 OK", gzip.compress(data), Content_Encoding="gzip"), Reason.MALFORMED, EXTRA),
    "206": (
        lambda data: reply("206 Partial Content", data[:9], Content_Range=f"bytes 0-8/{len(data)}"),
        Reason.MALFORMED,
        DIGEST,
    ),
    "204": (lambda _: reply("204 No Content"), Reason.MALFORMED, DIGEST),
    "endless": (flood(HEAD + b"Content-Length: %d\r\n\r\n" % ENDLESS, bytes(65536)), EXTRA, EXTRA),
    "endless spaces": (flood(HEAD + b"Content-Length: %d\r\n\r\n" % ENDLESS, b" " * 65536), EXTRA, EXTRA),
}


def reason_for(kind: str, lie: str) -> Reason:
    _, as_pointer, as_archive = OTHER_BYTES[lie]
    as_release = EXTRA if as_pointer is EXTRA else DIGEST
    return {"pointer": as_pointer, "release": as_release, "archive": as_archive}[kind]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lie", OTHER_BYTES)
def test_other_bytes_than_were_signed_are_refused(
    target: Target, store: HostileStore, published: Published, kind: str, lie: str
) -> None:
    store.lies[kind] = OTHER_BYTES[lie][0]
    target.refuses(reason_for(kind, lie), fetched=requests_up_to(kind, published))
    assert_cured(target, store, published)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lie", OTHER_BYTES)
def test_pod_without_a_version_takes_no_other_bytes_either(
    target: Target, store: HostileStore, kind: str, lie: str
) -> None:
    published = target.simulator.publish(small_tree("one"), "one")
    store.lies[kind] = OTHER_BYTES[lie][0]
    target.refuses(reason_for(kind, lie), fetched=requests_up_to(kind, published))
    assert target.look().link is None
    assert not target.recorder.snapshot().ready


def assert_cured(target: Target, store: HostileStore, published: Published) -> None:
    """Without the lie, the same goes through."""
    store.lies.clear()
    target.start()
    target.accepts(published)


def stalled(before: bytes) -> Lie:
    """Send this, and nothing more."""

    def send(connection: socket.socket) -> None:
        connection.sendall(before)
        connection.settimeout(30)
        connection.recv(1)  # until the client gives up

    return lambda _: send


def dripping(head: bytes) -> Lie:
    """Send a byte at a time, so that no read ever times out."""

    def send(connection: socket.socket) -> None:
        connection.sendall(head)
        connection.settimeout(0.02)
        while True:
            connection.sendall(b"x")
            try:
                if not connection.recv(1):
                    return
            except TimeoutError:
                continue

    return lambda _: send


NO_OBJECT: dict[str, Lie] = {
    "breaks off": lambda data: reply("200 OK", data[:-1], length=len(data)),
    "breaks off at once": lambda data: reply("200 OK", length=len(data)),
    "closes without an answer": raw(b""),
    "no HTTP": raw(b"\x00garbage\r\n\r\n"),
    "HTTP/0.9": lambda data: lambda connection: connection.sendall(data),
    "HTTP/2.0": raw(HEAD.replace(b"1.1", b"2.0") + b"Content-Length: 1\r\n\r\nx"),
    "half a head": raw(HEAD),
    "a TLS alert": raw(b"\x15\x03\x03\x00\x02\x02\x28"),
    "a header of 1 MiB": with_body(X="x" * (1 << 20)),
    "a header without an end": flood(HEAD + b"X: ", b"x" * 65536),
    "headers without an end": flood(HEAD, b"X: y\r\n" * 1000),
    "200 headers": with_body(**{f"X{number}": "y" for number in range(200)}),
    "a NUL in a header": with_body(X="a\0b"),
    "two lengths": raw(HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx"),
    "a negative length": raw(HEAD + b"Content-Length: -1\r\n\r\nx"),
    "a length of 2^64": raw(HEAD + b"Content-Length: 18446744073709551616\r\n\r\nx"),
    "no length": raw(HEAD + b"\r\nx"),
    "endless without a length": flood(HEAD + b"\r\n", bytes(65536)),
    "endless in chunks": flood(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + bytes(65536) + b"\r\n"),
    "a chunk of 2^68": raw(HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\nx"),
    "no ETag": with_body(ETag=""),
    "an ETag of 64 KiB": with_body(ETag='"' + "e" * 65536 + '"'),
    "a weak ETag": with_body(ETag='W/"abc"'),
    "an ETag with a line": with_body(ETag='"a\x0bb"'),
    "a date that is none": with_body(Last_Modified="yesterday"),
    "101": raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"),
    "a status that is none": raw(b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
    "a redirect to nowhere": lambda _: reply("302 Found"),
    "500": lambda _: failure("500 Internal Server Error", "InternalError"),
    "503": lambda _: failure("503 Slow Down", "SlowDown"),
    "an error of 8 MiB": lambda _: reply("500 Internal Server Error", b"<Error>" * (1 << 20)),
}
WITHOUT_AN_END: dict[str, Lie] = {
    "hints for ever": flood(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100),
    "continue for ever": flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "an endless error": flood(b"HTTP/1.1 500 Odd\r\nConnection: close\r\n\r\n", b"<Code>NoSuchBucket</Code>" * 10),
    "never answers": stalled(b""),
    "stalls in its head": stalled(HEAD),
    "stalls in its body": stalled(HEAD + b"Content-Length: 100\r\n\r\nx"),
    "a head that drips": dripping(HEAD + b"X: "),
    "a body that drips": dripping(HEAD + b"Content-Length: 100000000\r\n\r\n"),
}
STATUS: dict[str, tuple[Lie, type[StoreError]]] = {
    "401": (lambda _: failure("401 Unauthorized", "Unauthorized"), StoreDenied),
    "403": (lambda _: failure("403 Forbidden", "AccessDenied"), StoreDenied),
    "404": (lambda _: failure("404 Not Found", "NoSuchKey"), BlobMissing),
    **{name: (lie, StoreUnreachable) for name, lie in NO_OBJECT.items()},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lie", STATUS)
def test_answer_that_is_no_object_counts_as_an_outage(
    target: Target, store: HostileStore, published: Published, kind: str, lie: str
) -> None:
    store.lies[kind], error = STATUS[lie]
    target.fails(error, "read", fetched=requests_up_to(kind, published), remembered=kind != "pointer")
    assert_cured(target, store, published)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lie", WITHOUT_AN_END)
def test_answer_that_never_ends_is_given_up(
    target: Target, store: HostileStore, published: Published, kind: str, lie: str, tmp_path: Path
) -> None:
    patient = target.reader.inner
    target.serve(store.reader(tmp_path, SHORT))
    store.lies[kind] = WITHOUT_AN_END[lie]
    target.fails(StoreUnreachable, "read", fetched=requests_up_to(kind, published), remembered=kind != "pointer")
    target.serve(patient)
    assert_cured(target, store, published)
