"""Publishers that race on one channel, each in a process of its own, and publish every commit of their share.

A command that the store's absence ended is run again, as CI would; every run says its own name in the entry that it
writes, so that the chain tells which runs wrote one.
"""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

OK, UNREACHABLE = 0, 7
RUNS = 100  # of one commit


class Run(NamedTuple):
    """A command and how it ended."""

    name: str
    code: int
    found: bool  # it wrote nothing, as what it was to publish was live already
    err: str

    @property
    def commit(self) -> str:
        """What it published."""
        return self.name.split()[0]


@dataclass(frozen=True)
class Racer:
    """A publisher: its environment and its commits."""

    environ: dict[str, str]
    commits: Sequence[str]


def publish_all(racer: Racer, barrier: Any, ended: Any, out: Path) -> None:
    """Publish the commits one after the other in this (new) process; write how each run ended to a file."""
    os.environ.clear()
    os.environ.update(racer.environ)
    from typer.testing import CliRunner

    from dagferry_publisher.cli import session
    from dagferry_publisher.cli.main import build
    from dagferry_publisher.ops import candidate

    session.open_store = functools.cache(session.open_store)  # a boto3 client takes half a second of work
    candidate._EQUAL_SEARCH = 1  # commits are distinct; else every publish reads the whole history
    runs: list[Run] = []
    barrier.wait()
    for commit in racer.commits:
        for number in range(RUNS):
            name = f"{commit} {number}"
            words = ["publish", "--commit", commit, "--ref", "main", "--level", "1", "--force", "--reason", name]
            done = CliRunner().invoke(build(), words)
            runs.append(Run(name, done.exit_code, "nothing changed" in done.stdout, done.stderr))
            if done.exit_code != UNREACHABLE:
                break
            time.sleep(random.uniform(0.1, 0.5))
        with ended.get_lock():
            ended.value += 1
    out.write_text(json.dumps(runs))


def race(directory: Path, racers: Sequence[Racer], meanwhile: Callable[[Callable[[], int]], None]) -> list[Run]:
    """Let publishers race to their ends; returns all runs.

    Args:
        directory: for their results.
        racers: of which each gets a process.
        meanwhile: called once they have started, with what tells how many commits they are done with.
    """
    context = multiprocessing.get_context("spawn")
    barrier, ended = context.Barrier(len(racers) + 1), context.Value("i", 0)
    outs = [directory / f"racer-{number}" for number in range(len(racers))]
    processes = [
        context.Process(target=publish_all, args=(racer, barrier, ended, out))
        for racer, out in zip(racers, outs, strict=True)
    ]
    for process in processes:
        process.start()
    try:
        barrier.wait(timeout=120)
        meanwhile(lambda: int(ended.value))
        for process in processes:
            process.join()
    finally:
        for process in processes:
            process.kill()
            process.join()
    assert [process.exitcode for process in processes] == [0] * len(processes)
    return [Run(*run) for out in outs for run in json.loads(out.read_text())]
