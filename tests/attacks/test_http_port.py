"""Attacks on the HTTP port's parser: each odd request gets one answer, or none, and is never served as another."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from dagferry_puller import httpwire
from support.portfixtures import Port
from support.rawclient import Said, everything, say

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES = ("healthz", "readyz", "status", "metrics")
CLIENT_HELLO = bytes.fromhex("16030100a5010000a10303") + bytes(154)


@pytest.fixture(scope="module")
def port() -> Iterator[Port]:
    with Port() as made:
        yield made


@pytest.fixture(autouse=True)
def nothing_was_looked_for(request: pytest.FixtureRequest) -> Iterator[None]:
    """No request of these tests is a whole notification, whatever it carries."""
    port = request.getfixturevalue("port")
    before = port.looks
    yield
    assert say(port.number, b"GET /healthz HTTP/1.1\r\n\r\n").status == 200
    assert port.looks == before


def get(target: bytes, *more: bytes, method: bytes = b"GET", version: bytes = b"HTTP/1.1") -> bytes:
    return b"\r\n".join([b" ".join([method, target, version]), *more, b"", b""])


def refused(port: Port, data: bytes, status: int, *, hang_up: bool = False) -> None:
    said = say(port.number, data, hang_up=hang_up)
    assert said.status == status
    assert said.headers["connection"] == "close"
    assert len(said.body) == int(said.headers["content-length"]) < 100


@pytest.mark.parametrize("count", [1, 8 * 1024, 100_000])
def test_request_line_without_an_end_is_refused(port: Port, count: int) -> None:
    refused(port, b"GET /" + b"x" * count, 431 if count > 1 else 400, hang_up=True)


@pytest.mark.parametrize(
    "data",
    [
        get(b"/status", b"A: " + b"x" * 8200),
        get(b"/status", *(b"A%d: 1" % number for number in range(10_000))),
        get(b"/" + b"x" * 9000),
        get(b"/status?" + b"x" * 100_000),
        b"GET /status HTTP/1.1\r\n" + b"A: 1\r\n" * 20_000,
    ],
    ids=["one header", "10k headers", "path", "query", "headers without an end"],
)
def test_head_of_more_than_8_kib_is_refused(port: Port, data: bytes) -> None:
    refused(port, data, 431)


@pytest.mark.parametrize(
    "target",
    [
        b"//status",
        b"/../status",
        b"/./status",
        b"/status/",
        b"/status/../metrics",
        b"/%73tatus",
        b"/%2e%2e/status",
        b"/status%00",
        b"/status%0d%0a",
        b"/status;x=1",
        b"/STATUS",
        b"/status\\",
        b"/",
        b"/etc/passwd",
        b"/notify/",
        b"/%6eotify",
    ],
    ids=ascii,
)
def test_path_that_is_not_exactly_a_page_is_not_found(port: Port, target: bytes) -> None:
    for method in (b"GET", b"POST"):
        refused(port, get(target, method=method), 404)


@pytest.mark.parametrize(
    "target",
    [
        b"http://evil.example/status",
        b"evil.example:443",
        b"*",
        b"",
        b"status",
        b"/status\x00",
        b"/st\xc3\xa4tus",
        b"/status\x7f",
        b"/sta\ttus",
        b"/status /x",
    ],
    ids=ascii,
)
def test_target_that_is_no_path_is_refused(port: Port, target: bytes) -> None:
    refused(port, get(target), 400)


def test_query_is_ignored(port: Port) -> None:
    assert say(port.number, get(b"/healthz?token=x&/notify")).status == 200


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE", b"CONNECT", b"BREW"])
def test_wrong_method_is_told_the_right_ones(port: Port, method: bytes) -> None:
    for page in PAGES:
        said = say(port.number, get(b"/" + page.encode(), method=method))
        assert (said.status, said.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS"])
def test_notification_is_a_post_and_nothing_else(port: Port, method: bytes) -> None:
    said = say(port.number, get(b"/notify", method=method))
    assert (said.status, said.headers["allow"]) == (405, "POST")
    assert bool(said.body) is (method != b"HEAD")


@pytest.mark.parametrize("method", [b"get", b"G\x00T", b"", b"G\xc3\x84T", b"X" * 21], ids=ascii)
def test_method_that_is_no_word_is_refused(port: Port, method: bytes) -> None:
    refused(port, get(b"/status", method=method), 400)


@pytest.mark.parametrize(
    "data",
    [
        b"GET /status\r\n\r\n",
        get(b"/status", version=b"HTTP/0.9"),
        get(b"/status", version=b"HTTP/1.2"),
        get(b"/status", version=b"HTTP/1.10"),
        get(b"/status", version=b"HTTP/2.0"),
        get(b"/status", version=b"http/1.1"),
        get(b"/status", version=b"ICY/1.1"),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        CLIENT_HELLO,
        b"\x05\x01\x00",
        b"\x00" * 100,
        b"\r\n\r\n",
        b"\r\nGET /status HTTP/1.1\r\n\r\n",
        b" GET /status HTTP/1.1\r\n\r\n",
        b'{"Records": []}',
    ],
    ids=[
        "0.9",
        "0.9 told",
        "1.2",
        "1.10",
        "2.0",
        "lower",
        "ICY",
        "h2",
        "TLS",
        "SOCKS",
        "NUL",
        "empty",
        "CRLF",
        " ",
        "{",
    ],
)
def test_what_is_not_http_1_is_refused_at_once(port: Port, data: bytes) -> None:
    refused(port, data, 400)


@pytest.mark.parametrize(
    "header",
    [
        b"no colon",
        b": 1",
        b"A : 1",
        b" A: 1",
        b"B: 1\r\n folded",
        b"\tA: 1",
        b"A\x00: 1",
        b"A: \x00",
        b"A: 1\nB: 2",
        b"A: 1\rB: 2",
        b"A: \x1b[2J",
        b"A: \x7f",
        b"\xc3\xa4: 1",
        b"A(B): 1",
        b"A: 1\r\na: 2",
        b"Host: a\r\nHost: b",
    ],
    ids=ascii,
)
def test_header_that_could_be_read_in_two_ways_is_refused(port: Port, header: bytes) -> None:
    refused(port, get(b"/status", header), 400)


@pytest.mark.parametrize(
    "length", [b"-1", b"+1", b"0x1", b"1,1", b"1 1", b"1\xa0", b"\xb2", b"", b"1.0", b"1e3", b"1234567890", b"9" * 4000]
)
def test_length_that_is_no_small_number_is_refused(port: Port, length: bytes) -> None:
    refused(port, get(b"/notify", b"Content-Length: " + length, method=b"POST") + b"x", 400)


@pytest.mark.parametrize("length", [64 * 1024 + 1, 999_999_999])
@pytest.mark.parametrize("more", [(), (b"Expect: 100-continue",)], ids=["", "expect"])
def test_body_of_more_than_64_kib_is_refused_before_it_is_sent(
    port: Port, length: int, more: tuple[bytes, ...]
) -> None:
    refused(port, get(b"/notify", b"Content-Length: %d" % length, *more, method=b"POST"), 413)


def test_body_that_is_sent_all_the_same_does_not_lose_the_answer(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(httpwire, "_LINGER_SECONDS", 20.0)
    with socket.create_connection(("127.0.0.1", port.number), timeout=20) as connection:
        connection.sendall(get(b"/notify", b"Content-Length: 200000", method=b"POST"))
        assert connection.recv(1, socket.MSG_PEEK)
        for _ in range(2):  # on a closed connection the first would bring a reset, and the second fail by it
            connection.sendall(bytes(100_000))
            assert say(port.number, get(b"/healthz")).status == 200
        connection.shutdown(socket.SHUT_WR)
        assert Said(everything(connection)).status == 413


def test_body_shorter_than_it_says_is_refused(port: Port) -> None:
    refused(port, get(b"/notify", b"Content-Length: 10", method=b"POST") + b"123", 400, hang_up=True)


@pytest.mark.parametrize(
    "headers",
    [
        (b"Transfer-Encoding: chunked",),
        (b"Content-Length: 5", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: chunked", b"Content-Length: 5"),
        (b"Transfer-Encoding: identity", b"Content-Length: 5"),
        (b"transfer-encoding: x, chunked",),
        (b"Content-Length: 0", b"Content-Length: 5"),
        (b"Content-Length: 5", b"content-length: 5"),
    ],
    ids=ascii,
)
def test_body_whose_length_is_told_in_two_ways_is_refused(port: Port, headers: tuple[bytes, ...]) -> None:
    smuggled = b"0\r\n\r\nPOST /notify HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
    refused(port, get(b"/notify", *headers, method=b"POST") + smuggled, 400)


NOTIFY = b"POST /notify HTTP/1.1\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    "data",
    [
        get(b"/healthz") + NOTIFY,
        get(b"/healthz", b"Connection: keep-alive") + NOTIFY * 3,
        get(b"/healthz", b"Content-Length: %d" % len(NOTIFY)) + NOTIFY,
        get(b"/healthz", b"Content-Length: 1") + b"x" + NOTIFY,
        get(b"/healthz", b"Upgrade: h2c", b"Connection: Upgrade") + NOTIFY,
    ],
    ids=["pipelined", "keep-alive", "as a body", "after a body", "upgrade"],
)
def test_second_request_on_a_connection_is_not_served(port: Port, data: bytes) -> None:
    said = say(port.number, data)
    assert (said.status, said.body) == (200, b"alive\n")


def test_request_that_comes_in_two_pieces_is_one(port: Port) -> None:
    with socket.create_connection(("127.0.0.1", port.number), timeout=20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in (b"GET /heal", b"thz HTTP/1.1\r\n", b"\r", b"\n"):
            connection.sendall(piece)
        assert everything(connection).endswith(b"alive\n")


@pytest.mark.parametrize("body", [b"", b"POST /notify HTTP/1.1\r\nContent-Length: 1000\r\n\r\n"], ids=["head", "body"])
def test_request_that_comes_byte_by_byte_is_cut_at_its_deadline(
    port: Port, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    monkeypatch.setattr(httpwire, "REQUEST_SECONDS", 0.3)
    with socket.create_connection(("127.0.0.1", port.number), timeout=20) as connection:
        connection.sendall(body)
        connection.settimeout(0.02)
        answer = b""
        while b"\r\n\r\n" not in answer:
            connection.sendall(b"X")
            try:
                answer += connection.recv(4096)
            except TimeoutError:
                assert say(port.number, get(b"/healthz")).status == 200
    assert answer.startswith(b"HTTP/1.1 408 ")
