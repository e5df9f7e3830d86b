"""A fleet for tests: real pullers on loopback addresses of their own, behind a real DNS server."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from support import debian
from support.dagctl import Result
from support.sitepods import SitePod
from support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.pods import Running
    from support.sites import Site

NAME = "dagferry-pods.airflow.svc.test"
_DNS = "/usr/sbin/dnsmasq"


class Dns:
    """Debian's dnsmasq on port 53 of a loopback address, with one name.

    Args:
        directory: for its files.
        network: the first three numbers of its addresses; its own is .1.
    """

    def __init__(self, directory: Path, network: str) -> None:
        self._hosts, self.resolv = directory / "hosts", directory / "resolv.conf"
        self._address = f"{network}.1"
        self.resolv.write_text(f"nameserver {self._address}\noptions timeout:1 attempts:1\n")
        self._log = directory / "dns.log"
        self._hosts.write_text("")

    def start(self) -> None:
        if not shutil.which(_DNS):
            debian.install("dnsmasq-base")
        words = ["--keep-in-foreground", "--no-resolv", "--no-hosts", "--bind-interfaces", "--user=root", "--pid-file="]
        where = [f"--listen-address={self._address}", f"--addn-hosts={self._hosts}", "--local-ttl=0", "--conf-file="]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen([_DNS, *words, *where, "--log-facility=-"], stdout=log, stderr=log)
        wait_for(self._listens, "dnsmasq listens")

    def _listens(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        with socket.socket() as connection:
            return connection.connect_ex((self._address, 53)) == 0

    def names(self, *addresses: str) -> None:
        """Say what the name is."""
        self._hosts.write_text("".join(f"{address} {NAME}\n" for address in addresses))
        before = self._log.read_text().count("read ")
        self._process.send_signal(signal.SIGHUP)
        wait_for(lambda: self._log.read_text().count("read ") > before, "dnsmasq read its names")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=10)


class Fleet:
    """Pullers of a site's channels, each at ``<network>.<number>``, from 11 on.

    Args:
        directory: for everything.
        site: whose store they read.
    """

    def __init__(self, directory: Path, site: Site) -> None:
        self.directory, self.site = directory, site
        self.network = f"127.{100 + secrets.randbelow(100)}.{1 + secrets.randbelow(250)}"
        self.port = 20000 + secrets.randbelow(10000)
        self.dns = Dns(directory, self.network)
        self.pods: list[SitePod] = []
        self.running: list[Running] = []

    @property
    def target(self) -> str:
        """What ``--targets`` takes."""
        return f"dns://{NAME}:{self.port}"

    @property
    def addresses(self) -> list[str]:
        """Of all pods that were ever started."""
        return [running.host for running in self.running]

    def start(self, number: int = 1, *more: str, **settings: str) -> None:
        """Start pods more, and name them all."""
        first = 11 + len(self.pods)
        for last in range(first, first + number):
            pod = SitePod(self.directory / f"pod-{last}", self.site)
            self.pods.append(pod)
            self.running.append(pod.run(*more, http=f"{self.network}.{last}:{self.port}", **settings))
        self.dns.names(*self.addresses)

    def dagctl(self, *arguments: object, code: int = 0, **environ: str) -> Result:
        """Run ``dagctl`` in a mount namespace whose resolver is the fleet's; the targets are set."""
        with self.process(*arguments, **environ) as process:
            out, err = process.communicate(timeout=120)
        result = Result(process.returncode, out.decode(), err.decode())
        assert result.code == code, f"exit {result.code}, not {code}: {result}"
        return result

    @contextmanager
    def process(self, *arguments: object, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
        """The same, while it runs."""
        script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
        words = ["unshare", "--mount", "sh", "-c", script, os.fspath(self.dns.resolv), sys.executable]
        process = subprocess.Popen(
            [*words, "-m", "dagferry_publisher", *map(str, arguments)],
            cwd=self.site.dagctl.cwd,
            env=self.site.dagctl.environ | {"DAGFERRY_TARGETS": self.target} | environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    def close(self) -> None:
        for pod in self.pods:
            pod.close()


@contextmanager
def fleet(directory: Path, site: Site) -> Iterator[Fleet]:
    """A fleet without pods, its DNS server running; needs root and Debian."""
    directory.mkdir()
    made = Fleet(directory, site)
    made.dns.start()
    try:
        yield made
    finally:
        made.close()
        made.dns.stop()
