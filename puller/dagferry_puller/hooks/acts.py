"""What hooks do: one attempt each, which ends well or by HookFailed, within its deadline."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from dagferry_puller.firstline import first_line
from dagferry_shared.errors import DagferryError, Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagferry_puller.hooks.event import Event


class HookFailed(DagferryError):
    """An attempt failed; the text says why, and holds no secret."""


def parse_url(text: str) -> SplitResult:
    """Read a webhook's address; ValueError, which does not repeat it, says what is wrong."""
    url = urlsplit(text)
    good = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    if not good or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("is not http[s]://HOST[:PORT][/PATH]")
    if "@" in url.netloc:
        raise ValueError("holds credentials: use --webhook-token-file")
    return url


class Exec:
    """Runs a command; it gets the version's directory as last argument, and the facts in its environment.

    Args:
        command: its words.
        seconds: after which it is killed, with all that it started.
    """

    def __init__(self, command: Sequence[str], seconds: float) -> None:
        self._command = command
        self._seconds = seconds

    def __call__(self, event: Event, attempt: int) -> None:
        """Run it once."""
        from dagferry_puller.check import Check  # noqa: PLC0415 - subprocess costs memory that most pullers save

        try:
            Check(self._command, self._seconds).run(event.path, event.environment(attempt))
        except Refused as refusal:
            raise HookFailed(refusal.detail.removeprefix("check ")) from refusal


class Webhook:
    """Posts the facts as JSON; anything but 2xx is a failure. Redirects and proxies are not followed.

    Args:
        url: where to; its path may be a secret.
        token: sent as a bearer token, if any.
        seconds: for everything but the look-up of the name.
    """

    def __init__(self, url: SplitResult, token: bytes | None, seconds: float) -> None:
        self._url = url
        self._token = token
        self._seconds = seconds

    def __call__(self, event: Event, attempt: int) -> None:
        """Post once."""
        end = time.monotonic() + self._seconds
        try:
            with self._connect() as connection:
                connection.sendall(self._request(event, attempt))
                line = first_line(connection, end)
        except TimeoutError as error:
            raise HookFailed(f"no answer within {self._seconds:g} s") from error
        except OSError as error:
            raise HookFailed(error.strerror or type(error).__name__) from error
        words = line.split()
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or len(words[1]) != 3 or not words[1].isdigit():
            raise HookFailed("it does not speak HTTP")
        if not words[1].startswith(b"2"):
            raise HookFailed(f"it answered {words[1].decode()}")

    def _connect(self) -> socket.socket:
        secure = self._url.scheme == "https"
        host, port = self._url.hostname or "", self._url.port or (443 if secure else 80)
        connection = socket.create_connection((host, port), timeout=self._seconds)
        if not secure:
            return connection
        import ssl  # noqa: PLC0415 - 6 MiB that only an https webhook needs

        try:
            return ssl.create_default_context().wrap_socket(connection, server_hostname=host)
        except BaseException:
            connection.close()
            raise

    def _request(self, event: Event, attempt: int) -> bytes:
        url, body = self._url, event.body(attempt)
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        lines = [
            f"POST {target} HTTP/1.1",
            f"Host: {url.netloc}",
            "User-Agent: dagferry-puller",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            f"Idempotency-Key: {event.id}",
            "Connection: close",
        ]
        if self._token:
            lines.append(f"Authorization: Bearer {self._token.decode('ascii')}")
        return "\r\n".join([*lines, "", ""]).encode("ascii") + body


class Touch:
    """Touches a file, made if it is not there: what watches its modification time sees each swap.

    Args:
        path: of the file.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def __call__(self, event: Event, attempt: int) -> None:  # noqa: ARG002 - as the others
        """Touch it."""
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY, 0o644)
            try:
                os.utime(fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise HookFailed(error.strerror or str(error)) from error
