"""A DNS server for tests: silent until it is let answer; on an address of loopback of its own, as the port is fixed."""

from __future__ import annotations

import secrets
import socket
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

PORT = 53
_HEADER, _A = 12, 1  # bytes; record type
_RESPONSE = 0x8180  # recursion available, no error


class Resolver:
    """A context manager; needs root.

    Args:
        directory: for the client's ``resolv.conf`` and ``nsswitch.conf``.
        address: what every name is, once ``speaks`` is set.

    Attributes:
        asked: questions that came.
        speaks: while it is not set, nothing is answered.
    """

    def __init__(self, directory: Path, address: str) -> None:
        self._address = address
        self._directory = directory
        self.asked = 0
        self.speaks = threading.Event()
        self._waiting: list[tuple[bytes, tuple[str, int]]] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._thread = threading.Thread(target=self._serve)

    @property
    def etc(self) -> dict[str, Path]:
        """The files of a client that asks this server alone, and waits for it long."""
        made = {name: self._directory / name for name in ("resolv.conf", "nsswitch.conf")}
        nameserver = self._socket.getsockname()[0]
        made["resolv.conf"].write_text(f"nameserver {nameserver}\noptions timeout:30 attempts:1\n")
        made["nsswitch.conf"].write_text("hosts: files dns\n")
        return made

    def __enter__(self) -> Self:
        self._socket.bind((f"127.{secrets.randbelow(100) + 100}.{secrets.randbelow(250)}.53", PORT))
        self._socket.settimeout(0.02)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()
        self._thread.join()

    def _serve(self) -> None:
        while self._socket.fileno() >= 0:
            with suppress(OSError):  # also the time-out, and the end
                self._waiting.append(self._socket.recvfrom(512))
                self.asked += 1
            while self.speaks.is_set() and self._waiting:
                question, client = self._waiting.pop()
                with suppress(OSError):
                    self._socket.sendto(self._answer(question), client)

    def _answer(self, question: bytes) -> bytes:
        end = question.index(b"\0", _HEADER) + 1
        kind = struct.unpack("!H", question[end : end + 2])[0]
        found = b""
        if kind == _A:
            found = struct.pack("!HHHIH", 0xC00C, _A, 1, 0, 4) + socket.inet_aton(self._address)
        head = question[:2] + struct.pack("!HHHHH", _RESPONSE, 1, bool(found), 0, 0)
        return head + question[_HEADER : end + 4] + found
