"""One POST to one pod: connect, send, read the status line, all within a deadline that nothing can extend."""

from __future__ import annotations

import socket
import time

from dagferry_puller.firstline import first_line
from dagferry_shared.errors import DagferryError
from dagferry_shared.targets import show


class NotTaken(DagferryError):
    """The pod did not take the notification; the text says why."""


def post(address: tuple[str, int], token: bytes | None, seconds: float) -> None:
    """Tell a pod to look now.

    Args:
        address: where it listens.
        token: its bearer token, if it needs one.
        seconds: for everything.

    Raises:
        NotTaken: it cannot be reached in time, or answers anything but 2xx.
    """
    end = time.monotonic() + seconds
    try:
        with socket.create_connection(address, timeout=seconds) as connection:
            connection.sendall(_request(address, token))
            line = first_line(connection, end)
    except TimeoutError as error:
        raise NotTaken(f"no answer within {seconds:g} s") from error
    except OSError as error:
        raise NotTaken(error.strerror or str(error)) from error
    words = line.split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or len(words[1]) != 3 or not words[1].isdigit():
        raise NotTaken("it does not speak HTTP")
    if not words[1].startswith(b"2"):
        hint = " (the pods' token is wrong or missing: --target-token-file)" if words[1] == b"401" else ""
        raise NotTaken(f"it answered {words[1].decode()}{hint}")


def _request(address: tuple[str, int], token: bytes | None) -> bytes:
    lines = [b"POST /notify HTTP/1.1", b"Host: " + show(address).encode(), b"Content-Length: 0", b"Connection: close"]
    if token:
        lines.append(b"Authorization: Bearer " + token)
    return b"\r\n".join([*lines, b"", b""])
