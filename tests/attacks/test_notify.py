"""Notifications from anybody: floods of them, and what stands between them and a token."""

from __future__ import annotations

import hmac
import threading
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.bundles import Simulator, small_tree
from support.hostile import HostileStore
from support.pods import Pod
from support.portfixtures import Port
from support.rawclient import say
from support.scale import scale

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.pods import Running

TOKEN = "hush-hush-0123456789"
FLOOD, CLIENTS = scale(2000, 20_000), 8
GAP_SECONDS = 1.0  # between the starts of two looks, as promised


def post(*headers: bytes, body: bytes = b"") -> bytes:
    lines = [b"POST /notify HTTP/1.1", b"Host: x", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join([*lines, b"", body])


def flood(running: Running, request: bytes, status: int) -> int:
    """Send requests from all sides; returns how many were answered, all of them with this status."""
    answered: list[int] = []

    def send() -> None:
        answered.extend(say(running.port, request).status for _ in range(FLOOD // CLIENTS))

    clients = [threading.Thread(target=send) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert set(answered) == {status}
    return len(answered)


def gaps(store: HostileStore) -> list[float]:
    """Return the seconds between the starts of looks, by the store's own clock."""
    at = [asked.at for asked in store.asked if asked.kind == "pointer"]
    return [after - before for before, after in pairwise(at)]


def test_flood_of_notifications_is_one_look_a_second_and_one_more_at_its_end(
    pod: Pod, simulator: Simulator, record_property: Callable[[str, object], None]
) -> None:
    first = simulator.publish(small_tree("one"), "a")
    with HostileStore(simulator.directory) as store:
        running = pod.run(period="1h", store="s3://bucket", environ=store.environ)
        running.wait_live(first.version)
        assert flood(running, post(body=b'{"Records": []}'), 202) == FLOOD
        during = len(store.asked)
        second = simulator.publish(small_tree("two"), "b")
        assert say(running.port, post()).status == 202
        running.wait_live(second.version)
        looks = [asked for asked in store.asked if asked.kind == "pointer"]
        assert len(looks) >= 2
        assert all(gap > GAP_SECONDS - 0.1 for gap in gaps(store)), "0.1 s: a request may be late"
        elapsed = looks[-1].at - looks[0].at
        assert len(looks) <= elapsed / GAP_SECONDS + 2
        assert len(looks) - during <= 2, "what was queued is one look, the last notification another"
    record_property("notifications", FLOOD + 1)
    record_property("attacks", 1)


def test_flood_of_notifications_does_not_shorten_the_gap_after_a_failure(pod: Pod, simulator: Simulator) -> None:
    simulator.publish(small_tree("one"), "a")
    with HostileStore(simulator.directory) as store:
        store.lies["pointer"] = lambda _: lambda connection: None
        running = pod.run(period="1h", store="s3://bucket", environ=store.environ)
        flood(running, post(), 202)
        running.wait("a look that was queued", lambda s: s["syncs"]["store-unreachable"] >= 2)
        assert all(gap > GAP_SECONDS - 0.1 for gap in gaps(store))


def test_flood_without_the_token_is_no_look_at_all(pod: Pod, simulator: Simulator) -> None:
    first = simulator.publish(small_tree("one"), "a")
    with HostileStore(simulator.directory) as store:
        running = pod.run(period="1h", store="s3://bucket", environ={**store.environ, "DAGFERRY_NOTIFY_TOKEN": TOKEN})
        running.wait_live(first.version)
        before = len(store.asked)
        flood(running, post(b"Authorization: Bearer wrong"), 401)
        assert len(store.asked) == before
        assert say(running.port, post(b"Authorization: Bearer " + TOKEN.encode())).status == 202
        running.wait("one look, by the right token", lambda s: s["syncs"]["unchanged"] == 1)


WRONG = {
    "none": b"",
    "empty": b"Authorization:",
    "scheme alone": b"Authorization: Bearer",
    "scheme and a space": b"Authorization: Bearer ",
    "token alone": b"Authorization: " + TOKEN.encode(),
    "another scheme": b"Authorization: Basic " + TOKEN.encode(),
    "no space": b"Authorization: Bearer" + TOKEN.encode(),
    "a prefix": b"Authorization: Bearer " + TOKEN[:-1].encode(),
    "one character": b"Authorization: Bearer h",
    "one more": b"Authorization: Bearer " + TOKEN.encode() + b"0",
    "twice": b"Authorization: Bearer " + TOKEN.encode() * 2,
    "upper case": b"Authorization: Bearer " + TOKEN.upper().encode(),
    "two spaces": b"Authorization: Bearer  " + TOKEN.encode(),
    "quoted": b'Authorization: Bearer "' + TOKEN.encode() + b'"',
    "not ASCII": b"Authorization: Bearer \xc3\xa4\xff",
    "4 KiB": b"Authorization: Bearer " + b"x" * 4096,
    "in a cookie": b"Cookie: token=" + TOKEN.encode(),
    "as a proxy's": b"Proxy-Authorization: Bearer " + TOKEN.encode(),
}


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bytes, bytes]]:
    """Every comparison that takes the same time whatever is compared."""
    real, calls = hmac.compare_digest, []

    def compare(given: bytes, wanted: bytes) -> bool:
        calls.append((given, wanted))
        return real(given, wanted)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    return calls


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_token_is_refused_in_constant_time(wrong: str, compared: list[tuple[bytes, bytes]]) -> None:
    with Port(TOKEN.encode()) as port:
        said = say(port.number, post(*([WRONG[wrong]] if WRONG[wrong] else [])))
        assert (said.status, said.headers["www-authenticate"]) == (401, "Bearer")
        assert port.looks == 0
    assert [wanted for _, wanted in compared] == [TOKEN.encode()], "compared once, and only like this"
    assert TOKEN.encode() not in said.raw


@pytest.mark.parametrize("scheme", [b"Bearer", b"bearer", b"BEARER"])
def test_right_token_is_accepted_in_any_spelling_of_its_scheme(
    scheme: bytes, compared: list[tuple[bytes, bytes]]
) -> None:
    with Port(TOKEN.encode()) as port:
        assert say(port.number, post(b"Authorization: " + scheme + b" " + TOKEN.encode())).status == 202
        assert port.looks == 1
    assert compared == [(TOKEN.encode(), TOKEN.encode())]


@pytest.mark.parametrize("target", [f"/notify?token={TOKEN}", f"/notify?access_token={TOKEN}", f"/{TOKEN}"])
def test_token_in_a_url_is_none(target: str) -> None:
    with Port(TOKEN.encode()) as port:
        request = b"POST %s HTTP/1.1\r\nContent-Length: 0\r\n\r\n" % target.encode()
        assert say(port.number, request).status in {401, 404}
        assert port.looks == 0


@pytest.mark.parametrize("place", ["environment", "file"])
def test_token_is_shown_nowhere(pod: Pod, simulator: Simulator, place: str) -> None:
    first = simulator.publish(small_tree("one"), "a")
    file = pod.directory / "token"
    file.write_text(TOKEN + "\n")
    in_file = {"notify_token_file": str(file)} if place == "file" else {}
    running = pod.run(environ={} if in_file else {"DAGFERRY_NOTIFY_TOKEN": TOKEN}, **in_file)
    running.wait_live(first.version)
    for header in (b"Bearer " + TOKEN.encode(), b"Bearer wrong-one-of-mine"):
        say(running.port, post(b"Authorization: " + header))
    shown = "".join(running.request(f"/{page}").body for page in ("status", "metrics", "readyz", "healthz", "notify"))
    command = Path(f"/proc/{running.process.pid}/cmdline").read_text()
    assert running.stop() == 0
    for text in (shown, command, running.text()):
        assert TOKEN not in text
        assert "wrong-one-of-mine" not in text


@pytest.mark.parametrize("token", ["", " ", "\n", "ümlaut", "x" * 4097], ids=ascii)
def test_token_that_would_let_everybody_in_or_nobody_is_a_wrong_setting(pod: Pod, token: str) -> None:
    file = pod.directory / "token"
    file.write_text(token)
    with pytest.raises(AssertionError, match=r"(?s)ended with 2: .*--notify-token-file"):
        pod.run(notify_token_file=str(file))
