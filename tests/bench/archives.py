"""``make bench-archives``: packing beside ``git archive | zstd``, unpacking beside ``zstd -d | tar x``; no fsync.

Ours are whole processes that import what they need: ``pack`` reads git's objects, writes the archive and runs the
puller's reader over it; ``extract`` is the puller's reader with its files, every hash and the tree's id. In turn, in
memory. ``LIGHT.md`` has figures. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, os.fspath(Path(__file__).parents[1]))

from bench.contest import remove
from bench.measure import Figure, run
from bench.trees import TREES, make_repository

PACK = """
import sys
from pathlib import Path
from dagferry_publisher.archive import pack
from dagferry_publisher.gitrepo import Repo
from dagferry_publisher.tree import select
from dagferry_shared.release import Selection
repo, commit, out, level = Repo(Path(sys.argv[1])), *sys.argv[2:]
items = select(repo, commit, ("dags",), Selection())
with open(out, "w+b") as file:
    pack(repo, items, int(repo.commit_info(commit).committed.timestamp()), file, level=int(level))
"""
EXTRACT = """
import os, sys
from dagferry_shared.archive.extract import extract_archive
from dagferry_shared.archive.reader import Limits
archive, out = sys.argv[1:]
os.mkdir(out)
with open(archive, "rb") as file:
    extract_archive(file, os.open(out, os.O_RDONLY), Limits(), digest=False)
"""


def commands(repo: str, commit: str, work: Path, level: int) -> dict[str, list[str]]:
    """Return both contests, the peer after ours; peers are pipes of one shell."""
    archive, given = str(work / "ours.tar.zst"), str(work / "given.tar.zst")
    return {
        f"pack at level {level}": [sys.executable, "-c", PACK, repo, commit, archive, str(level)],
        f"git archive | zstd -{level}": [
            "sh", "-c", 'git -C "$0" archive "$1:dags" | zstd -q -f -$3 -o "$2"', repo, commit,
            str(work / "git.tar.zst"), str(level)],
        "extract": [sys.executable, "-c", EXTRACT, given, str(work / "out")],
        "zstd -d | tar x": ["sh", "-c", 'mkdir "$1" && zstd -q -d -c "$0" | tar x -C "$1"', given, str(work / "out")],
    }  # fmt: skip


def measure(tree: str, levels: list[int], runs: int, work: Path) -> dict[str, dict[str, Figure]]:
    """Run all in turn; returns wall and CPU of each."""
    repo = work / "repo.git"
    commit = make_repository(TREES[tree], 1, repo)[0]
    figures: dict[str, dict[str, Figure]] = {}
    environ = dict(os.environ)
    for level in levels:
        turn = commands(str(repo), commit, work, level)
        run([*turn[f"pack at level {level}"][:-2], str(work / "given.tar.zst"), str(level)], environ)
        for _ in range(runs):
            for name, command in turn.items():
                cost = run(command, environ)
                remove(work / "out")
                mine = figures.setdefault(name, {"wall": Figure("ms"), "cpu": Figure("ms")})
                mine["wall"].samples.append(cost.wall * 1000)
                mine["cpu"].samples.append(cost.cpu * 1000)
    return figures


def show(figures: dict[str, dict[str, Figure]]) -> None:
    names = list(figures)
    for name in names:
        wall, cpu = figures[name]["wall"], figures[name]["cpu"]
        spread = f"({min(wall.samples):.0f} … {max(wall.samples):.0f}, n={len(wall.samples)})"
        print(f"{name:<28} wall {wall.median:>7.0f} ms {spread:<28} CPU {cpu.median:>7.0f} ms")
    for ours, peer in zip(names[::2], names[1::2], strict=True):
        pairs = zip(figures[ours]["wall"].samples, figures[peer]["wall"].samples, strict=True)
        ratios = [mine / theirs for mine, theirs in pairs]
        print(f"{ours}: {statistics.median(ratios):.2f} of {peer} ({min(ratios):.2f} … {max(ratios):.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tree", default="large", choices=TREES)
    parser.add_argument("--levels", default="3,9", help="of zstd")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--directory", default="/dev/shm", help="where all is written")
    parser.add_argument("--json", metavar="FILE")
    given = parser.parse_args()
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dagferry-bench-", dir=given.directory)))
        levels = [int(level) for level in given.levels.split(",")]
        print(f"{given.tree} tree, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}", flush=True)
        figures = measure(given.tree, levels, given.runs, work)
    show(figures)
    if given.json:
        documents = {name: {kind: one.document() for kind, one in both.items()} for name, both in figures.items()}
        Path(given.json).write_text(json.dumps(documents, indent=1) + "\n")


if __name__ == "__main__":
    main()
