"""Compare-and-swap on RGW: what holds, what it ignores in silence, and that a bucket of the second kind is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from dagferry_publisher.errors import UnsafeStore
from dagferry_publisher.proof import prove_conditional_writes
from dagferry_publisher.s3store import S3Store
from dagferry_shared.errors import StoreConflict, StoreUnreachable
from dagferry_shared.layout import Layout
from support import faults
from support.s3server import Rgw, client, new_bucket

if TYPE_CHECKING:
    from collections.abc import Iterator

    from types_boto3_s3 import S3Client

    from support.proxy import Exchange, Fault, FaultyProxy
    from support.sites import Site

LAYOUT = Layout("analytics")
UNSAFE, UNREACHABLE = 10, 7
WRITERS = 8


def data_of(store: S3Store, key: str) -> bytes:
    blob = store.get(key, limit=1 << 20)
    assert blob is not None
    return blob.data


@pytest.mark.parametrize("quoted", [True, False])
def test_an_etag_in_quotes_as_rgw_gives_it_never_matches(s3: S3Client, bucket: str, quoted: bool) -> None:
    etag = s3.put_object(Bucket=bucket, Key="a", Body=b"1")["ETag"]
    assert etag.startswith('"')
    if quoted:
        with pytest.raises(ClientError) as got:
            s3.put_object(Bucket=bucket, Key="a", Body=b"2", IfMatch=etag)
        assert got.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
    else:
        s3.put_object(Bucket=bucket, Key="a", Body=b"2", IfMatch=etag.strip('"'))


def test_a_plain_bucket_proves_itself_and_keeps_nothing_of_it(store: S3Store) -> None:
    prove_conditional_writes(store, LAYOUT)
    assert list(store.keys("")) == []


def versioned(s3: S3Client, bucket: str) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})


def suspended(s3: S3Client, bucket: str) -> None:
    versioned(s3, bucket)
    s3.put_object(Bucket=bucket, Key="old", Body=b"")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})


@pytest.fixture(params=["versioned", "locked"])
def unsafe_bucket(request: pytest.FixtureRequest, rgw: Rgw, s3: S3Client) -> str:
    if request.param == "versioned":
        name = new_bucket(rgw)
        versioned(s3, name)
    else:
        name = f"{new_bucket(rgw)}-locked"
        s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    return name


def test_a_versioned_or_locked_bucket_is_refused_with_the_reason(unsafe_bucket: str) -> None:
    with (
        closing(S3Store(unsafe_bucket)) as store,
        pytest.raises(
            UnsafeStore, match=r"ignores If-None-Match.*versioning or object lock: use an unversioned bucket"
        ),
    ):
        prove_conditional_writes(store, LAYOUT)


def test_the_first_publish_into_such_a_bucket_writes_nothing_but_the_proof(
    unsafe_bucket: str, rgw: Rgw, s3: S3Client, site: Site, line: list[str]
) -> None:
    site.dagctl.environ.update(rgw.environ, DAGFERRY_STORE=f"s3://{unsafe_bucket}/dags")
    message = site.publish(line[0], code=UNSAFE).message
    assert "use an unversioned bucket" in message
    listed = s3.list_objects_v2(Bucket=unsafe_bucket).get("Contents", [])
    assert all("/scratch/" in entry["Key"] for entry in listed)


def test_what_such_a_bucket_would_lose(unsafe_bucket: str) -> None:
    with closing(S3Store(unsafe_bucket)) as store:
        etag = store.create("a", b"1")
        store.create("a", b"2")
        assert data_of(store, "a") == b"2", "a second create is done, in silence"
        with pytest.raises(StoreConflict):
            store.replace("a", b"3", etag=etag)


def test_a_bucket_whose_versioning_is_suspended_works(bucket: str, s3: S3Client, store: S3Store) -> None:
    suspended(s3, bucket)
    prove_conditional_writes(store, LAYOUT)


def test_complete_multipart_upload_ignores_its_condition(s3: S3Client, bucket: str, store: S3Store) -> None:
    """So nothing that needs a condition is ever sent in parts."""
    store.put("a", b"old")
    key = {"Bucket": bucket, "Key": "some/prefix/a"}
    upload = s3.create_multipart_upload(**key)["UploadId"]
    etag = s3.upload_part(**key, UploadId=upload, PartNumber=1, Body=b"new")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    s3.complete_multipart_upload(**key, UploadId=upload, MultipartUpload=parts, IfNoneMatch="*")
    assert data_of(store, "a") == b"new"


@pytest.mark.parametrize("write", ["create", "replace"])
def test_a_conditional_write_is_one_put_however_large(
    monkeypatch: pytest.MonkeyPatch, proxy: FaultyProxy, bucket: str, write: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
    monkeypatch.setattr("dagferry_publisher.s3store.MULTIPART_BYTES", 1000)
    with closing(S3Store(bucket)) as store:
        etag = store.create("a", bytes(9 << 20))
        assert "-" not in etag
        if write == "replace":
            assert "-" not in store.replace("a", bytes(10 << 20), etag=etag)
    assert {exchange.method for exchange in proxy.requests} == {"PUT"}
    assert len(proxy.requests) == (1 if write == "create" else 2)


@pytest.fixture
def stores(bucket: str) -> Iterator[list[S3Store]]:
    """One for each of the writers."""
    made = [S3Store(bucket, "some/prefix") for _ in range(WRITERS)]
    yield made
    for store in made:
        store.close()


def test_no_compare_and_swap_of_many_writers_is_lost(stores: list[S3Store]) -> None:
    each = 100
    stores[0].create("counter", b"0")

    def count(store: S3Store) -> int:
        done = unknown = tries = 0
        while done < each:
            tries += 1
            assert tries < 100 * each, "no right condition is accepted"
            blob = store.get("counter", limit=99)
            assert blob is not None
            try:
                store.replace("counter", b"%d" % (int(blob.data) + 1), etag=blob.etag)
                done += 1
            except StoreConflict:
                continue
            except StoreUnreachable:  # 500 for some of those who lose a race; it may mean either
                unknown += 1
        return unknown

    with ThreadPoolExecutor(WRITERS) as pool:
        unknown = sum(pool.map(count, stores))
    assert WRITERS * each <= int(data_of(stores[0], "counter")) <= WRITERS * each + unknown


def test_each_race_to_create_has_one_winner(stores: list[S3Store]) -> None:
    def create(store: S3Store, key: str, name: bytes) -> bytes | None:
        try:
            store.create(key, name)
        except (StoreConflict, StoreUnreachable):
            return None
        return name

    with ThreadPoolExecutor(WRITERS) as pool:
        for number in range(25):
            key = f"history/1-{number}.json"
            names = [b"writer %d" % writer for writer in range(WRITERS)]
            winners = [name for name in pool.map(create, stores, [key] * WRITERS, names) if name]
            assert len(winners) <= 1
            assert data_of(stores[0], key) in (winners or names)


@pytest.mark.parametrize("fault", [faults.reset_after, faults.close_after, faults.twice], ids=lambda f: f.__name__)
def test_a_commit_whose_answer_is_lost_or_doubled_is_in_the_chain_once(
    fault: Fault, proxy: FaultyProxy, bucket: str, rgw: Rgw, site: Site, line: list[str]
) -> None:
    environ = {**rgw.environ, "AWS_ENDPOINT_URL_S3": proxy.endpoint}
    site.dagctl.environ.update(environ, DAGFERRY_STORE=f"s3://{bucket}/dags")
    site.publish(line[0])
    before = len(proxy.requests)

    def script(exchange: Exchange) -> Fault | None:
        commit = exchange.method == "PUT" and exchange.path.endswith("pointer.json")
        return fault if commit and not any(one.fault for one in proxy.requests) else None

    proxy.script = script
    site.publish(line[1])
    assert [exchange.fault for exchange in proxy.requests[before:] if exchange.fault] == [fault.__name__]
    entries = site.dagctl("history", "--json").json["entries"]
    assert [(entry["sequence"], entry["commit"]) for entry in entries] == [(2, line[1]), (1, line[0])]
    assert site.dagctl("verify", "--all", "--json").json["findings"] == []


def test_the_bare_client_that_retries_meets_its_own_write(
    proxy: FaultyProxy, rgw: Rgw, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why a conditional write gets one attempt: boto3's second one is refused for the first."""
    environ = {**rgw.environ, "AWS_ENDPOINT_URL_S3": proxy.endpoint}
    proxy.fail(faults.close_after, "/a", times=1)

    class Through:
        endpoint = proxy.endpoint

        def __init__(self) -> None:
            self.environ = environ

    with closing(client(Through())) as s3, pytest.raises(ClientError) as got:
        s3.put_object(Bucket=bucket, Key="a", Body=b"mine", IfNoneMatch="*")
    assert got.value.response["Error"]["Code"] == "PreconditionFailed"
    proxy.heal()
    with closing(client(rgw)) as s3:
        assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"mine"
