"""``make bench-dev``: from a saved file to the pod that has it, by ``dagctl publish --watch``; on loopback.

The time begins before the file is written, and ends when its new content is read through a puller's link; so the
100 ms that the watch waits for quiet are in it. One puller, notified, on a directory store and on moto's S3. A puller
looks once a second at most: "in a row" edits without the pause that keeps this out. Prints a table, with ``--json`` the
same as JSON; ``BENCH_QUICK=1`` takes few samples.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import secrets
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

sys.path.insert(0, os.fspath(Path(__file__).parents[1]))

from support.devloops import DevPod, Watch, make_dev_site, watching
from support.gitrepos import GitRepo
from support.moto_server import MotoServer
from support.sites import make_keys

QUICK = bool(os.environ.get("BENCH_QUICK"))
EDITS = 3 if QUICK else 25
FILE_BYTES = 3_000
SETTLE_SECONDS = 1.2
GIVE_UP_SECONDS = 60.0


@dataclass
class Figure:
    """One row: milliseconds from a saved file to the pod, and of that the watch's own share."""

    name: str
    live: list[float] = field(default_factory=list)
    publish: list[float] = field(default_factory=list)

    def row(self) -> str:
        ordered = sorted(self.live)
        p99 = ordered[math.ceil(0.99 * len(ordered)) - 1]
        figures = [statistics.median(ordered), p99, ordered[0], ordered[-1], statistics.median(self.publish)]
        return f"{self.name:<40}" + "".join(f"{figure:>9.0f}" for figure in figures) + f"{len(ordered):>5}"


def edit(repo: GitRepo, pod: DevPod, number: int) -> float:
    """Save a file; returns the milliseconds until the pod has it."""
    text, live = f"X = {number}\n" + "# line\n" * 400, pod.root / "current/dag_0.py"
    start = time.monotonic()
    repo.write({"dags/dag_0.py": text})
    while live.read_text() != text:
        if time.monotonic() - start > GIVE_UP_SECONDS:
            raise RuntimeError("the pod did not get it")
        time.sleep(0.001)
    return (time.monotonic() - start) * 1000


def measure(work: Path, files: int, store: str | None, environ: dict[str, str]) -> list[Figure]:
    """Run a watch and a puller on a clone of so many files, and edit one of them."""
    repo = GitRepo(work / "repo")
    content = secrets.token_hex(FILE_BYTES // 2)
    repo.commit({f"dags/dag_{number}.py": f"X = {number} # {content}\n" for number in range(files)}, "all")
    (work / "keys").mkdir()
    site = make_dev_site(work / "site", make_keys(work / "keys"), repo)
    site.dagctl.environ.update(environ, **({"DAGFERRY_STORE": store} if store else {}))
    pod = DevPod(work / "pod", site)
    kind = f"{'S3 (moto)' if store else 'directory'}, {files} files"
    try:
        puller = pod.run(period="60s", log_level="info", environ=environ)
        with watching(site, "--notify", f"http://127.0.0.1:{puller.port}") as watch:
            watch.changed()
            puller.wait("the first release is live", lambda status: status["ready"])
            return [series(watch, repo, pod, f"{kind}{name}", pause) for name, pause in NAMES.items()]
    finally:
        pod.close()


NAMES = {"": SETTLE_SECONDS, ", in a row": 0.0}


def series(watch: Watch, repo: GitRepo, pod: DevPod, name: str, pause: float) -> Figure:
    """Edit again and again."""
    figure, known = Figure(name), len(watch.lines())
    for number in range(EDITS):
        time.sleep(pause)
        figure.live.append(edit(repo, pod, number + int(pause == 0) * EDITS))
    figure.publish = [line["seconds"] * 1000 for line in watch.lines()[known:]]
    return figure


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path)
    parser.add_argument("--files", type=int, nargs="*", default=[30] if QUICK else [30, 300, 3000])
    arguments = parser.parse_args()
    figures = []
    print(f"{'milliseconds':<40}{'p50':>9}{'p99':>9}{'min':>9}{'max':>9}{'watch':>9}{'n':>5}")
    with MotoServer() as moto:
        os.environ.update(moto.environ)
        import boto3

        boto3.client("s3").create_bucket(Bucket="bench")
        for files in arguments.files:
            for store in (None, f"s3://bench/{secrets.token_hex(6)}"):
                with tempfile.TemporaryDirectory(prefix="dagferry-bench-") as work:
                    for figure in measure(Path(work), files, store, moto.environ if store else {}):
                        figures.append(figure)
                        print(figure.row(), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(figure) for figure in figures], indent=2) + "\n")


if __name__ == "__main__":
    main()
