"""The HTTP port: five paths, answered from the status snapshot; hostile clients cost a bounded little.

Written on ``socketserver`` alone: ``http.server`` costs every pod 4.5 MiB and 20 ms (ssl, email, mimetypes), and would
read 6 MiB of headers from anyone. One request a connection, 8 KiB of head, 5 s in all. Beyond 32 connections the
oldest is dropped, so that idle ones cannot keep a probe out.
"""

from __future__ import annotations

import hmac
import json
import socket
import socketserver
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, NamedTuple

from dagferry_puller.exits import ConfigError
from dagferry_puller.logs import fields, log
from dagferry_puller.metrics import CONTENT_TYPE, render

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dagferry_puller.options import Settings
    from dagferry_puller.status import Recorder

MAX_CONNECTIONS = 32
MAX_HEAD = 8 * 1024  # bytes of request line and headers
MAX_BODY = 64 * 1024  # bytes of a notification, which is read and dropped
REQUEST_SECONDS = 5.0  # from the first byte wanted to the last
_JSON, _TEXT = "application/json", "text/plain; charset=utf-8"
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
    content_type: str = _TEXT
    more: str = ""  # another header line


def parse_head(head: bytes) -> Request:
    """Read a request's head, without its final empty line; Bad(400) for anything odd."""
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1.") or not words[1].startswith("/"):
        raise Bad(400)
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, separator, value = line.partition(":")
        if not separator or not name or name != name.strip() or name.lower() in headers:
            raise Bad(400)
        headers[name.lower()] = value.strip()
    return Request(words[0], words[1].partition("?")[0], headers)


class Pages:
    """What each path answers.

    Args:
        recorder: the status.
        look_now: asks the worker for a look.
        token: what ``/notify`` needs, None for nothing.
        patience: seconds without a sign of life after which ``/healthz`` fails.
    """

    def __init__(self, recorder: Recorder, look_now: Callable[[], None], token: bytes | None, patience: float) -> None:
        self._recorder = recorder
        self._look_now = look_now
        self._token = token
        self._patience = patience
        self._get = {
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/status": self._status,
            "/metrics": self._metrics,
        }

    def answer(self, request: Request) -> Answer:
        """Answer a request whose body was read."""
        if request.path == "/notify":
            return self._notify(request) if request.method == "POST" else _not_allowed("POST")
        page = self._get.get(request.path)
        if page is None:
            raise Bad(404)
        return page() if request.method in {"GET", "HEAD"} else _not_allowed("GET, HEAD")

    def _healthz(self) -> Answer:
        silence = self._recorder.silence()
        if silence > self._patience:
            return Answer(503, f"no sign of life for {silence:.0f} s\n")
        return Answer(200, "alive\n")

    def _readyz(self) -> Answer:
        status = self._recorder.snapshot()
        if status.ready and status.live:
            return Answer(200, f"live: {status.live.version}\n")
        why = status.problem.detail if status.problem else "no verified version is live yet"
        return Answer(503, f"not ready: {why}\n")

    def _status(self) -> Answer:
        return Answer(200, json.dumps(asdict(self._recorder.snapshot()), ensure_ascii=False) + "\n", _JSON)

    def _metrics(self) -> Answer:
        return Answer(200, render(self._recorder.snapshot(), time.time()), CONTENT_TYPE)

    def _notify(self, request: Request) -> Answer:
        given = request.headers.get("authorization", "").encode("latin-1")
        if self._token is not None and not hmac.compare_digest(given, b"Bearer " + self._token):
            return Answer(401, "a bearer token is needed\n", more="WWW-Authenticate: Bearer")
        self._look_now()
        return Answer(202, "looking\n")


def _not_allowed(methods: str) -> Answer:
    return Answer(405, f"allowed: {methods}\n", more=f"Allow: {methods}")


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
                answer = self.server.pages.answer(request)
            except TimeoutError:
                answer = Answer(408, "too slow\n")
            except Bad as error:
                answer = Answer(error.status, f"{error}\n")
            self._send(answer, with_body=method != "HEAD")
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
            if not piece:
                raise Bad(400)
            data += piece
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
        body = answer.body.encode()
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


class Server(socketserver.ThreadingTCPServer):
    """The port; one thread for each connection, of which there are few."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], pages: Pages) -> None:
        self.pages = pages
        self._connections: dict[socket.socket, None] = {}  # oldest first
        self._guard = threading.Lock()
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """Start a thread for a connection; drop the oldest one if there are too many."""
        if isinstance(request, socket.socket):
            with self._guard:
                self._connections[request] = None
                surplus = list(self._connections)[:-MAX_CONNECTIONS]
            for oldest in surplus:
                with suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        """Close a connection that was served."""
        if isinstance(request, socket.socket):
            with self._guard:
                self._connections.pop(request, None)
        super().shutdown_request(request)


def serve(settings: Settings, recorder: Recorder, look_now: Callable[[], None], token: bytes | None) -> Server | None:
    """Start to serve in a thread of its own; None for ``--http none``.

    Raises:
        ConfigError: the address cannot be had.
    """
    if settings.http is None:
        return None
    patience = 3 * settings.period + settings.download_timeout + settings.check_timeout + 120
    host, port = settings.http
    try:
        server = Server((host, port), Pages(recorder, look_now, token, patience))
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigError("--http", f"cannot listen on {host}:{port}: {why}") from error
    bound = server.server_address[1]
    address = f"http://{f'[{host}]' if ':' in host else host}:{bound}"
    log.info("listening on %s", address, extra=fields(address=address, port=bound))
    # An hour between looks at a flag that nobody sets: the process ends without asking this thread.
    threading.Thread(target=server.serve_forever, args=(3600.0,), name="http", daemon=True).start()
    return server
