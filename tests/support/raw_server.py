"""A server that answers as a test says, byte by byte: for what a well-behaved one never does."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from types import TracebackType

    Answer = Callable[[socket.socket], None]


class RawServer:
    """A loopback HTTP server that gives one answer for each connection, the last one for all that follow.

    Args:
        answers: each writes to the connection, which is closed after it.
        tls: serve https by this.
    """

    def __init__(self, *answers: Answer, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[str] = []
        self.release = threading.Event()  # set at the end: an answer may wait for it to stall
        self._answers = answers
        self._tls = tls
        self._threads: list[threading.Thread] = []

    @property
    def endpoint(self) -> str:
        return f"{'https' if self._tls else 'http'}://localhost:{self._socket.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._socket.close()

    def stall(self, connection: socket.socket) -> None:
        """An answer that never comes."""
        self.release.wait()

    def _start(self, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._start(lambda connection=connection: self._serve(connection))  # type: ignore[misc]

    def _serve(self, connection: socket.socket) -> None:
        # A client that gives up, or refuses our certificate, is what some tests want.
        with suppress(OSError):
            wrapped = self._tls.wrap_socket(connection, server_side=True) if self._tls else connection
            with wrapped:
                self._answer(wrapped)
        connection.close()

    def _answer(self, connection: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            chunk = connection.recv(65536)
            if not chunk:
                return
            request += chunk
        number = len(self.requests)
        self.requests.append(request.decode())
        self._answers[min(number, len(self._answers) - 1)](connection)


def reply(status: str, body: bytes = b"", *, length: int | None = None, **headers: str) -> Answer:
    """An answer; ``length`` other than the body's breaks it off. Header names are written with underscores."""
    lines = {
        "Content-Length": str(len(body) if length is None else length),
        "ETag": '"abc"',
        "Last-Modified": "Sun, 22 Nov 2026 16:49:08 GMT",
        "Date": "Sun, 22 Nov 2026 16:49:08 GMT",
        "Connection": "close",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
    return lambda connection: connection.sendall(f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body)


def failure(status: str, code: str) -> Answer:
    """An S3 error."""
    return reply(status, f'<?xml version="1.0"?>\n<Error><Code>{code}</Code></Error>'.encode())
