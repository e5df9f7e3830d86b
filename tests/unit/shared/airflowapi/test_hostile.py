"""Whatever answers instead of Airflow: one error, in time, and not more bytes than allowed."""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_shared.airflowapi import address, client, wire
from dagferry_shared.airflowapi.client import Airflow
from dagferry_shared.airflowapi.credentials import Credentials
from dagferry_shared.airflowapi.errors import AirflowError, Trouble
from support.fakeairflowapi import JWT, FakeAirflow
from support.raw_server import RawServer, reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.raw_server import Answer


def ask(url: str, seconds: float = 10.0) -> AirflowError:
    with pytest.raises(AirflowError) as caught:
        Airflow(address.parse(url), Credentials(token=JWT), seconds=seconds).dags()
    return caught.value


def trickle(connection: socket.socket) -> None:
    """Send a byte now and then, for ever."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        connection.sendall(b" ")
        time.sleep(0.02)


def flood(connection: socket.socket) -> None:
    """Send chunks without end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")


@pytest.mark.parametrize("answer", [trickle, None], ids=["trickle", "nothing"])
def test_an_answer_that_does_not_end_is_given_up_at_the_deadline(answer: Answer | None) -> None:
    server = RawServer()
    server._answers = (answer or server.stall,)
    with server:
        error = ask(server.endpoint, seconds=0.3)
    assert error.trouble is Trouble.UNREACHABLE
    assert "0.3 s" in error.detail


def test_an_answer_without_end_is_cut_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_ANSWER", 1 << 20)
    with RawServer(flood) as server:
        error = ask(server.endpoint)
    assert error.trouble is Trouble.BAD_ANSWER
    assert "more than 1 MiB" in error.detail


@pytest.mark.parametrize(
    ("status", "trouble"),
    [
        ("401 Unauthorized", Trouble.DENIED),
        ("403 Forbidden", Trouble.DENIED),
        ("404 Not Found", Trouble.NOT_FOUND),
        ("429 Too Many", Trouble.UNREACHABLE),
        ("500 Broken", Trouble.UNREACHABLE),
        ("503 Starting", Trouble.UNREACHABLE),
        ("302 Found", Trouble.BAD_ANSWER),
        ("400 Bad", Trouble.BAD_ANSWER),
        ("206 Part", Trouble.BAD_ANSWER),
    ],
)
def test_a_status_is_one_kind_of_trouble(status: str, trouble: Trouble) -> None:
    with RawServer(reply(status, b"{}", Location="http://127.0.0.1:1/")) as server:
        error = ask(server.endpoint)
    assert error.trouble is trouble
    assert status[:3] in error.detail or trouble is Trouble.NOT_FOUND


def test_a_redirect_is_not_followed_with_our_token() -> None:
    with FakeAirflow() as fake, RawServer(reply("307 Go", Location=f"{fake.url}/api/v2/version")) as server:
        assert "redirects are not followed" in ask(server.endpoint).detail
        assert fake.asked == []


@pytest.mark.parametrize(
    "answer",
    [
        lambda c: c.sendall(b"SSH-2.0-x\r\n"),
        lambda c: c.sendall(b""),
        lambda c: c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"),
        lambda c: c.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        lambda c: c.sendall(b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 70000 + b"\r\n\r\n"),
        lambda c: c.sendall(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n"),
        lambda c: c.sendall(b"HTTP/1.1 99999 OK\r\n\r\n"),
    ],
    ids=["ssh", "nothing", "cut", "bad chunk", "long header", "many headers", "bad status"],
)
def test_what_is_not_http_is_unreachable(answer: Callable[[socket.socket], None]) -> None:
    with RawServer(answer) as server:
        assert ask(server.endpoint).trouble is Trouble.UNREACHABLE


def test_a_port_where_nobody_listens_and_a_name_that_is_none_are_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert "Connection refused" in ask(f"http://127.0.0.1:{port}").detail
    assert ask("http://no-such-host.invalid").trouble is Trouble.UNREACHABLE


BODIES = [
    b"", b"<html>", b"[]", b"{}", b"null", b'{"version": 3}', b'{"version": "3"}', b'{"version": "2.11.2"}',
    b'{"version": "3.3.2", "version": "3.3.2"}', b"[" * 100000, b'{"version": "\xff"}',
    b'{"version": "3.1.' + b"9" * 99 + b'"}',
]  # fmt: skip


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_a_version_that_is_none_is_a_bad_answer(body: bytes) -> None:
    with FakeAirflow() as fake:
        fake.instead["/api/v2/version"] = (200, body)
        assert ask(fake.url).trouble is Trouble.BAD_ANSWER


LISTS: list[Any] = [
    {}, {"dags": []}, {"dags": {}, "total_entries": 0}, {"dags": [1], "total_entries": 1},
    {"dags": [], "total_entries": "0"}, {"dags": [{}], "total_entries": 1},
    {"dags": [{}] * 1001, "total_entries": 1001},
]  # fmt: skip


@pytest.mark.parametrize("body", LISTS, ids=range(len(LISTS)))
def test_a_list_that_is_none_is_a_bad_answer(body: Any) -> None:
    with FakeAirflow() as fake:
        fake.instead["/api/v2/dags"] = (200, json.dumps(body).encode())
        assert ask(fake.url).trouble is Trouble.BAD_ANSWER


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dag_id", ""),
        ("dag_id", "a\x1b[2J"),
        ("dag_id", "x" * 2000),
        ("dag_id", 5),
        ("file_token", "../../connections/x"),
        ("file_token", "a?b"),
        ("file_token", None),
        ("relative_fileloc", "a\u202eb"),
        ("last_parsed_time", "yesterday"),
        ("last_parsed_time", "2026-11-25T14:00:00"),
        ("last_parsed_time", "2026-13-25T14:00:00Z"),
        ("last_parse_duration", -1),
        ("last_parse_duration", "1"),
        ("last_parse_duration", True),
        ("bundle_name", ["x"]),
        ("bundle_version", 1),
    ],
)
def test_a_dag_with_a_field_that_is_none_is_a_bad_answer(field: str, value: Any) -> None:
    with FakeAirflow() as fake:
        fake.dag("a")
        fake.dags["a"][field] = value
        assert ask(fake.url).trouble is Trouble.BAD_ANSWER


def test_a_duration_of_infinity_is_a_bad_answer() -> None:
    with FakeAirflow() as fake:
        fake.dag("a")
        text = json.dumps({"dags": [fake.dags["a"]], "total_entries": 1}).replace("0.0", "1.5e999")
        fake.instead["/api/v2/dags"] = (200, text.encode())
        assert ask(fake.url).trouble is Trouble.BAD_ANSWER


def test_an_error_text_is_cleaned_and_cut() -> None:
    with FakeAirflow() as fake:
        fake.error("bad", "E: \x1b[31mred " + "x" * 5000)
        (failure,) = Airflow(address.parse(fake.url), Credentials(token=JWT)).import_failures()
    assert len(failure.error) <= 300
    assert "\x1b" not in failure.error


def test_a_list_that_never_ends_is_a_bad_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_ENTRIES", 50)
    with FakeAirflow() as fake:
        fake.dag("a")
        body = json.dumps({"dags": [fake.dags["a"]] * 20, "total_entries": 9_000_000}).encode()
        fake.instead["/api/v2/dags"] = (200, body)
        assert "more than 50 dags" in ask(fake.url).detail


@pytest.mark.parametrize(
    "body", [b"{}", b'{"access_token": 5}', b'{"access_token": "a\\r\\nX: y"}', b'{"access_token": ""}']
)
def test_a_login_that_gives_no_token_is_a_bad_answer_and_not_repeated(body: bytes) -> None:
    with FakeAirflow() as fake:
        fake.instead["/auth/token"] = (201, body)
        with pytest.raises(AirflowError) as caught:
            Airflow(address.parse(fake.url), Credentials("dagferry", "very-secret")).dags()
    assert caught.value.trouble is Trouble.BAD_ANSWER
    assert "X: y" not in str(caught.value)
    assert "very-secret" not in str(caught.value)
