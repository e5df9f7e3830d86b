"""A site in a bucket of the real RGW, pods that hardly poll, and a broker that is started once."""

from __future__ import annotations

import secrets
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from support.pods import Pod, Running
from support.rabbit import Rabbit
from support.relays import relay
from support.s3server import Rgw, real_rgw
from support.sitefixtures import keys, line, shared_repo, site
from support.sitepods import SitePod, wait_commit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.sites import Site

__all__ = ["keys", "line", "shared_repo", "site"]


@dataclass
class Place:
    """A site on the RGW.

    Attributes:
        pods: those that run.
    """

    rgw: Rgw
    site: Site
    directory: Path
    stack: ExitStack
    pods: list[Running] = field(default_factory=list)

    def setup(self, *arguments: object) -> None:
        """Run ``dagctl setup ceph``: the bucket, the puller's rights, where events go."""
        self.site.dagctl("setup", "ceph", "--puller-user", "puller", *arguments)

    def start_pods(self, commit: str, count: int = 2, **settings: str) -> None:
        """Publish a commit and run pods until they have it live."""
        self.setup()
        self.site.publish(commit)
        for number in range(count):
            pod: Pod = SitePod(self.directory / f"pod-{number}", self.site)
            self.stack.callback(pod.close)
            settings = {"period": "1h", **settings}
            self.pods.append(pod.run(environ=self.rgw.environ_of("puller"), **settings))
        self.wait(commit)

    def wait(self, commit: str) -> None:
        """Wait until a commit is live everywhere."""
        for pod in self.pods:
            wait_commit(pod, commit)

    @contextmanager
    def relay(self, **settings: str) -> Iterator[Running]:
        """Run a relay for the pods, until it has told them of its start."""
        environ = {"DAGFERRY_AMQP": settings.pop("amqp", "")}
        targets = ",".join(f"http://127.0.0.1:{pod.port}" for pod in self.pods)
        with relay(self.directory, targets=targets, environ=environ, **settings) as running:
            running.wait("the first round", lambda s: sum(s["seconds"]["counts"]) >= len(self.pods))
            yield running


@pytest.fixture
def place(rgw: Rgw, site: Site, tmp_path: Path) -> Iterator[Place]:
    bucket = f"notify-{secrets.token_hex(8)}"
    site.dagctl.environ.update(rgw.environ, DAGFERRY_STORE=f"s3://{bucket}/some/prefix")
    with ExitStack() as stack:
        yield Place(rgw, site, tmp_path, stack)


@pytest.fixture(scope="session")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rabbit]:
    with Rabbit(tmp_path_factory.mktemp("rabbit") / "node") as broker:
        yield broker


@pytest.fixture(scope="session")
def rgw() -> Rgw:
    found = real_rgw()
    if found is None:
        pytest.fail("no RGW: make test-rgw, or tests/rgw/with .venv/bin/python -m pytest …")
    return found
