"""Looking after a bucket on Ceph RGW by boto3: its policy, lifecycle, topic and notification, and what keys may do.

What boto3 cannot say to RGW is signed here: removing one notification, and lifecycle rules as the text that RGW keeps.
"""

from __future__ import annotations

import base64
import hashlib
import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import boto3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError, NoCredentialsError
from botocore.httpsession import URLLib3Session
from botocore.session import Session as CoreSession

from dagferry_publisher.ceph.plan import Notification, Topic
from dagferry_publisher.s3client import config, open_client, region
from dagferry_publisher.s3errors import translated
from dagferry_shared.errors import BlobMissing, StoreDenied

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from botocore.awsrequest import AWSResponse
    from types_boto3_s3 import S3Client

_TIMEOUT_SECONDS = 10
_CONFIG = config(2, connect_seconds=5.0, read_seconds=_TIMEOUT_SECONDS)
_OK, _MULTIPLE, _NOT_FOUND = 200, 300, 404
_NOTHING = {"NoSuchBucketPolicy", "NoSuchLifecycleConfiguration", "ObjectLockConfigurationNotFoundError"}
_NO_BUCKET = {"NoSuchBucket", "404"}


@dataclass(frozen=True, slots=True)
class Keys:
    """Whose credentials to use, where they are not those of the environment; ``repr`` shows no secret.

    Attributes:
        access: access key id; empty: from ``file`` or ``profile``.
        secret: the secret key.
        token: session token, or empty.
        profile: of the AWS files.
        file: an AWS credentials file in place of the usual one.
    """

    access: str = ""
    secret: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    profile: str = ""
    file: str = ""


class S3Admin:
    """One bucket, seen by whoever owns it or by given keys; every method may raise the store errors.

    Args:
        bucket: its name.
        keys: whose; None: the environment's.
    """

    def __init__(self, bucket: str, keys: Keys | None = None) -> None:
        self.bucket = bucket
        with self._translated("open it"):
            self._open(keys)

    def _open(self, keys: Keys | None) -> None:
        core = CoreSession(profile=(keys and keys.profile) or None)
        if keys and keys.file:
            core.set_config_variable("credentials_file", keys.file)
        session = boto3.session.Session(botocore_session=core, **_given(keys))
        self._region = region(session)
        self._credentials = session.get_credentials()
        self._ca = core.get_config_variable("ca_bundle")
        self.s3: S3Client = open_client(session, _CONFIG)
        self._sns: Any = session.client(
            "sns", region_name=self._region, config=_CONFIG, endpoint_url=self.s3.meta.endpoint_url
        )

    @property
    def endpoint(self) -> str:
        """Address of the store."""
        return self.s3.meta.endpoint_url

    @property
    def ca(self) -> str | None:
        """File of the CA that the settings name."""
        return self._ca if isinstance(self._ca, str) else None

    def is_ceph(self) -> bool:
        """Whether the store is an RGW, by the form of its request ids."""
        what = "ask for the bucket"
        with self._translated(what):
            try:
                answer: Any = self.s3.head_bucket(Bucket=self.bucket)
            except ClientError as error:
                answer = error.response
        return str(answer["ResponseMetadata"].get("RequestId", "")).startswith("tx")

    def exists(self) -> bool:
        """Whether the bucket is there and may be seen."""
        return self._or_none("look at the bucket", "head_bucket") is not None

    def create(self) -> None:
        """Make the bucket, unversioned."""
        with self._translated("create the bucket"):
            self.s3.create_bucket(Bucket=self.bucket)

    def user(self) -> str:
        """Return the id of the user whose keys these are: ``UID``, or ``TENANT$UID``."""
        with self._translated("ask who we are"):
            return self.s3.list_buckets()["Owner"]["ID"]

    def versioning(self) -> str:
        """Return ``Enabled``, ``Suspended``, or nothing."""
        found = self._or_none("look at the bucket's versioning", "get_bucket_versioning") or {}
        return str(found.get("Status", ""))

    def locked(self) -> bool:
        """Whether the bucket has object lock."""
        return self._or_none("look at the bucket's object lock", "get_object_lock_configuration") is not None

    def policy(self) -> dict[str, Any] | None:
        """Return the bucket policy."""
        found = self._or_none("read the bucket policy", "get_bucket_policy")
        document = json.loads(found["Policy"]) if found else None
        return document if isinstance(document, dict) else None

    def put_policy(self, document: Mapping[str, object] | None) -> None:
        """Write the bucket policy; None removes it."""
        with self._translated("write the bucket policy"):
            if document is None:
                self.s3.delete_bucket_policy(Bucket=self.bucket)
            else:
                self.s3.put_bucket_policy(Bucket=self.bucket, Policy=json.dumps(document))

    def lifecycle(self) -> str:
        """Return the lifecycle rules as RGW writes them; empty without any."""
        return self._send("GET", "lifecycle", "read the lifecycle rules")

    def put_lifecycle(self, text: str) -> None:
        """Write the lifecycle rules; nothing removes them."""
        self._send("PUT" if text else "DELETE", "lifecycle", "write the lifecycle rules", text.encode())

    def notifications(self) -> list[Notification]:
        """Return the notifications to topics."""
        what = "read the bucket's notifications"
        found = self._or_none(what, "get_bucket_notification_configuration") or {}
        return [_notification(entry) for entry in found.get("TopicConfigurations", [])]

    def put_notification(self, wanted: Notification, arn: str) -> None:
        """Add a notification; RGW keeps those with other ids."""
        rules: Any = [
            {"Name": name, "Value": getattr(wanted, name)} for name in ("prefix", "suffix") if getattr(wanted, name)
        ]
        entry: Any = {"Id": wanted.id, "TopicArn": arn, "Events": [*wanted.events]}
        entry["Filter"] = {"Key": {"FilterRules": rules}}
        with self._translated("write the bucket's notification"):
            self.s3.put_bucket_notification_configuration(
                Bucket=self.bucket, NotificationConfiguration={"TopicConfigurations": [entry]}
            )

    def delete_notification(self, name: str) -> None:
        """Remove one notification, as only RGW can: another store might take it for the removal of the bucket."""
        if not self.is_ceph():
            raise StoreDenied(f"cannot remove the notification {name}: {self.endpoint} is not a Ceph RGW")
        self._send("DELETE", f"notification={quote(name, safe='')}", "remove the bucket's notification")

    def topic(self, name: str) -> tuple[str, Topic] | None:
        """Return a topic's ARN and what it says."""
        with self._translated("read the topics"):
            found = self._sns.list_topics().get("Topics", [])
            arn = next((entry["TopicArn"] for entry in found if entry["TopicArn"].endswith(f":{name}")), None)
            if arn is None:
                return None
        try:
            with self._translated("read a topic"):
                attributes = self._sns.get_topic_attributes(TopicArn=arn)["Attributes"]
        except BlobMissing:  # RGW lists a topic that is gone as long as a notification has a copy of it
            return None
        return arn, _topic(name, attributes)

    def create_topic(self, topic: Topic) -> str:
        """Write a topic, in place of one of that name; returns its ARN."""
        with self._translated("write the topic (RGW takes an address with a password over https alone)"):
            return str(self._sns.create_topic(Name=topic.name, Attributes=topic.attributes())["TopicArn"])

    def delete_topic(self, arn: str) -> None:
        """Remove a topic."""
        with self._translated("remove the topic"):
            self._sns.delete_topic(TopicArn=arn)

    def read(self, key: str) -> bytes:
        """Read the beginning of an object."""
        with self._translated(f"read {key}"):
            return self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read(4096)

    def write(self, key: str, body: bytes) -> None:
        """Write a small object."""
        with self._translated(f"write {key}"):
            self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)

    def remove(self, key: str) -> None:
        """Remove an object."""
        with self._translated(f"remove {key}"):
            self.s3.delete_object(Bucket=self.bucket, Key=key)

    def close(self) -> None:
        """Close the idle connections."""
        self.s3.close()
        self._sns.close()

    def _or_none(self, what: str, method: str) -> Any:
        with self._translated(what):
            try:
                return getattr(self.s3, method)(Bucket=self.bucket)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in _NOTHING | _NO_BUCKET:
                    return None
                raise

    def _send(self, method: str, query: str, what: str, body: bytes = b"") -> str:
        """Send a request on the bucket that boto3 has no words for; returns the answer's text, empty for a 404."""
        digest = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        address = f"{self.endpoint}/{self.bucket}?{query}"
        request = AWSRequest(method=method, url=address, data=body, headers={"Content-MD5": digest})
        with self._translated(what):
            if self._credentials is None:
                raise NoCredentialsError
            S3SigV4Auth(self._credentials.get_frozen_credentials(), "s3", self._region).add_auth(request)
            http = URLLib3Session(verify=self._ca or True, timeout=_TIMEOUT_SECONDS)
            try:
                answer: AWSResponse = http.send(request.prepare())
                text = answer.content.decode()
            finally:
                http.close()
            if answer.status_code == _NOT_FOUND and method == "GET":
                return ""
            if not _OK <= answer.status_code < _MULTIPLE:
                raise _refusal(answer.status_code, text, what)
        return text

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        with translated(f"{what} (s3://{self.bucket})"):
            yield


def _refusal(status: int, text: str, what: str) -> ClientError:
    """Say what an answer refuses as boto3 does."""
    code = text.partition("<Code>")[2].partition("</Code>")[0]
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, what)  # type: ignore[typeddict-item]


def _given(keys: Keys | None) -> dict[str, Any]:
    if not keys or not keys.access:
        return {}
    return {
        "aws_access_key_id": keys.access,
        "aws_secret_access_key": keys.secret,
        "aws_session_token": keys.token or None,
    }


def _notification(entry: Mapping[str, Any]) -> Notification:
    rules = entry.get("Filter", {}).get("Key", {}).get("FilterRules", [])
    found = {str(rule["Name"]).lower(): str(rule["Value"]) for rule in rules}
    topic = str(entry["TopicArn"]).rpartition(":")[2]
    return Notification(
        entry.get("Id", ""), topic, tuple(entry["Events"]), found.get("prefix", ""), found.get("suffix", "")
    )


def _topic(name: str, attributes: Mapping[str, str]) -> Topic:
    endpoint = json.loads(attributes.get("EndPoint") or "{}")
    arguments = dict(pair.split("=", 1) for pair in endpoint.get("EndpointArgs", "").split("&") if "=" in pair)
    return Topic(
        name,
        endpoint.get("EndpointAddress", ""),
        arguments.get("amqp-exchange", ""),
        arguments.get("amqp-ack-level", ""),
        endpoint.get("Persistent") == "true",
    )
