"""Least rights: a publisher that may not delete, a puller that may only read below its prefix; what they are told."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from dagferry_publisher.s3store import S3Store
from dagferry_shared.errors import StoreDenied
from demo.pod import Pod

if TYPE_CHECKING:
    from collections.abc import Callable

    from types_boto3_s3 import S3Client

    from rgw.traps.conftest import Allow, User
    from support.s3server import Rgw
    from support.sites import Site

DENIED, NOT_FOUND, REFUSED = 9, 8, 3
PREFIX = "some/prefix"
PUBLISHER = ("PutObject", "GetObject", "ListBucket")


@pytest.fixture
def stored(site: Site, bucket: str) -> Site:
    """A site whose store is the bucket's prefix; whose credentials it has is for the test to say."""
    site.dagctl.environ["DAGFERRY_STORE"] = f"s3://{bucket}/{PREFIX}"
    return site


@pytest.fixture
def owner(stored: Site, rgw: Rgw) -> Site:
    """The site with the credentials of the bucket's owner."""
    stored.dagctl.environ.update(rgw.environ)
    return stored


@dataclass
class Reader:
    """``dagferry-puller`` with credentials of its own."""

    site: Site
    environ: dict[str, str]
    home: Path

    def settings(self) -> dict[str, str]:
        kept = {name: value for name, value in self.site.dagctl.environ.items() if not name.startswith("AWS_")}
        return kept | {"DAGFERRY_BUNDLE": "analytics"} | self.environ

    def once(self, *options: str) -> tuple[int, str]:
        """Pull into a new root; returns the exit code, and the commit that is live or else the last line said."""
        root = self.home / secrets.token_hex(4)
        command = [sys.executable, "-m", "dagferry_puller", "once", "--root", str(root), "--timeout", "3s", *options]
        done = subprocess.run(command, env=self.settings(), capture_output=True, text=True, timeout=60)
        link = root / "current"
        return done.returncode, os.readlink(link).split("/")[-1][:40] if link.is_symlink() else done.stderr


@pytest.fixture
def reader(stored: Site, user: User, allow: Allow, s3: S3Client, bucket: str, tmp_path: Path) -> Reader:
    """A puller that may get what is below the prefix, and nothing else."""
    name = f"reader-{secrets.token_hex(4)}"
    environ = user(name)
    allow(name, "GetObject")
    return Reader(stored, environ, tmp_path)


def test_a_publisher_needs_no_right_to_delete(
    stored: Site, line: list[str], user: User, allow: Allow, bucket: str, s3: S3Client
) -> None:
    name = f"ci-{secrets.token_hex(4)}"
    stored.dagctl.environ.update(user(name))
    allow(name, *PUBLISHER)
    dagctl = stored.dagctl
    for commit in line[:3]:
        stored.publish(commit)
    dagctl("rollback", "--reason", "bad")
    dagctl("resume")
    dagctl("hold", "--reason", "freeze")
    dagctl("resume")
    dagctl("refresh", "--expires", "7d")
    dagctl("promote", "--from", "main", "--to", "canary")
    s3.delete_object(Bucket=bucket, Key=f"{PREFIX}/analytics/v1/channels/main/pointer.json")
    dagctl("repair")
    assert dagctl("verify", "--all", "--json").json["findings"] == []
    entries = dagctl("history", "--json").json["entries"]
    assert [entry["action"] for entry in entries[::-1]][:4] == ["publish", "publish", "publish", "rollback"]
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=f"{PREFIX}/analytics/v1/scratch/")["Contents"]
    assert len(listed) >= 3, "proofs that it could not remove: the lifecycle rule does"


def test_that_publisher_really_may_not_delete(
    user: User, allow: Allow, bucket: str, s3: S3Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"ci-{secrets.token_hex(4)}"
    for variable, value in user(name).items():
        monkeypatch.setenv(variable, value)
    allow(name, *PUBLISHER)
    with closing(S3Store(bucket, PREFIX)) as store:
        store.put("a", b"data")
        store.discard("a")
        assert store.head("a") is not None
        with pytest.raises(ClientError) as got:
            store._client.delete_object(Bucket=bucket, Key=f"{PREFIX}/a")
        assert got.value.response["Error"]["Code"] == "AccessDenied"
        with closing(S3Store(bucket, "another/prefix")) as beside, pytest.raises(StoreDenied, match="no permission"):
            beside.put("a", b"data")


@pytest.mark.parametrize("missing", PUBLISHER)
def test_a_publisher_without_a_right_that_it_needs_is_told_and_moves_nothing(
    owner: Site, line: list[str], user: User, allow: Allow, missing: str
) -> None:
    owner.publish(line[0])
    name = f"ci-{secrets.token_hex(4)}"
    environ = user(name)
    allow(name, *(right for right in PUBLISHER if right != missing))
    message = owner.publish(line[1], code=DENIED, **environ).message
    assert "no permission: these credentials may not do this" in message
    assert f"s3://{owner.dagctl.environ['DAGFERRY_STORE'].removeprefix('s3://')}/analytics/v1/" in message
    assert owner.dagctl("history", "--json").json["entries"][0]["commit"] == line[0]


def test_a_puller_needs_to_get_objects_and_nothing_else(owner: Site, line: list[str], reader: Reader) -> None:
    pins = [owner.publish(commit, "--json").json["pointer"] for commit in line[:3]]
    assert reader.once() == (0, line[2])
    assert reader.once("--commit", line[0]) == (0, line[0])
    assert reader.once("--pin", f"{line[1]}-{pins[1]['release']}") == (0, line[1])
    with Pod(reader.home / "root", reader.settings(), "--period", "0.2") as pod:
        pod.until("the newest", lambda: (pod.live or "").startswith(line[2]))
        owner.publish(line[3])
        pod.until("the next", lambda: (pod.live or "").startswith(line[3]))
        owner.dagctl("rollback")
        pod.until("the one before", lambda: (pod.live or "").startswith(line[2]))
        assert pod.get("/readyz")
    assert pod.process.returncode == 0


def test_that_puller_may_neither_list_nor_write_nor_look_elsewhere(
    reader: Reader, bucket: str, s3: S3Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in reader.environ.items():
        monkeypatch.setenv(variable, value)
    s3.put_object(Bucket=bucket, Key="other/secret", Body=b"secret")
    s3.put_object(Bucket=bucket, Key=f"{PREFIX}/a", Body=b"data")
    attempts: list[Callable[[S3Store], object]] = [
        lambda store: list(store.keys("")),
        lambda store: store.put("a", b"mine"),
        lambda store: store.create("b", b"mine"),
        lambda store: store.replace("a", b"mine", etag="0" * 32),
    ]
    with closing(S3Store(bucket, PREFIX)) as store, closing(S3Store(bucket, "other")) as beside:
        for attempt in attempts:
            with pytest.raises(StoreDenied, match="no permission"):
                attempt(store)
        with pytest.raises(StoreDenied):
            beside.get("secret", limit=9)
        store.discard("a")
    assert s3.get_object(Bucket=bucket, Key=f"{PREFIX}/a")["Body"].read() == b"data"


def test_a_channel_that_is_not_there_is_missing_or_denied_to_that_puller(reader: Reader) -> None:
    code, said = reader.once()
    assert code == DENIED
    assert "pointer.json" in said
    assert "no permission: these credentials may not do this, or the object does not exist" in said


def test_with_the_right_to_list_it_is_missing(reader: Reader, rgw: Rgw) -> None:
    reader.environ = rgw.environ
    code, said = reader.once()
    assert code == NOT_FOUND
    assert "does not exist" in said


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("AWS_ACCESS_KEY_ID", "wrong credentials: the store does not know this access key"),
        ("AWS_SECRET_ACCESS_KEY", "wrong credentials: the secret key does not fit the access key"),
    ],
)
def test_wrong_credentials_are_told_as_such_by_both_commands(
    owner: Site, line: list[str], reader: Reader, name: str, words: str
) -> None:
    owner.publish(line[0])
    wrong = {name: secrets.token_hex(20)}
    assert words in owner.publish(line[1], code=DENIED, **wrong).message
    reader.environ |= wrong
    code, said = reader.once()
    assert code == DENIED
    assert words in said
    assert wrong[name] not in said


def test_a_puller_reads_without_credentials_where_everybody_may(
    owner: Site, line: list[str], allow: Allow, rgw: Rgw, tmp_path: Path
) -> None:
    owner.publish(line[0])
    anybody = Reader(owner, rgw.place, tmp_path)
    code, said = anybody.once()
    assert code == DENIED
    assert "without credentials" in said
    allow("*", "GetObject")
    assert anybody.once() == (0, line[0])
