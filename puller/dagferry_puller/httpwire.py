"""HTTP on hostile connections: one request each, answered and closed, at a bounded cost.

8 KiB of head, 64 KiB of body (read and dropped), 5 s in all. Beyond 32 connections, or an eighth of the descriptors
that the process may have, the oldest is dropped before the next one is served, so that idle ones can neither keep a
probe out nor take threads, or the descriptors that a sync needs.
"""

from __future__ import annotations

import re
import resource
import socket
import socketserver
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from dagferry_puller.logs import log

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_CONNECTIONS = 32
MAX_HEAD = 8 * 1024  # bytes of request line and headers
MAX_BODY = 64 * 1024  # bytes of a notification, which is read and dropped
REQUEST_SECONDS = 5.0  # from the first byte wanted to the last
_LINGER_SECONDS, _LINGER_READS = 1.0, 64  # how long, and how many pieces, what follows an answered request is read
_NO_DESCRIPTOR_SECONDS = 0.1  # pause after a connection that could not be accepted
TEXT = "text/plain; charset=utf-8"
_PHRASES = {
    200: "OK",
    202: "Accepted",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}
_REQUEST_LINE = re.compile(r"([A-Z]{1,20}) (/[!-~]*) HTTP/1\.[01]")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t -~\x80-\xff]*)")


class Bad(Exception):
    """A request that is not served; ``status`` says why."""

    def __init__(self, status: int) -> None:
        super().__init__(_PHRASES[status])
        self.status = status


class Request(NamedTuple):
    """A request's head; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]

    @property
    def length(self) -> int:
        """Bytes of its body; Bad if it does not say, or is too long."""
        text = self.headers.get("content-length", "0")
        if "transfer-encoding" in self.headers or not (text.isascii() and text.isdigit() and len(text) < 10):
            raise Bad(400)
        if int(text) > MAX_BODY:
            raise Bad(413)
        return int(text)


class Answer(NamedTuple):
    """What is sent back."""

    status: int
    body: str
    content_type: str = TEXT
    more: str = ""  # another header line


def parse_head(head: bytes) -> Request:
    """Read a request's head, without its final empty line; Bad(400) for anything odd."""
    first, *lines = head.decode("latin-1").split("\r\n")
    request = _REQUEST_LINE.fullmatch(first)
    if request is None:
        raise Bad(400)
    headers: dict[str, str] = {}
    for line in lines:
        header = _HEADER.fullmatch(line)
        if header is None or header[1].lower() in headers:
            raise Bad(400)
        headers[header[1].lower()] = header[2].strip(" \t")
    return Request(request[1], request[2].partition("?")[0], headers)


class _Handler(socketserver.BaseRequestHandler):
    server: Server
    request: socket.socket

    def handle(self) -> None:
        """Serve one request; whatever goes wrong with the connection ends it, and is nobody's error."""
        self._end = time.monotonic() + REQUEST_SECONDS
        method = "GET"
        try:
            try:
                request = self._read()
                method = request.method
                answer = self.server.answer(request)
            except TimeoutError:
                answer = Answer(408, "too slow\n")
            except Bad as error:
                answer = Answer(error.status, f"{error}\n")
            self._send(answer, with_body=method != "HEAD")
            self._linger()
        except OSError:
            return

    def _receive(self, most: int) -> bytes:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.request.settimeout(left)
        return self.request.recv(most)

    def _read(self) -> Request:
        data = b""
        while b"\r\n\r\n" not in data:
            if len(data) > MAX_HEAD:
                raise Bad(431)
            piece = self._receive(MAX_HEAD)
            data += piece
            if not piece or not data[:1].isalpha():  # gone, or not HTTP: what speaks TLS would wait for our part
                raise Bad(400)
        head, _, body = data.partition(b"\r\n\r\n")
        if len(head) > MAX_HEAD:
            raise Bad(431)
        request = parse_head(head)
        missing = request.length - len(body)
        if missing > 0 and request.headers.get("expect", "").lower() == "100-continue":
            self.request.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        while missing > 0:
            piece = self._receive(min(missing, MAX_HEAD))
            if not piece:
                raise Bad(400)
            missing -= len(piece)
        return request

    def _send(self, answer: Answer, *, with_body: bool) -> None:
        # Names of files may hold what is not UTF-8; \udc80 is what JSON says for it, too.
        body = answer.body.encode("utf-8", "backslashreplace")
        lines = [
            f"HTTP/1.1 {answer.status} {_PHRASES[answer.status]}",
            f"Content-Type: {answer.content_type}",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
            "Connection: close",
            *([answer.more] if answer.more else []),
        ]
        self.request.settimeout(max(0.1, self._end - time.monotonic()))
        self.request.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + (body if with_body else b""))

    def _linger(self) -> None:
        """Read what still comes, a little: the answer to a request that was not read whole would be lost."""
        self.request.shutdown(socket.SHUT_WR)
        self._end = time.monotonic() + _LINGER_SECONDS
        for _ in range(_LINGER_READS):
            if not self._receive(MAX_HEAD):
                return


class Server(socketserver.ThreadingTCPServer):
    """The port; one thread for each connection, of which there are few.

    Args:
        address: host and port.
        answer: what is said to a request whose body was read; may raise Bad.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], answer: Callable[[Request], Answer]) -> None:
        self.answer = answer
        self._most = _most_connections()
        self._connections: dict[socket.socket, None] = {}  # oldest first
        self._fewer = threading.Condition()
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def get_request(self) -> tuple[socket.socket, object]:
        """Accept a connection; where that fails (no descriptor is left) it waits, and is tried again."""
        try:
            return super().get_request()
        except OSError:
            time.sleep(_NO_DESCRIPTOR_SECONDS)
            raise

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """Start a thread for a connection, once there are few enough others."""
        if isinstance(request, socket.socket):
            with self._fewer:
                while len(self._connections) >= self._most:
                    with suppress(OSError):
                        next(iter(self._connections)).shutdown(socket.SHUT_RDWR)  # its thread ends at once
                    self._fewer.wait()
                self._connections[request] = None
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        """Close a connection that was served."""
        if isinstance(request, socket.socket):
            with self._fewer:
                self._connections.pop(request, None)
                self._fewer.notify()
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - socketserver calls it
        """Log a connection that could not be served: no thread can be had, or a bug."""
        error = sys.exc_info()[1]
        log.error("a connection could not be served: %s", error, exc_info=error)


def _most_connections() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else max(1, min(MAX_CONNECTIONS, soft // 8))
