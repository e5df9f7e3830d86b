"""The S3 store that tests use: the real RGW that ``RGW_*`` names (``make test-rgw`` brings one up), else moto."""

from __future__ import annotations

import os
import secrets
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from support.moto_server import MotoServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botocore.config import Config
    from types_boto3_s3 import S3Client


class S3Server(Protocol):
    """Where a store is, and what a client that may write needs in its environment."""

    @property
    def endpoint(self) -> str: ...

    @property
    def environ(self) -> dict[str, str]: ...


@dataclass(frozen=True)
class Rgw:
    """The cluster that ``eval "$(rgw env)"`` told of."""

    endpoint: str
    ca: str  # a file, empty for plain http
    directory: str  # its state; radosgw-admin reads the configuration there

    @property
    def environ(self) -> dict[str, str]:
        """What the publisher's client needs."""
        return self.environ_of("publisher")

    def environ_of(self, user: str) -> dict[str, str]:
        """What a client of "publisher" or "puller" needs."""
        name = f"RGW_{user.upper()}"
        keys = {
            "AWS_ACCESS_KEY_ID": os.environ[f"{name}_ACCESS_KEY"],
            "AWS_SECRET_ACCESS_KEY": os.environ[f"{name}_SECRET_KEY"],
        }
        return keys | self.place

    @property
    def place(self) -> dict[str, str]:
        """What a client without credentials needs."""
        ca = {"AWS_CA_BUNDLE": self.ca} if self.ca else {}
        return {"AWS_ENDPOINT_URL_S3": self.endpoint, "AWS_REGION": "us-east-1", **ca}


def real_rgw() -> Rgw | None:
    """Return the real RGW, None if the environment names none."""
    endpoint = os.environ.get("RGW_ENDPOINT")
    return Rgw(endpoint, os.environ.get("RGW_CA", ""), os.environ.get("RGW_DIR", "")) if endpoint else None


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Give the store that this run of the tests is about."""
    if rgw := real_rgw():
        yield rgw
        return
    with MotoServer() as moto:
        yield moto


def client(server: S3Server) -> S3Client:
    """Return boto3's own client, for what the store classes do not do; whoever asks closes it."""
    import boto3

    environ = server.environ
    return boto3.client(
        "s3",
        endpoint_url=environ["AWS_ENDPOINT_URL_S3"],
        region_name=environ["AWS_REGION"],
        aws_access_key_id=environ["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environ["AWS_SECRET_ACCESS_KEY"],
        verify=environ.get("AWS_CA_BUNDLE") or None,
        config=_config(),
    )


def _config() -> Config:
    from botocore.config import Config

    return Config(
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path"},
    )


def new_bucket(server: S3Server) -> str:
    """Make a bucket."""
    name = f"test-{secrets.token_hex(8)}"
    with closing(client(server)) as made:
        made.create_bucket(Bucket=name)
    return name
