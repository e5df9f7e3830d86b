"""Thousands of simulated pullers in one process: the very requests of a real one, by asyncio; no verifying, no volume.

Each has a connection of its own that it keeps, a period of its own with the same jitter, and what a real one reads:
the pointer on a condition; when it is another one, its release and its archive. Told by lines on stdin: ``notify
SECONDS`` (all look, spread over so long), ``report`` (print what was seen since the last report as JSON), ``end``.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import random
import sys
import time
from dataclasses import dataclass, field
from typing import Any

EMPTY = hashlib.sha256(b"").hexdigest()
JITTER = 0.2  # as in dagferry_puller.backoff


class Requests:
    """Signed requests as obstore makes them; the signature is good for a second, and equal for all clients."""

    def __init__(self, host: str, key: str, secret: str) -> None:
        self._host, self._key, self._secret = host, key, secret
        self._made: dict[str, tuple[str, bytes]] = {}

    def get(self, path: str, etag: str = "") -> bytes:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        if self._made.get(path, ("",))[0] != stamp:
            self._made[path] = (stamp, self._sign(path, stamp))
        condition = f'if-none-match: "{etag}"\r\n'.encode() if etag else b""
        return self._made[path][1] + condition + b"\r\n"

    def _sign(self, path: str, stamp: str) -> bytes:
        day, signed = stamp[:8], "host;x-amz-content-sha256;x-amz-date"
        headers = f"host:{self._host}\nx-amz-content-sha256:{EMPTY}\nx-amz-date:{stamp}\n"
        canonical = f"GET\n{path}\n\n{headers}\n{signed}\n{EMPTY}"
        scope = f"{day}/us-east-1/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = b"AWS4" + self._secret.encode()
        for word in (day, "us-east-1", "s3", "aws4_request"):
            key = hmac.digest(key, word.encode(), "sha256")
        signature = hmac.new(key, text.encode(), "sha256").hexdigest()
        return (
            f"GET {path} HTTP/1.1\r\nx-amz-date: {stamp}\r\nx-amz-content-sha256: {EMPTY}\r\n"
            f"authorization: AWS4-HMAC-SHA256 Credential={self._key}/{scope}, SignedHeaders={signed}, "
            f"Signature={signature}\r\naccept: */*\r\nuser-agent: dagferry-puller/0.1.0\r\nhost: {self._host}\r\n"
        ).encode()


@dataclass
class Seen:
    """What all clients saw since the last report."""

    looks: list[tuple[float, float]] = field(default_factory=list)  # when (monotonic), and seconds it took
    live: list[float] = field(default_factory=list)  # seconds from the pointer's signing to the archive's last byte
    first: int = 0  # clients that have read a whole version for the first time
    bytes: int = 0
    requests: int = 0
    connections: int = 0
    errors: int = 0


class Client:
    """One puller."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._etag = ""
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def run(self, delay: float) -> None:
        await self._fleet.wait(delay)
        while True:
            period = self._fleet.period
            try:
                await asyncio.wait_for(self._look(), 30)
            except (OSError, EOFError, TimeoutError, asyncio.IncompleteReadError):
                self._fleet.seen.errors += 1
                self._drop()
                period *= 2  # as a real one after its first failure
            await self._fleet.wait(period * random.uniform(1 - JITTER, 1 + JITTER))

    def _drop(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = None

    async def _look(self) -> None:
        began = time.monotonic()
        etag, body = await self._get(self._fleet.pointer, self._etag)
        self._fleet.seen.looks.append((began, time.monotonic() - began))
        if body is None:
            return
        pointer = json.loads(base64.b64decode(json.loads(body)["payload"]))
        _, raw = await self._get(f"{self._fleet.base}releases/{pointer['release']}.json")
        assert raw is not None
        release = json.loads(base64.b64decode(json.loads(raw)["payload"]))
        digest = release["subject"][0]["digest"]["sha256"]
        _, archive = await self._get(f"{self._fleet.base}archives/{digest}.tar.zst")
        if archive is None or hashlib.sha256(archive).hexdigest() != digest:
            raise OSError("another archive")
        is_first, self._etag = not self._etag, etag
        if is_first:
            self._fleet.seen.first += 1
        else:
            self._fleet.seen.live.append(time.time() - _instant(pointer["issued"]))

    async def _get(self, path: str, etag: str = "") -> tuple[str, bytes | None]:
        """Send a request on the kept connection; once more on a new one if the store has closed it meanwhile.

        Returns ETag and content; None for one that is as it was. OSError for any other answer.
        """
        for attempt in (1, 2):
            if self._writer is None:
                host, port = self._fleet.address
                self._reader, self._writer = await asyncio.open_connection(host, port)
                self._fleet.seen.connections += 1
            try:
                status, found, body = await self._exchange(path, etag)
                break
            except (OSError, asyncio.IncompleteReadError):
                self._drop()
                if attempt == 2:
                    raise
        if status not in {200, 304}:
            raise OSError(f"status {status}")
        return found, None if status == 304 else body

    async def _exchange(self, path: str, etag: str) -> tuple[int, str, bytes]:
        assert self._reader is not None
        assert self._writer is not None
        request = self._fleet.requests.get(path, etag)
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines[1:] if line)}
        status = int(lines[0].split()[1])
        body = b"" if status == 304 else await self._reader.readexactly(int(headers.get("content-length", 0)))
        self._fleet.seen.requests += 1
        self._fleet.seen.bytes += len(request) + len(head) + len(body)
        return status, headers.get("etag", "").strip('"'), body


def _instant(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


class Fleet:
    """All of them.

    Args:
        given: endpoint (host, port), key, secret, pointer (a path), count, period, and spread (seconds in which
            they start).
    """

    def __init__(self, given: dict[str, Any]) -> None:
        self.address = given["host"], given["port"]
        self.requests = Requests(f"{given['host']}:{given['port']}", given["key"], given["secret"])
        self.pointer, self.period = given["pointer"], given["period"]
        self.base = given["pointer"].partition("channels/")[0]
        self.seen = Seen()
        self._count, self._spread = given["count"], given["spread"]
        self._now, self._late = asyncio.Event(), 0.0

    async def wait(self, seconds: float) -> None:
        """Wait for the time, or for a notification."""
        try:
            await asyncio.wait_for(self._now.wait(), seconds)
        except TimeoutError:
            return
        await asyncio.sleep(random.uniform(0, self._late))

    async def run(self) -> None:
        delays = [random.uniform(0, self._spread) for _ in range(self._count)]
        tasks = [asyncio.create_task(Client(self).run(delay)) for delay in delays]
        loop = asyncio.get_running_loop()
        while (line := await loop.run_in_executor(None, sys.stdin.readline)).strip() not in {"", "end"}:
            word, _, seconds = line.strip().partition(" ")
            if word == "notify":
                self._late = float(seconds)
                self._now.set()
                self._now = asyncio.Event()
            else:
                seen, self.seen = self.seen, Seen()
                print(json.dumps(vars(seen)), flush=True)
        for task in tasks:
            task.cancel()


if __name__ == "__main__":
    asyncio.run(Fleet(json.loads(sys.argv[1])).run())
