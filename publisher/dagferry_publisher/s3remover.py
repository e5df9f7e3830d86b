"""Removing from S3 by boto3: the side that only a retention run opens, with keys that may delete."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3

from dagferry_publisher.patience import Patience, patient
from dagferry_publisher.s3client import open_client
from dagferry_publisher.s3errors import translated
from dagferry_publisher.s3store import Timeouts
from dagferry_shared.store import Listed, check_key
from dagferry_shared.store.reading import valid_keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from types_boto3_s3.type_defs import ListObjectsV2OutputTypeDef, ListObjectsV2RequestTypeDef


class S3Remover:
    """A Remover on ``s3://bucket/prefix``; settings as for ``S3Store``.

    Args:
        bucket: its name.
        prefix: of every key; without slashes at its ends.

    Attributes:
        patience: how long listings are repeated while the store is away; none unless it is set.
    """

    def __init__(self, bucket: str, prefix: str = "") -> None:
        self.patience = Patience()
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        timeouts = Timeouts()
        with translated(f"open {self._url('')}"):
            session = boto3.session.Session()
            self._client = open_client(session, timeouts.config(1, timeouts.read_seconds))

    def __repr__(self) -> str:
        return f"S3Remover({self._url('')!r}, endpoint={self._client.meta.endpoint_url!r})"

    def close(self) -> None:
        """Close the idle connections."""
        self._client.close()

    def listed(self, prefix: str) -> Iterator[Listed]:
        """See Remover.listed."""
        check_key(prefix + "x")
        start = self._prefix + prefix
        token = None
        while True:
            page, token = self._page(start, token)
            names = set(valid_keys(one.key for one in page))
            yield from (one for one in page if one.key in names and one.key.startswith(prefix))
            if not token:
                return

    @patient
    def _page(self, start: str, token: str | None) -> tuple[list[Listed], str | None]:
        request: ListObjectsV2RequestTypeDef = {"Bucket": self._bucket, "Prefix": start}
        if token:
            request["ContinuationToken"] = token
        with translated(f"list s3://{self._bucket}/{start}"):
            page = self._client.list_objects_v2(**request)
        return self._found(page), page.get("NextContinuationToken")

    def _found(self, page: ListObjectsV2OutputTypeDef) -> list[Listed]:
        return [
            Listed(one["Key"].removeprefix(self._prefix), one["Size"], one["LastModified"])
            for one in page.get("Contents", [])
        ]

    def remove(self, found: Listed) -> bool:
        """See Remover.remove.

        The object is looked at by a listing again: it tells the time as the first one did, and what is gone is not
        answered with 403, as a HEAD is under a right to list that has a condition (RGW).
        """
        name = self._prefix + check_key(found.key)

        def delete() -> bool:
            with translated(f"remove {self._url(found.key)}"):
                there = self._client.list_objects_v2(Bucket=self._bucket, Prefix=name, MaxKeys=1)
                if self._found(there) != [found]:  # the key itself comes before all that it is the beginning of
                    return False
                self._client.delete_object(Bucket=self._bucket, Key=name)
            return True

        return self.patience.once(delete)

    def _url(self, key: str) -> str:
        return f"s3://{self._bucket}/{self._prefix}{key}"
