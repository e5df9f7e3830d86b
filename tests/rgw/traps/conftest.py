"""A bucket on the real RGW with our store classes on it; whoever else may ask for it; a proxy before it."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from dagferry_publisher.s3store import S3Store
from support.proxy import FaultyProxy
from support.s3server import Rgw, client, new_bucket, real_rgw
from support.sitefixtures import keys, line, own_site, repo, shared_repo, site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from types_boto3_s3 import S3Client

    Admin = Callable[..., str]
    User = Callable[..., dict[str, str]]
    Allow = Callable[..., None]

__all__ = ["keys", "line", "own_site", "repo", "shared_repo", "site"]

PREFIX = "some/prefix"


@pytest.fixture(scope="session")
def rgw() -> Rgw:
    found = real_rgw()
    if found is None:
        pytest.fail("no RGW: make test-rgw, or tests/rgw/with .venv/bin/python -m pytest …")
    return found


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rgw: Rgw) -> None:
    """Nothing of whoever runs the tests, and the publisher's settings."""
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name, value in rgw.environ.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def bucket(rgw: Rgw) -> str:
    return new_bucket(rgw)


@pytest.fixture
def s3(rgw: Rgw) -> Iterator[S3Client]:
    """boto3's own client of the bucket's owner."""
    with closing(client(rgw)) as made:
        yield made


@pytest.fixture
def store(bucket: str) -> Iterator[S3Store]:
    with closing(S3Store(bucket, PREFIX)) as made:
        yield made


@pytest.fixture
def proxy(rgw: Rgw) -> Iterator[FaultyProxy]:
    with FaultyProxy(rgw.endpoint, ca=rgw.ca) as made:
        yield made


@pytest.fixture(scope="session")
def admin(rgw: Rgw) -> Admin:
    def run(*arguments: str) -> str:
        command = ["radosgw-admin", "--conf", f"{rgw.directory}/ceph.conf", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    return run


@pytest.fixture
def user(rgw: Rgw, admin: Admin) -> User:
    """Make a user that owns nothing; returns what its client needs in the environment."""

    def make(name: str) -> dict[str, str]:
        access, secret = secrets.token_hex(10), secrets.token_hex(20)
        keys = (f"--access-key={access}", f"--secret-key={secret}")
        admin("user", "create", f"--uid={name}", f"--display-name={name}", "--max-buckets=-1", *keys)
        return {"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret, **rgw.place}

    return make


@pytest.fixture
def allow(s3: S3Client, bucket: str) -> Allow:
    """Set the bucket's policy: what a principal may do, on the bucket and below the prefix."""

    def put(principal: str, *actions: str) -> None:
        who = "*" if principal == "*" else {"AWS": [f"arn:aws:iam:::user/{principal}"]}
        where = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/{PREFIX}/*"]
        allowed = [f"s3:{action}" for action in actions]
        statement = {"Effect": "Allow", "Principal": who, "Action": allowed, "Resource": where}
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))

    return put
