"""One store of each kind, and with each the reader that a puller would use."""

from __future__ import annotations

import os
import secrets
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from dagferry_shared.store.directory import DirectoryReader, DirectoryStore
from dagferry_shared.store.memory import MemoryStore
from support.s3server import s3_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dagferry_shared.store import BlobReader, Store


@dataclass(frozen=True)
class Pair:
    """A store, and a reader of the same objects (the store itself, or the puller's reader)."""

    store: Store
    reader: BlobReader


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the credentials or the proxies of whoever runs it."""
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="session")
def s3_environ() -> Iterator[dict[str, str]]:
    """The environment of a client."""
    with s3_server() as server:
        yield server.environ


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, s3_environ: dict[str, str]) -> None:
    for name, value in s3_environ.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def bucket(aws: None) -> str:
    import boto3

    name = f"test-{secrets.token_hex(8)}"
    with closing(boto3.client("s3")) as client:
        client.create_bucket(Bucket=name)
    return name


@pytest.fixture(params=["memory", "directory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
    elif request.param == "directory":
        (tmp_path / "store").mkdir()
        yield DirectoryStore(tmp_path / "store")
    else:
        from dagferry_publisher.s3store import S3Store

        with closing(S3Store(request.getfixturevalue("bucket"), "some/prefix")) as s3:
            yield s3


@pytest.fixture(params=["memory", "directory", "s3", "directory-reader", "s3-reader"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    if request.param == "memory":
        memory = MemoryStore()
        yield Pair(memory, memory)
    elif request.param.startswith("directory"):
        root = tmp_path / "store"
        root.mkdir()
        directory = DirectoryStore(root)
        yield Pair(directory, DirectoryReader(root) if request.param == "directory-reader" else directory)
    else:
        from dagferry_publisher.s3store import S3Store
        from dagferry_puller.s3reader import S3Reader

        name = request.getfixturevalue("bucket")
        with closing(S3Store(name, "some/prefix")) as s3:
            yield Pair(s3, S3Reader(name, "some/prefix") if request.param == "s3-reader" else s3)
