"""Stores that are away, deny, lie or lose updates: one line that says what to do, and its own exit code."""

from __future__ import annotations

import socket
from email.utils import formatdate
from typing import TYPE_CHECKING

import pytest

from support.raw_server import RawServer, failure, reply
from support.s3server import s3_server

if TYPE_CHECKING:
    from support.dagctl import Result
    from support.sites import Site

REFUSED, UNREACHABLE, NOT_FOUND, DENIED, UNSAFE = 3, 7, 8, 9, 10
SECRET = "SECRETSHOWNNOWHERE"


def publish(site: Site, commit: str, endpoint: str, code: int, **environ: str) -> Result:
    """Publish to s3://bucket/x at an endpoint, as a process."""
    aws = {"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": SECRET}
    options = ("--store", "s3://bucket/x", "--commit", commit, "--ref", "main")
    result = site.dagctl.process("publish", *options, code=code, **{**aws, **environ})
    assert result.out == ""
    assert SECRET not in result.err
    return result


def now() -> str:
    return formatdate(usegmt=True)


def test_no_bucket(site: Site, line: list[str]) -> None:
    with s3_server() as server:
        message = publish(site, line[0], server.endpoint, NOT_FOUND, **server.environ).message
    assert "the bucket does not exist: create it, or check the store URL and the endpoint" in message


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        ("403 Forbidden", "InvalidAccessKeyId", "wrong credentials: the store does not know this access key"),
        ("403 Forbidden", "SignatureDoesNotMatch", "wrong credentials: the secret key does not fit"),
        ("403 Forbidden", "AccessDenied", "no permission: these credentials may not do this"),
    ],
)
def test_credentials_that_are_wrong_or_may_not_write(
    site: Site, line: list[str], status: str, error: str, words: str
) -> None:
    clock = reply("404 Not Found", Date=now())
    with RawServer(clock, failure(status, error)) as server:
        assert words in publish(site, line[0], server.endpoint, DENIED).message
        assert any(request.startswith("PUT") for request in server.requests)


def test_no_credentials(site: Site, line: list[str]) -> None:
    nothing = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    message = publish(site, line[0], "http://127.0.0.1:1", DENIED, **nothing).message
    assert "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in message


def test_endpoint_down(site: Site, line: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    result = publish(site, line[0], f"http://127.0.0.1:{port}", UNREACHABLE)
    assert result.message.startswith("dagctl: store-unreachable: cannot ask s3://bucket/x/ for the time")


def test_endpoint_that_is_no_url(site: Site, line: list[str]) -> None:
    assert "AWS_ENDPOINT_URL is not a URL" in publish(site, line[0], "what is this", UNREACHABLE).message


@pytest.mark.parametrize(
    ("date", "words"), [("Sat, 01 Jan 2000 00:00:00 GMT", " +"), ("Fri, 01 Jan 2100 00:00:00 GMT", " -")]
)
def test_wrong_clock(site: Site, line: list[str], date: str, words: str) -> None:
    with RawServer(reply("404 Not Found", Date=date)) as server:
        message = publish(site, line[0], server.endpoint, REFUSED).message
        assert not any(request.startswith("PUT") for request in server.requests), "nothing was written"
    assert message.startswith("dagctl: clock-skew: this clock")
    assert f"is{words}" in message
    assert "set it (NTP)" in message


def test_store_that_ignores_if_none_match(site: Site, line: list[str]) -> None:
    with RawServer(reply("200 OK", Date=now())) as server:
        message = publish(site, line[0], server.endpoint, UNSAFE).message
        written = [request.split()[1] for request in server.requests if request.startswith("PUT")]
    assert "ignores If-None-Match: *" in message
    assert "use an unversioned bucket" in message
    assert all("/x/analytics/v1/scratch/" in path for path in written), "only the proof was written"


def test_store_that_ignores_if_match(site: Site, line: list[str]) -> None:
    yes, no = reply("200 OK", Date=now()), failure("412 Precondition Failed", "PreconditionFailed")
    with RawServer(yes, yes, no, yes) as server:
        assert "ignores If-Match," in publish(site, line[0], server.endpoint, UNSAFE).message


def test_store_that_refuses_a_right_condition(site: Site, line: list[str]) -> None:
    yes, no = reply("200 OK", Date=now()), failure("412 Precondition Failed", "PreconditionFailed")
    with RawServer(yes, yes, no) as server:
        assert "it cannot compare and swap" in publish(site, line[0], server.endpoint, UNSAFE).message


def test_every_command_that_moves_a_channel_proves_the_store_first(site: Site) -> None:
    aws = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": SECRET, "DAGFERRY_STORE": "s3://bucket/x"}
    for command in (["rollback"], ["hold"], ["resume"], ["refresh"], ["repair"]):
        with RawServer(reply("200 OK", Date=now())) as server:
            message = site.dagctl(*command, code=UNSAFE, AWS_ENDPOINT_URL=server.endpoint, **aws).message
        assert "ignores If-None-Match" in message


def test_a_store_whose_directory_is_in_the_way_of_a_file(site: Site, line: list[str]) -> None:
    (site.store / "analytics").write_text("a file where a directory must be")
    result = site.dagctl.process("publish", "--commit", line[0], "--ref", "main", code=UNREACHABLE)
    assert str(site.store) in result.message
