"""An HTTP client that sends what a test says, byte by byte, and reads until the other side closes."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

STATUS_LINE = b"HTTP/1.1 "


@dataclass(frozen=True)
class Said:
    """All that came back on one connection.

    Attributes:
        raw: every byte.
    """

    raw: bytes

    @property
    def statuses(self) -> list[int]:
        """The status of each answer, those of a smuggled request included."""
        return [int(line.split()[1]) for line in self.raw.split(b"\r\n") if line.startswith(STATUS_LINE)]

    @property
    def status(self) -> int:
        """The status of the only answer."""
        (status,) = self.statuses
        return status

    @property
    def headers(self) -> dict[str, str]:
        """The only answer's headers, names in lower case."""
        lines = self.raw.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
        return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}

    @property
    def body(self) -> bytes:
        """What follows the only answer's head."""
        return self.raw.partition(b"\r\n\r\n")[2]


def everything(connection: socket.socket) -> bytes:
    """Read until the other side closes; a reset fails the test, as an answer would be lost by it."""
    answer = b""
    while piece := connection.recv(65536):
        answer += piece
    return answer


def say(port: int, data: bytes, *, hang_up: bool = False) -> Said:
    """Send bytes and read the answer; ``hang_up`` says that no more will come."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(data)
        if hang_up:
            connection.shutdown(socket.SHUT_WR)
        return Said(everything(connection))


@contextmanager
def connections(port: int, count: int, data: bytes = b"") -> Iterator[list[socket.socket]]:
    """Hold so many connections open that sent this much of a request."""
    held: list[socket.socket] = []
    try:
        for _ in range(count):
            held.append(socket.create_connection(("127.0.0.1", port), timeout=20))
            if data:
                held[-1].sendall(data)
        yield held
    finally:
        for connection in held:
            connection.close()
