"""What a command costs: wall time, CPU of its whole process tree, peak memory of the tree, and what it writes.

Times and memory are taken in different runs: whoever looks at memory a hundred times a second takes the CPU that he
measures.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LOOK_SECONDS = 0.005
_BLOCK = 512  # bytes; ru_oublock counts in these
_MIB = 1 << 20


@dataclass(frozen=True)
class Cost:
    """What one run took."""

    wall: float  # seconds
    cpu: float  # seconds, the whole tree
    written: int = 0  # bytes to the block device; 0 in memory


@dataclass
class Figure:
    """One figure of one peer: all its samples."""

    unit: str
    samples: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    def document(self) -> dict[str, object]:
        low, high = min(self.samples), max(self.samples)
        return {"unit": self.unit, "median": self.median, "min": low, "max": high, "samples": self.samples}


def run(command: list[str], environ: dict[str, str]) -> Cost:
    """Run a command to its end. A tree's CPU is that of all that its processes waited for."""
    start = time.perf_counter()
    process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    words = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}: {words.decode(errors='replace')[-800:]}")
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_oublock * _BLOCK)


def cpu(pid: int) -> float:
    """Return the CPU seconds of a process so far, all its threads, by its own clock."""
    return time.clock_gettime(~pid << 3 | 2)  # what clock_getcpuclockid(3) gives


def memory(pid: int) -> dict[str, float]:
    """Return Rss, Pss and Anonymous of one process, MiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    rows = dict(line.split(":", 1) for line in lines)
    return {name: int(rows[name].split()[0]) / 1024 for name in ("Rss", "Pss", "Anonymous")}


def tree(pid: int) -> list[int]:
    """Return a process and all below it."""
    found, pending = [], [pid]
    while pending:
        found.append(pending.pop())
        with suppress(OSError):
            for task in Path(f"/proc/{found[-1]}/task").iterdir():
                pending += [int(child) for child in (task / "children").read_text().split()]
    return found


def tree_memory(pid: int) -> dict[str, float]:
    """Return the same of a whole tree; what ended meanwhile counts nothing."""
    total = {"Rss": 0.0, "Pss": 0.0, "Anonymous": 0.0}
    for one in tree(pid):
        with suppress(OSError, KeyError):
            for name, value in memory(one).items():
                total[name] += value
    return total


@dataclass
class Peak:
    """The highest sums that were seen, MiB."""

    pss: float = 0.0
    anonymous: float = 0.0


@contextmanager
def watched(pid: Callable[[], int]) -> Iterator[Peak]:
    """Look at a tree's memory until the block ends; the first process is found when it is there."""
    peak, done = Peak(), threading.Event()

    def look() -> None:
        while not done.wait(_LOOK_SECONDS):
            with suppress(OSError, LookupError):
                seen = tree_memory(pid())
                peak.pss, peak.anonymous = max(peak.pss, seen["Pss"]), max(peak.anonymous, seen["Anonymous"])

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def peak_of(command: list[str], environ: dict[str, str]) -> Peak:
    """Run a command and return the peak of its tree."""
    process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with watched(lambda: process.pid) as peak:
        process.wait()
    return peak


def on_disk(directory: Path) -> tuple[float, int]:
    """Return MiB and inodes below a directory; what has several names counts once."""
    seen: dict[tuple[int, int], int] = {}
    for parent, directories, files in os.walk(directory):
        for name in (*directories, *files, "."):
            info = os.stat(os.path.join(parent, name), follow_symlinks=False)
            seen[info.st_dev, info.st_ino] = info.st_blocks * _BLOCK
    return sum(seen.values()) / _MIB, len(seen)
