"""The boto3 client that every module here uses, with the settings that Ceph RGW needs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from botocore.config import Config

from dagferry_shared.errors import StoreDenied, StoreUnreachable

if TYPE_CHECKING:
    import boto3.session
    from types_boto3_s3 import S3Client


def config(attempts: int, *, connect_seconds: float, read_seconds: float) -> Config:
    """Return the settings of a client whose requests are tried so often, and wait so long without a byte."""
    return Config(
        # Over https, boto3's default checksum trailers get 411 from RGW.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # A signed payload is one that the store checks, over https too.
        s3={"addressing_style": "path", "payload_signing_enabled": True},
        retries={"mode": "standard", "total_max_attempts": attempts},
        connect_timeout=connect_seconds,
        read_timeout=read_seconds,
    )


def region(session: boto3.session.Session) -> str:
    """Return the region to sign for: RGW takes any."""
    return session.region_name or os.environ.get("AWS_REGION") or "us-east-1"


def open_client(session: boto3.session.Session, settings: Config) -> S3Client:
    """Open a client of the endpoint in the environment.

    Raises:
        StoreUnreachable: the endpoint is not a URL.
        StoreDenied: the endpoint has credentials in it, which errors and logs would show.
    """
    try:
        client = session.client("s3", region_name=region(session), config=settings)
    except ValueError:
        # Not chained: the text repeats the whole endpoint.
        raise StoreUnreachable("AWS_ENDPOINT_URL is not a URL like https://host or http://host:port") from None
    if "@" in client.meta.endpoint_url:
        client.close()
        raise StoreDenied("AWS_ENDPOINT_URL has a user or password in it: give them as AWS_ACCESS_KEY_ID and so on")
    return client
