"""The puller's HTTP port in this process, with nothing behind it but a status and a counter."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from dagferry_puller.httpd import Pages
from dagferry_puller.httpwire import Server
from dagferry_puller.recorder import Recorder
from dagferry_puller.status import Status
from dagferry_shared import times

if TYPE_CHECKING:
    from types import TracebackType


class Port:
    """A server on a port of loopback.

    Args:
        token: what a notification needs.
        address: where it listens.

    Attributes:
        recorder: the status that is shown.
        looks: how often a look was asked for.
    """

    def __init__(self, token: bytes | None = None, address: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        now = times.show(times.now())
        self.recorder = Recorder(Status("1", "run", "etl", "main", "file:///x", "/x", "current", now))
        self.looks = 0
        self.server = Server(address, Pages(self.recorder, self._look, token, 3600.0).answer)
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))

    @property
    def number(self) -> int:
        """The port."""
        return int(self.server.server_address[1])

    @property
    def open(self) -> int:
        """How many connections are served at this moment."""
        return len(self.server._connections)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()

    def _look(self) -> None:
        self.looks += 1
