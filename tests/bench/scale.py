"""``make bench-scale``: how many pullers one RGW serves, and how long a publish takes to reach them all.

Real processes first (polls, then ``dagctl publish --notify`` through the relay), then simulated ones up to --most: each
with a kept connection of its own, the requests of a real puller byte by byte, its period and its jitter. For each
number: requests a second, time for a look, CPU of radosgw and of the OSD for a request, and from the signing of a
pointer to the last byte of the archive at every client, by polls and when all are told at once. At the end all clients
start in one moment, to see how fast jitter spreads them. Loopback only; it takes about --seconds for each step.
``SCALE.md`` has figures and what they mean. Root and Debian, for the RGW.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, os.fspath(Path(__file__).parents[1]))

from bench import measure
from bench.contest import remove
from bench.peers import Dagferry
from bench.trees import TREES
from bench.world import World, s3_server
from support.relays import relay

if TYPE_CHECKING:
    from collections.abc import Iterator

_EACH = 2500  # simulated clients in one process
_FIRST_PER_SECOND = 150  # clients that start a second: the first look of each reads a whole archive


def percentile(samples: list[float], share: float) -> float:
    """Return the sample below which this share lies; nan if there is none."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else float("nan")


class Store:
    """The CPU of the store's processes."""

    def __init__(self, directory: str) -> None:
        names = {"radosgw": "client.rgw.pid", "osd": "osd.0.pid"}
        self._pids = {name: int((Path(directory) / file).read_text()) for name, file in names.items()}

    def cpu(self) -> dict[str, float]:
        return {name: measure.cpu(pid) for name, pid in self._pids.items()}


class Fleet:
    """Simulated clients, in as many processes as they need."""

    def __init__(self, world: World, count: int, period: float, *, at_once: bool = False) -> None:
        self.count, self.period = count, period
        host, port = world.direct.s3.removeprefix("http://").split(":")
        given = {
            "host": host,
            "port": int(port),
            "key": world.environ["AWS_ACCESS_KEY_ID"],
            "secret": world.environ["AWS_SECRET_ACCESS_KEY"],
            "pointer": f"/{world.bucket}/ferry/bench/v1/channels/main/pointer.json",
            "period": period,
            "spread": 0 if at_once else max(10, count / _FIRST_PER_SECOND),
        }
        self._processes = []
        for first in range(0, count, _EACH):
            words = json.dumps({**given, "count": min(_EACH, count - first)})
            command = [sys.executable, str(Path(__file__).with_name("simulated.py")), words]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            self._processes.append(subprocess.Popen(command, **pipes))  # type: ignore[call-overload]

    def _tell(self, word: str) -> None:
        for process in self._processes:
            process.stdin.write(word + "\n")
            process.stdin.flush()

    def notify(self, rate: float) -> None:
        """Tell all, so many a second; all in one moment if it is 0."""
        self._tell(f"notify {self.count / rate if rate else 0}")

    def report(self) -> dict[str, Any]:
        """Return what all saw since the last report."""
        self._tell("report")
        parts = [json.loads(process.stdout.readline()) for process in self._processes]
        return {name: sum((part[name] for part in parts), [] if name in {"looks", "live"} else 0) for name in parts[0]}

    def close(self) -> None:
        for process in self._processes:
            process.communicate("end\n")


def settle(fleet: Fleet) -> int:
    """Wait until all have connected and read what is live; returns how many have."""
    ready, end = 0, time.monotonic() + 300
    while ready < fleet.count and time.monotonic() < end:
        time.sleep(1)
        ready += fleet.report()["first"]
    time.sleep(fleet.period)
    return ready


def steady(fleet: Fleet, store: Store, seconds: float) -> dict[str, Any]:
    """Measure polls that find nothing."""
    fleet.report()
    before, start = store.cpu(), time.monotonic()
    time.sleep(seconds)
    seen, after, took = fleet.report(), store.cpu(), time.monotonic() - start
    times = [look[1] * 1000 for look in seen["looks"]]
    per_request = {f"{n}_cpu_ms": (after[n] - before[n]) * 1000 / max(1, seen["requests"]) for n in after}
    return {
        "requests_per_s": seen["requests"] / took,
        "expected_per_s": fleet.count / fleet.period,
        "bytes_per_request": seen["bytes"] / max(1, seen["requests"]),
        "look_p50_ms": percentile(times, 0.5),
        "look_p99_ms": percentile(times, 0.99),
        **per_request,
        "new_connections": seen["connections"],
        "errors": seen["errors"],
    }


def delivered(world: World, fleet: Fleet, rate: float | None = None) -> dict[str, Any]:
    """Publish once, and tell them at this rate, if any; wait until every client has it."""
    fleet.report()
    world.forward()
    if rate is not None:
        fleet.notify(rate)
    live: list[float] = []
    totals: Counter[str] = Counter()
    end = time.monotonic() + 60 + 2 * fleet.period
    while len(live) < fleet.count and time.monotonic() < end:
        time.sleep(0.5)
        seen = fleet.report()
        live += seen["live"]
        totals.update({name: seen[name] for name in ("bytes", "requests", "errors")})
    return {
        "live": len(live),
        "p50_s": percentile(live, 0.5),
        "p99_s": percentile(live, 0.99),
        "MB": totals["bytes"] / 1e6,
        "errors": totals["errors"],
    }


def herd(world: World, count: int, period: float) -> list[float]:
    """Start all in one moment; returns the busiest tenth of a second of each period, in multiples of an even flow."""
    fleet = Fleet(world, count, period, at_once=True)
    try:
        time.sleep(8 * period)
        looks = sorted(look[0] for look in fleet.report()["looks"])
    finally:
        fleet.close()
    tenths = Counter(int((moment - looks[0]) * 10) for moment in looks)
    even, width = count / period / 10, int(period * 10)
    periods = range(0, max(tenths) - width, width)
    return [max(tenths[first + n] for n in range(width)) / even for first in periods]


def simulated(
    world: World, store: Store, counts: list[int], period: float, rates: list[float], seconds: float
) -> Iterator[dict[str, Any]]:
    for count in counts:
        fleet = Fleet(world, count, period)
        try:
            result: dict[str, Any] = {"clients": count, "connected": settle(fleet)}
            result |= steady(fleet, store, max(seconds, period))
            result["polls"] = delivered(world, fleet)
            for rate in rates:
                result[f"told {rate:g}/s" if rate else "told at once"] = delivered(world, fleet, rate)
                time.sleep(2)
            yield result
        finally:
            fleet.close()


def real(world: World, store: Store, volumes: Path, counts: list[int], seconds: float) -> Iterator[dict[str, Any]]:
    """Do the same with whole pullers; the times are their own, from signing to the swapped link."""
    for count in counts:
        place = volumes / f"real-{count}"
        place.mkdir()
        pods = [Dagferry(world, place / str(number), world.direct) for number in range(count)]
        try:
            for pod in pods:
                pod.start("5s")
            before, looks, start = store.cpu(), sum(pod.polls() for pod in pods), time.monotonic()
            time.sleep(seconds)
            after, took = store.cpu(), time.monotonic() - start
            looks = sum(pod.polls() for pod in pods) - looks
            spent = {f"{n}_cpu_ms": (after[n] - before[n]) * 1000 / looks for n in after}
            pss = [measure.memory(pod.pid)["Pss"] for pod in pods]
            result = {"pullers": count, "requests_per_s": looks / took, **spent, "pss_MiB": percentile(pss, 0.5)}
            result["polls"] = _all_live(world, pods)
            targets = ",".join(f"http://127.0.0.1:{pod.port}" for pod in pods)
            with relay(place, targets=targets, log_level="info") as told:
                result["notify"] = _all_live(world, pods, f"http://127.0.0.1:{told.port}")
            yield result
        finally:
            for pod in pods:
                pod.close()
            remove(place)


def _all_live(world: World, pods: list[Dagferry], notify: str = "") -> dict[str, Any]:
    time.sleep(1.2)
    world.forward(*(["--notify", notify] if notify else []))
    wanted, end, late = world.versions[world.at], time.monotonic() + 120, list(pods)
    while late and time.monotonic() < end:
        late = [pod for pod in late if not os.path.basename(os.readlink(pod.live)).startswith(wanted)]
        time.sleep(0.1)
    time.sleep(1.0)
    took = [pod.status()["publish_to_live_seconds"] for pod in pods if pod not in late]
    return {"live": len(took), "p50_s": percentile(took, 0.5), "p99_s": percentile(took, 0.99)}


def show(result: dict[str, Any]) -> None:
    words = []
    for name, value in result.items():
        inner = value.items() if isinstance(value, dict) else [("", value)]
        for more, one in inner:
            words.append(
                f"{name} {more} {one:.3g}".replace("  ", " ") if isinstance(one, float) else f"{name} {more} {one}"
            )
    print(", ".join(words), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", default="20,100", help="numbers of real pullers")
    parser.add_argument("--simulated", default="100,1000,3000,10000", help="numbers of simulated ones")
    parser.add_argument("--period", type=float, default=5.0, help="of the simulated ones, in seconds")
    parser.add_argument("--rates", default="500,0", help="pods told a second; 0: all in one moment")
    parser.add_argument("--herd", type=int, default=3000, help="how many start in one moment")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each steady state")
    parser.add_argument("--tree", default="small", choices=TREES)
    parser.add_argument("--volumes", default="/dev/shm")
    parser.add_argument("--json", metavar="FILE")
    given = parser.parse_args()
    reals, sims = ([int(n) for n in text.split(",") if n] for text in (given.real, given.simulated))
    result: dict[str, Any] = {"load_at_start": os.getloadavg()[0], "cpus": os.cpu_count(), "real": [], "simulated": []}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that a run that is ended cleans up
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dagferry-bench-"))).resolve()
        volumes = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dagferry-bench-", dir=given.volumes)))
        result["s3"], server = stack.enter_context(s3_server(work / "cluster", moto=False))
        rates = [float(text) for text in given.rates.split(",") if text]
        commits = 2 * len(reals) + (1 + len(rates)) * len(sims) + 3
        world = World(TREES[given.tree], work, server, commits, stack)
        world.forward()
        store = Store(str(work / "cluster"))
        print(f"{result['s3']}, {result['cpus']} CPUs shared by all, load {result['load_at_start']:.1f}", flush=True)
        for kind, rows in (
            ("real", real(world, store, volumes, reals, given.seconds)),
            ("simulated", simulated(world, store, sims, given.period, rates, given.seconds)),
        ):
            for row in rows:
                result[kind].append(row)
                show({kind: "", **row})
        if given.herd:
            result["herd"] = herd(world, given.herd, given.period)
            print(f"herd of {given.herd}: busiest 0.1 s of each period, of an even flow: {result['herd']}")
    if given.json:
        Path(given.json).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
