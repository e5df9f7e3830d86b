"""Writing to RGW over https: checksums, large archives, damage on the way, regions, a clock that is wrong."""

from __future__ import annotations

import hashlib
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

import boto3
import botocore.auth
import botocore.compat
import pytest
from botocore.exceptions import ClientError

from dagferry_publisher.s3store import MULTIPART_BYTES, S3Store
from dagferry_puller.s3reader import S3Reader
from dagferry_shared.errors import BlobMissing, StoreDenied, StoreUnreachable
from support import faults

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from types_boto3_s3 import S3Client

    from support.proxy import Exchange, FaultyProxy
    from support.s3server import Rgw


def test_an_upload_with_the_defaults_of_boto3_is_refused_over_https(rgw: Rgw, bucket: str) -> None:
    """Plain http hides it; so this suite is on https."""
    assert rgw.endpoint.startswith("https://")
    with closing(boto3.client("s3")) as plain, pytest.raises(ClientError) as got:
        plain.put_object(Bucket=bucket, Key="a", Body=b"data")
    assert got.value.response["Error"]["Code"] == "MissingContentLength"


def test_every_write_of_ours_is_taken_over_https(store: S3Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"data")
    store.put("bytes", b"data")
    with (tmp_path / "file").open("rb") as file:
        store.put("file", file)
    etag = store.create("created", b"data")
    store.replace("created", b"data!", etag=etag)
    assert set(store.keys("")) == {"bytes", "file", "created"}


def test_a_large_archive_is_sent_in_parts_and_read_back_whole(bucket: str, tmp_path: Path) -> None:
    size = MULTIPART_BYTES + 1
    path = tmp_path / "large"
    block = hashlib.sha512(b"block").digest() * (1 << 14)
    path.write_bytes((block * (size // len(block) + 1))[:size])
    with closing(S3Store(bucket)) as store, path.open("rb") as file:
        store.put("large", file)
        info = store.head("large")
        found = hashlib.sha256()
        for chunk in S3Reader(bucket, home=tmp_path).stream("large", limit=size):
            found.update(chunk)
    assert info is not None
    assert (info.size, info.etag.rpartition("-")[2]) == (size, "5")
    assert found.digest() == hashlib.sha256(path.read_bytes()).digest()


def flip_a_byte(exchange: Exchange) -> None:
    """The body is damaged on the way to the store."""
    exchange.raw = exchange.raw[:-1] + bytes([exchange.raw[-1] ^ 1])
    exchange.send(exchange.forward())


@pytest.mark.parametrize(
    "write",
    [
        lambda store, _: store.put("a", b"new data"),
        lambda store, _: store.create("b", b"new data"),
        lambda store, etag: store.replace("a", b"new data", etag=etag),
    ],
    ids=["put", "create", "replace"],
)
def test_a_body_that_is_damaged_on_the_way_is_not_stored(
    monkeypatch: pytest.MonkeyPatch,
    proxy: FaultyProxy,
    store: S3Store,
    bucket: str,
    write: Callable[[S3Store, str], object],
) -> None:
    etag = store.create("a", b"old data")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
    proxy.fail(flip_a_byte)
    with closing(S3Store(bucket, "some/prefix")) as through, pytest.raises((StoreDenied, StoreUnreachable)):
        write(through, etag)
    blob = store.get("a", limit=99)
    assert blob is not None
    assert blob.data == b"old data"
    assert list(store.keys("")) == ["a"]


def test_a_large_upload_that_breaks_off_is_not_seen(
    monkeypatch: pytest.MonkeyPatch, proxy: FaultyProxy, store: S3Store, bucket: str, s3: S3Client
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
    monkeypatch.setattr("dagferry_publisher.s3store.MULTIPART_BYTES", 5 << 20)
    monkeypatch.setattr("dagferry_publisher.s3store._PART_BYTES", 5 << 20)
    proxy.fail(faults.reset_before, "partNumber=2")
    with closing(S3Store(bucket, "some/prefix")) as through, pytest.raises(StoreUnreachable):
        through.put("large", bytes(12 << 20))
    with pytest.raises(BlobMissing):
        store.get("large", limit=99)
    assert store.head("large") is None
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket), "boto3 gives the parts up"


@pytest.mark.parametrize("region", ["default", "eu-somewhere-7", "us-east-1"])
def test_any_region_will_do(monkeypatch: pytest.MonkeyPatch, bucket: str, tmp_path: Path, region: str) -> None:
    monkeypatch.setenv("AWS_REGION", region)
    with closing(S3Store(bucket)) as store:
        store.put("a", b"data")
    assert S3Reader(bucket, home=tmp_path).get("a", limit=9) is not None


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_wrong_clock_is_named(monkeypatch: pytest.MonkeyPatch, store: S3Store, hours: int) -> None:
    real = botocore.compat.get_current_datetime
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: real() + timedelta(hours=hours))
    with pytest.raises(StoreDenied, match=r"the clock of this machine is wrong.*RequestTimeTooSkewed"):
        store.put("a", b"data")
    monkeypatch.undo()
    assert store.head("a") is None


def test_a_wrong_clock_does_not_hide_the_stores_time(monkeypatch: pytest.MonkeyPatch, store: S3Store) -> None:
    """``check_clock`` asks before anything is written; a refusal tells the time, too."""
    there = store.now()
    real = botocore.compat.get_current_datetime
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: real() + timedelta(hours=2))
    assert abs(store.now() - there) < timedelta(minutes=5)
