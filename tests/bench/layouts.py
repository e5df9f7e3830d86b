"""How a commit becomes the tree that Airflow reads, by dagferry and by swaps of others; the link is ``current``."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from support.gitrepos import GitRepo
    from support.pods import Running
    from support.sitepods import SitePod
    from support.sites import Site


class Layout(Protocol):
    """A root whose link is moved to a commit's tree.

    Attributes:
        name: for the table.
        link: the link's path.
    """

    name: str
    link: Path

    def publish(self, commit: str) -> None:
        """Make a commit live; it is when this returns."""

    def rollback(self, commit: str) -> None:
        """Make an earlier commit live again."""


class Checkout:
    """What git-sync does at a sync: fetch, a new worktree, the link, the old worktree away; times are the checkout's.

    Args:
        directory: to be made.
        repo: what is cloned; over the file system, so the network costs nothing.
    """

    name = "checkout times, link swap (git-sync)"

    def __init__(self, directory: Path, repo: GitRepo) -> None:
        self._clone, self._trees = directory / "clone", directory / "worktrees"
        self.link = directory / "current"
        self._trees.mkdir(parents=True)
        subprocess.run(["git", "clone", "--quiet", "--bare", f"file://{repo.path}", self._clone], check=True)

    def publish(self, commit: str) -> None:
        self._git("fetch", "--quiet", "origin", commit)
        tree = self._trees / commit
        if not tree.exists():
            self._git("worktree", "add", "--quiet", "--detach", "--force", os.fspath(tree), commit)
        old = self.link.resolve() if self.link.is_symlink() else None
        swap(self.link, tree / "dags")
        if old and old.parent != tree:
            self._git("worktree", "remove", "--force", os.fspath(old.parent))

    rollback = publish

    def _git(self, *arguments: str) -> None:
        subprocess.run(["git", "-C", self._clone, *arguments], check=True, stdout=subprocess.DEVNULL)


class CommitTimes:
    """A link swap between trees that carry their commit's time: an unpacked ``git archive``, kept for a rollback."""

    name = "commit times, link swap (archives)"

    def __init__(self, directory: Path, repo: GitRepo) -> None:
        self._repo, self._trees = repo.path, directory / "trees"
        self.link = directory / "current"
        self._trees.mkdir(parents=True)

    def publish(self, commit: str) -> None:
        tree = self._trees / commit
        if not tree.exists():
            tree.mkdir()
            packed = subprocess.run(["git", "-C", self._repo, "archive", commit], check=True, stdout=subprocess.PIPE)
            subprocess.run(["tar", "-x", "-C", tree], input=packed.stdout, check=True)
        swap(self.link, tree / "dags")

    rollback = publish


class Dagferry:
    """A site's channel, and a puller that ``--notify`` tells to look.

    Args:
        site: where commits are published.
        pod: the pod.
        running: its puller.
    """

    name = "dagferry"

    def __init__(self, site: Site, pod: SitePod, running: Running) -> None:
        self._site, self._pod, self._running = site, pod, running
        self.link = pod.root / "current"

    def publish(self, commit: str) -> None:
        publish(self._site, commit, "--notify", self._url)
        self._wait(commit)

    def rollback(self, commit: str) -> None:
        self._site.dagctl.process("rollback", "--to", commit, "--no-hold", "--reason", "bench", "--notify", self._url)
        self._wait(commit)

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self._running.port}"

    def _wait(self, commit: str) -> None:
        self._running.wait(f"{commit[:12]} is live", lambda s: s["live"] and s["live"]["commit"] == commit)


def publish(site: Site, commit: str, *more: str) -> None:
    """Publish in a process of its own: several sites do so at once."""
    site.dagctl.process("publish", "--commit", commit, "--ref", "main", *more)


def swap(link: Path, target: Path) -> None:
    """Point a link at a directory in one step, as git-sync does."""
    new = link.with_name("next")
    new.symlink_to(os.path.relpath(target, link.parent))
    new.rename(link)


def remove(directory: Path) -> None:
    """Remove a tree, also one of read-only directories."""
    for path in directory.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(directory)
