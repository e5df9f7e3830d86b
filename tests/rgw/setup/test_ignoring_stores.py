"""Real stores that ignore conditions: doctor and the first publish refuse them, with words that say why.

They are small packages of their own, installed beside the tests when these run.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.sites import Site

UNSAFE = 10
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing-secret", "AWS_REGION": "us-east-1"}


@dataclass(frozen=True)
class Ignoring:
    """A store: its package, its command line, and which condition it ignores."""

    package: str
    command: tuple[str, ...]
    ignores: str


STORES = (
    Ignoring("localbucket==1.2.1", ("localbucket", "--port", "{port}", "{data}"), "If-Match,"),
    Ignoring(
        "nanio==0.1.7",
        ("nanio", "serve", "--host", "127.0.0.1", "--port", "{port}", "--data-dir", "{data}"),
        "If-None-Match: *,",
    ),
)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@contextmanager
def running(store: Ignoring, folder: Path) -> Iterator[str]:
    """Install a store and run it; yields its endpoint."""
    packages, data = folder / "packages", folder / "data"
    data.mkdir(parents=True)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", packages]
    subprocess.run([*install, store.package], check=True)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    name, *words = (word.format(port=port, data=data) for word in store.command)
    environ = os.environ | {
        "PYTHONPATH": str(packages),
        "NANIO_ACCESS_KEY": "testing",
        "NANIO_SECRET_KEY": "testing-secret",
    }
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen([packages / "bin" / name, *words], env=environ, stdout=log, stderr=log)
    try:
        wait_for(lambda: _answers(port), f"{name} listens")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@pytest.mark.parametrize("store", STORES, ids=[store.command[0] for store in STORES])
def test_a_store_that_ignores_conditions_is_refused(
    store: Ignoring, site: Site, line: list[str], tmp_path: Path
) -> None:
    import boto3

    with (
        running(store, tmp_path / "store") as endpoint,
        closing(
            boto3.client(
                "s3",
                endpoint_url=endpoint,
                region_name="us-east-1",
                aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
            )
        ) as client,
    ):
        client.create_bucket(Bucket="artifacts")
        site.dagctl.environ.update(KEYS, AWS_ENDPOINT_URL_S3=endpoint, DAGFERRY_STORE="s3://artifacts/x")
        checks = {check["check"]: check for check in site.dagctl("doctor", "--json", code=UNSAFE).json["checks"]}
        refused = site.publish(line[0], code=UNSAFE).message
        keys = [entry["Key"] for entry in client.list_objects_v2(Bucket="artifacts").get("Contents", [])]
    proof = checks["conditional writes"]
    assert proof["state"] == "failure"
    for words in (proof["seen"], refused):
        assert f"the store ignores {store.ignores}" in words
        assert "so concurrent writers would lose updates" in words
    assert "take a store that honours If-None-Match and If-Match" in proof["cure"]
    assert all("/scratch/" in key for key in keys), "nothing was published"
