"""What stands between a client and a server: git over smart HTTP, and a proxy that counts bytes and requests."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_REQUEST = re.compile(rb"(?:GET|HEAD|PUT|POST|DELETE) [!-~]+ HTTP/1\.1\r\n")
_CHUNK = 1 << 16


@contextmanager
def git_server(parent: Path) -> Iterator[str]:
    """Serve all repositories below a directory by git's own http-backend; gives the address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._serve(b"")

        def do_POST(self) -> None:
            if self.headers.get("Transfer-Encoding") == "chunked":
                self._serve(b"".join(self._chunks()))
            else:
                self._serve(self.rfile.read(int(self.headers.get("Content-Length", 0))))

        def _chunks(self) -> Iterator[bytes]:
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()

        def _serve(self, body: bytes) -> None:
            path, _, query = self.path.partition("?")
            environ = {
                **os.environ,
                "GIT_PROJECT_ROOT": str(parent),
                "GIT_HTTP_EXPORT_ALL": "1",
                "REQUEST_METHOD": self.command,
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "safe.directory",
                "GIT_CONFIG_VALUE_0": "*",
            }
            done = subprocess.run(["git", "http-backend"], input=body, env=environ, capture_output=True, check=True)
            head, _, answer = done.stdout.partition(b"\r\n\r\n")
            fields = [line.split(": ", 1) for line in head.decode().split("\r\n")]
            self.send_response(int(dict(fields).get("Status", "200").split()[0]))
            for name, value in fields:
                if name != "Status":
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class Counter:
    """What went through a proxy; ``connections`` counts new ones."""

    bytes: int = 0
    requests: int = 0
    connections: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, count: int, requests: int = 0, connections: int = 0) -> None:
        with self._lock:
            self.bytes += count
            self.requests += requests
            self.connections += connections

    def take(self) -> tuple[int, int, int]:
        """Return bytes (both ways), requests and new connections since the last call."""
        with self._lock:
            taken = self.bytes, self.requests, self.connections
            self.bytes = self.requests = self.connections = 0
            return taken


@contextmanager
def counting(upstream: str) -> Iterator[tuple[str, Counter]]:
    """Stand before ``http://host:port``; gives the proxy's own address and what it counts."""
    host, port = upstream.removeprefix("http://").split(":")
    counter, listener = Counter(), socket.create_server(("127.0.0.1", 0), backlog=256)

    def pump(source: socket.socket, target: socket.socket, *, requests: bool) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                counter.add(len(data), len(_REQUEST.findall(data)) if requests else 0)
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection((host, int(port)))
                for one in (client, server):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                counter.add(0, connections=1)
                for pair in ((client, server, True), (server, client, False)):
                    threading.Thread(target=pump, args=pair[:2], kwargs={"requests": pair[2]}, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", counter
    finally:
        listener.close()
