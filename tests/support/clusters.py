"""Ceph clusters for a test to ill-treat: daemons killed, stopped and started again, a second gateway, users, quotas.

Each is a cluster of the script ``tests/rgw/rgw`` in a directory of its own; on bluestore, so that it survives any kill.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

SCRIPT = Path(__file__).parents[1] / "rgw/rgw"
GATEWAY, OSD = "client.rgw", "osd.0"
# An OSD without others that hung for longer than its read lease (0.8 of the grace) may stay unreadable for minutes.
_CONF = "[osd]\nosd_heartbeat_grace = 300"


class Cluster:
    """A context manager: a cluster of one mon, one OSD and one gateway.

    Args:
        directory: for its state; not there yet.
        store: memstore or bluestore.
        conf: more lines of ceph.conf, for the gateways.
    """

    def __init__(self, directory: Path, *, store: str = "bluestore", conf: str = "") -> None:
        self._directory = directory
        self._store = store
        self._conf = f"{_CONF}\n[{GATEWAY}]\n{conf}"
        self._settings: dict[str, str] = {}

    def __enter__(self) -> Self:
        try:
            self.up()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._script("down")

    # What it is

    @property
    def endpoint(self) -> str:
        """Where its first gateway listens."""
        return self._settings["RGW_ENDPOINT"]

    @property
    def bucket(self) -> str:
        """Its bucket."""
        return self._settings["RGW_BUCKET"]

    def keys(self, user: str) -> tuple[str, str]:
        """Return the access key and the secret key that a user was made with."""
        name = f"RGW_{user.upper()}"
        return self._settings[f"{name}_ACCESS_KEY"], self._settings[f"{name}_SECRET_KEY"]

    def environ(self, user: str, endpoint: str = "") -> dict[str, str]:
        """Return what a client needs: as "publisher" or "puller", through the first gateway or another endpoint."""
        access, secret = self.keys(user)
        place = {"AWS_ENDPOINT_URL_S3": endpoint or self.endpoint, "AWS_REGION": "us-east-1"}
        return {"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret, **place}

    # What its administrator does

    def up(self) -> None:
        """Start what does not run, and wait until S3 answers."""
        self._script("up")
        lines = [line.removeprefix("export ").partition("=") for line in self._script("env").splitlines()]
        self._settings = {name: value.strip("'") for name, _, value in lines}

    def admin(self, *arguments: str) -> str:
        """Run ``radosgw-admin``; returns what it prints."""
        command = ["radosgw-admin", "-c", str(self._directory / "ceph.conf"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    # What happens to it

    def pid(self, daemon: str) -> int:
        """Return a daemon's process id."""
        return int((self._directory / f"{daemon}.pid").read_text())

    def log(self, daemon: str = GATEWAY) -> str:
        """Return what a daemon logged."""
        return (self._directory / f"{daemon}.log").read_text(errors="replace")

    def kill(self, daemon: str = GATEWAY) -> None:
        """Kill a daemon with SIGKILL."""
        pid = self.pid(daemon)
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: ended(pid), f"{daemon} is gone")

    def restart(self, daemon: str = GATEWAY) -> None:
        """Kill a daemon with SIGKILL and start it again."""
        self.kill(daemon)
        self.up()

    @contextmanager
    def hung(self, daemon: str = OSD) -> Iterator[None]:
        """Stop a daemon for a time: it keeps its connections and answers nothing."""
        pid = self.pid(daemon)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    @contextmanager
    def second_gateway(self) -> Iterator[str]:
        """Run another gateway on the same cluster for a time; gives its endpoint."""
        with another_gateway(self._directory) as endpoint:
            yield endpoint

    def _script(self, command: str) -> str:
        settings = {"RGW_DIR": str(self._directory), "RGW_PORT": "0", "RGW_STORE": self._store, "RGW_CONF": self._conf}
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("RGW_", "AWS_"))}
        done = subprocess.run([SCRIPT, command], env=environ | settings, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"rgw {command}: {done.stderr}"
        return done.stdout


@contextmanager
def another_gateway(directory: Path, *, nodelay: bool = True) -> Iterator[str]:
    """Run one more gateway, on plain http, for a time; gives its endpoint.

    Args:
        directory: the state of a cluster that runs.
        nodelay: whether it sends small answers at once; RGW's own default is that it does not.
    """
    port = _free_port()
    base = directory / f"gateway-{port}"
    frontend = f"--rgw-frontends=beast tcp_nodelay={int(nodelay)} endpoint=127.0.0.1:{port}"
    files = [f"--pid-file={base}.pid", f"--log-file={base}.log"]
    command = ["radosgw", "-f", "-c", str(directory / "ceph.conf"), "-n", GATEWAY, frontend, *files]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: process.poll() is not None or _listens(port), "another gateway listens")
        assert process.poll() is None, Path(f"{base}.log").read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()  # the others would wait for one that was killed, at each change of a user or bucket
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def ended(pid: int) -> bool:
    """Tell whether a process is gone, or waits for a parent to ask how it ended.

    Its first thread is a zombie before the others have ended, and as long as one is left its files are locked.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        return "\nState:\tZ" in status and "\nThreads:\t1\n" in status
    except (FileNotFoundError, ProcessLookupError):
        return True


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0
