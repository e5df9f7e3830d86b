"""A site on a real cluster, and pods that pull what its ``dagctl`` publishes."""

from __future__ import annotations

import secrets
import shutil
from typing import TYPE_CHECKING

from support.pods import Pod

if TYPE_CHECKING:
    from pathlib import Path

    from support.clusters import Cluster
    from support.pods import Running
    from support.sites import Site


class SitePod(Pod):
    """A pod of a site's channel ``main``.

    Args:
        directory: where root, trust file and logs are; made here.
        site: whose store it reads.
    """

    def __init__(self, directory: Path, site: Site) -> None:
        directory.mkdir()
        super().__init__(directory, _Place(site))  # type: ignore[arg-type]


class _Place:
    """What a pod needs to know of where it reads."""

    def __init__(self, site: Site) -> None:
        self._trust = site.trust
        self.url, self.bundle, self.channel = site.dagctl.environ["DAGFERRY_STORE"], "analytics", "main"

    def write_trust(self, path: Path) -> Path:
        shutil.copy(self._trust, path)
        return path


def wait_commit(running: Running, commit: str) -> None:
    """Wait until a commit is live and ready."""
    running.wait(f"{commit[:12]} is live", lambda s: s["ready"] and s["live"]["commit"] == commit)


def on_cluster(site: Site, cluster: Cluster) -> Site:
    """Let a site's commands publish to a new prefix of a cluster's bucket."""
    store = f"s3://{cluster.bucket}/{secrets.token_hex(6)}/dags"
    site.dagctl.environ.update(cluster.environ("publisher"), DAGFERRY_STORE=store)
    return site


def chain(site: Site) -> list[tuple[int, str]]:
    """Return sequence and commit of each entry of channel ``main``, oldest first."""
    entries = site.dagctl("history", "--limit", "10000", "--json").json["entries"]
    return [(entry["sequence"], entry["commit"]) for entry in reversed(entries)]


def assert_chain(site: Site, commits: list[str]) -> None:
    """Demand that the chain has these commits, in this order, and that all of the store verifies."""
    assert chain(site) == list(enumerate(commits, 1))
    assert site.dagctl("verify", "--all", "--json").json["findings"] == []
