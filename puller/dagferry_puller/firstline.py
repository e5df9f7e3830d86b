"""The first line of an HTTP answer, which is all that a webhook or a pod is asked for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

_MAX_LINE = 1024  # bytes read of an answer


def first_line(connection: socket.socket, end: float) -> bytes:
    """Read it until ``end`` (monotonic seconds); TimeoutError if it takes longer, OSError if the connection breaks."""
    data = b""
    while b"\n" not in data and len(data) < _MAX_LINE:
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        piece = connection.recv(_MAX_LINE)
        if not piece:
            break
        data += piece
    return data.partition(b"\n")[0]
