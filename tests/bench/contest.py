"""All peers on one tree, in turn: cold starts, updates, looks that find nothing, rollbacks."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from bench import measure
from bench.measure import Figure
from bench.peers import Dagferry

if TYPE_CHECKING:
    from bench.measure import Cost
    from bench.peers import Peer
    from bench.world import World

_SLOW_SECONDS = 20.0
_SLOW_RUNS = 3
_PEAK_RUNS = 3
_MIB = 1 << 20
UNITS = {"wall": "ms", "cpu": "ms", "pss": "MiB", "anonymous": "MiB", "bytes": "kB", "requests": "", "written": "MiB"}


class Contest:
    """The figures of one tree, by peer and name.

    Args:
        world: what is delivered.
        peers: who takes part.
        volumes: a directory to make.
        runs: of each figure.
    """

    def __init__(self, world: World, peers: dict[str, type[Peer]], volumes: Path, runs: int) -> None:
        self.world, self.peers, self.volumes, self.runs = world, peers, volumes, runs
        self.figures: dict[str, dict[str, Figure]] = {name: {} for name in peers}
        volumes.mkdir()

    def document(self) -> dict[str, object]:
        return {name: {one: f.document() for one, f in figures.items()} for name, figures in self.figures.items()}

    def note(self, peer: str, figure: str, value: float) -> None:
        unit = UNITS[figure.rpartition(".")[2]] if "." in figure else ""
        self.figures[peer].setdefault(figure, Figure(unit)).samples.append(value)

    def run(self, versions: int) -> None:
        """Run all scenarios."""
        self.world.forward()
        for number in range(self.runs):
            for name in self._turns(number):
                if not self._is_slow(name, "cold.wall"):
                    self._cost(name, "cold", self._cold(name))
        for name in self.peers:
            for _ in range(1 if self._is_slow(name, "cold.wall") else min(_PEAK_RUNS, self.runs)):
                self._cold_peak(name)
        self._counted()
        self._updates(versions)

    def _turns(self, number: int) -> list[str]:
        names = list(self.peers)
        return names[number % len(names) :] + names[: number % len(names)]

    def _is_slow(self, name: str, figure: str) -> bool:
        found = self.figures[name].get(figure)
        return found is not None and len(found.samples) >= _SLOW_RUNS and found.median > _SLOW_SECONDS * 1000

    def _cost(self, name: str, scenario: str, cost: Cost) -> None:
        self.note(name, f"{scenario}.wall", cost.wall * 1000)
        self.note(name, f"{scenario}.cpu", cost.cpu * 1000)

    def _fresh(self, name: str, place: Path | None = None) -> Peer:
        return self.peers[name](self.world, (place or self.volumes) / f"{name}-cold", self.world.direct)

    def _cold(self, name: str) -> Cost:
        peer = self._fresh(name)
        try:
            cost = peer.cold()
            self.world.check(peer.live, whole=True)
            return cost
        finally:
            remove(peer.volume)

    def _cold_peak(self, name: str) -> None:
        peer = self._fresh(name)
        try:
            peak = peer.cold_peak()
        finally:
            remove(peer.volume)
        self.note(name, "cold.pss", peak.pss)
        self.note(name, "cold.anonymous", peak.anonymous)

    # Wire and disk: one run each, through the proxies, onto a real disk

    def _counted(self) -> None:
        disk = self.world.work / "disk"
        disk.mkdir()
        open_peers: dict[str, Peer] = {}
        with ExitStack() as stack:
            self._count(disk, open_peers, stack)
        remove(disk)

    def _count(self, disk: Path, open_peers: dict[str, Peer], stack: ExitStack) -> None:
        for name, kind in self.peers.items():
            peer = kind(self.world, disk / name, self.world.counted)
            stack.callback(peer.close)
            self._take()
            cost = peer.cold()
            self._wire(name, "cold")
            self.note(name, "cold.written", cost.written / _MIB)
            if kind.follows:
                peer.start()
                open_peers[name] = peer
        for scenario, step in (("idle", None), ("update", self.world.forward), ("rollback", self.world.back)):
            if step is not None:
                step()
            for name, peer in open_peers.items():
                self._take()
                peer.sync()
                self._wire(name, scenario)

    def _take(self) -> tuple[int, int]:
        taken = [counter.take() for counter in self.world.counters]
        return sum(one[0] for one in taken), sum(one[1] for one in taken)

    def _wire(self, name: str, scenario: str) -> None:
        count, requests = self._take()
        self.note(name, f"{scenario}.bytes", count / 1000)
        self.note(name, f"{scenario}.requests", requests)

    # Updates

    def _updates(self, versions: int) -> None:
        staying = {name: kind for name, kind in self.peers.items() if kind.follows}
        opened = {name: kind(self.world, self.volumes / name, self.world.direct) for name, kind in staying.items()}
        try:
            for peer in opened.values():
                peer.start()
            for name, peer in opened.items():
                self._disk(name, peer, "disk.1")
            for number in range(self.runs):
                for scenario, step in (("update", self.world.forward), ("idle", None), ("rollback", self.world.back)):
                    if step is not None:
                        step()
                    self._round(scenario, opened, number)
            self._many_versions(opened, versions)
        finally:
            for peer in opened.values():
                peer.close()
                remove(peer.volume)

    def _round(self, scenario: str, opened: dict[str, Peer], number: int) -> None:
        for name in self._turns(number):
            if name in opened:
                if scenario == "idle" and isinstance(opened[name], Dagferry):
                    continue  # a puller that polls is measured by itself, over many polls
                cost = opened[name].sync()
                self.world.check(opened[name].live, whole=False)
                self._cost(name, scenario, cost)

    def _many_versions(self, opened: dict[str, Peer], versions: int) -> None:
        """Deliver until a peer that keeps versions has so many."""
        kept = opened.get("dagferry")
        while kept is not None and len(os.listdir(kept.volume / "versions")) < versions:
            self.world.forward()
            kept.sync()
        for name, peer in opened.items():
            self._disk(name, peer, f"disk.{versions}" if name == "dagferry" else "disk.end")

    def _disk(self, name: str, peer: Peer, figure: str) -> None:
        mib, inodes = measure.on_disk(peer.volume)
        self.figures[name][f"{figure}.size"] = Figure("MiB", [mib])
        self.figures[name][f"{figure}.inodes"] = Figure("", [inodes])


def remove(directory: Path) -> None:
    """Remove a volume, read-only directories included."""
    for parent, directories, _ in os.walk(directory):
        for name in directories:
            path = os.path.join(parent, name)
            if not os.path.islink(path):
                os.chmod(path, 0o755)
    shutil.rmtree(directory, ignore_errors=True)
