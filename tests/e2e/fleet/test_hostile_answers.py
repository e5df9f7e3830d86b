"""Whoever answers on a pod's port: ``dagctl status`` shows a stranger, in bounded time, and believes nothing of it."""

from __future__ import annotations

import contextlib
import json
import random
import time
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_publisher.fleet import podstatus
from dagferry_publisher.fleet.ask import NotAnswered, ask
from dagferry_publisher.fleet.survey import Survey
from dagferry_shared.errors import Refused
from dagferry_shared.targets import Target
from support.portfixtures import Port
from support.raw_server import RawServer, reply
from support.statuses import GOOD, a_status

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from support.sites import Site


def address(server: RawServer) -> tuple[str, int]:
    return "127.0.0.1", int(server.endpoint.rpartition(":")[2])


def fails(answer: Callable[[socket.socket], None], seconds: float = 5.0) -> str:
    with RawServer(answer) as server, pytest.raises(NotAnswered) as caught:
        ask(address(server), seconds)
    return str(caught.value)


def test_a_real_puller_is_understood() -> None:
    with Port() as port:
        status = podstatus.parse(ask(("127.0.0.1", port.number), 5.0))
    assert (status.bundle, status.channel, status.role, status.live) == ("etl", "main", "starting", None)
    assert status.now is not None


def test_a_good_answer_is_read() -> None:
    status = podstatus.parse(a_status())
    assert status.live
    assert (status.live.position, status.live.commit, status.period) == ((1, 2), "a" * 40, 5.0)


def test_an_older_pullers_answer_lacks_host_clock_and_period() -> None:
    old = {name: value for name, value in GOOD.items() if name not in {"host", "now", "period"}}
    status = podstatus.parse(json.dumps(old).encode())
    assert (status.host, status.now, status.period) == (None, None, None)


def drip(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n")
        for _ in range(200):
            connection.sendall(b"{")
            time.sleep(0.05)


def flood(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(10_000):
            connection.sendall(b"x" * 65536)


def endless_head(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        for _ in range(10_000):
            connection.sendall(b"A: " + b"x" * 65536)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (drip, "no answer within 0.5 s"),
        (flood, "larger than 64 KiB"),
        (endless_head, "larger than 64 KiB"),
        (reply("200 OK", b"{}", length=10**8), "larger than 64 KiB"),
        (reply("200 OK", b"{}", length=999_999_999), "larger than 64 KiB"),
        (reply("200 OK", b"{}", length=100), "its answer broke off"),
        (reply("302 Found", Location="http://127.0.0.1:1/status"), "it answered 302"),
        (reply("404 Not Found"), "it answered 404"),
        (lambda connection: connection.sendall(b"SSH-2.0-x\r\n\r\n"), "it does not speak HTTP"),
        (lambda connection: connection.sendall(b"HTTP/1.1 2000 OK\r\n\r\n{}"), "it does not speak HTTP"),
        (lambda connection: connection.sendall(b"\r\n\r\n"), "it does not speak HTTP"),
        (lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\n"), "its answer broke off"),
        (lambda connection: None, "it does not speak HTTP"),
    ],
)
def test_what_is_no_answer_ends_in_time(answer: Any, words: str) -> None:
    assert words in fails(answer, 0.5)


def test_nobody_listens() -> None:
    with pytest.raises(NotAnswered, match="connection refused"):
        ask(("127.0.0.1", 1), 1.0)


def test_more_than_was_announced_is_left_alone() -> None:
    with RawServer(reply("200 OK", b"{}trailing", length=2)) as server:
        assert ask(address(server), 5.0) == b"{}"


def test_length_may_be_missing() -> None:
    with RawServer(lambda connection: connection.sendall(b"HTTP/1.0 200 Fine\r\n\r\n{}")) as server:
        assert ask(address(server), 5.0) == b"{}"


BAD: list[bytes] = [
    b"",
    b"[]",
    b"null",
    b"\xff",
    b"[" * 50_000,
    b'{"format": 1}',
    b'{"format": 1, "format": 1}',
    a_status() + b"x",
    a_status(padding="x" * podstatus.MAX_STATUS),
    *(
        a_status(**changes)
        for changes in (
            *({"format": value} for value in (2, "1", True, None)),
            *({"bundle": value} for value in ("", "../x", "a" * 64, 1, None)),
            *({"ready": value} for value in (1, "yes", None)),
            *({"live": value} for value in ([], "x", {}, GOOD["live"] | {"version": "x"})),
            {"live": GOOD["live"] | {"commit": "c" * 40}},
            {"live": GOOD["live"] | {"release": "c" * 64}},
            {"live": GOOD["live"] | {"epoch": 0}},
            {"live": GOOD["live"] | {"since": "yesterday"}},
            {"seen": {"epoch": 1, "sequence": 1e9, "payload_digest": "2" * 64}},
            {"seen": {"epoch": 1, "sequence": 2, "payload_digest": "x"}},
            {"alarms": -1},
            {"refusals": {str(n): 1 for n in range(65)}},
            {"refusals": {"a": -1}},
            {"refusals": {"a": "many"}},
            {"problem": {"outcome": "x"}},
            {"last_attempt": "2026-13-01T00:00:00.000Z"},
            {"now": 5},
        )
    ),
]


@pytest.mark.parametrize("raw", BAD, ids=range(len(BAD)))
def test_what_a_puller_never_says_is_refused(raw: bytes) -> None:
    with pytest.raises(Refused):
        podstatus.parse(raw)


def test_damaged_answers_are_refused_and_never_crash() -> None:
    rng, good = random.Random(7), a_status()
    for _ in range(3000):
        raw = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        with contextlib.suppress(Refused):
            podstatus.parse(bytes(raw))


@pytest.mark.parametrize("value", [1e400, -1, 0, True, "5", None, [], 1e300])
def test_odd_period_counts_as_none_that_was_said(value: Any) -> None:
    raw = json.dumps(GOOD | {"period": value}).replace("Infinity", "1e400").encode()
    assert podstatus.parse(raw).period in {None, 1.0}


def test_texts_cannot_paint_the_terminal(site: Site) -> None:
    evil = "\x1b[2J\x1b]0;owned\x07\u202e\n" + "x" * 5000
    problem = {"outcome": evil, "reason": evil, "detail": evil, "since": "2026-11-25T12:00:00.000Z"}
    raw = a_status(host=evil, program=evil, role=evil, problem=problem, revoked=evil, refusals={evil: 1})
    with RawServer(reply("200 OK", raw)) as server:
        shown = site.dagctl("status", "--targets", server.endpoint, code=13)
        document = site.dagctl("status", "--targets", server.endpoint, "--json", code=13).out
    for text in (shown.out, shown.err, json.loads(json.dumps(document))):
        assert not set("\x1b\x07\u202e") & set(text)
    assert "\\u001b" not in document


def test_a_crowd_of_dead_pods_costs_one_deadline() -> None:
    with RawServer(lambda connection: dead.stall(connection)) as dead:  # noqa: PLW0108
        targets = [Target(f"127.0.0.{n}", address(dead)[1], every=False) for n in range(1, 60)]
        targets += [Target("127.0.0.1", address(dead)[1], every=False), Target("no.such.name.invalid", 1, every=True)]
        start = time.monotonic()
        answers = Survey(targets, 1.0).ask()
        assert time.monotonic() - start < 20, "sixty in a row would take a minute"
    assert len(answers) == 60
    assert all(answer.silent and answer.status is None for answer in answers)
