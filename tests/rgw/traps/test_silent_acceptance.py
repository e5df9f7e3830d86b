"""What RGW takes and does not do: conditions, checksums, policies, addresses. Why nothing of ours relies on them."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError

from support.clusters import another_gateway
from support.s3server import Rgw, client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from types_boto3_s3 import S3Client

    from rgw.traps.conftest import User

OTHER_ETAG = "0" * 32


def error_of(error: ClientError) -> tuple[int, str, str]:
    """Return status, code and message."""
    said = error.response["Error"]
    return error.response["ResponseMetadata"]["HTTPStatusCode"], said.get("Code") or "", said.get("Message") or ""


def body_of(s3: S3Client, bucket: str, key: str) -> bytes:
    return s3.get_object(Bucket=bucket, Key=key)["Body"].read()


def with_header(s3: S3Client, operation: str, name: str, value: str) -> None:
    """Send a header with each such request, for what boto3 has no parameter."""
    s3.meta.events.register(f"before-sign.s3.{operation}", lambda request, **_: request.headers.add_header(name, value))


def test_a_copy_ignores_the_condition_on_its_target(s3: S3Client, bucket: str) -> None:
    for key, data in (("new", b"new"), ("old", b"old")):
        s3.put_object(Bucket=bucket, Key=key, Body=data)
    with_header(s3, "CopyObject", "If-None-Match", "*")
    s3.copy_object(Bucket=bucket, Key="old", CopySource=f"{bucket}/new")
    assert body_of(s3, bucket, "old") == b"new"


def test_a_delete_ignores_its_condition(s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"")
    s3.delete_object(Bucket=bucket, Key="a", IfMatch=OTHER_ETAG)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_a_stale_condition_on_a_missing_object_is_412_and_not_404_as_on_aws(s3: S3Client, bucket: str) -> None:
    with pytest.raises(ClientError) as got:
        s3.put_object(Bucket=bucket, Key="missing", Body=b"", IfMatch=OTHER_ETAG)
    assert error_of(got.value)[:2] == (412, "PreconditionFailed")


def test_head_takes_an_etag_with_and_without_quotes(s3: S3Client, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="a", Body=b"data")["ETag"]
    for form in (etag, etag.strip('"')):
        assert s3.head_object(Bucket=bucket, Key="a", IfMatch=form)["ContentLength"] == 4
        with pytest.raises(ClientError) as got:
            s3.head_object(Bucket=bucket, Key="a", IfNoneMatch=form)
        assert error_of(got.value)[0] == 304


def test_a_wrong_checksum_header_is_ignored_and_a_wrong_md5_refused(s3: S3Client, bucket: str) -> None:
    wrong = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    s3.put_object(Bucket=bucket, Key="a", Body=b"data", ChecksumSHA256=wrong)
    assert body_of(s3, bucket, "a") == b"data"
    md5 = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    with pytest.raises(ClientError) as got:
        s3.put_object(Bucket=bucket, Key="b", Body=b"data", ContentMD5=md5)
    assert error_of(got.value)[:2] == (400, "BadDigest")


def test_its_errors_have_a_code_and_no_message(s3: S3Client, bucket: str) -> None:
    with pytest.raises(ClientError) as got:
        s3.get_object(Bucket=bucket, Key="missing")
    assert error_of(got.value) == (404, "NoSuchKey", "")


@pytest.mark.parametrize("constraint", ["", "default"])
def test_a_bucket_is_made_with_the_location_default_or_none(s3: S3Client, constraint: str) -> None:
    name = f"test-{secrets.token_hex(8)}"
    more: Any = {"CreateBucketConfiguration": {"LocationConstraint": constraint}} if constraint else {}
    s3.create_bucket(Bucket=name, **more)
    s3.put_object(Bucket=name, Key="a", Body=b"")


def test_a_bucket_in_a_region_of_aws_is_refused(s3: S3Client) -> None:
    elsewhere: Any = {"LocationConstraint": "eu-west-1"}
    with pytest.raises(ClientError) as got:
        s3.create_bucket(Bucket=f"test-{secrets.token_hex(8)}", CreateBucketConfiguration=elsewhere)
    assert error_of(got.value)[1] == "InvalidLocationConstraint"


def deny(s3: S3Client, bucket: str, action: str, condition: dict[str, dict[str, str]]) -> None:
    where = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    statement = {"Effect": "Deny", "Principal": "*", "Action": action, "Resource": where, "Condition": condition}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))


def test_a_policy_against_plain_http_forbids_nothing(rgw: Rgw, s3: S3Client, bucket: str) -> None:
    """So only a gateway without a plain port keeps clients from it; over https the condition is looked at."""
    deny(s3, bucket, "s3:*", {"Bool": {"aws:SecureTransport": "false"}})
    with another_gateway(Path(rgw.directory)) as plain, closing(client(Rgw(plain, "", rgw.directory))) as unsafe:
        unsafe.put_object(Bucket=bucket, Key="a", Body=b"data")
        assert body_of(unsafe, bucket, "a") == b"data"
    deny(s3, bucket, "s3:GetObject", {"Bool": {"aws:SecureTransport": "true"}})
    with pytest.raises(ClientError) as got:
        s3.get_object(Bucket=bucket, Key="a")
    assert error_of(got.value)[0] == 403


def test_a_policy_that_demands_conditions_blocks_every_write(s3: S3Client, bucket: str) -> None:
    deny(s3, bucket, "s3:PutObject", {"Null": {"s3:if-none-match": "true"}})
    for more in ({}, {"IfNoneMatch": "*"}):
        with pytest.raises(ClientError) as got:
            s3.put_object(Bucket=bucket, Key="a", Body=b"data", **more)
        assert error_of(got.value)[0] == 403


# Topics


def sns_of(rgw: Rgw, environ: dict[str, str]) -> Any:
    return boto3.client(
        "sns",
        endpoint_url=rgw.endpoint,
        region_name="us-east-1",
        aws_access_key_id=environ["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environ["AWS_SECRET_ACCESS_KEY"],
        verify=rgw.ca,
    )


@pytest.fixture
def sns(rgw: Rgw) -> Iterator[Any]:
    """The publisher's client of the topics."""
    made = sns_of(rgw, rgw.environ)
    yield made
    made.close()


def test_any_user_reads_overwrites_and_removes_a_topic(rgw: Rgw, sns: Any, user: User) -> None:
    """So what a notification says, or its opaque data, is trusted by nobody."""
    name = f"topic-{secrets.token_hex(6)}"
    mine = {"push-endpoint": "http://127.0.0.1:1/mine", "OpaqueData": "SECRET"}
    arn = sns.create_topic(Name=name, Attributes=mine)["TopicArn"]
    stranger = sns_of(rgw, user(f"stranger-{secrets.token_hex(4)}"))
    try:
        assert stranger.get_topic_attributes(TopicArn=arn)["Attributes"]["OpaqueData"] == "SECRET"
        stranger.create_topic(Name=name, Attributes={"push-endpoint": "http://127.0.0.1:1/theirs"})
        assert "/theirs" in sns.get_topic_attributes(TopicArn=arn)["Attributes"]["EndPoint"]
        stranger.delete_topic(TopicArn=arn)
        assert arn not in [topic["TopicArn"] for topic in sns.list_topics().get("Topics", [])]
    finally:
        stranger.close()


def test_a_topic_on_kafka_is_taken_by_a_gateway_that_cannot_speak_it(s3: S3Client, sns: Any, bucket: str) -> None:
    arn = sns.create_topic(Name=f"kafka-{bucket}", Attributes={"push-endpoint": "kafka://127.0.0.1:1"})["TopicArn"]
    wanted: Any = {"TopicConfigurations": [{"Id": "k", "TopicArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=wanted)
    s3.put_object(Bucket=bucket, Key="a", Body=b"data")
    assert body_of(s3, bucket, "a") == b"data"
    sns.delete_topic(TopicArn=arn)
