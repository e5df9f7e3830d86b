"""``make demo``: from git commits to a running pod and back, on real DAGs, with the two real commands.

Ends with exit 1 if anything differs from what it says.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, os.fspath(Path(__file__).parents[1]))

from demo.airflow_dags import VERSIONS, build_repository, git, wheels
from demo.pod import COMMAND, Pod
from support.s3server import new_bucket, s3_server

CACHE = Path(__file__).parents[2] / ".cache" / "demo"
ON_RGW = Path(__file__).parents[1] / "rgw/with"  # runs a command on a Ceph cluster of its own
DAGCTL = [sys.executable, "-m", "dagferry_publisher"]
BUNDLE, CHANNEL = "examples", "main"
METRICS = (
    "dagferry_puller_release_info",
    "dagferry_puller_publish_to_live_seconds_sum",
    "dagferry_puller_publish_to_live_seconds_count",
    "dagferry_puller_since_last_success_seconds",
    "dagferry_puller_syncs_total",
    "dagferry_puller_versions",
)
BOLD, DIM, GREEN, RESET = ("\033[1m", "\033[2m", "\033[32m", "\033[0m") if sys.stdout.isatty() else ("", "", "", "")


class Demo:
    """The state of one run: where things are, and how its commands are called."""

    def __init__(self, work: Path, store: str, environ: dict[str, str]) -> None:
        self.work = work
        self.environ = {**os.environ, **environ, "DAGFERRY_STORE": store, "DAGFERRY_BUNDLE": BUNDLE}
        self.environ |= {"DAGFERRY_CHANNEL": CHANNEL, "DAGFERRY_TRUST": os.fspath(work / "trust.json")}
        self.environ |= {"DAGFERRY_REPO": os.fspath(work / "repo"), "DAGFERRY_REPOSITORY": f"file://{work}/repo"}

    def dagctl(self, *arguments: str, expect: int = 0) -> str:
        """Run and show a dagctl command; the demo ends if its exit code is another."""
        print(f"{DIM}$ dagctl {shlex.join(arguments)}{RESET}", flush=True)
        done = subprocess.run([*DAGCTL, *arguments], cwd=self.work, env=self.environ, capture_output=True, text=True)
        check(done.returncode == expect, f"dagctl {arguments[0]} exits {expect}, not {done.returncode}: {done.stderr}")
        return done.stdout if expect == 0 else done.stdout + done.stderr


def check(holds: bool, what: str) -> None:
    """End the demo if something is not as it says."""
    if not holds:
        print(f"\nDEMO FAILED: {what}", file=sys.stderr)
        sys.exit(1)


def title(text: str) -> None:
    print(f"\n{BOLD}{text}{RESET}")


def say(text: str) -> None:
    print(f"{GREEN}✔{RESET} {text}", flush=True)


def set_up(demo: Demo) -> None:
    title("Two key pairs and a trust file: CI signs releases, an operator may only move the channel")
    demo.dagctl("keygen", "--out", "ci")
    demo.dagctl("keygen", "--out", "operator")
    print(
        demo.dagctl(
            *("trust", "init", "--bundle", BUNDLE, "--channel", CHANNEL, "--repository", f"file://{demo.work}/repo"),
            *("--path", "dags", "--release-key", "ci.pub", "--pointer-key", "ci.pub"),
            *("--pointer-key", "operator.pub", "--out", "trust.json"),
        ),
        end="",
    )


CI_KEYS = ("--release-key", "ci.key", "--pointer-key", "ci.key")


def publish(demo: Demo, commit: str, reason: str) -> dict[str, object]:
    return json.loads(demo.dagctl("publish", "--commit", commit, *CI_KEYS, "--reason", reason, "--json"))


def follow(pod: Pod, document: dict[str, object]) -> None:
    """Wait until the pod has what a command made live, and say how long the data took from signature to link."""
    pointer = document["pointer"]
    assert isinstance(pointer, dict)
    version = f"{pointer['commit']}-{pointer['release']}"
    pod.until(f"version {version[:12]}", lambda: pod.live == version)
    issued = time.mktime(time.strptime(str(pointer["issued"])[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
    seconds = os.lstat(pod.root / "current").st_mtime - issued - float(f"0.{str(pointer['issued'])[20:23]}")
    dags = sum(1 for path in (pod.root / "current").rglob("*.py"))
    say(f"live: commit {pointer['commit'][:12]}, {dags} Python files, {seconds:.2f} s from signature to swap")


def three_publishes(demo: Demo, pod: Pod, repo: Path, commits: list[str]) -> None:
    for commit, version in zip(commits, VERSIONS, strict=True):
        title(f"Publish the example DAGs of Airflow {version}")
        follow(pod, publish(demo, commit, f"Airflow {version}"))
        wanted = git(repo, "ls-tree", "-r", "--name-only", f"{commit}:dags").split()
        tree = (pod.root / "current").resolve()
        found = [os.fspath(path.relative_to(tree)) for path in tree.rglob("*") if not path.is_dir()]
        check(sorted(found) == sorted(wanted), "the pod has exactly the commit's files")
    changes = json.loads(demo.dagctl("diff", commits[1][:12], commits[2][:12], "--json"))["changes"]
    counts = Counter(change["status"] for change in changes)
    say(
        f"dagctl diff shows what the last one brought: {', '.join(f'{n} {what}' for what, n in sorted(counts.items()))}"
    )


def roll_back(demo: Demo, pod: Pod, commits: list[str]) -> None:
    title("3 a.m.: the newest DAGs are bad. Roll back with the operator's key: no clone, no CI, no GitLab")
    document = json.loads(
        demo.dagctl("rollback", "--to", commits[0], "--pointer-key", "operator.key", "--reason", "DAG errors", "--json")
    )
    follow(pod, document)
    check(bool(pod.live and pod.live.startswith(commits[0])), "the pod is back at the first commit")
    title("A late retry of the bad commit's pipeline cannot bring it back")
    print(demo.dagctl("publish", "--commit", commits[2], *CI_KEYS, expect=4), end="")
    say("refused with exit 4 (conflict); the channel is held for whoever comes next")


def tamper(demo: Demo, pod: Pod, store: Tampering) -> None:
    title("An attacker with write access to the bucket flips one byte of the live archive")
    key = store.live_archive(demo)
    before, original = pod.live, store.flip(key)
    print(demo.dagctl("verify", expect=3), end="")
    cold = demo.work / "new-pod"
    done = subprocess.run(
        [*COMMAND, "once", "--root", os.fspath(cold), "--timeout", "2s"],
        env=demo.environ,
        capture_output=True,
        text=True,
    )
    print(done.stderr.strip().splitlines()[-1])
    check(done.returncode == 3, f"a new pod refuses it with exit 3, not {done.returncode}: {done.stderr}")
    check(not os.path.lexists(cold / "current"), "nothing of it was made live")
    check(pod.live == before, "the running pod did not move")
    say("a new pod refuses it and nothing of it went live; the running pod keeps its verified tree")
    store.put(key, original)
    print(demo.dagctl("verify", "--all"), end="")


class Tampering:
    """The attacker's access to the store."""

    def __init__(self, url: str) -> None:
        from dagferry_publisher.stores import open_store

        self._store = open_store(url)

    def live_archive(self, demo: Demo) -> str:
        history = json.loads(demo.dagctl("history", "--limit", "1", "--json"))
        shown = json.loads(demo.dagctl("show", history["entries"][0]["release"], "--json"))
        return f"{BUNDLE}/v1/archives/{shown['archive']['sha256']}.tar.zst"

    def flip(self, key: str) -> bytes:
        original = b"".join(self._store.stream(key, limit=2**30))
        damaged = bytearray(original)
        damaged[len(damaged) // 2] ^= 1
        self.put(key, bytes(damaged))
        return original

    def put(self, key: str, data: bytes) -> None:
        self._store.put(key, data)


def show_end(demo: Demo, pod: Pod) -> None:
    title("What is on the pod's volume, what it tells Prometheus, and what the channel remembers")
    for path in sorted([*pod.root.iterdir(), *(pod.root / "versions").iterdir()]):
        arrow = f" -> {os.readlink(path)}" if path.is_symlink() else ""
        print(f"  {path.relative_to(pod.root)}{arrow}")
    for line in pod.get("/metrics").splitlines():
        if line.startswith(METRICS) and not line.endswith(" 0.0"):
            print(f"  {line}")
    print(demo.dagctl("history"), end="")


def run(store_kind: str, work: Path, stack: contextlib.ExitStack) -> None:
    sources = wheels(CACHE)
    started = time.monotonic()
    environ: dict[str, str] = {}
    if store_kind == "s3":
        server = stack.enter_context(s3_server())
        environ, url = server.environ, f"s3://{new_bucket(server)}/demo"
        os.environ.update(environ)
    else:
        (work / "store").mkdir()
        url = f"file://{work}/store"
    title(f"Real DAGs: {len(sources)} releases of Airflow's examples become commits; the store is {url}")
    repo = work / "repo"
    commits = build_repository(repo, sources)
    demo = Demo(work, url, environ)
    set_up(demo)
    with Pod(work / "pod", demo.environ, "--period", "0.2") as pod:
        three_publishes(demo, pod, repo, commits)
        roll_back(demo, pod, commits)
        tamper(demo, pod, Tampering(url))
        show_end(demo, pod)
    check(pod.process.returncode == 0, f"the puller ends with exit 0 on SIGTERM, not {pod.process.returncode}")
    say(f"all of it happened as said, in {time.monotonic() - started:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", choices=("dir", "s3", "rgw"), default="dir", help="rgw: Ceph; Debian, root")
    store = parser.parse_args().store
    if store == "rgw":
        os.execv(ON_RGW, [os.fspath(ON_RGW), sys.executable, __file__, "--store", "s3"])
    with tempfile.TemporaryDirectory(prefix="dagferry-demo-") as directory, contextlib.ExitStack() as stack:
        run(store, Path(directory).resolve(), stack)


if __name__ == "__main__":
    main()
