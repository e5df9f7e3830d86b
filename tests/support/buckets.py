"""A site whose store is a bucket of moto behind a fault-injecting proxy; its content can be kept and brought back."""

from __future__ import annotations

import secrets
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from dagferry_publisher.chain import Chain
from dagferry_publisher.s3store import S3Store
from dagferry_shared import trust
from dagferry_shared.rules import Rules
from support.proxy import FaultyProxy

if TYPE_CHECKING:
    from types import TracebackType

    import pytest

    from support.moto_server import MotoServer
    from support.sites import Site

PREFIX = "some/prefix"


class Bucket:
    """A context manager: from its start on, commands of the site go through ``proxy`` to a bucket.

    Args:
        site: what publishes.
        moto: the store.
        monkeypatch: sets this process's environment, for looking past the proxy.
    """

    def __init__(self, site: Site, moto: MotoServer, monkeypatch: pytest.MonkeyPatch) -> None:
        import boto3

        for name, value in moto.environ.items():
            monkeypatch.setenv(name, value)
        self.site = site
        self.proxy = FaultyProxy(moto.endpoint)
        self.name = f"test-{secrets.token_hex(8)}"
        self._moto = moto
        self._client = boto3.client("s3")
        self._store = S3Store(self.name, PREFIX)
        self._end = ExitStack()

    def __enter__(self) -> Self:
        self._end.callback(self._client.close)
        self._end.callback(self._store.close)
        self._client.create_bucket(Bucket=self.name)
        self._end.enter_context(self.proxy)
        environ = {**self._moto.environ, "AWS_ENDPOINT_URL_S3": self.proxy.endpoint}
        self.site.dagctl.environ.update(environ, DAGFERRY_STORE=f"s3://{self.name}/{PREFIX}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end.close()

    def chain(self, channel: str = "main") -> Chain:
        """The channel as it is in the store."""
        return Chain(self._store, Rules(trust.parse(self.site.trust.read_bytes()), channel))

    def objects(self) -> dict[str, bytes]:
        """Every object but the scratch ones, and its bytes."""
        found = self._client.list_objects_v2(Bucket=self.name).get("Contents", [])
        keys = [entry["Key"] for entry in found if "/scratch/" not in entry["Key"]]
        return {key: self._client.get_object(Bucket=self.name, Key=key)["Body"].read() for key in keys}

    def bring_back(self, objects: dict[str, bytes]) -> None:
        """Make the bucket hold these objects and no others; of what is there still, only a pointer is written again."""
        there = {entry["Key"] for entry in self._client.list_objects_v2(Bucket=self.name).get("Contents", [])}
        if gone := [{"Key": key} for key in there - set(objects)]:
            self._client.delete_objects(Bucket=self.name, Delete={"Objects": gone})
        for key, data in objects.items():
            if key not in there or key.endswith("/pointer.json"):
                self._client.put_object(Bucket=self.name, Key=key, Body=data)

    def remove(self, key: str) -> None:
        """Remove an object, named as from the bundle's top."""
        self._client.delete_object(Bucket=self.name, Key=f"{PREFIX}/analytics/v1/{key}")
