"""``make bench-notify``: from the commit of ``dagctl publish`` to the link of each of 20 pullers, on a real RGW.

Four ways: polls alone, RGW's HTTP push to the relay, RGW's AMQP push to a real RabbitMQ and from there to the relay,
and ``dagctl publish --notify`` to the relay. The time begins when the pointer's PUT is sent (RGW pushes inside that
PUT, and answers later), and ends at the rename of a puller's link, seen by inotify. Pullers have ``--no-fsync`` and a
root in memory, as on an emptyDir of medium Memory: twenty of them have twenty disks elsewhere, and this machine's one
may take half a millisecond of CPU to create a file (``--root-dir`` and ``--fsync`` show that). Prints a table, with
``--json`` the same as JSON; ``BENCH_QUICK=1`` takes few samples. Needs root and Debian: it installs ceph and
rabbitmq-server where they are missing.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import os
import re
import secrets
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, os.fspath(Path(__file__).parents[1]))

from dagferry_publisher.s3store import S3Store
from support.gitrepos import GitRepo
from support.pods import Running
from support.rabbit import Rabbit
from support.relays import relay
from support.s3server import Rgw
from support.sitepods import SitePod, wait_commit
from support.sites import Site, make_keys, make_site

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT = Path(__file__).parents[1] / "rgw/rgw"
QUICK = bool(os.environ.get("BENCH_QUICK"))
PULLERS = 4 if QUICK else 20
PUBLISHES = 3 if QUICK else 25  # for each notified way
POLL_PUBLISHES = 2 if QUICK else 15  # these take the longest
FILES = 30
SETTLE_SECONDS = 1.1  # between two publishes: a puller looks once a second at most
_IN_MOVED_TO = 0x80
_EVENT = struct.Struct("iIII")


@dataclass
class Way:
    """One way to tell pods, and what it took: milliseconds from the commit point to each link."""

    name: str
    samples: list[float] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        ordered = sorted(self.samples)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]

    def row(self) -> str:
        low, high = min(self.samples), max(self.samples)
        figures = [statistics.median(self.samples), self.percentile(0.99), low, high]
        return f"{self.name:<42}" + "".join(f"{figure:>9.0f}" for figure in figures) + f"{len(self.samples):>7}"


class Links:
    """Sees the moment of each swap of the pullers' links, by inotify.

    Args:
        roots: where the links are.
    """

    def __init__(self, roots: list[Path]) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._inotify = self._libc.inotify_init1(os.O_CLOEXEC)
        self._watched = {self._libc.inotify_add_watch(self._inotify, bytes(root), _IN_MOVED_TO) for root in roots}
        if self._inotify < 0 or len(self._watched) != len(roots) or -1 in self._watched:
            raise OSError(ctypes.get_errno(), "inotify")

    def swaps(self, seconds: float) -> dict[int, float]:
        """Wait until every link was swapped; returns when each was, by the monotonic clock."""
        seen: dict[int, float] = {}
        end = time.monotonic() + seconds
        while self._watched - seen.keys():
            ready, _, _ = select.select([self._inotify], [], [], end - time.monotonic())
            if not ready:
                raise RuntimeError(f"{len(self._watched) - len(seen)} pullers did not follow within {seconds:.0f} s")
            now = time.monotonic()
            data, at = os.read(self._inotify, 65536), 0
            while at < len(data):
                watch, _, _, length = _EVENT.unpack_from(data, at)
                name = data[at + _EVENT.size : at + _EVENT.size + length].rstrip(b"\0")
                at += _EVENT.size + length
                if name == b"current":
                    seen.setdefault(watch, now)
        return seen

    def close(self) -> None:
        os.close(self._inotify)


class Bench:
    """A site on the RGW, its pullers, and a line of commits."""

    def __init__(self, work: Path, volumes: Path, rgw: Rgw, options: list[str]) -> None:
        self.work, self.rgw, self.options = work, rgw, options
        self.volumes = volumes
        self.repo = GitRepo(work / "repo")
        self._number = 0
        keys = work / "keys"
        keys.mkdir()
        self.site: Site = make_site(work / "site", make_keys(keys), self.repo)
        store = f"s3://bench-{secrets.token_hex(6)}/dags"
        self.site.dagctl.environ.update(rgw.environ, DAGFERRY_STORE=store)
        self.setup()

    def setup(self, *arguments: str) -> None:
        self.site.dagctl("setup", "ceph", "--puller-user", "puller", *arguments)

    def commit(self) -> str:
        """Change one file of thirty."""
        self._number += 1
        files = {f"dags/dag_{n}.py": f"X = {n}\n" for n in range(FILES)} if self._number == 1 else {}
        return self.repo.commit({**files, "dags/dag_0.py": f"X = {self._number}\n"}, f"number {self._number}")

    @contextmanager
    def pullers(self) -> Iterator[list[Running]]:
        """Run the pullers, as they are by default: a poll every 5 s, every 60 s while notified."""
        first = self.commit()
        self.site.publish(first)
        pods = []
        name = secrets.token_hex(4)
        try:
            for number in range(PULLERS):
                pods.append(SitePod(self.volumes / f"{name}-{number}", self.site))
                environ = self.rgw.environ_of("puller")
                pods[-1].run(*self.options, period="5s", log_level="info", environ=environ)
            running = [pod._running[0] for pod in pods]
            for one in running:
                wait_commit(one, first)
            self._links = Links([pod.root for pod in pods])
            yield running
            self._links.close()
        finally:
            for pod in pods:
                pod.close()

    def measure(self, way: Way, publishes: int, *arguments: str) -> Way:
        """Publish again and again; after each wait for every link."""
        for _ in range(publishes):
            commit = self.commit()
            time.sleep(SETTLE_SECONDS + secrets.randbelow(1000) / 1000)
            with commit_point() as committed:
                self.site.publish(commit, *arguments)
            swaps = self._links.swaps(90)
            way.samples += [(moment - committed[-1]) * 1000 for moment in swaps.values()]
        return way


@contextmanager
def commit_point() -> Iterator[list[float]]:
    """Take the moment at which the pointer's PUT is sent."""
    real, moments = S3Store.replace, []

    def replace(self: S3Store, key: str, data: bytes, *, etag: str) -> str:
        if key.endswith("/pointer.json"):
            moments.append(time.monotonic())
        return real(self, key, data, etag=etag)

    S3Store.replace = replace  # type: ignore[method-assign]
    try:
        yield moments
    finally:
        S3Store.replace = real  # type: ignore[method-assign]


@contextmanager
def cluster(directory: Path) -> Iterator[Rgw]:
    """A real RGW: memstore, plain http."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RGW_")}
    environ = {**kept, "RGW_DIR": str(directory), "RGW_PORT": "0"}
    try:
        subprocess.run([SCRIPT, "up"], env=environ, check=True)
        lines = subprocess.run([SCRIPT, "env"], env=environ, check=True, capture_output=True, text=True).stdout
        os.environ.update(re.findall(r"^export (\w+)='(.*)'$", lines, re.MULTILINE))
        yield Rgw(os.environ["RGW_ENDPOINT"], "", str(directory))
    finally:
        subprocess.run([SCRIPT, "down"], env=environ, check=True)


def targets(pullers: list[Running]) -> str:
    return ",".join(f"http://127.0.0.1:{one.port}" for one in pullers)


def run(bench: Bench) -> Iterator[Way]:
    with bench.pullers():
        yield bench.measure(Way("polls alone, every 5 s"), POLL_PUBLISHES)
    with bench.pullers() as pullers, relay(bench.work, targets=targets(pullers), log_level="info") as told:
        notify = ("--notify", f"http://127.0.0.1:{told.port}")
        yield bench.measure(Way("dagctl publish --notify, relay"), PUBLISHES, *notify)
        bench.setup("--notify-url", f"http://127.0.0.1:{told.port}/notify")
        yield bench.measure(Way("RGW HTTP push, relay"), PUBLISHES)
    with Rabbit(bench.work / "rabbit") as rabbit, bench.pullers() as pullers:
        environ = {"DAGFERRY_AMQP": rabbit.url}
        with relay(bench.work, targets=targets(pullers), log_level="info", environ=environ) as told:
            told.wait("the queue is consumed", lambda s: s["connected"])
            bench.setup("--amqp", rabbit.url)
            yield bench.measure(Way("RGW AMQP push, RabbitMQ, relay"), PUBLISHES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--fsync", action="store_true")
    parser.add_argument("--root-dir", default="/dev/shm", help="where the pullers' volumes are made")
    given = parser.parse_args()
    as_json = given.json
    with (
        tempfile.TemporaryDirectory(prefix="dagferry-bench-") as name,
        tempfile.TemporaryDirectory(prefix="dagferry-bench-", dir=given.root_dir) as volumes,
        cluster(Path(name).resolve() / "cluster") as rgw,
    ):
        work = Path(name).resolve()
        ways = []
        if not as_json:
            print(f"{PULLERS} pullers on {given.root_dir}, commit point to link live, milliseconds")
            print(f"{'':<42}" + "".join(f"{word:>9}" for word in ("p50", "p99", "min", "max")) + f"{'n':>7}")
        for way in run(Bench(work, Path(volumes), rgw, [] if given.fsync else ["--no-fsync"])):
            ways.append(way)
            if not as_json:
                print(way.row(), flush=True)
    if as_json:
        rows = [{"name": w.name, "p50": w.percentile(0.5), "p99": w.percentile(0.99), "ms": w.samples} for w in ways]
        print(json.dumps({"pullers": PULLERS, "ways": rows}, indent=2))


if __name__ == "__main__":
    main()
