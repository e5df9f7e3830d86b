"""An S3 endpoint that serves a simulator's directory, and tells a lie about any kind of object."""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dagferry_puller.s3reader import S3Reader, Timeouts
from support.raw_server import RawServer, failure, reply

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from support.raw_server import Answer

    Lie = Callable[[bytes], Answer]  # what is answered instead of the bytes that lie in the store

SHORT = Timeouts(connect_seconds=2.0, read_seconds=0.3, get_seconds=0.5, stream_seconds=0.5)
PATIENT = Timeouts()  # what a real puller has: a test that does not wait for them does not depend on them
_KIND = re.compile(r"/(pointer)\.json|/(archive|release|history)")


@dataclass(frozen=True)
class Asked:
    """A request.

    Attributes:
        kind: pointer, release, archive or history.
        path: with the bucket.
        headers: names in lower case.
        at: monotonic seconds.
    """

    kind: str
    path: str
    headers: dict[str, str]
    at: float = field(default_factory=time.monotonic)


class HostileStore(RawServer):
    """Serves ``s3://bucket`` from a directory.

    Args:
        directory: where the objects are.

    Attributes:
        lies: by kind of object; honest where there is none.
        asked: all requests.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory
        self.lies: dict[str, Lie] = {}
        self.asked: list[Asked] = []

    @property
    def environ(self) -> dict[str, str]:
        """What a client needs to reach it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "AKIDSHOWNNOWHERE",
            "AWS_SECRET_ACCESS_KEY": "SECRETSHOWNNOWHERE",
            "AWS_REGION": "us-east-1",
        }

    def reader(self, home: Path, timeouts: Timeouts = PATIENT) -> S3Reader:
        """Return the puller's reader on it."""
        return S3Reader("bucket", environ=self.environ, home=home, timeouts=timeouts)

    def _answer(self, connection: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            chunk = connection.recv(65536)
            if not chunk:
                return
            request += chunk
        first, *lines = request.decode().rstrip().split("\r\n")
        path = first.split(" ")[1]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        kind = next((a or b for a, b in _KIND.findall(path)), "")
        self.asked.append(Asked(kind, path, headers))
        file = self._directory / path.removeprefix("/bucket/")
        if kind in self.lies:
            self.lies[kind](file.read_bytes())(connection)
        elif file.is_file():
            honest(file.read_bytes(), headers)(connection)
        else:
            failure("404 Not Found", "NoSuchKey")(connection)


def etag_of(data: bytes) -> str:
    """Return the ETag of an honest answer."""
    return f'"{hashlib.md5(data).hexdigest()}"'


def honest(data: bytes, headers: dict[str, str]) -> Answer:
    """What a store answers."""
    etag = etag_of(data)
    if headers.get("if-none-match") == etag:
        return reply("304 Not Modified", ETag=etag)
    wanted = re.fullmatch(r"bytes=(\d+)-", headers.get("range", ""))
    if wanted is None:
        return reply("200 OK", data, ETag=etag)
    start = int(wanted[1])
    content_range = f"bytes {start}-{len(data) - 1}/{len(data)}"
    return reply("206 Partial Content", data[start:], ETag=etag, Content_Range=content_range)
