"""``make bench-own``: what a puller and dagctl cost by themselves, on a directory and on S3 (moto), on real processes.

Prints a table, and the same as JSON with ``--json``. ``BENCH_QUICK=1`` takes fewer samples.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, os.fspath(Path(__file__).parents[1]))

from demo.airflow_dags import git
from demo.pod import COMMAND, Pod
from support.moto_server import MotoServer

QUICK = bool(os.environ.get("BENCH_QUICK"))
RUNS = 3 if QUICK else 9
IDLE_POLLS = 30
IDLE_PERIOD = 0.1  # seconds: thirty polls in a few seconds; at 5 s the caches are colder
GROWTH_POLLS = (20, 100, 200) if QUICK else (100, 1_000, 10_000)
GROWTH_PERIOD = 0.01  # seconds
FILES, FILE_BYTES = 300, 3_000  # the small tree: 300 files, 0.9 MB
DAGCTL = [sys.executable, "-m", "dagferry_publisher"]


@dataclass(frozen=True)
class Figure:
    """One measured figure: its median and spread."""

    name: str
    unit: str
    samples: list[float]

    def row(self) -> str:
        spread = f"({min(self.samples):.2f} … {max(self.samples):.2f}, n={len(self.samples)})"
        return f"{self.name:<52} {statistics.median(self.samples):>9.2f} {self.unit:<4} {spread}"


def memory(pid: int) -> tuple[float, float]:
    """Return (RSS, PSS) of a process in MiB."""
    rows = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:] if ":" in line
    )
    return tuple(int(rows[name].split()[0]) / 1024 for name in ("Rss", "Pss"))  # type: ignore[return-value]


def cpu(pid: int) -> float:
    """Return the CPU seconds that a process has used so far, all its threads, by its own CPU clock."""
    return time.clock_gettime(~pid << 3 | 2)  # what clock_getcpuclockid(3) gives


def child(command: list[str], environ: dict[str, str]) -> tuple[float, float]:
    """Run a process to its end; returns its wall and CPU seconds."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, env=environ, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)


def build(work: Path) -> None:
    """Make the small tree as a repository, keys and a trust file."""
    repo = work / "repo"
    repo.mkdir()
    git(repo, "init", "--quiet", "--initial-branch=main")
    for number in range(FILES):
        path = repo / "dags" / f"team_{number % 13}" / f"dag_{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# dag {number}\n" + "".join(f"x_{i} = {i * number}\n" for i in range(FILE_BYTES // 14)))
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--message", "small tree")
    subprocess.run([*DAGCTL, "keygen", "--out", "key"], cwd=work, check=True, stdout=subprocess.DEVNULL)
    trust = [
        "trust",
        "init",
        "--bundle",
        "bench",
        "--channel",
        "main",
        "--repository",
        f"file://{repo}",
        "--path",
        "dags",
    ]
    keys = ["--release-key", "key.pub", "--pointer-key", "key.pub", "--out", "trust.json"]
    subprocess.run([*DAGCTL, *trust, *keys], cwd=work, check=True, stdout=subprocess.DEVNULL)


def environment(work: Path, url: str, extra: dict[str, str]) -> dict[str, str]:
    settings = {
        "STORE": url,
        "BUNDLE": "bench",
        "CHANNEL": "main",
        "TRUST": f"{work}/trust.json",
        "REPO": f"{work}/repo",
    }
    settings |= {
        "REPOSITORY": f"file://{work}/repo",
        "RELEASE_KEY": f"{work}/key.key",
        "POINTER_KEY": f"{work}/key.key",
    }
    # A pod has none of them: a directory of certificates would be read by each client, and modules be compiled anew.
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("SSL_CERT_", "PYTHON"))}
    return {**plain, **extra, **{f"DAGFERRY_{name}": value for name, value in settings.items()}}


def cold_start(kind: str, work: Path, environ: dict[str, str]) -> list[Figure]:
    """Process start to link live, ``once`` on an empty root."""
    walls, cpus = [], []
    for _ in range(RUNS):
        wall, used = child([*COMMAND, "once", "--root", f"{work}/cold"], environ)
        shutil.rmtree(work / "cold")
        walls.append(wall * 1000)
        cpus.append(used * 1000)
    return [
        Figure(f"{kind}: once, start to live, wall", "ms", walls),
        Figure(f"{kind}: once, start to live, CPU", "ms", cpus),
    ]


def idle(kind: str, work: Path, environ: dict[str, str]) -> list[Figure]:
    """Memory after thirty idle polls, and CPU per poll, of a running puller."""
    with Pod(work / f"idle-{kind}", environ, "--period", str(IDLE_PERIOD)) as pod:
        pod.until("live", lambda: pod.live is not None)
        polls = _polls(pod)
        pod.until("thirty idle polls", lambda: _polls(pod) >= polls + IDLE_POLLS, 60)
        rss, pss = memory(pod.process.pid)
        samples = []
        for _ in range(RUNS):
            first, used = _polls(pod), cpu(pod.process.pid)
            time.sleep(IDLE_PERIOD * 10)
            used = cpu(pod.process.pid) - used
            samples.append(used * 1000 / max(1, _polls(pod) - first))
    return [
        Figure(f"{kind}: resident after {IDLE_POLLS} idle polls, RSS", "MiB", [rss]),
        Figure(f"{kind}: resident after {IDLE_POLLS} idle polls, PSS", "MiB", [pss]),
        Figure(f"{kind}: CPU per idle poll", "ms", samples),
    ]


def growth(kind: str, work: Path, environ: dict[str, str]) -> list[Figure]:
    """Memory of a puller after more and more idle polls: it must not grow."""
    figures = []
    with Pod(work / f"growth-{kind}", environ, "--period", str(GROWTH_PERIOD)) as pod:
        for count in GROWTH_POLLS:
            end = time.monotonic() + 1800
            while _polls(pod) < count:  # asked seldom: each question is a thread in the puller, and costs memory
                if time.monotonic() > end:
                    raise RuntimeError(f"no {count} polls in half an hour")
                time.sleep(0.2 if count <= 100 else 2.0)
            rss, pss = memory(pod.process.pid)
            figures += [
                Figure(f"{kind}: resident after {count} idle polls, RSS", "MiB", [rss]),
                Figure(f"{kind}: resident after {count} idle polls, PSS", "MiB", [pss]),
            ]
    return figures


def _polls(pod: Pod) -> int:
    total = 0.0
    for line in pod.get("/metrics").splitlines():
        if line.startswith("dagferry_puller_syncs_total"):
            total += float(line.rsplit(" ", 1)[1])
    return int(total)


def imports() -> list[Figure]:
    """``--help`` of both commands: what starting them costs."""
    figures = []
    for name, command in (("dagferry-puller --help", COMMAND), ("dagctl --help", DAGCTL)):
        samples = [child([*command, "--help"], dict(os.environ))[1] * 1000 for _ in range(RUNS)]
        figures.append(Figure(f"{name}, CPU", "ms", samples))
    return figures


def measure(work: Path, stack: contextlib.ExitStack) -> list[Figure]:
    build(work)
    figures = imports()
    (work / "store").mkdir()
    server = stack.enter_context(MotoServer())
    os.environ.update(server.environ)
    import boto3

    boto3.client("s3").create_bucket(Bucket="bench")
    for kind, url in (("file", f"file://{work}/store"), ("s3", "s3://bench/dags")):
        environ = environment(work, url, server.environ)
        subprocess.run(
            [*DAGCTL, "publish"], env=environ, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        figures += cold_start(kind, work, environ)
        figures += idle(kind, work, environ)
        figures += growth(kind, work, environ)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args().json
    with tempfile.TemporaryDirectory(prefix="dagferry-bench-") as directory, contextlib.ExitStack() as stack:
        figures = measure(Path(directory).resolve(), stack)
    if as_json:
        rows = [
            {"name": f.name, "unit": f.unit, "median": statistics.median(f.samples), "samples": f.samples}
            for f in figures
        ]
        print(json.dumps(rows, indent=2))
    else:
        print(f"small tree: {FILES} files; medians (lowest … highest); the S3 API is moto on loopback")
        for figure in figures:
            print(figure.row())


if __name__ == "__main__":
    main()
