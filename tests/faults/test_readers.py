"""Readers walk and hash the live tree without pause while versions are swapped under them and retired behind them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from support.bundles import File, Symlink
from support.scale import scale
from support.treereader import digest_of
from support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.bundles import Published, Simulator
    from support.pods import Pod

READERS = scale(4, 8)
SWAPS = scale(60, 300)
KEEP = 3


def tree(number: int) -> dict[str, Any]:
    """A tree of which every file tells its version, so that a mixed walk has a digest that no version has."""
    files = {f"team{i % 3}/sub{i % 2}/dag_{i}.py": f"VERSION = {number}\nDAG = {i}\n" for i in range(12)}
    return {**files, "run.sh": File(f"#!/bin/sh\nexit {number}\n".encode(), executable=True), "at": Symlink("run.sh")}


@contextmanager
def reading(root: Path, how: str, stop: Path) -> Iterator[list[dict[str, Any]]]:
    """Let readers read; at the end the list holds what each saw. They are nicer than the puller, but never pause."""
    command = [sys.executable, "-m", "support.treereader", str(root), how, str(stop)]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    readers = [
        subprocess.Popen(["nice", "-n", "10", *command], stdout=subprocess.PIPE, env=environ) for _ in range(READERS)
    ]
    seen: list[dict[str, Any]] = []
    try:
        yield seen
        stop.touch()
        seen += [json.loads(reader.communicate(timeout=60)[0]) for reader in readers]
        assert [reader.returncode for reader in readers] == [0] * READERS
    finally:
        for reader in readers:
            reader.kill()
            reader.wait()
            assert reader.stdout is not None
            reader.stdout.close()


def swap_often(pod: Pod, simulator: Simulator) -> list[Published]:
    """Publish version after version, each when the one before is live; a rollback now and then."""
    order: list[Published] = []
    for number in range(1, SWAPS + 1):
        back = order[-2] if number % 10 == 0 else None
        order.append(simulator.again(back) if back else simulator.publish(tree(number), f"{number}"))
        wait_for(lambda: pod.live() == order[-1].version, f"swap {number}")
    return order


class Story:
    """What was live, in order, and what readers may have seen of it."""

    def __init__(self, order: list[Published]) -> None:
        self._places: dict[str, list[int]] = {}
        for place, made in enumerate(order):
            self._places.setdefault(made.version, []).append(place)
        words = {made.version: made.release.source.subject.split()[-1] for made in order}
        self._digests = {version: digest_of(tree(int(word))) for version, word in words.items()}

    def is_whole(self, version: str, digest: str) -> bool:
        """Tell whether a walk saw exactly the version that it had resolved."""
        return digest == self._digests[version]

    def swaps_between(self, version: str, later: str) -> int:
        """Return how many swaps lie between two versions."""
        return max(self._places[later]) - min(self._places[version])


def test_every_walk_sees_one_version_and_none_is_gone_before_its_grace(
    pod: Pod, simulator: Simulator, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    first = simulator.publish(tree(0), "0")
    running = pod.run(period="0.02", log_level="warning", keep=str(KEEP), keep_hours="0", http="none")
    wait_for(lambda: pod.live() == first.version, "the first version")
    with reading(pod.root, "once", tmp_path / "stop") as seen:
        order = swap_often(pod, simulator)
    story = Story([first, *order])
    for version, digest, then in (row for reader in seen for row in reader["seen"]):
        # Later a walk may meet a version that is being removed.
        assert story.is_whole(version, digest) or story.swaps_between(version, then) >= KEEP
    assert all(len({version for version, *_ in reader["seen"]}) > 2 for reader in seen)
    assert len(pod.versions()) == KEEP
    assert not running.logs("error")
    record_property("walks", sum(reader["walks"] for reader in seen))
    record_property("swaps", SWAPS)


def test_leased_version_never_vanishes(
    pod: Pod, simulator: Simulator, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    first = simulator.publish(tree(0), "0")
    pod.run(period="0.02", log_level="warning", keep="1", keep_hours="0", http="none")
    wait_for(lambda: pod.live() == first.version, "the first version")
    with reading(pod.root, "lease", tmp_path / "stop") as seen:
        order = swap_often(pod, simulator)
        last = simulator.publish(tree(SWAPS + 1), f"{SWAPS + 1}")
    wait_for(lambda: pod.live() == last.version, "the last version")
    story = Story([first, *order, last])
    assert all(story.is_whole(version, digest) for reader in seen for version, digest, _ in reader["seen"])
    assert all(len({version for version, *_ in reader["seen"]}) > 2 for reader in seen)
    record_property("walks", sum(reader["walks"] for reader in seen))
    record_property("swaps", SWAPS)
