"""Reading from RGW: resumed where it broke, anonymous, by a CA of one's own; what each refusal says."""

from __future__ import annotations

import os
import secrets
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from dagferry_publisher.s3store import S3Store
from dagferry_puller.s3reader import S3Reader
from dagferry_shared.errors import BlobMissing, StoreDenied, StoreUnreachable
from support import faults, tls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from types_boto3_s3 import S3Client

    from dagferry_shared.store import BlobReader
    from rgw.traps.conftest import Allow, User
    from support.proxy import FaultyProxy
    from support.s3server import Rgw

    Connect = Callable[..., BlobReader]

DATA = os.urandom(1 << 20) * 6


@pytest.fixture(params=["boto3", "obstore"])
def connect(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, bucket: str, tmp_path: Path
) -> Iterator[Connect]:
    """A reader, with some of the settings changed (None: left out)."""
    made: list[S3Store] = []

    def open_with(**environ: str | None) -> BlobReader:
        for name, value in environ.items():
            monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
        if request.param == "obstore":
            return S3Reader(bucket, "some/prefix", home=tmp_path)
        made.append(S3Store(bucket, "some/prefix"))
        return made[-1]

    yield open_with
    for store in made:
        store.close()


def test_an_unmodified_answer_of_rgw_has_no_etag(s3: S3Client, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="a", Body=b"data")["ETag"]
    for form in (etag, etag.strip('"')):
        with pytest.raises(ClientError) as got:
            s3.get_object(Bucket=bucket, Key="a", IfNoneMatch=form)
        assert got.value.response["ResponseMetadata"]["HTTPStatusCode"] == 304
        assert "etag" not in got.value.response["ResponseMetadata"]["HTTPHeaders"]


def test_an_unmodified_pointer_is_not_sent_again(connect: Connect, store: S3Store) -> None:
    etag = store.create("pointer", b"1")
    reader = connect()
    for _ in range(3):
        assert reader.get("pointer", limit=9, if_none_match=etag) is None
    etag = store.replace("pointer", b"2", etag=etag)
    blob = reader.get("pointer", limit=9, if_none_match="0" * 32)
    assert blob is not None
    assert (blob.data, blob.etag) == (b"2", etag)


@pytest.mark.parametrize("fault", [faults.reset_in_body, faults.cut_short], ids=lambda fault: fault.__name__)
def test_a_download_that_breaks_is_resumed_where_it_broke(
    connect: Connect, store: S3Store, proxy: FaultyProxy, fault: Callable[..., None]
) -> None:
    store.put("large", DATA)
    proxy.fail(fault, "large", times=1)
    assert b"".join(connect(AWS_ENDPOINT_URL_S3=proxy.endpoint).stream("large", limit=len(DATA))) == DATA
    first, second = proxy.asked("large")
    assert "range" not in first.headers
    assert 0 <= int(second.headers["range"].removeprefix("bytes=").rstrip("-")) < len(DATA)
    assert second.headers["if-match"].strip('"')


@pytest.mark.parametrize("what", ["replaced", "removed"])
def test_a_download_is_never_resumed_with_another_object(
    connect: Connect, store: S3Store, proxy: FaultyProxy, what: str
) -> None:
    store.put("large", DATA)
    proxy.fail(faults.cut_short, "large", times=1)
    stream = connect(AWS_ENDPOINT_URL_S3=proxy.endpoint).stream("large", limit=len(DATA))
    got = bytearray(next(stream))
    store.put("large", DATA[::-1]) if what == "replaced" else store.discard("large")
    with pytest.raises(StoreUnreachable, match="was replaced or removed while it was being read"):
        got.extend(byte for chunk in stream for byte in chunk)
    assert DATA.startswith(got)


def test_an_object_is_read_without_credentials_where_the_policy_lets_everybody(
    store: S3Store, bucket: str, allow: Allow, rgw: Rgw, tmp_path: Path
) -> None:
    store.put("a", b"data")
    anybody = S3Reader(bucket, "some/prefix", environ=rgw.place, home=tmp_path)
    with pytest.raises(StoreDenied, match="without credentials"):
        anybody.get("a", limit=9)
    allow("*", "GetObject")
    blob = anybody.get("a", limit=9)
    assert blob is not None
    assert b"".join(anybody.stream("a", limit=9)) == b"data"
    assert anybody.get("a", limit=9, if_none_match=blob.etag) is None
    with pytest.raises(StoreDenied, match="or the object does not exist"):
        anybody.get("missing", limit=9)
    elsewhere = S3Reader(bucket, environ=rgw.place, home=tmp_path)
    with pytest.raises(StoreDenied):
        elsewhere.get("outside", limit=9)


WRONG = {
    "access key": ({"AWS_ACCESS_KEY_ID": secrets.token_hex(10)}, "does not know this access key"),
    "secret key": ({"AWS_SECRET_ACCESS_KEY": secrets.token_hex(20)}, "the secret key does not fit"),
}


@pytest.mark.parametrize("wrong", list(WRONG))
def test_wrong_credentials_are_told_from_a_missing_permission(connect: Connect, store: S3Store, wrong: str) -> None:
    store.put("a", b"data")
    environ, words = WRONG[wrong]
    for key in ("a", "missing"):
        with pytest.raises(StoreDenied, match=f"wrong credentials: .*{words}"):
            connect(**environ).get(key, limit=9)


def test_without_permission_to_list_a_missing_object_may_be_a_denied_one(
    connect: Connect, store: S3Store, user: User, allow: Allow
) -> None:
    store.put("a", b"data")
    name = f"reader-{secrets.token_hex(4)}"
    environ = user(name)
    reader = connect(**environ)
    both = "no permission: .* or the object does not exist .without permission to list.* .403 AccessDenied."
    for key in ("a", "missing"):
        with pytest.raises(StoreDenied, match=both):
            reader.get(key, limit=9)
    allow(name, "GetObject")
    assert reader.get("a", limit=9) is not None
    with pytest.raises(StoreDenied, match=both):
        reader.get("missing", limit=9)
    allow(name, "GetObject", "ListBucket")
    with pytest.raises(BlobMissing, match="it does not exist"):
        reader.get("missing", limit=9)


def test_a_missing_bucket_is_no_missing_object(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    missing = f"no-such-{secrets.token_hex(8)}"
    with closing(S3Store(missing)) as store:
        for reader in (store, S3Reader(missing, home=tmp_path)):
            with pytest.raises(BlobMissing, match="the bucket does not exist: create it"):
                reader.get("a", limit=9)


def test_the_clusters_ca_must_be_named(connect: Connect, store: S3Store) -> None:
    store.put("a", b"data")
    with pytest.raises(StoreUnreachable, match="set AWS_CA_BUNDLE"):
        connect(AWS_CA_BUNDLE=None).get("a", limit=9)


def test_the_file_of_the_ca_is_what_counts_and_not_what_openssl_is_told(
    store: S3Store, bucket: str, rgw: Rgw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """obstore reads neither SSL_CERT_FILE nor AWS_CA_BUNDLE by itself."""
    store.put("a", b"data")
    reader = S3Reader(bucket, "some/prefix", environ=rgw.environ, home=tmp_path)
    monkeypatch.delenv("AWS_CA_BUNDLE")
    assert reader.get("a", limit=9) is not None


def test_a_gateway_whose_certificate_is_the_ca_itself_is_told_with_the_cure(
    store: S3Store, bucket: str, proxy: FaultyProxy, rgw: Rgw, tmp_path: Path
) -> None:
    """OpenSSL takes it, so the publisher works; the puller's TLS does not."""
    store.put("a", b"data")
    ca = tls.Authority(tmp_path)
    proxy.tls = tls.context(ca.path)
    environ = {**rgw.environ, "AWS_ENDPOINT_URL_S3": proxy.endpoint, "AWS_CA_BUNDLE": str(ca.path)}
    with pytest.raises(StoreUnreachable, match=r"is itself a CA certificate.*give the server a certificate of its own"):
        S3Reader(bucket, "some/prefix", environ=environ, home=tmp_path).get("a", limit=9)
    proxy.tls = tls.context(ca.server())
    assert S3Reader(bucket, "some/prefix", environ=environ, home=tmp_path).get("a", limit=9) is not None
