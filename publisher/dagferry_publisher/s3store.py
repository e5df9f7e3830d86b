"""The write side of S3 by boto3, with the settings that Ceph RGW needs."""

from __future__ import annotations

import os
from contextlib import closing, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from dagferry_publisher.patience import Patience, StoreAway, patient
from dagferry_publisher.s3client import config, open_client
from dagferry_publisher.s3errors import NoSuchKey, NotModified, first_line, translated
from dagferry_shared.errors import BlobMissing, StoreConflict, StoreDenied, StoreError, StoreUnreachable
from dagferry_shared.store import Blob, BlobInfo, check_key
from dagferry_shared.store.reading import CHUNK_BYTES, Interrupted, bounded, resumed, valid_keys
from dagferry_shared.store.s3common import bare_etag

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from datetime import datetime

    from botocore.config import Config
    from botocore.response import StreamingBody
    from types_boto3_s3.type_defs import GetObjectOutputTypeDef, GetObjectRequestTypeDef, ListObjectsV2RequestTypeDef

MULTIPART_BYTES = 64 << 20  # a larger object is sent in parts; conditions do not hold for those (RGW ignores them)
_PART_BYTES = 16 << 20
_SMALL_BYTES = 128 << 10  # a document; what is larger may still be on its way out of this machine when it is "sent"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a store may be silent: nothing is bounded that goes on, however slowly.

    A request is tried twice, but for conditional writes, which have the time of both attempts for one.
    """

    connect_seconds: float = 5.0
    read_seconds: float = 10.0  # without a byte of an answer
    upload_seconds: float = 30.0  # the same, after each part of an archive

    def config(self, attempts: int, read_seconds: float) -> Config:
        """Return the settings of a client that tries each request so often, and waits so long."""
        return config(attempts, connect_seconds=self.connect_seconds, read_seconds=read_seconds)


class S3Store:
    """A Store on ``s3://bucket/prefix``; credentials, endpoint and region come from where boto3 looks for them.

    Args:
        bucket: its name.
        prefix: of every key; without slashes at its ends.
        timeouts: of each request.

    Attributes:
        patience: how long requests are repeated while the store is away; none unless it is set.

    Raises:
        StoreDenied: the settings cannot be used.
        StoreUnreachable: the endpoint is not a URL.
    """

    def __init__(self, bucket: str, prefix: str = "", *, timeouts: Timeouts = Timeouts()) -> None:
        self.patience = Patience()
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        with translated(f"open {self._url('')}"):
            session = boto3.session.Session()
            # A retry of a conditional write meets its own first attempt and reports a conflict.
            self._once = open_client(session, timeouts.config(1, 2 * timeouts.read_seconds))
            self._client = open_client(session, timeouts.config(2, timeouts.read_seconds))
            self._uploads = open_client(session, timeouts.config(2, timeouts.upload_seconds))

    def __repr__(self) -> str:
        return f"S3Store({self._url('')!r}, endpoint={self._client.meta.endpoint_url!r})"

    def close(self) -> None:
        """Close the idle connections."""
        self._once.close()
        self._client.close()
        self._uploads.close()

    @patient
    def get(self, key: str, *, limit: int, if_none_match: str | None = None) -> Blob | None:
        """See BlobReader.get."""
        request = self._request(key)
        if if_none_match:
            request["IfNoneMatch"] = f'"{if_none_match}"'
        try:
            response = self._get(request)
        except NotModified:
            if if_none_match:
                return None
            raise
        what = f"read {self._url(key)}"
        # Hardly more than the limit is asked of the connection, however much the object has.
        chunks = _chunks(response["Body"], min(CHUNK_BYTES, limit + 1), what)
        with closing(chunks):
            return Blob(b"".join(bounded(chunks, key, limit)), bare_etag(response.get("ETag"), what))

    def stream(self, key: str, *, limit: int) -> Generator[bytes]:
        """See BlobReader.stream."""
        return resumed(partial(self._open_at, check_key(key)), key, limit)

    @patient
    def head(self, key: str) -> BlobInfo | None:
        """See Store.head."""
        what = f"look at {self._url(key)}"
        try:
            with translated(what):
                found = self._client.head_object(Bucket=self._bucket, Key=self._prefix + check_key(key))
        except BlobMissing:
            return None
        return BlobInfo(found["ContentLength"], found["LastModified"], bare_etag(found.get("ETag"), what))

    def put(self, key: str, body: bytes | BinaryIO) -> None:
        """See Store.put."""
        source = BytesIO(body) if isinstance(body, bytes) else body
        start = source.tell()
        size = source.seek(0, os.SEEK_END) - start
        self._send(check_key(key), source, start, size)
        if size <= MULTIPART_BYTES:
            return
        stored = self.head(key)
        if stored is None or stored.size != size:
            kept = stored.size if stored else "none"
            raise StoreUnreachable(f"cannot write {self._url(key)}: {size} bytes were sent, the store has {kept}")

    @patient
    def _send(self, key: str, source: BinaryIO, start: int, size: int) -> None:
        source.seek(start)
        name = self._prefix + key
        with translated(f"write {self._url(key)}"):
            if size <= MULTIPART_BYTES:
                client = self._client if size <= _SMALL_BYTES else self._uploads
                client.put_object(Bucket=self._bucket, Key=name, Body=source)
                return
            config = TransferConfig(multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES)
            self._uploads.upload_fileobj(source, self._bucket, name, Config=config)

    def create(self, key: str, data: bytes) -> str:
        """See Store.create."""
        return self._put_if(f"create {self._url(key)}", key, data, IfNoneMatch="*")

    def replace(self, key: str, data: bytes, *, etag: str) -> str:
        """See Store.replace."""
        what = f"replace {self._url(key)}"
        try:
            # Unquoted: RGW compares with the quotes, so a quoted ETag never matches there.
            return self._put_if(what, key, data, IfMatch=etag)
        except NoSuchKey as error:  # AWS's answer where RGW says 412
            raise StoreConflict(f"cannot {what}: it was removed") from error

    def _put_if(self, what: str, key: str, data: bytes, **condition: str) -> str:
        """Write once; an error comes when the store is there to be asked what became of it, or patience is over."""
        name = self._prefix + check_key(key)

        def put() -> str:
            with translated(what, conditional=True):
                done = self._once.put_object(Bucket=self._bucket, Key=name, Body=data, **condition)  # type: ignore[arg-type]
            return bare_etag(done.get("ETag"), what)

        try:
            return self.patience.once(put)
        except StoreAway:
            if self.patience.seconds:
                with suppress(StoreError):
                    self.head("any")
            raise

    def keys(self, prefix: str) -> Iterator[str]:
        """See Store.keys."""
        check_key(prefix + "x")
        start = self._prefix + prefix
        token = None
        while True:
            names, token = self._page(start, token)
            yield from valid_keys(name.removeprefix(self._prefix) for name in names if name.startswith(start))
            if not token:
                return

    @patient
    def _page(self, start: str, token: str | None) -> tuple[list[str], str | None]:
        request: ListObjectsV2RequestTypeDef = {"Bucket": self._bucket, "Prefix": start}
        if token:
            request["ContinuationToken"] = token
        with translated(f"list s3://{self._bucket}/{start}"):
            page = self._client.list_objects_v2(**request)
        return [found["Key"] for found in page.get("Contents", [])], page.get("NextContinuationToken")

    def discard(self, key: str) -> None:
        """See Store.discard."""
        name = self._prefix + check_key(key)

        def delete() -> None:
            with translated(f"remove {self._url(key)}"):
                self._client.delete_object(Bucket=self._bucket, Key=name)

        with suppress(StoreDenied, BlobMissing):
            self.patience.once(delete)

    @patient
    def now(self) -> datetime:
        """See Store.now; any answer tells the time, a refusal too."""
        what = f"ask {self._url('')} for the time"
        try:
            with translated(what):
                answer = self._client.head_object(Bucket=self._bucket, Key=f"{self._prefix}clock")
                date = answer["ResponseMetadata"]["HTTPHeaders"].get("date", "")
        except StoreError as error:
            if not isinstance(error.__cause__, ClientError):
                raise
            date = error.__cause__.response["ResponseMetadata"]["HTTPHeaders"].get("date", "")
        try:
            return parsedate_to_datetime(date)
        except ValueError as error:
            raise StoreUnreachable(f"cannot {what}: it answered without a date") from error

    def _url(self, key: str) -> str:
        return f"s3://{self._bucket}/{self._prefix}{key}"

    def _request(self, key: str) -> GetObjectRequestTypeDef:
        return {"Bucket": self._bucket, "Key": self._prefix + check_key(key)}

    def _get(self, request: GetObjectRequestTypeDef) -> GetObjectOutputTypeDef:
        what = f"read s3://{request['Bucket']}/{request['Key']}"
        with translated(what, conditional="IfMatch" in request):
            return self._client.get_object(**request)

    @patient
    def _open_at(self, key: str, offset: int, etag: str | None) -> tuple[str, Generator[bytes]]:
        what = f"read {self._url(key)}"
        request = self._request(key)
        if etag is not None:
            request |= {"IfMatch": f'"{etag}"', "Range": f"bytes={offset}-"}
        response = self._get(request)
        chunks = _chunks(response["Body"], CHUNK_BYTES, what)
        if etag is not None and not response.get("ContentRange", "").startswith(f"bytes {offset}-"):
            response["Body"].close()
            raise StoreUnreachable(f"cannot {what} to its end: the store did not send the rest when asked to")
        return bare_etag(response.get("ETag"), what), chunks


def _chunks(body: StreamingBody, size: int, what: str) -> Generator[bytes]:
    try:
        while chunk := body.read(size):
            yield chunk
    except (BotoCoreError, HTTPError, OSError) as error:
        raise Interrupted(f"cannot {what} to its end: {first_line(error)}") from error
    finally:
        body.close()
