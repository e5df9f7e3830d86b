"""One GET of one pod's ``/status``: connect, send and read, all within a deadline and a size that nothing extends.

No redirect, proxy, name or cookie is followed: the address is asked, and nobody else.
"""

from __future__ import annotations

import re
import socket
import time

from dagferry_publisher.fleet.podstatus import MAX_STATUS
from dagferry_shared.errors import DagferryError
from dagferry_shared.targets import show

PATH = "/status"
_MAX_HEAD = 8 * 1024  # bytes of status line and headers
_MOST = _MAX_HEAD + MAX_STATUS
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: [^\r\n]*)?")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*(?=\r\n|\Z)", re.IGNORECASE)


class NotAnswered(DagferryError):
    """The pod cannot be reached in time, or what answers is no puller; the text says why."""


def ask(address: tuple[str, int], seconds: float) -> bytes:
    """Return the body of a pod's status.

    Args:
        address: where it listens.
        seconds: for everything.

    Raises:
        NotAnswered: no answer in time, too large, or not "200 OK".
    """
    end = time.monotonic() + seconds
    try:
        with socket.create_connection(address, timeout=seconds) as connection:
            lines = f"GET {PATH} HTTP/1.1", f"Host: {show(address)}", "Connection: close", "", ""
            connection.sendall("\r\n".join(lines).encode())
            return _body(connection, end)
    except TimeoutError as error:
        raise NotAnswered(f"no answer within {seconds:g} s") from error
    except OSError as error:
        raise NotAnswered((error.strerror or str(error)).lower()) from error


def _body(connection: socket.socket, end: float) -> bytes:
    data, wanted = b"", None
    while wanted is None or len(data) < wanted:
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        piece = connection.recv(64 * 1024)
        data += piece
        if wanted is None and b"\r\n\r\n" in data:
            wanted = _wanted(data)
        if len(data) > _MOST or (wanted is None and len(data) > _MAX_HEAD):
            raise NotAnswered(f"its answer is larger than {MAX_STATUS // 1024} KiB")
        if not piece:
            break
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator or (wanted is not None and wanted <= _MOST and len(data) < wanted):
        raise NotAnswered("its answer broke off" if head.startswith(b"HTTP/1.") else "it does not speak HTTP")
    return body if wanted is None or wanted > _MOST else body[: wanted - len(head) - len(separator)]


def _wanted(data: bytes) -> int:
    """Return how long the whole answer will be, from its head; above all limits if it goes to the end."""
    head = data.partition(b"\r\n\r\n")[0]
    line = _STATUS_LINE.fullmatch(head.partition(b"\r\n")[0])
    if line is None:
        raise NotAnswered("it does not speak HTTP")
    if line[1] != b"200":
        raise NotAnswered(f"it answered {line[1].decode()}")
    length = _LENGTH.search(head)
    if length is None:
        return _MOST + 1
    if int(length[1]) > MAX_STATUS:
        raise NotAnswered(f"its answer is larger than {MAX_STATUS // 1024} KiB")
    return len(head) + 4 + int(length[1])
