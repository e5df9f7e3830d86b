"""Redirects to hosts of the attacker's choice: no credentials go there, and what comes back is verified as ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dagferry_shared.errors import Reason, Refused, StoreUnreachable
from support.attacker import ONLY_POINTER, Target, requests_up_to
from support.bundles import Published, small_tree
from support.hostile import HostileStore
from support.raw_server import RawServer, reply

if TYPE_CHECKING:
    import socket

    from support.hostile import Lie

REASONS = {"pointer": Reason.MALFORMED, "release": Reason.WRONG_DIGEST, "archive": Reason.WRONG_DIGEST}
CODES = ("301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect")


def to(url: str, code: str = "307 Temporary Redirect") -> Lie:
    return lambda _: reply(code, Location=url)


@pytest.mark.parametrize("kind", REASONS)
@pytest.mark.parametrize("code", CODES, ids=lambda code: code[:3])
def test_what_another_host_serves_is_refused_and_gets_no_credentials(
    target: Target, store: HostileStore, published: Published, kind: str, code: str
) -> None:
    with RawServer(reply("200 OK", b"root:x:0:0 SECRET-OF-ANOTHER-HOST")) as other:
        elsewhere = f"{other.endpoint}/x".replace("localhost", "127.0.0.1")
        store.lies[kind] = to(elsewhere, code)
        refusal = target.refuses(REASONS[kind], fetched=requests_up_to(kind, published))
    assert len(other.requests) == 1
    assert_no_credentials(other.requests[0])
    assert "SECRET-OF-ANOTHER-HOST" not in str(refusal)
    store.lies.clear()
    target.start()
    target.accepts(published)


def assert_no_credentials(request: str) -> None:
    lines = request.lower().splitlines()
    assert not [line for line in lines if line.startswith(("authorization", "x-amz-security-token", "cookie"))]
    assert "shownnowhere" not in request.lower()


@pytest.mark.parametrize("kind", REASONS)
def test_true_content_from_another_host_is_as_good_as_any(
    target: Target, store: HostileStore, published: Published, kind: str
) -> None:
    """A release is what was signed, wherever its bytes come from."""
    with HostileStore(target.simulator.directory) as other:
        base = other.endpoint.replace("localhost", "127.0.0.1")
        store.lies[kind] = lambda _: reply("302 Found", Location=f"{base}{store.asked[-1].path}")
        target.accepts(published)
    (asked,) = other.asked
    assert_no_credentials("\n".join(f"{name}: {value}" for name, value in asked.headers.items()))


@pytest.mark.parametrize("kind", REASONS)
@pytest.mark.parametrize("hops", ["itself", "two in turn"])
def test_redirects_in_a_circle_end(
    target: Target, store: HostileStore, published: Published, kind: str, hops: str
) -> None:
    def back(connection: socket.socket) -> None:
        reply("302 Found", Location=store.endpoint + store.asked[-1].path)(connection)

    with RawServer(back) as other:
        store.lies[kind] = to(other.endpoint) if hops == "two in turn" else lambda _: back
        target.fails(StoreUnreachable, "read", fetched=requests_up_to(kind, published), remembered=kind != "pointer")
    assert len([asked for asked in store.asked if asked.kind == kind]) <= 14


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "data:text/plain,x",
        "ftp://127.0.0.1/x",
        "gopher://127.0.0.1/x",
        "//",
        "http://",
        "http://[::1",
        "javascript:1",
        "http://127.0.0.1:1/x",
        "https://127.0.0.1:1/x",
        "http://user:password@127.0.0.1:1/x",
        "\x01",
        "x" * 100_000,
    ],
    ids=lambda location: ascii(location)[:30],
)
def test_redirect_to_no_http_server_is_an_outage(
    target: Target, store: HostileStore, published: Published, location: str
) -> None:
    store.lies["pointer"] = to(location)
    target.fails(StoreUnreachable, "read", fetched=ONLY_POINTER, remembered=False)


def test_redirect_within_the_store_to_an_older_pointer_is_a_rollback(target: Target, store: HostileStore) -> None:
    target.warm()
    target.accepts(target.simulator.publish(small_tree("two"), "two"))
    history = "/bucket/" + target.simulator.layout.history_entry("main", 1, 1)
    store.lies["pointer"] = to(store.endpoint + history)
    target.refuses(Reason.ROLLBACK)


def test_redirect_within_the_store_to_another_kind_of_document_is_refused(
    target: Target, store: HostileStore, published: Published
) -> None:
    release = "/bucket/" + target.simulator.layout.release(published.pointer.release)
    store.lies["pointer"] = to(store.endpoint + release)
    with target.unchanged(ONLY_POINTER), pytest.raises(Refused) as caught:
        target.puller.sync()
    assert caught.value.reason in {Reason.UNKNOWN_KEY, Reason.UNKNOWN_TYPE, Reason.BAD_SIGNATURE}
