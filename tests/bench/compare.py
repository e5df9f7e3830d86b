"""``make bench``: dagferry beside what else delivers DAGs, on the same trees, in turn, in one run.

Scenarios: cold start, a look that finds nothing, an update of 4 files, a rollback, and 20 versions on disk. Every
figure is the median of runs in which all peers took turns, beside its lowest and highest; peers that take longer than
20 s get three runs. Memory, bytes on the wire and disk writes come from runs of their own, as looking costs.

Volumes are in memory (/dev/shm) unless --volumes says otherwise: some machines' ext4 takes 0.7 ms of CPU to create a
file, which would hide everything else. dagferry runs with --no-fsync, as on an emptyDir; no peer knows fsync. git-sync
is there by the git commands that it runs (``git_sync.sh``), as its Go binary is neither in Debian nor on PyPI.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, os.fspath(Path(__file__).parents[1]))

from bench import idle, report
from bench.bundle_peers import PEERS
from bench.contest import Contest
from bench.trees import TREES
from bench.world import World, s3_server


def machine(volumes: Path, server: str) -> dict[str, object]:
    """Say where the figures come from."""
    kind = subprocess.run(["stat", "-f", "-c", "%T", volumes], capture_output=True, text=True).stdout.strip()
    return {
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_at_start": round(os.getloadavg()[0], 2),
        "volumes": f"{volumes} ({kind})",
        "s3": server,
        "git": subprocess.run(["git", "--version"], capture_output=True, text=True).stdout.split()[-1],
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trees", default="small,medium,large", help=f"of {', '.join(TREES)}")
    parser.add_argument("--peers", default=",".join(PEERS), help="those to take part")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--versions", type=int, default=20, help="how many to keep on disk at the end")
    parser.add_argument("--period", type=float, default=5.0, help="seconds between polls of the idle puller")
    parser.add_argument("--polls", type=int, default=10_000, help="idle polls over which memory must not grow")
    parser.add_argument("--volumes", default="/dev/shm", help="where volumes are made")
    parser.add_argument("--moto", action="store_true", help="moto instead of a real RGW")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--plot", metavar="FILE", help="an SVG")
    return parser.parse_args()


def taking_part(names: str) -> dict[str, type]:
    """Return the peers that are installed; says which are not, as a missing one must not look like a slow one."""
    found = {}
    for name in names.split(","):
        why = PEERS[name].missing()
        if why:
            print(f"left out: {PEERS[name].name}: {why}", file=sys.stderr)
        else:
            found[name] = PEERS[name]
    return found


def save(result: dict[str, Any], given: argparse.Namespace) -> None:
    """Write what was measured so far where it was asked for."""
    if given.json:
        Path(given.json).write_text(json.dumps(result, indent=1) + "\n")
    if given.plot:
        from bench.plot import draw

        Path(given.plot).write_text(draw(result))


def main() -> None:
    given = arguments()
    peers, result = taking_part(given.peers), {}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that a run that is ended cleans up
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dagferry-bench-"))).resolve()
        volumes = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dagferry-bench-", dir=given.volumes)))
        name, server = stack.enter_context(s3_server(work / "cluster", moto=given.moto))
        result["machine"] = machine(volumes, name)
        print(report.heading(result["machine"]), flush=True)
        result["trees"] = trees = {}
        for tree in (TREES[one] for one in given.trees.split(",")):
            with ExitStack() as inner:
                world = World(tree, work, server, 2 * given.runs + given.versions + 8, inner)
                contest = Contest(world, peers, volumes / tree.name, given.runs)
                contest.run(given.versions)
                if "dagferry" in peers:
                    idle.measure(world, volumes / f"{tree.name}-idle", contest.figures["dagferry"], given)
                trees[tree.name] = contest.document()
                print(report.table(tree, contest), flush=True)
                save(result, given)  # a run over all trees is long, and may be ended
            shutil.rmtree(work / tree.name)
        result["machine"]["load_at_end"] = round(os.getloadavg()[0], 2)
        print(f"load at the end: {result['machine']['load_at_end']}")
    save(result, given)


if __name__ == "__main__":
    main()
