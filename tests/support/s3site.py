"""The publishing simulator on a bucket of moto, with a fault-injecting proxy between it and whoever reads."""

from __future__ import annotations

import secrets
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from support.bundles import Published, Simulator, small_tree
from support.proxy import FaultyProxy

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from support.moto_server import MotoServer


class S3Site:
    """A context manager: a bucket of its own, and ``proxy`` before it.

    Args:
        directory: where the simulator writes first.
        moto: the store.
    """

    def __init__(self, directory: Path, moto: MotoServer) -> None:
        import boto3

        self.simulator = Simulator(directory)
        self.bucket = f"test-{secrets.token_hex(8)}"
        self.store = f"s3://{self.bucket}/dags"
        self.proxy = FaultyProxy(moto.endpoint)
        self._moto = moto
        self._sent: dict[Path, bytes] = {}
        self._count = 0
        keys = {name.lower(): moto.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
        self._client = boto3.client("s3", endpoint_url=moto.endpoint, region_name="us-east-1", **keys)
        self._end = ExitStack()

    def __enter__(self) -> Self:
        self._end.callback(self._client.close)
        self._client.create_bucket(Bucket=self.bucket)
        self._end.enter_context(self.proxy)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end.close()

    @property
    def environ(self) -> dict[str, str]:
        """What a puller needs to read through the proxy."""
        return {**self._moto.environ, "AWS_ENDPOINT_URL_S3": self.proxy.endpoint}

    def publish(self, tree: dict[str, Any] | None = None, **changes: Any) -> Published:
        """Publish another commit."""
        self._count += 1
        made = self.simulator.publish(tree or small_tree(str(self._count)), f"commit {self._count}", **changes)
        self.upload()
        return made

    def upload(self) -> None:
        """Bring the bucket up to what the simulator wrote; the pointer last: content before what names it."""
        files = (path for path in self.simulator.directory.rglob("*") if path.is_file())
        for path in sorted(files, key=lambda path: path.name == "pointer.json"):
            data = path.read_bytes()
            if self._sent.get(path) != data:
                key = path.relative_to(self.simulator.directory).as_posix()
                self._client.put_object(Bucket=self.bucket, Key=f"dags/{key}", Body=data)
                self._sent[path] = data
