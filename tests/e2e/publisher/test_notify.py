"""``--notify``: who is told, when and how; and that a receiver, whatever it does, changes nothing but a warning."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from dagferry_publisher.cli import session
from dagferry_shared.store.directory import DirectoryStore
from support.faultystore import Fault, FaultyStore
from support.raw_server import RawServer, reply

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from support.sites import Site

TAKEN = reply("202 Accepted")
TOKEN = "NOTIFYTOKENSHOWNNOWHERE"


def heads(server: RawServer) -> list[str]:
    return [request.split("\r\n", 1)[0] for request in server.requests]


def test_each_address_is_told_once_after_the_commit_with_the_token(site: Site, line: list[str]) -> None:
    def while_told(connection: socket.socket) -> None:
        seen.append(site.live())
        TAKEN(connection)

    seen: list[str] = []
    with RawServer(while_told) as one, RawServer(TAKEN) as two:
        urls = ("--notify", one.endpoint, "--notify", f"{two.endpoint}/hooks/dags?x=1", "--notify", one.endpoint)
        done = site.publish(line[0], *urls, "--json", DAGFERRY_NOTIFY_TOKEN=TOKEN)
        assert heads(one) == ["POST /notify HTTP/1.1"]
        assert heads(two) == ["POST /hooks/dags?x=1 HTTP/1.1"]
        for server in (one, two):
            assert f"\r\nAuthorization: Bearer {TOKEN}\r\n" in server.requests[0]
        assert [entry["ok"] for entry in done.json["notified"]] == [True, True]
        assert TOKEN not in done.out + done.err
    assert seen == [line[0]], "the pointer is there when a receiver hears of it"


@pytest.mark.parametrize(
    "command",
    [["hold"], ["resume"], ["refresh"], ["rollback"], ["promote", "--from", "main", "--to", "canary"]],
    ids=lambda words: words[0],
)
def test_every_command_that_moves_a_pointer_tells(site: Site, line: list[str], command: list[str]) -> None:
    site.publish(line[0])
    site.publish(line[1])
    if command == ["resume"]:
        site.dagctl("hold")
    with RawServer(TAKEN) as server:
        out = site.dagctl(*command, DAGFERRY_NOTIFY=f"{server.endpoint} {server.endpoint}/hook").out
        assert len(server.requests) == 2
        assert f"notified: {server.endpoint}/notify, {server.endpoint}/hook\n" in out


def test_repair_tells(site: Site, line: list[str]) -> None:
    site.publish(line[0])
    (site.bundle / "channels/main/pointer.json").unlink()
    with RawServer(TAKEN) as server:
        site.dagctl("repair", "--notify", server.endpoint)
        assert len(server.requests) == 1


def test_nothing_is_told_where_nothing_moved(site: Site, line: list[str]) -> None:
    with RawServer(TAKEN) as server:
        environ = {"DAGFERRY_NOTIFY": server.endpoint}
        site.publish(line[0], "--dry-run", **environ)
        site.publish(line[1])
        assert site.publish(line[1], "--json", **environ).json["notified"] == []
        site.publish(line[0], code=4, **environ)
        site.dagctl("hold")
        site.publish(line[2], code=5, **environ)
        assert server.requests == []


def slowly(connection: socket.socket) -> None:
    """An answer that comes byte by byte, each in time for a timeout that counts from the last one."""
    try:
        for _ in range(100):
            connection.sendall(b"H")
            time.sleep(0.1)
    except OSError:
        return


FAILURES = {
    "gone": (None, "Connection refused"),
    "closes": (lambda connection: None, "Remote end closed connection without response"),
    "not HTTP": (lambda connection: connection.sendall(b"SSH-2.0-x\r\n\r\n"), "SSH-2.0-x"),
    "no token": (reply("401 Unauthorized"), "answered 401: the token is wrong or missing (DAGFERRY_NOTIFY_TOKEN)"),
    "broken": (reply("500 Oops"), "answered 500"),
    "redirects": (reply("307 Go", Location="http://127.0.0.1:1/"), "answered 307: redirects are not followed"),
    "drips": (slowly, "no answer within 2 s"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_receiver_that_fails_is_a_warning_and_the_others_are_told(site: Site, line: list[str], failure: str) -> None:
    answer, words = FAILURES[failure]
    with RawServer(answer or TAKEN) as bad, RawServer(TAKEN) as good:
        address = bad.endpoint if answer else "http://127.0.0.1:1"
        done = site.publish(line[0], "--notify", address, "--notify", good.endpoint)
        assert len(good.requests) == 1
    (warning,) = [text for text in done.err.splitlines() if "warning" in text]
    assert warning.startswith(f"dagctl: warning: {address}/notify was not notified: ")
    assert words in warning
    assert site.live() == line[0]


def test_receiver_that_never_answers_costs_two_seconds_in_all(site: Site, line: list[str]) -> None:
    with RawServer(TAKEN) as first:
        stalls = [RawServer(lambda connection, n=n: stalled[n].stall(connection)) for n in range(8)]
        stalled = [server.__enter__() for server in stalls]
        urls = [word for server in stalled for word in ("--notify", server.endpoint)]
        start = time.monotonic()
        done = site.publish(line[0], *urls, "--notify", first.endpoint, "--json")
        assert time.monotonic() - start < 10, "eight in a row would take sixteen"
        for server in stalls:
            server.__exit__(None, None, None)
    assert [entry["ok"] for entry in done.json["notified"]] == [False] * 8 + [True]
    warnings = [json.loads(text)["warning"] for text in done.err.splitlines()]
    assert [warning["reason"] for warning in warnings] == ["not-notified"] * 8


def test_pods_are_told_although_the_command_fails_after_the_commit(
    site: Site, line: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The history copy cannot be written: the error says so, and what is live is notified all the same."""

    def fault(_: int, method: str, key: str) -> Fault | None:
        return Fault.LOST_BEFORE if "/history/" in key and method == "create" else None

    monkeypatch.setattr(session, "open_store", lambda _: FaultyStore(DirectoryStore(site.store), fault))
    monkeypatch.setattr("dagferry_publisher.transaction.time.sleep", lambda _: None)
    with RawServer(TAKEN) as server:
        urls = ("--notify", server.endpoint, "--notify", "http://127.0.0.1:1")
        done = site.publish(line[0], *urls, "--json", code=7)
        assert len(server.requests) == 1
    assert site.live() == line[0]
    first, last = done.err.splitlines()
    assert json.loads(first)["warning"]["reason"] == "not-notified"
    assert json.loads(last)["error"]["exit_code"] == 7


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("pods:9474", "is not an address"),
        ("ftp://pods/", "is not an address"),
        ("http://", "is not an address"),
        ("http://pods:99999/", "is not an address"),
        ("http://pods/a b", "is not an address"),
        ("http://pods/\r\nX: y", "is not an address"),
        (f"http://user:{TOKEN}@pods/", "takes no credentials"),
        (f"http://{TOKEN}@pods/", "takes no credentials"),
    ],
)
def test_wrong_address_is_refused_before_anything_moves(site: Site, line: list[str], url: str, words: str) -> None:
    done = site.publish(line[0], "--notify", url, code=2)
    assert words in done.message
    assert TOKEN not in done.err
    assert not (site.bundle / "channels/main/pointer.json").exists()


def test_token_comes_from_a_file_and_addresses_from_a_context(site: Site, line: list[str], tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    with RawServer(TAKEN) as server:
        (site.root / "dagctl.toml").write_text(f'context = "x"\n[contexts.x]\nnotify = ["{server.endpoint}"]\n')
        site.publish(line[0], DAGFERRY_NOTIFY_TOKEN_FILE=str(file))
        assert f"\r\nAuthorization: Bearer {TOKEN}\r\n" in server.requests[0]


@pytest.mark.parametrize("token", ["a\r\nX: y", "ümlaut"])
def test_token_that_is_no_header_is_refused(site: Site, line: list[str], token: str) -> None:
    done = site.publish(line[0], "--notify", "http://127.0.0.1:1", code=2, DAGFERRY_NOTIFY_TOKEN=token)
    assert "DAGFERRY_NOTIFY_TOKEN is not printable ASCII" in done.message


def test_missing_token_file_is_named(site: Site, line: list[str]) -> None:
    environ = {"DAGFERRY_NOTIFY_TOKEN_FILE": "/does/not/exist"}
    assert "/does/not/exist" in site.publish(line[0], "--notify", "http://127.0.0.1:1", code=2, **environ).message
