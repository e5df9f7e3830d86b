"""A site whose store is a bucket, not there yet, of the real RGW; and its owner's own client, to look past dagctl."""

from __future__ import annotations

import secrets
import subprocess
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from support.s3server import Rgw, client, real_rgw
from support.sitefixtures import keys, line, shared_repo, site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from types_boto3_s3 import S3Client

    from support.dagctl import Result
    from support.sites import Site

__all__ = ["keys", "line", "shared_repo", "site"]

PREFIX = "some/prefix"
ROOT = f"{PREFIX}/analytics/v1/"


@dataclass
class Place:
    """A bundle's place on the RGW, and who looks after it."""

    rgw: Rgw
    site: Site
    s3: S3Client
    bucket: str

    def setup(self, *arguments: object, code: int = 0, user: str = "puller", **environ: str) -> Result:
        """Run ``dagctl setup ceph --json`` for a puller's user."""
        own = () if "--remove" in arguments else ("--puller-user", user)
        return self.site.dagctl("setup", "ceph", "--json", *own, *arguments, code=code, **environ)

    def actions(self, *arguments: object, **options: Any) -> dict[str, str]:
        """Run it and return what happened to each thing."""
        return {step["item"]: step["action"] for step in self.setup(*arguments, **options).json["steps"]}

    def doctor(self, *arguments: object, code: int = 0, **environ: str) -> dict[str, dict[str, str]]:
        """Run ``dagctl doctor --json`` and return its checks by name."""
        result = self.site.dagctl("doctor", "--json", *arguments, code=code, **environ)
        return {check["check"]: check for check in result.json["checks"]}

    def as_puller(self, user: str = "puller") -> dict[str, str]:
        """The variables by which doctor is told a puller's keys."""
        environ = self.rgw.environ_of(user)
        return {f"DAGFERRY_PULLER_{name}": environ[f"AWS_{name}"] for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")}

    def admin(self, *arguments: str) -> str:
        """Run radosgw-admin."""
        command = ["radosgw-admin", "--conf", f"{self.rgw.directory}/ceph.conf", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def place(site: Site) -> Iterator[Place]:
    rgw = real_rgw()
    if rgw is None:
        pytest.fail("no RGW: make test-rgw, or tests/rgw/with .venv/bin/python -m pytest …")
    bucket = f"setup-{secrets.token_hex(8)}"
    site.dagctl.environ.update(rgw.environ, DAGFERRY_STORE=f"s3://{bucket}/{PREFIX}")
    with closing(client(rgw)) as s3:
        yield Place(rgw, site, s3, bucket)
