"""What an S3 store can do wrong while it is read, on both S3 adapters."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from dagferry_publisher import s3store
from dagferry_puller import s3reader
from dagferry_shared.errors import BlobMissing, Refused, StoreConflict, StoreDenied, StoreError, StoreUnreachable
from dagferry_shared.store.reading import RESUMES
from dagferry_shared.store.s3common import error_for
from support.raw_server import RawServer, failure, reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dagferry_shared.store import BlobReader

    Connect = Callable[[str], BlobReader]

ACCESS_KEY, SECRET_KEY, TOKEN = "AKIDSHOWNNOWHERE", "SECRETSHOWNNOWHERE", "TOKENSHOWNNOWHERE"


@pytest.fixture(params=["boto3", "obstore"])
def connect(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    """A reader on an endpoint, with credentials and short time-outs."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    stores: list[s3store.S3Store] = []

    def open_endpoint(endpoint: str) -> BlobReader:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        if request.param == "obstore":
            return s3reader.S3Reader("bucket", "pre", timeouts=s3reader.Timeouts(2.0, 0.5, 600.0, 600.0))
        stores.append(s3store.S3Store("bucket", "pre", timeouts=s3store.Timeouts(2.0, 0.5)))
        return stores[-1]

    yield open_endpoint
    for store in stores:
        store.close()


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def assert_clean(error: BaseException | str) -> None:
    text = str(error)
    assert "\n" not in text
    assert len(text) < 500
    for secret in (ACCESS_KEY, SECRET_KEY, TOKEN):
        assert secret not in text


@pytest.mark.parametrize(
    ("status", "code", "expected", "words"),
    [
        ("404 Not Found", "NoSuchKey", BlobMissing, "does not exist"),
        ("404 Not Found", "NoSuchBucket", BlobMissing, "the bucket does not exist: create it"),
        ("401 Unauthorized", "", StoreDenied, "no permission"),
        ("403 Forbidden", "AccessDenied", StoreDenied, "no permission: .* or the object does not exist"),
        ("403 Forbidden", "InvalidAccessKeyId", StoreDenied, "wrong credentials: .* AWS_ACCESS_KEY_ID"),
        ("403 Forbidden", "SignatureDoesNotMatch", StoreDenied, "wrong credentials: .* AWS_SECRET_ACCESS_KEY"),
        ("400 Bad Request", "ExpiredToken", StoreDenied, "has expired"),
        ("400 Bad Request", "InvalidToken", StoreDenied, "AWS_SESSION_TOKEN"),
        ("403 Forbidden", "RequestTimeTooSkewed", StoreDenied, "the clock of this machine"),
        ("403 Forbidden", "UserSuspended", StoreDenied, "the store has suspended this user"),
        ("403 Forbidden", "QuotaExceeded", StoreDenied, "radosgw-admin quota set"),
        ("400 Bad Request", "SomethingElse", StoreUnreachable, r"did not accept the request \(400 SomethingElse\)"),
        ("409 Conflict", "OperationAborted", StoreUnreachable, r"\(409 OperationAborted\)"),
        ("412 Precondition Failed", "PreconditionFailed", StoreUnreachable, r"\(412 PreconditionFailed\)"),
        ("500 Internal Server Error", "InternalError", StoreUnreachable, "error of its own"),
        ("503 Slow Down", "SlowDown", StoreUnreachable, "overloaded"),
    ],
)
def test_an_error_answer_is_told_in_the_projects_words(
    connect: Connect, status: str, code: str, expected: type[StoreError], words: str
) -> None:
    with RawServer(failure(status, code)) as server:
        reader = connect(server.endpoint)
        with pytest.raises(expected, match=words) as got:
            reader.get("key", limit=9)
        with pytest.raises(expected, match=words) as streamed:
            list(reader.stream("key", limit=9))
    for error in (got.value, streamed.value):
        assert type(error) is not StoreConflict
        assert "s3://bucket/pre/key" in str(error)
        assert_clean(error)


def test_a_redirect_names_what_to_check() -> None:
    error = error_for(301, "PermanentRedirect", "read x", conditional=False)
    assert type(error) is StoreUnreachable
    assert str(error).endswith("check the region and the endpoint (301 PermanentRedirect)")


def test_a_hostile_error_answer_is_not_repeated(connect: Connect) -> None:
    body = b"<Error><Code>Access&#10;Denied</Code><Message>" + ACCESS_KEY.encode() + b"\n" * 99 + b"</Message></Error>"
    with RawServer(reply("403 Forbidden", body)) as server, pytest.raises(StoreDenied) as got:
        connect(server.endpoint).get("key", limit=9)
    assert_clean(got.value)


def test_no_credentials_show_in_a_repr(connect: Connect) -> None:
    assert_clean(repr(connect("http://127.0.0.1:1")))


def test_a_store_that_is_down_is_unreachable(connect: Connect) -> None:
    reader = connect(f"http://127.0.0.1:{unused_port()}")
    with pytest.raises(StoreUnreachable) as got:
        reader.get("key", limit=9)
    assert_clean(got.value)
    with pytest.raises(StoreUnreachable):
        list(reader.stream("key", limit=9))


def test_an_unknown_host_is_unreachable(connect: Connect) -> None:
    with pytest.raises(StoreUnreachable) as got:
        connect("http://no-such-host.invalid").get("key", limit=9)
    assert_clean(got.value)


def test_a_store_that_never_answers_is_unreachable(connect: Connect) -> None:
    def stall(connection: socket.socket) -> None:
        server.stall(connection)

    with RawServer(stall) as server, pytest.raises(StoreUnreachable) as got:
        connect(server.endpoint).get("key", limit=9)
    assert_clean(got.value)


def test_a_store_that_stalls_in_a_body_is_unreachable(connect: Connect) -> None:
    def stall(connection: socket.socket) -> None:
        reply("200 OK", b"da", length=4)(connection)
        server.stall(connection)

    with RawServer(stall) as server, pytest.raises(StoreUnreachable) as got:
        connect(server.endpoint).get("key", limit=9)
    assert_clean(got.value)


def test_an_answer_that_is_not_http_is_unreachable(connect: Connect) -> None:
    garbage = b"\x00garbage\r\n\r\n"
    with RawServer(lambda connection: connection.sendall(garbage)) as server, pytest.raises(StoreUnreachable) as got:
        connect(server.endpoint).get("key", limit=9)
    assert_clean(got.value)


@pytest.mark.parametrize("etag", ["", '""', '"' + "e" * 300 + '"'])
def test_an_answer_without_a_usable_etag_is_unreachable(connect: Connect, etag: str) -> None:
    with RawServer(reply("200 OK", b"data", ETag=etag)) as server:
        reader = connect(server.endpoint)
        with pytest.raises(StoreUnreachable, match="without a usable ETag"):
            reader.get("key", limit=9)
        with pytest.raises(StoreUnreachable, match="without a usable ETag"):
            list(reader.stream("key", limit=9))


def test_not_modified_without_a_condition_is_not_an_object(connect: Connect) -> None:
    with RawServer(reply("304 Not Modified")) as server:
        reader = connect(server.endpoint)
        assert reader.get("key", limit=9, if_none_match="abc") is None
        with pytest.raises(StoreUnreachable, match="304"):
            reader.get("key", limit=9)
        with pytest.raises(StoreUnreachable, match="304"):
            list(reader.stream("key", limit=9))


def test_a_small_object_that_breaks_off_is_unreachable(connect: Connect) -> None:
    with RawServer(reply("200 OK", b"da", length=4)) as server, pytest.raises(StoreUnreachable) as got:
        connect(server.endpoint).get("key", limit=9)
    assert_clean(got.value)


def test_a_body_of_unlimited_size_is_given_up_soon_after_the_limit(connect: Connect) -> None:
    sent = 0

    def flood(connection: socket.socket) -> None:
        nonlocal sent
        reply("200 OK", length=1 << 40)(connection)
        while True:
            connection.sendall(bytes(65536))
            sent += 65536

    with RawServer(flood) as server, pytest.raises(Refused):
        connect(server.endpoint).get("key", limit=1000)
    assert sent < 32 << 20  # what the socket buffers of both sides may hold


def test_an_object_is_refused_as_soon_as_one_byte_too_many_has_come(connect: Connect) -> None:
    def stall(connection: socket.socket) -> None:
        reply("200 OK", bytes(1001), length=1 << 40)(connection)
        server.stall(connection)

    with RawServer(stall) as server, pytest.raises(Refused):
        connect(server.endpoint).get("key", limit=1000)


def test_closing_a_stream_gives_its_connection_up(connect: Connect) -> None:
    def flood(connection: socket.socket) -> None:
        reply("200 OK", length=1 << 40)(connection)
        while True:  # ends when the other side is gone, or RawServer's end would wait for ever
            connection.sendall(bytes(65536))

    with RawServer(flood) as server:
        stream = connect(server.endpoint).stream("key", limit=1 << 40)
        assert next(stream)
        stream.close()


DATA = bytes(range(256)) * 40


def rest(offset: int, etag: str = '"abc"') -> Callable[[socket.socket], None]:
    content_range = f"bytes {offset}-{len(DATA) - 1}/{len(DATA)}"
    return reply("206 Partial Content", DATA[offset:], Content_Range=content_range, ETag=etag)


def test_a_broken_stream_is_resumed_where_it_broke(connect: Connect) -> None:
    with RawServer(reply("200 OK", DATA[:5000], length=len(DATA)), rest(5000)) as server:
        assert b"".join(connect(server.endpoint).stream("key", limit=len(DATA))) == DATA
    assert "range" not in server.requests[0].lower()
    assert "range: bytes=5000-" in server.requests[1].lower()
    assert 'if-match: "abc"' in server.requests[1].lower()
    assert len(server.requests) == 2


def test_a_stream_that_breaks_before_its_first_byte_is_resumed(connect: Connect) -> None:
    with RawServer(reply("200 OK", length=len(DATA)), rest(0)) as server:
        assert b"".join(connect(server.endpoint).stream("key", limit=len(DATA))) == DATA


def test_a_stream_is_resumed_a_bounded_number_of_times(connect: Connect) -> None:
    first = reply("200 OK", length=len(DATA))
    again = reply("206 Partial Content", length=len(DATA), Content_Range=f"bytes 0-{len(DATA) - 1}/{len(DATA)}")
    with RawServer(first, again) as server, pytest.raises(StoreUnreachable) as got:
        list(connect(server.endpoint).stream("key", limit=len(DATA)))
    assert len(server.requests) == 1 + RESUMES
    assert_clean(got.value)


def test_the_limit_counts_over_a_resume(connect: Connect) -> None:
    with RawServer(reply("200 OK", DATA[:5000], length=len(DATA)), rest(5000)) as server, pytest.raises(Refused):
        list(connect(server.endpoint).stream("key", limit=len(DATA) - 1))


@pytest.mark.parametrize(
    "answer",
    [
        failure("412 Precondition Failed", "PreconditionFailed"),
        failure("404 Not Found", "NoSuchKey"),
        rest(5000, '"other"'),
    ],
    ids=["412", "404", "If-Match ignored"],
)
def test_an_object_that_is_replaced_in_mid_stream_is_not_mixed_with_the_new_one(
    connect: Connect, answer: Callable[[socket.socket], None]
) -> None:
    with (
        RawServer(reply("200 OK", DATA[:5000], length=len(DATA)), answer) as server,
        pytest.raises(StoreUnreachable, match="replaced or removed while"),
    ):
        list(connect(server.endpoint).stream("key", limit=len(DATA)))


@pytest.mark.parametrize("answer", [reply("200 OK", DATA), rest(4999)], ids=["Range ignored", "another range"])
def test_a_store_that_resumes_elsewhere_is_unreachable(
    connect: Connect, answer: Callable[[socket.socket], None]
) -> None:
    chunks: list[bytes] = []
    with (
        RawServer(reply("200 OK", DATA[:5000], length=len(DATA)), answer) as server,
        pytest.raises(StoreUnreachable),
    ):
        chunks.extend(connect(server.endpoint).stream("key", limit=len(DATA)))
    assert b"".join(chunks) == DATA[: sum(map(len, chunks))]
    assert sum(map(len, chunks)) <= 5000


def test_requests_are_signed_and_path_style(connect: Connect) -> None:
    with RawServer(reply("200 OK", b"data")) as server:
        assert connect(server.endpoint).get("key", limit=9)
    request = server.requests[0].lower()
    assert request.startswith("get /bucket/pre/key http/1.1")
    assert f"authorization: aws4-hmac-sha256 credential={ACCESS_KEY.lower()}/" in request
    assert f"x-amz-security-token: {TOKEN.lower()}" in request
    assert SECRET_KEY.lower() not in request


def test_a_reader_can_be_used_by_several_threads(connect: Connect) -> None:
    with RawServer(reply("200 OK", b"data")) as server:
        reader = connect(server.endpoint)
        with ThreadPoolExecutor(8) as pool:
            blobs = list(pool.map(lambda _: reader.get("key", limit=9), range(32)))
    assert {blob.data for blob in blobs if blob} == {b"data"}
