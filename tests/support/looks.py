"""Looks that a test asks for one at a time, and what must be true of a pod after a repair."""

from __future__ import annotations

import os
import signal
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dagferry_puller.disktree import scan
from dagferry_shared.gittree import tree_id
from support.bundles import Simulator
from support.pods import Pod

if TYPE_CHECKING:
    from pathlib import Path

    from support.bundles import Published
    from support.pods import Running

AHEAD = 2  # enough that the pause between two syncs is over when a scene is used

NO_REPAIRS = {"link": 0, "tree": 0, "state": 0, "root": 0}


def run_quietly(pod: Pod, **settings: Any) -> Running:
    """Start ``run`` with so long a period that it looks only when asked to; returns when the first sync is over."""
    running = pod.run(**{"period": "1h", **settings})
    running.wait("the first sync", lambda status: sum(status["syncs"].values()) >= 1)
    return running


def look(running: Running, *, notify: bool = False) -> dict[str, Any]:
    """Ask for one look, wait until it is over, and return the status after it."""
    before = sum(running.status()["syncs"].values())
    if notify:
        assert running.request("/notify", "POST").status == 202
    else:
        running.signal(signal.SIGHUP)
    status = running.wait("one look", lambda status: sum(status["syncs"].values()) > before)
    assert sum(status["syncs"].values()) == before + 1
    return status


def alarms(running: Running) -> list[str]:
    """Return the alarms in the log."""
    return [record["message"] for record in running.logs("error") if record["message"].startswith("ALARM")]


def tree_on_disk(directory: Path) -> str:
    """Return the gitTree of a directory; what git cannot hold is named instead."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        found = scan(fd, max_files=10_000, max_bytes=1 << 30)
    finally:
        os.close(fd)
    return tree_id(found.leaves) if not found.extra else f"extra: {found.extra}"


def assert_live(pod: Pod, published: Published) -> None:
    """Assert that a version is live exactly as it was signed, and that nothing foreign is in the root."""
    assert os.readlink(pod.root / "current") == f"versions/{published.version}"
    assert not pod.version(published.version).is_symlink()
    assert tree_on_disk(pod.root / "current") == published.release.tree
    assert {path.name for path in pod.root.iterdir()} == {"current", "versions", ".dagferry"}


@dataclass(frozen=True)
class Scene:
    """A pod with a version live, its first sync over, and a directory outside of its root."""

    pod: Pod
    simulator: Simulator
    running: Running
    live: Published
    older: Published | None
    outside: Path

    @property
    def version(self) -> Path:
        """The live version's directory."""
        return self.pod.version(self.live.version)


class Scenes:
    """Scenes started ahead of their use: a puller starts two syncs a second apart, and nobody has to wait for it.

    Args:
        directory: where they are.
        trees: what is published, one after the other.
    """

    def __init__(self, directory: Path, *trees: Any) -> None:
        self._directory = directory
        self._trees = trees
        self._ready: deque[Scene] = deque()
        self._made = 0

    def make(self, period: str = "1h") -> Scene:
        """Start one; who does so closes its pod."""
        self._made += 1
        directory = self._directory / str(self._made)
        (directory / "outside").mkdir(parents=True)
        simulator = Simulator(directory / "store")
        pod = Pod(directory, simulator)
        published: list[Published] = []
        for number, tree in enumerate(self._trees):
            if published:
                assert pod.once().code == 0
            published.append(simulator.publish(tree, f"commit {number}"))
        running = run_quietly(pod, period=period)
        return Scene(pod, simulator, running, published[-1], ([None, *published])[-2], directory / "outside")

    def take(self) -> Scene:
        """Return one that nobody had before; who takes it closes its pod."""
        while len(self._ready) <= AHEAD:
            self._ready.append(self.make())
        return self._ready.popleft()

    def close(self) -> None:
        """End those that nobody took."""
        for scene in self._ready:
            scene.pod.close()


def assert_whole(scene: Scene) -> None:
    """Assert that the live version of a scene is so again, and that nothing foreign is left beside it."""
    assert_live(scene.pod, scene.live)
    assert scene.pod.versions() == {made.version for made in (scene.live, scene.older) if made}
