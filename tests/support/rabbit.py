"""A real RabbitMQ for tests: a node of its own on free ports, in a directory of its own, ended by its own pid."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pika
import pika.exceptions

from support import debian
from support.waiting import wait_for

if TYPE_CHECKING:
    from types import TracebackType

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # the one on PATH wants to be another user
START_SECONDS = 60.0


def install() -> None:
    """Install it from Debian if it is missing; needs root."""
    if SERVER.exists() and shutil.which("epmd"):
        return
    debian.install("rabbitmq-server")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


class Rabbit:
    """A context manager around one broker.

    Args:
        directory: for its state; not there yet.
        certificate: of the server, its key beside it, for TLS on a port of its own; it listens there on 127.0.0.2, too,
            which the certificate need not name.
    """

    def __init__(self, directory: Path, certificate: Path | None = None) -> None:
        self._directory = directory
        self._certificate = certificate
        self._tls_port = _free_port()
        self.port = _free_port()
        self._names: subprocess.Popen[bytes] | None = None
        self._node: subprocess.Popen[bytes] | None = None
        self._environ = {
            **os.environ,
            "HOME": str(directory),  # its cookie
            "ERL_EPMD_PORT": str(_free_port()),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"test{os.getpid()}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(_free_port()),
            "RABBITMQ_MNESIA_BASE": f"{directory}/data",
            "RABBITMQ_LOG_BASE": f"{directory}/log",
            "RABBITMQ_PID_FILE": f"{directory}/pid",
            "RABBITMQ_CONFIG_FILE": f"{directory}/rabbitmq",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{directory}/plugins",
            "RABBITMQ_CONF_ENV_FILE": f"{directory}/none",
        }

    @property
    def url(self) -> str:
        """Where it is, without credentials: both clients then log in as guest."""
        return f"amqp://127.0.0.1:{self.port}"

    def tls_url(self, host: str = "127.0.0.1") -> str:
        """Where it speaks TLS, without credentials."""
        return f"amqps://{host}:{self._tls_port}"

    def __enter__(self) -> Self:
        install()
        self._directory.mkdir()
        (self._directory / "rabbitmq.conf").write_text(self._configuration())
        (self._directory / "plugins").write_text("[].\n")
        # Erlang's name server would otherwise be started as a daemon, and stay.
        self._names = subprocess.Popen(
            ["epmd"], env=self._environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._node is not None:
            self.kill()
        if self._names is not None:
            self._names.kill()
            self._names.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    def start(self) -> None:
        """Start the node, and wait until it takes connections."""
        with (self._directory / "out").open("ab") as out:
            self._node = subprocess.Popen([SERVER], env=self._environ, stdout=out, stderr=out, start_new_session=True)
        wait_for(self._answers, "RabbitMQ answers", seconds=START_SECONDS)

    def _configuration(self) -> str:
        if self._certificate is None:
            return ""
        addresses = ("127.0.0.1", "127.0.0.2")
        lines = [f"listeners.ssl.{at} = {address}:{self._tls_port}" for at, address in enumerate(addresses)]
        files = {"certfile": self._certificate, "keyfile": self._certificate.with_suffix(".key")}
        lines += [f"ssl_options.{name} = {path}" for name, path in files.items()]
        return "\n".join([*lines, "ssl_options.verify = verify_none", ""])

    def kill(self) -> None:
        """End the node without a chance to clean up, its shell and helpers too: they are a session of their own."""
        assert self._node is not None
        os.killpg(self._node.pid, signal.SIGKILL)
        self._node.wait()
        self._node = None

    def _answers(self) -> bool:
        assert self._node is not None
        assert self._node.poll() is None, (self._directory / "out").read_text()
        try:
            self.connect().close()
        except (pika.exceptions.AMQPError, OSError):
            return False
        return True

    def connect(self) -> pika.BlockingConnection:
        """Return a connection; whoever asks closes it."""
        return pika.BlockingConnection(pika.URLParameters(self.url))
