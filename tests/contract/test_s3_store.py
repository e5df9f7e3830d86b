"""What only the publisher's S3 adapter does: conditional writes, large objects, settings."""

from __future__ import annotations

import io
import socket
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from dagferry_publisher.patience import Patience
from dagferry_publisher.s3store import MULTIPART_BYTES, S3Store, Timeouts
from dagferry_publisher.stores import open_store
from dagferry_shared.errors import BlobMissing, StoreConflict, StoreDenied, StoreError, StoreUnreachable
from dagferry_shared.store.directory import DirectoryStore
from dagferry_shared.store.url import BadStoreUrl
from support import tls
from support.raw_server import RawServer, failure, reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Connect = Callable[[str], S3Store]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SECRETSHOWNNOWHERE")
    stores: list[S3Store] = []

    def open_endpoint(endpoint: str) -> S3Store:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        stores.append(S3Store("bucket", "pre", timeouts=Timeouts(2.0, 0.5)))
        return stores[-1]

    yield open_endpoint
    for store in stores:
        store.close()


def test_an_object_of_several_parts_is_stored_whole(bucket: str, tmp_path: Path) -> None:
    size = MULTIPART_BYTES + (6 << 20) + 1
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.write(b"skipped")
        file.truncate(7 + size)
        file.seek(7 + size - 4)
        file.write(b"end.")
    with closing(S3Store(bucket)) as store, path.open("rb") as file:
        file.seek(7)
        store.put("large", file)
        info = store.head("large")
        assert info is not None
        assert info.size == size
        assert info.etag.endswith("-5")  # five parts
        total, tail = 0, b""
        for chunk in store.stream("large", limit=size):
            total += len(chunk)
            tail = (tail + chunk)[-4:]
        assert total == size
        assert tail == b"end."


@pytest.mark.parametrize("stored", ["5", ""])
def test_a_large_object_that_is_not_stored_whole_is_an_error(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, stored: str
) -> None:
    def answer(connection: socket.socket) -> None:
        method, path, _ = server.requests[-1].split(" ", 2)
        if method == "POST" and "uploads" in path:
            body = b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
            reply("200 OK", body)(connection)
        elif method == "POST":
            reply("200 OK", b"<CompleteMultipartUploadResult></CompleteMultipartUploadResult>")(connection)
        elif method == "HEAD":
            reply("200 OK" if stored else "404 Not Found", Content_Length=stored)(connection)
        else:
            reply("200 OK")(connection)

    monkeypatch.setattr("dagferry_publisher.s3store.MULTIPART_BYTES", 3)
    monkeypatch.setattr("dagferry_publisher.s3store._PART_BYTES", 3)
    with RawServer(answer) as server, pytest.raises(StoreUnreachable, match="4 bytes were sent"):
        connect(server.endpoint).put("key", b"data")


def test_conditions_are_sent_as_rgw_understands_them(connect: Connect) -> None:
    with RawServer(reply("200 OK")) as server:
        store = connect(server.endpoint)
        assert store.create("key", b"data") == "abc"
        assert store.replace("key", b"data", etag="abc") == "abc"
    create, replace = (request.lower() for request in server.requests)
    assert "if-none-match: *\r\n" in create
    assert "if-match: abc\r\n" in replace  # unquoted
    for request in (create, replace):
        assert request.startswith("put /bucket/pre/key http/1.1")
        assert "content-length: 4" in request  # not chunked with a checksum trailer
        assert "x-amz-checksum" not in request
        assert "unsigned-payload" not in request


@pytest.mark.parametrize(
    "answer",
    [failure("500 Internal Server Error", "InternalError"), failure("503 Slow Down", "SlowDown"), lambda _: None],
    ids=["500", "503", "connection closed"],
)
def test_a_conditional_write_is_never_tried_twice(connect: Connect, answer: Callable[..., None]) -> None:
    with RawServer(answer) as server:
        store = connect(server.endpoint)
        with pytest.raises(StoreUnreachable):
            store.create("key", b"data")
        assert len(server.requests) == 1
        with pytest.raises(StoreUnreachable):
            store.replace("key", b"data", etag="abc")
        assert len(server.requests) == 2


def test_an_unconditional_write_is_tried_once_more(connect: Connect) -> None:
    with RawServer(failure("503 Slow Down", "SlowDown"), reply("200 OK")) as server:
        connect(server.endpoint).put("key", b"data")
    assert len(server.requests) == 2


def test_an_upload_that_goes_on_slowly_takes_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than every time-out there is, added up: what is bounded is standing still."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    limits = Timeouts(connect_seconds=2.0, read_seconds=0.5, upload_seconds=3.0)
    size, pace, came = 16 << 20, 1 << 17, []

    def slow(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, pace)
        begun = time.monotonic()
        while sum(came) < size and (piece := connection.recv(pace)):
            came.append(len(piece))
            time.sleep(max(0.0, begun + sum(came) / (2 << 20) - time.monotonic()))  # 2 MiB a second
        took = time.monotonic() - begun
        assert took > limits.connect_seconds + limits.read_seconds + limits.upload_seconds
        reply("200 OK")(connection)

    with RawServer(slow) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        with closing(S3Store("bucket", timeouts=limits)) as store:
            store.put("large", io.BytesIO(bytes(size)))
    assert len(server.requests) == 1


AWAY = failure("503 Slow Down", "SlowDown")
LISTED = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"


@pytest.fixture
def patient_store(connect: Connect) -> Callable[[str], S3Store]:
    """A store that waits, by a clock that takes no time."""

    def open_endpoint(endpoint: str) -> S3Store:
        store = connect(endpoint)
        store.patience = Patience(60.0, sleep=lambda _: None)
        return store

    return open_endpoint


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        (lambda store: store.get("key", limit=9), reply("200 OK", b"data")),
        (lambda store: list(store.stream("key", limit=9)), reply("200 OK", b"data")),
        (lambda store: store.head("key"), reply("200 OK")),
        (lambda store: store.put("key", io.BytesIO(b"data")), reply("200 OK")),
        (lambda store: list(store.keys("a/")), reply("200 OK", LISTED)),
        (lambda store: store.now(), reply("200 OK")),
    ],
    ids=["get", "stream", "head", "put", "keys", "now"],
)
def test_what_may_be_repeated_waits_for_a_store_that_is_away(
    patient_store: Connect, call: Callable[[S3Store], object], answer: Callable[..., None]
) -> None:
    with RawServer(*[lambda _: None] * 8, answer) as server:
        call(patient_store(server.endpoint))
        assert len(server.requests) == 9
    assert "content-length: 4\r\n" in server.requests[-1].lower() or not server.requests[-1].startswith("PUT")


def test_a_stream_that_breaks_waits_for_the_store_before_it_is_resumed(patient_store: Connect) -> None:
    rest = reply("206 Partial Content", b"ta", Content_Range="bytes 2-3/4")
    with RawServer(reply("200 OK", b"da", length=4), *[AWAY] * 6, rest) as server:
        assert b"".join(patient_store(server.endpoint).stream("key", limit=4)) == b"data"
    assert "range: bytes=2-" in server.requests[-1].lower()


@pytest.mark.parametrize("write", ["create", "replace"])
def test_a_conditional_write_is_not_repeated_but_told_once_the_store_is_back(
    patient_store: Connect, write: str
) -> None:
    with RawServer(*[AWAY] * 7, reply("200 OK")) as server:
        store = patient_store(server.endpoint)
        with pytest.raises(StoreUnreachable, match=write):
            store.create("key", b"data") if write == "create" else store.replace("key", b"data", etag="abc")
    methods = [request.split()[0] for request in server.requests]
    assert methods.count("PUT") == 1
    assert methods.count("HEAD") >= 7


@pytest.mark.parametrize("what", ["host", "certificate"])
def test_a_wrong_endpoint_is_not_waited_for(
    patient_store: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def unknown(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with RawServer(reply("200 OK"), tls=tls.context(tls.Authority(tmp_path).server())) as server:
        store = patient_store(server.endpoint)
        if what == "host":
            monkeypatch.setattr(socket, "getaddrinfo", unknown)
        store.patience.sleep = lambda _: pytest.fail("waited")
        with pytest.raises(StoreUnreachable):
            store.head("key")


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        ("412 Precondition Failed", "PreconditionFailed", StoreConflict),
        ("412 Precondition Failed", "", StoreConflict),
        ("409 Conflict", "ConditionalRequestConflict", StoreConflict),
        ("404 Not Found", "NoSuchBucket", BlobMissing),
        ("403 Forbidden", "AccessDenied", StoreDenied),
        ("411 Length Required", "MissingContentLength", StoreUnreachable),
        ("500 Internal Server Error", "InternalError", StoreUnreachable),
    ],
)
def test_a_refused_conditional_write_says_why(
    connect: Connect, status: str, code: str, expected: type[StoreError]
) -> None:
    with RawServer(failure(status, code)) as server:
        store = connect(server.endpoint)
        with pytest.raises(expected) as created:
            store.create("key", b"data")
        with pytest.raises(expected) as replaced:
            store.replace("key", b"data", etag="abc")
    assert isinstance(created.value, expected)
    assert isinstance(replaced.value, expected)


def test_replace_of_a_key_that_aws_calls_missing_is_a_conflict(connect: Connect) -> None:
    with RawServer(failure("404 Not Found", "NoSuchKey")) as server, pytest.raises(StoreConflict, match="removed"):
        connect(server.endpoint).replace("key", b"data", etag="abc")


def test_a_write_that_is_never_answered_is_unreachable(connect: Connect) -> None:
    def stall(connection: socket.socket) -> None:
        server.stall(connection)

    with RawServer(stall) as server, pytest.raises(StoreUnreachable):
        connect(server.endpoint).create("key", b"data")


def test_a_missing_bucket_is_named_as_such(aws: None) -> None:
    with closing(S3Store("no-such-bucket")) as store:
        calls: list[Callable[[], object]] = [
            lambda: store.get("key", limit=9),
            lambda: store.put("key", b""),
            lambda: store.create("key", b""),
            lambda: store.replace("key", b"", etag="abc"),
            lambda: list(store.keys("")),
        ]
        for call in calls:
            with pytest.raises(BlobMissing, match=r"the bucket does not exist: create it"):
                call()


@pytest.mark.parametrize("status", ["403 Forbidden", "404 Not Found"])
def test_discard_leaves_what_it_may_not_remove_to_the_lifecycle_rule(connect: Connect, status: str) -> None:
    with RawServer(failure(status, "")) as server:
        connect(server.endpoint).discard("key")
    assert server.requests[0].startswith("DELETE /bucket/pre/key")


def test_discard_with_the_store_away_is_an_error(connect: Connect) -> None:
    with RawServer(failure("500 Internal Server Error", "InternalError")) as server, pytest.raises(StoreUnreachable):
        connect(server.endpoint).discard("key")


@pytest.mark.parametrize("status", ["200 OK", "403 Forbidden", "404 Not Found"])
def test_any_answer_tells_the_stores_time(connect: Connect, status: str) -> None:
    with RawServer(reply(status)) as server:
        assert connect(server.endpoint).now().isoformat() == "2026-11-22T16:49:08+00:00"
    assert server.requests[0].startswith("HEAD ")


@pytest.mark.parametrize("date", ["", "yesterday"])
def test_an_answer_without_a_date_tells_no_time(connect: Connect, date: str) -> None:
    with RawServer(reply("200 OK", Date=date)) as server, pytest.raises(StoreUnreachable, match="without a date"):
        connect(server.endpoint).now()


def test_no_answer_tells_no_time(connect: Connect) -> None:
    with RawServer(lambda _: None) as server, pytest.raises(StoreUnreachable):
        connect(server.endpoint).now()


def test_names_that_are_no_keys_are_not_listed(connect: Connect) -> None:
    names = ("pre/a/b", "pre/a/.tmp", "pre/a//c", "pre/a/d e", "other/f")
    listed = "".join(f"<Contents><Key>{name}</Key><Size>1</Size></Contents>" for name in names)
    page = f"<ListBucketResult><IsTruncated>false</IsTruncated>{listed}</ListBucketResult>"
    with RawServer(reply("200 OK", page.encode())) as server:
        assert list(connect(server.endpoint).keys("a/")) == ["a/b"]
    assert "prefix=pre%2Fa%2F" in server.requests[0]


def test_a_head_without_permission_is_denied(connect: Connect) -> None:
    with RawServer(reply("403 Forbidden")) as server, pytest.raises(StoreDenied):
        connect(server.endpoint).head("key")


def test_without_credentials_the_error_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with closing(S3Store("bucket")) as store, pytest.raises(StoreDenied, match="AWS_ACCESS_KEY_ID"):
        store.get("key", limit=9)


@pytest.mark.parametrize(
    ("name", "value"), [("AWS_PROFILE", "nobody"), ("AWS_CONFIG_FILE", "broken")], ids=["profile", "file"]
)
def test_settings_that_cannot_be_used_are_denied(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str
) -> None:
    (tmp_path / "broken").write_text("SECRETSHOWNNOWHERE\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, value)
    with pytest.raises(StoreDenied, match="settings cannot be used") as got:
        S3Store("bucket")
    assert "SECRETSHOWNNOWHERE" not in str(got.value)


def test_half_a_key_pair_is_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    with pytest.raises(StoreDenied, match="settings cannot be used"):
        S3Store("bucket")


@pytest.mark.parametrize("endpoint", ["nonsense", "ftp//x", "http://", "http://a b"])
def test_an_endpoint_that_is_not_a_url_is_unreachable(connect: Connect, endpoint: str) -> None:
    with pytest.raises(StoreUnreachable):
        connect(endpoint).get("key", limit=9)


def test_an_endpoint_with_a_password_is_denied(connect: Connect) -> None:
    with pytest.raises(StoreDenied, match="AWS_ENDPOINT_URL") as got:
        connect("http://user:SECRETSHOWNNOWHERE@127.0.0.1:1")
    assert "SECRETSHOWNNOWHERE" not in str(got.value)


def test_the_region_is_taken_from_either_variable(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(reply("200 OK")) as server:
        connect(server.endpoint).head("key")
        monkeypatch.setenv("AWS_REGION", "region-one")
        connect(server.endpoint).head("key")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "region-two")
        connect(server.endpoint).head("key")
    for request, region in zip(server.requests, ("us-east-1", "region-one", "region-two"), strict=True):
        assert f"/{region}/s3/aws4_request" in request


def test_a_url_opens_the_store_that_it_names(bucket: str, tmp_path: Path) -> None:
    opened = open_store(f"s3://{bucket}/pre")
    assert isinstance(opened, S3Store)
    with closing(opened):
        opened.put("key", b"data")
    with closing(S3Store(bucket)) as whole:
        assert list(whole.keys("")) == ["pre/key"]
    directory = open_store(tmp_path.as_uri())
    assert isinstance(directory, DirectoryStore)
    directory.put("key", b"data")
    assert (tmp_path / "key").read_bytes() == b"data"
    with pytest.raises(BadStoreUrl):
        open_store("ftp://host/path")


def test_boto3_is_loaded_only_for_s3() -> None:
    code = "import sys, dagferry_publisher.stores as s; s.open_store('file:///tmp'); print('boto3' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
