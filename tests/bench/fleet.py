"""``make bench-fleet``: 50 real pullers on loopback addresses behind a real DNS server, and what operators do then.

Publish and wait, a canary rollout whose check fails and that comes back, one dead and one diverging pod shown. Prints
what each took. Root and Debian (it installs dnsmasq); ``PULLERS=20`` for fewer. Roots are in memory: fifty pods have
fifty disks elsewhere.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, os.fspath(Path(__file__).parents[1]))

from support.fleets import Fleet, fleet
from support.gitrepos import GitRepo
from support.sitepods import SitePod, wait_commit
from support.sites import make_keys, make_site, make_trust

if TYPE_CHECKING:
    from support.sites import Site

PULLERS = int(os.environ.get("PULLERS", "50"))
CANARIES = max(2, PULLERS // 10)
PART = 13


def channel_pods(pods: Fleet, channel: str, number: int) -> None:
    """Start pullers of a channel, as they are by default: a poll every 5 s."""
    for _ in range(number):
        last = 11 + len(pods.pods)
        pod = SitePod(pods.directory / f"pod-{last}", pods.site)
        pod.settings["channel"] = channel
        pods.pods.append(pod)
        address = f"{pods.network}.{last}:{pods.port}"
        pods.running.append(pod.run("--no-fsync", http=address, period="5s", log_level="info"))


def timed(name: str, pods: Fleet, *arguments: object, code: int = 0) -> Any:
    """Run a command; prints its wall and CPU seconds."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = pods.dagctl(*arguments, "--json", code=code)
    wall, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{name:<64} {wall:>7.2f} s wall {cpu:>6.2f} s CPU", flush=True)
    return done.json if done.out else done


def delivery(pods: Fleet, channel: str) -> None:
    """Print how long the last publish took to each of a channel's pods, by their own measurement."""
    seconds = [
        status["publish_to_live_seconds"]
        for status in (one.status() for one in pods.running if one.process.poll() is None)
        if status["channel"] == channel and status["publish_to_live_seconds"] is not None
    ]
    figures = f"p50 {statistics.median(seconds):.2f} s, slowest {max(seconds):.2f} s, n={len(seconds)}"
    print(f"{'  signed to live, by the pods':<64} {figures}")


def diverge(pods: Fleet, site: Site, commit: str) -> None:
    """Show the last pod another store: a pointer of the same sequence that CI signed for another reason."""
    other = site.root / "other"
    shutil.copytree(site.store, other)
    site.publish(commit, "--reason", "another view", DAGFERRY_STORE=f"file://{other}")
    pods.running[-1].stop()
    pods.pods[-1].settings["store"] = f"file://{other}"
    pods.running[-1] = pods.pods[-1].run("--no-fsync", http=f"{pods.running[-1].host}:{pods.port}")
    wait_commit(pods.running[-1], commit)


def play(pods: Fleet, site: Site, repo: GitRepo) -> None:
    commits = [repo.commit({f"dags/dag_{n}.py": f"X = {v}\n" for n in range(30)}, f"number {v}") for v in range(4)]
    for channel in ("canary", "main"):
        site.publish(commits[0], "--channel", channel)
    begun = time.monotonic()
    channel_pods(pods, "canary", CANARIES)
    channel_pods(pods, "main", PULLERS - CANARIES)
    pods.dns.names(*pods.addresses)
    for one in pods.running:
        wait_commit(one, commits[0])
    print(f"{PULLERS} pullers ({CANARIES} canaries) are live after {time.monotonic() - begun:.1f} s")

    shown = timed("status, all well", pods, "status")
    assert shown["counts"] == {"live": PULLERS}, shown["counts"]
    site.publish(commits[1])
    timed("publish, then wait until all of main are live", pods, "wait", "--commit", commits[1], "--channel", "main")
    delivery(pods, "main")

    site.publish(commits[2], "--channel", "canary")
    stages = ("rollout", "--stages", "canary,main", "--wait", "--pause", "1s")
    fails = f"{sys.executable} -c \"import os; raise SystemExit(os.environ['DAGFERRY_ROLLOUT_STAGE'] == 'main')\""
    done = timed("rollout, a check fails on main, both stages come back", pods, *stages, "--check", fails, code=PART)
    print("  " + "; ".join(f"{stage['stage']}: {stage['state']}" for stage in done["stages"]))
    timed("  all of main are back", pods, "wait", "--commit", commits[1], "--channel", "main")
    timed("  all of canary are back", pods, "wait", "--commit", commits[0], "--channel", "canary")
    for channel in ("canary", "main"):
        site.dagctl("resume", "--channel", channel)

    diverge(pods, site, commits[3])
    site.publish(commits[3])
    pods.running[CANARIES].kill()
    done = timed("wait --quorum 80% with a dead pod", pods, "wait", "--commit", commits[3], "--channel", "main",
                 "--quorum", "80%", code=PART)  # fmt: skip
    print(f"  {done['reached']}: {done['live']} of {done['pods']}")
    for one in pods.running[CANARIES + 1 :]:
        wait_commit(one, commits[3])
    shown = timed("status with a dead and a diverging pod", pods, "status", code=PART)
    print(f"  {json.dumps(shown['counts'])}")
    for pod in shown["pods"]:
        if pod["state"] not in {"live", "behind"}:
            print(f"  {pod['pod']}: {pod['state']}: {pod['troubles'][0]}")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="dagferry-fleet-", dir="/dev/shm") as name:
        work = Path(name).resolve()
        keys, repo = work / "keys", GitRepo(work / "repo")
        keys.mkdir()
        site = make_site(work / "site", make_keys(keys), repo)
        channels = {channel: {"refs": ("**",)} for channel in ("main", "canary")}
        site.trust.write_bytes(make_trust(keys, channels=channels).encode())
        with fleet(work / "fleet", site) as pods:
            play(pods, site, repo)


if __name__ == "__main__":
    main()
