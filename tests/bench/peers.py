"""Everything that is compared: how it is told to bring a volume to what is delivered now."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import measure
from bench.measure import Cost

if TYPE_CHECKING:
    from bench.world import Ends, World

CACHE = Path(__file__).parents[2] / ".cache"
GAP_SECONDS = 1.1  # a puller looks at most once a second
_PATIENCE = 300.0


class Peer:
    """One way to deliver a tree, on one volume.

    Attributes:
        name: in the output.
        follows: whether it can bring an older volume to a newer version.
    """

    name = ""
    follows = True

    def __init__(self, world: World, volume: Path, ends: Ends) -> None:
        self.world, self.volume, self.ends = world, volume, ends

    @classmethod
    def missing(cls) -> str:
        """Return what is not installed; empty if nothing."""
        return ""

    @property
    def live(self) -> Path:
        """Where the tree is, for readers."""
        return self.volume

    def command(self) -> list[str]:
        """Return the command of one sync."""
        raise NotImplementedError

    @property
    def environ(self) -> dict[str, str]:
        """What it runs with."""
        return {**self.world.puller_environ, "AWS_ENDPOINT_URL_S3": self.ends.s3, "AWS_ENDPOINT_URL": self.ends.s3}

    def cold(self) -> Cost:
        """Deliver onto an empty volume."""
        return measure.run(self.command(), self.environ)

    def cold_peak(self) -> measure.Peak:
        """Do the same and return its peak memory."""
        return measure.peak_of(self.command(), self.environ)

    def start(self) -> None:
        """Deliver onto an empty volume, and stay there if that is what it does."""
        self.cold()

    def sync(self) -> Cost:
        """Look, and deliver what changed."""
        return measure.run(self.command(), self.environ)

    def close(self) -> None:
        """End what stays."""


class Dagferry(Peer):
    name = "dagferry"
    _process: subprocess.Popen[bytes] | None = None

    @property
    def live(self) -> Path:
        return self.volume / "current"

    @staticmethod
    def program() -> str:
        """As an image has it: installed from a wheel, without development tools."""
        return str(CACHE / "bench-ours/bin/dagferry-puller")

    def command(self) -> list[str]:
        return [self.program(), "once", "--root", str(self.volume), "--no-fsync", "--log-level", "warning"]

    def start(self, period: str = "1h") -> None:
        command = [self.program(), "run", "--root", str(self.volume), "--no-fsync", "--log-format", "json"]
        log = self.volume.parent / f"{self.volume.name}.log"
        with log.open("wb") as file:
            more = ["--period", period, "--http", "127.0.0.1:0", "--keep-hours", "24"]
            self._process = subprocess.Popen([*command, *more], env=self.environ, stderr=file)
        self._until(lambda: os.path.islink(self.live) and bool(self._listens(log)))
        self.port = self._listens(log)

    @staticmethod
    def _listens(log: Path) -> int:
        lines = log.read_text().splitlines(keepends=True)
        records = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]
        return next((record["port"] for record in records if "port" in record), 0)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def status(self) -> dict[str, Any]:
        """Return its /status."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/status", timeout=10) as answer:
            return json.load(answer)

    def polls(self) -> int:
        """Return how many looks it has had."""
        return sum(self.status()["syncs"].values())

    def sync(self) -> Cost:
        """Be told to look, as by a notification; the wall time ends at the swap, the CPU when it sleeps again."""
        time.sleep(GAP_SECONDS)
        before, looks, used = os.readlink(self.live), self.polls(), measure.cpu(self.pid)
        start = time.perf_counter()
        post = urllib.request.Request(f"http://127.0.0.1:{self.port}/notify", method="POST")
        urllib.request.urlopen(post, timeout=10).close()
        wanted = self.world.versions[self.world.at]
        if not os.path.basename(before).startswith(wanted):
            self._until(lambda: os.readlink(self.live) != before)
        wall = time.perf_counter() - start
        time.sleep(0.3)
        cpu = measure.cpu(self.pid) - used
        self._until(lambda: self.polls() > looks)
        return Cost(wall, cpu)

    def _until(self, done: object) -> None:
        end = time.monotonic() + _PATIENCE
        while not done():  # type: ignore[operator]
            if time.monotonic() > end or (self._process and self._process.poll() is not None):
                raise RuntimeError("the puller does not follow")
            time.sleep(0.0005)

    def close(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait()


class GitSync(Peer):
    name = "git fetch + worktree (git-sync's commands)"

    @property
    def live(self) -> Path:
        return self.volume / "current/dags"

    def command(self) -> list[str]:
        return [str(Path(__file__).with_name("git_sync.sh")), f"{self.ends.git}/dags.git", str(self.volume)]


class GitClone(Peer):
    name, follows = "git clone --depth 1", False

    @property
    def live(self) -> Path:
        return self.volume / "dags"

    def command(self) -> list[str]:
        return ["git", "clone", "--quiet", "--depth", "1", f"{self.ends.git}/dags.git", str(self.volume)]


class AwsSync(Peer):
    name = "aws s3 sync"
    _program = CACHE / "bench-awscli/bin/aws"

    @classmethod
    def missing(cls) -> str:
        return "" if cls._program.exists() else "awscli: make bench installs it"

    def command(self) -> list[str]:
        # Without --exact-timestamps it leaves files as they are whose size did not change. With it, on RGW, which lists
        # milliseconds, it takes every file anew.
        source = f"s3://{self.world.bucket}/plain/"
        return [str(self._program), "s3", "sync", "--quiet", "--delete", "--exact-timestamps", source, str(self.volume)]


class Rclone(Peer):
    name = "rclone sync"

    @classmethod
    def missing(cls) -> str:
        return "" if shutil.which("rclone") else "apt-get install rclone"

    @property
    def environ(self) -> dict[str, str]:
        own = {"TYPE": "s3", "PROVIDER": "Ceph", "ENV_AUTH": "true", "ENDPOINT": self.ends.s3, "REGION": "us-east-1"}
        return {**super().environ, **{f"RCLONE_CONFIG_BENCH_{name}": value for name, value in own.items()}}

    def command(self) -> list[str]:
        # Without --fast-list and --use-server-modtime it asks for the times of each object: one HEAD a file.
        options = ["--quiet", "--config", "/dev/null", "--fast-list", "--use-server-modtime"]
        return ["rclone", "sync", *options, f"bench:{self.world.bucket}/plain", str(self.volume)]


class Floor(Peer):
    name, follows = "curl | zstd -d | tar x (the floor)", False

    @property
    def live(self) -> Path:
        return self.volume / "out"

    def command(self) -> list[str]:
        url = self.world.archive_url(self.ends)
        script = 'set -o pipefail; mkdir -p "$2"; curl -sSf "$1" | zstd -dcq | tar x -C "$2"'
        return ["bash", "-c", script, "floor", url, str(self.live)]
