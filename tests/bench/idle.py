"""A puller that has nothing to do: CPU, requests and memory of its polls, and whether it grows over thousands."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench import measure as costs
from bench.measure import Figure
from bench.peers import Dagferry

if TYPE_CHECKING:
    import argparse

    from bench.world import World

_POLLS_PER_SAMPLE = 2
_SETTLE_SECONDS = 0.3  # for the puller's thread that answered a question to end: it is not the poll's
_SHORT_SECONDS = 0.01


def measure(world: World, volumes: Path, figures: dict[str, Figure], given: argparse.Namespace) -> None:
    """Add the figures of an idle puller on the newest version."""
    volumes.mkdir()
    _per_poll(world, volumes, figures, given)
    _growth(world, volumes, figures, given.polls)


def _per_poll(world: World, volumes: Path, figures: dict[str, Figure], given: argparse.Namespace) -> None:
    peer = Dagferry(world, volumes / "polls", world.counted)
    peer.start(f"{given.period:g}s" if given.period >= 1 else f"{given.period:.3f}")
    try:
        _wait(peer, 3)
        [counter.take() for counter in world.counters]
        used = Figure("ms")
        looked = 0
        for _ in range(given.runs):
            polls = peer.polls()
            time.sleep(_SETTLE_SECONDS)
            before = costs.cpu(peer.pid)
            time.sleep(_POLLS_PER_SAMPLE * given.period + 0.05)
            spent = costs.cpu(peer.pid) - before
            polls = peer.polls() - polls
            looked += polls
            used.samples.append(spent * 1000 / max(1, polls))
        taken = [counter.take() for counter in world.counters]
        figures["idle.cpu"] = used
        figures["idle.requests"] = Figure("", [sum(one[1] for one in taken) / looked])
        figures["idle.bytes"] = Figure("kB", [sum(one[0] for one in taken) / looked / 1000])
        figures["idle.new_connections"] = Figure("", [float(sum(one[2] for one in taken))])
        for name, value in costs.memory(peer.pid).items():
            figures[f"resident.{name}"] = Figure("MiB", [value])
    finally:
        peer.close()


def _growth(world: World, volumes: Path, figures: dict[str, Figure], polls: int) -> None:
    """Print the memory of one puller after more and more polls; the time between them is as short as it can be."""
    peer = Dagferry(world, volumes / "growth", world.direct)
    peer.start(f"{_SHORT_SECONDS:.3f}")
    try:
        for count in sorted({polls // 100, polls // 10, polls // 2, polls}):
            _wait(peer, count)
            for name, value in costs.memory(peer.pid).items():
                figures[f"after_{count}_polls.{name}"] = Figure("MiB", [value])
    finally:
        peer.close()


def _wait(peer: Dagferry, polls: int) -> None:
    end = time.monotonic() + 600
    while peer.polls() < polls:
        if time.monotonic() > end:
            raise RuntimeError(f"no {polls} polls in ten minutes")
        time.sleep(2.0 if polls > 100 else 0.2)  # rarely: each question is a thread in the puller, and costs memory
