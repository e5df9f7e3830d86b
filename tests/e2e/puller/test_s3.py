"""The same command on an S3 store: conditional polls, an update, and a bucket that is not there."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from support.bundles import Simulator, small_tree
from support.pods import Pod
from support.s3server import S3Server, client, new_bucket, s3_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


@pytest.fixture
def upload(server: S3Server, simulator: Simulator) -> Callable[[], str]:
    bucket = new_bucket(server)

    def all_objects() -> str:
        with closing(client(server)) as s3:
            # The pointer last: content before what names it.
            files = sorted(simulator.directory.rglob("*"), key=lambda p: p.name == "pointer.json")
            for path in (p for p in files if p.is_file()):
                key = path.relative_to(simulator.directory).as_posix()
                s3.put_object(Bucket=bucket, Key=f"dags/{key}", Body=path.read_bytes())
        return f"s3://{bucket}/dags"

    return all_objects


def test_run_on_s3_follows_the_channel(
    pod: Pod, simulator: Simulator, server: S3Server, upload: Callable[[], str]
) -> None:
    first = simulator.publish(small_tree("one"), "a")
    running = pod.run(store=upload(), environ=server.environ)
    running.wait_live(first.version)
    fetched = running.wait_syncs(2, "unchanged")["fetched_bytes"]
    running.wait_syncs(2, "unchanged")
    assert running.status()["fetched_bytes"] == fetched
    second = simulator.publish(small_tree("two"), "b")
    upload()
    running.wait_live(second.version)
    assert running.stop() == 0
    assert server.environ["AWS_SECRET_ACCESS_KEY"] not in running.text()


def test_once_on_s3_tells_a_missing_bucket(pod: Pod, server: S3Server) -> None:
    result = pod.once(store="s3://no-such-bucket-here/dags", environ=server.environ)
    assert result.code == 8
    assert "bucket" in result.stderr


def test_s3_endpoint_that_is_down_is_unreachable(pod: Pod) -> None:
    environ = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_REGION": "us-east-1",
    }
    running = pod.run(store="s3://bucket/dags", environ=environ)
    running.wait_problem("store-unreachable")
    assert not running.ready()
    assert pod.once(store="s3://bucket/dags", environ=environ, timeout="2s").code == 7


def test_s3_without_a_usable_setting_is_a_configuration_error(pod: Pod) -> None:
    result = pod.once(store="s3://bucket/dags", environ={"AWS_ENDPOINT_URL": "nonsense"})
    assert result.code == 2
    assert "--store" in result.stderr
