"""One HTTP request and its answer, within a deadline and a number of bytes that no server can stretch.

Redirects and proxies are not followed, so that credentials go to the address that was given and nowhere else.
"""

from __future__ import annotations

import io
import socket
import time
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import TYPE_CHECKING, Any

from dagferry_shared.airflowapi.errors import AirflowError, Trouble
from dagferry_shared.values import dataclass

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from dagferry_shared.airflowapi.address import Address

MAX_ANSWER = 8 << 20  # bytes, headers counted; 100 DAGs are about 150 KiB


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: hostile bytes."""

    status: int
    body: bytes


class _Reader(io.RawIOBase):
    """Reads a socket until the deadline, and no more than so many bytes."""

    def __init__(self, connection: socket.socket, end: float, limit: int) -> None:
        self._connection = connection
        self._end = end
        self._left = limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._connection.settimeout(_left(self._end))
        count = self._connection.recv_into(buffer)
        self._left -= count
        if self._left < 0:
            raise AirflowError(Trouble.BAD_ANSWER, f"its answer has more than {MAX_ANSWER >> 20} MiB")
        return count


class _Bounded:
    """As much of a socket as HTTPResponse asks for."""

    def __init__(self, connection: socket.socket, end: float) -> None:
        self._reader = _Reader(connection, end, MAX_ANSWER)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self._reader)


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _connect(address: Address, end: float) -> socket.socket:
    """Try each address that the name has, all within the deadline."""
    failure: OSError | None = None
    for family, kind, protocol, _, place in socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM):
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(_left(end))
            connection.connect(place)
            return connection
        except OSError as error:
            connection.close()
            failure = error
    raise failure or OSError("the name has no address")


def tls_context(ca: str) -> ssl.SSLContext:
    """Return what https servers are checked by.

    Args:
        ca: file of the CA's certificates; empty: the system's, or ``SSL_CERT_FILE``.

    Raises:
        ValueError: the file cannot be used.
    """
    import ssl  # noqa: PLC0415 - 3 MiB that plain http does not need

    try:
        return ssl.create_default_context(cafile=ca or None)
    except OSError as error:  # SSLError is one
        raise ValueError(f"{ca}: no certificates in it, or it cannot be read") from error


class Wire:
    """Requests to one server.

    Args:
        address: of the API.
        seconds: that one request may take, from the resolver's answer to the last byte.
        context: checks the server's certificate; None: plain http.
    """

    def __init__(self, address: Address, seconds: float, context: ssl.SSLContext | None = None) -> None:
        self._address = address
        self._seconds = seconds
        self._context = context

    def request(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None) -> Answer:
        """Ask once.

        Args:
            method: of HTTP.
            path: below the address's own, with its query; ASCII.
            headers: credentials among them.
            body: to send.

        Raises:
            AirflowError: UNREACHABLE or BAD_ANSWER. Any status of a whole answer is a value.
        """
        end = time.monotonic() + self._seconds
        try:
            return self._request(end, method, path, headers, body)
        except TimeoutError as error:
            detail = f"{self._address} gave no whole answer within {self._seconds:g} s"
            raise AirflowError(Trouble.UNREACHABLE, detail) from error
        except OSError as error:
            reason = getattr(error, "verify_message", None) or error.strerror or type(error).__name__
            raise AirflowError(Trouble.UNREACHABLE, f"{self._address}: {reason}") from error
        except (HTTPException, ValueError) as error:  # ValueError: of a header that is no number
            detail = f"{self._address} does not speak HTTP, or broke off ({type(error).__name__})"
            raise AirflowError(Trouble.UNREACHABLE, detail) from error

    def _request(self, end: float, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        plain = _connect(self._address, end)
        with plain:
            plain.settimeout(_left(end))
            connection = HTTPConnection(self._address.host, self._address.port)
            if self._context is not None:
                connection.default_port = 443
                connection.sock = self._context.wrap_socket(plain, server_hostname=self._address.host)
            else:
                connection.sock = plain
            try:
                connection.sock.settimeout(_left(end))
                fixed = {"Accept": "application/json", "User-Agent": "dagferry", "Connection": "close"}
                connection.request(method, self._address.path + path, body, {**fixed, **headers})
                with HTTPResponse(_Bounded(connection.sock, end), method=method) as response:  # type: ignore[arg-type]
                    response.begin()
                    return Answer(response.status, response.read())
            finally:
                connection.sock.close()
