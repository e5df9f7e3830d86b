"""A fault-injecting loopback HTTP proxy in front of a real store: byte-level, scripted request by request.

Our own, as the well-kept ones (mitmproxy, toxiproxy) are a hundred times as large or not in Python, and none resets a
connection in the middle of a body. A fault is a function of an ``Exchange``; ``support.faults`` has those that stores
and networks were seen to make. Every request is kept, with its time.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from types import TracebackType

RESET = struct.pack("ii", 1, 0)  # SO_LINGER of no time: close() sends RST


class Broken(Exception):
    """The connection to the client is not to be used any more."""


@dataclass
class Exchange:
    """One request, and how to answer it; a fault that sends nothing leaves the connection without an answer.

    Attributes:
        number: of the request, from 0.
        method: GET, PUT, …
        path: with the query.
        headers: names in lower case.
        at: monotonic seconds.
        fault: what was done to it; empty for nothing.
    """

    number: int
    method: str
    path: str
    headers: dict[str, str]
    raw: bytes = field(repr=False)  # as it goes to the store
    connection: socket.socket = field(repr=False)
    proxy: FaultyProxy = field(repr=False)
    at: float = field(default_factory=time.monotonic)
    fault: str = ""

    def forward(self) -> bytes:
        """Do the request at the store; returns its whole answer, which says how long its body is."""
        with self.proxy.connect() as store:
            store.sendall(self.raw)
            answer = b"".join(iter(lambda: store.recv(1 << 16), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        status, *lines = head.split(b"\r\n")
        lines = [line for line in lines if not line.lower().startswith((b"connection:", b"content-length:"))]
        given = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        length = given if self.method == "HEAD" else [b"Content-Length: %d" % len(body)]
        return b"\r\n".join([b"HTTP/1.1" + status[8:], *lines, *length]) + b"\r\n\r\n" + body

    def send(self, data: bytes) -> None:
        """Send bytes to the client."""
        self.connection.sendall(data)

    def reset(self) -> None:
        """Break the connection with RST."""
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        raise Broken

    def close(self) -> None:
        """End the connection in good order."""
        raise Broken

    def stall(self) -> None:
        """Wait until the faults are lifted or the proxy ends."""
        self.proxy.lifted.wait()


Fault = Callable[[Exchange], None]
Script = Callable[[Exchange], "Fault | None"]


class FaultyProxy:
    """A context manager; ``endpoint`` is where clients go.

    Args:
        upstream: the store's endpoint, http://host:port or https://host:port.
        tls: serve https by this; may be replaced at any time.
        ca: of the store, a file.

    Attributes:
        requests: all that came, in order.
        script: asked for each request what happens to it; None: it is forwarded.
        lifted: set while nothing is to stall.
    """

    def __init__(self, upstream: str, tls: ssl.SSLContext | None = None, *, ca: str = "") -> None:
        parts = urlsplit(upstream)
        self._to_store = ssl.create_default_context(cafile=ca) if parts.scheme == "https" else None
        self.upstream = (parts.hostname or "", parts.port or 80)
        self.requests: list[Exchange] = []
        self.script: Script = lambda _: None
        self.lifted = threading.Event()
        self.tls = tls
        self.port = 0
        self._listening: socket.socket | None = None
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()

    @property
    def endpoint(self) -> str:
        """Where clients go."""
        return f"{'https' if self.tls else 'http'}://localhost:{self.port}"

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.down()
        self.lifted.set()
        for thread in self._threads:
            thread.join()

    def connect(self) -> socket.socket:
        """Open a connection to the store."""
        plain = socket.create_connection(self.upstream, timeout=60)
        return self._to_store.wrap_socket(plain, server_hostname=self.upstream[0]) if self._to_store else plain

    # What a test does

    def fail(self, fault: Fault, where: str = "", *, times: int | None = None, skip: int = 0) -> None:
        """Let requests fail from now on.

        Args:
            fault: what happens to them.
            where: part of their path; empty: all.
            times: how many of them; None: all, until ``heal``.
            skip: how many of them pass before.
        """
        seen = 0

        def script(exchange: Exchange) -> Fault | None:
            nonlocal seen
            if where not in exchange.path:
                return None
            seen += 1
            return fault if skip < seen and (times is None or seen <= skip + times) else None

        self.lifted.clear()
        self.script = script

    def heal(self) -> None:
        """End all faults; what stalls is let go."""
        self.script = lambda _: None
        self.lifted.set()
        self.up()

    def down(self) -> None:
        """Refuse connections from now on, and end those that are open."""
        listening, self._listening = self._listening, None
        if listening is not None:
            with suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            listening.close()
        self.hang_up()

    def up(self) -> None:
        """Listen, again on the same port."""
        if self._listening is None:
            self._listening = socket.create_server(("127.0.0.1", self.port))
            self.port = self._listening.getsockname()[1]
            self._start(self._accept, self._listening)

    def hang_up(self) -> None:
        """Cut all open connections, as a proxy does with idle ones."""
        with self._guard:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def asked(self, where: str = "") -> list[Exchange]:
        """Return the requests so far whose path has this part."""
        return [exchange for exchange in self.requests if where in exchange.path]

    # The connections

    def _start(self, target: Callable[[socket.socket], None], connection: socket.socket) -> None:
        thread = threading.Thread(target=target, args=(connection,))
        self._threads = [one for one in self._threads if one.is_alive()] + [thread]
        thread.start()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            connection.settimeout(120)
            with self._guard:
                self._open.add(connection)
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        plain = connection
        with suppress(OSError, Broken):  # a client that gives up is what some tests want
            if self.tls:
                connection = self.tls.wrap_socket(plain, server_side=True)
                with self._guard:
                    self._open.discard(plain)
                    self._open.add(connection)
            while self._exchange(connection):
                pass
        with self._guard:
            self._open -= {plain, connection}
        connection.close()

    def _exchange(self, connection: socket.socket) -> bool:
        """Serve one request; False if there is none any more, or the connection is to be closed."""
        exchange = self._request(connection)
        if exchange is None:
            return False
        fault = self.script(exchange)
        exchange.fault = getattr(fault, "__name__", "fault") if fault else ""
        self.requests.append(exchange)
        if fault:
            fault(exchange)
            return False
        exchange.send(exchange.forward())
        return True

    def _request(self, connection: socket.socket) -> Exchange | None:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = connection.recv(1 << 16)
            if not piece:
                return None
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if headers.pop("expect", "").lower() == "100-continue":
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        while len(body) < int(headers.get("content-length", "0")):
            body += connection.recv(1 << 16)
        method, path, _ = first.split(" ")
        sent = "".join(f"{name}: {value}\r\n" for name, value in {**headers, "connection": "close"}.items())
        raw = f"{first}\r\n{sent}\r\n".encode("latin-1") + body
        return Exchange(len(self.requests), method, path, headers, raw, connection, self)
