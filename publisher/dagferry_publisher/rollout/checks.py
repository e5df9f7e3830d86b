"""Checks between stages: a command, an HTTP address, a Prometheus query. Each ends well, or by CheckFailed, in time."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlencode, urlsplit

from dagferry_publisher.errors import UsageError
from dagferry_publisher.posting import address
from dagferry_shared import names
from dagferry_shared.errors import DagferryError
from dagferry_shared.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from http.client import HTTPConnection

_TAIL = 500  # bytes of a command's output that are shown
_MAX_ANSWER = 1024 * 1024  # bytes of an HTTP answer
_PRIVATE = ("AWS_", "DAGFERRY_RELEASE_KEY", "DAGFERRY_POINTER_KEY", "DAGFERRY_NOTIFY_TOKEN", "DAGFERRY_ANNOUNCE")


class CheckFailed(DagferryError):
    """A check says no; the text says which and why."""


class Check(Protocol):
    """Something that says whether a stage is well."""

    def run(self, facts: Mapping[str, str], seconds: float) -> None:
        """Check once; CheckFailed if it says no, or nothing within its time."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command; exit 0 is well. It gets ``DAGFERRY_ROLLOUT_*``, and neither keys nor credentials."""

    words: tuple[str, ...]

    def run(self, facts: Mapping[str, str], seconds: float) -> None:
        """Run it, and kill it with all that it started when its time is over."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_PRIVATE)}
        environment |= {f"DAGFERRY_ROLLOUT_{name.upper()}": value for name, value in facts.items()}
        shown = shlex.join(self.words)[:80]
        with tempfile.TemporaryFile() as output:
            try:
                process = subprocess.Popen(
                    self.words,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    start_new_session=True,
                )
            except OSError as error:
                raise CheckFailed(f"check {shown!r}: {error.strerror}") from error
            try:
                code = process.wait(seconds)
            except subprocess.TimeoutExpired as error:
                raise CheckFailed(f"check {shown!r} did not end within {seconds:g} s") from error
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            if code:
                size = output.seek(0, os.SEEK_END)
                output.seek(max(0, size - _TAIL))
                said = names.clean_text(output.read().decode("utf-8", "replace"))
                raise CheckFailed(f"check {shown!r} ended with {code}{f': {said}' if said else ''}")


@dataclass(frozen=True, slots=True)
class Http:
    """An address; 2xx is well."""

    url: str

    def run(self, facts: Mapping[str, str], seconds: float) -> None:  # noqa: ARG002 - as the others
        """Get it once."""
        get(self.url, seconds)


@dataclass(frozen=True, slots=True)
class Query:
    """A Prometheus query; well if it finds something, and none of it is 0: ``job:errors:rate5m < 0.01``."""

    server: str
    expression: str

    def run(self, facts: Mapping[str, str], seconds: float) -> None:  # noqa: ARG002 - as the others
        """Ask once."""
        url = f"{self.server.rstrip('/')}/api/v1/query?{urlencode({'query': self.expression})}"
        values = _values(get(url, seconds))
        shown = f"query {self.expression[:80]!r}"
        if not values:
            raise CheckFailed(f"{shown} found nothing")
        if any(value == 0 for value in values):
            raise CheckFailed(f"{shown} is false: {values.count(0)} of {len(values)} series are 0")


def _values(raw: bytes) -> list[float]:
    """Return the values of an answer of Prometheus' query API; what it says is as hostile as any answer."""
    try:
        data = json.loads(raw)["data"]
        samples = [data["result"]] if data["resultType"] == "scalar" else [one["value"] for one in data["result"]]
        return [float(value) for _, value in samples]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckFailed("the query's answer is not one of Prometheus") from error


def get(url: str, seconds: float) -> bytes:
    """Get an address once; CheckFailed unless it answers 2xx in time. Redirects and proxies are not followed."""
    from http.client import HTTPConnection, HTTPSConnection  # noqa: PLC0415 - 20 ms

    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=seconds)
    try:
        return Pool(1, "check").submit(lambda: _get(connection, url)).result(seconds)
    except TimeoutError as error:
        _break(connection)  # one that drips would go on for ever
        raise CheckFailed(f"{_shown(url)} did not answer within {seconds:g} s") from error


def _shown(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"[:120]


def _break(connection: HTTPConnection) -> None:
    with suppress(OSError):
        if connection.sock is not None:
            connection.sock.shutdown(socket.SHUT_RDWR)


def _get(connection: HTTPConnection, url: str) -> bytes:
    from http.client import HTTPException  # noqa: PLC0415 - as above

    parts, shown = urlsplit(url), _shown(url)
    try:
        connection.request("GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
        response = connection.getresponse()
        body = response.read(_MAX_ANSWER)
    except TimeoutError:
        raise
    except (OSError, HTTPException, UnicodeError) as error:
        why = names.clean_text(getattr(error, "strerror", None) or str(error))[:100]
        raise CheckFailed(f"{shown}: {why}") from error
    finally:
        connection.close()
    if not 200 <= response.status < 300:
        raise CheckFailed(f"{shown} answered {response.status}")
    return body


def read(commands: Sequence[str], urls: Sequence[str], queries: Sequence[str], prometheus: str | None) -> list[Check]:
    """Make the checks that were asked for; UsageError says which one is wrong."""
    found: list[Check] = []
    for text in commands:
        try:
            words = tuple(shlex.split(text))
        except ValueError as error:
            raise UsageError(f"--check {text[:40]!r} cannot be split into words: {error}") from error
        if not words:
            raise UsageError("--check is empty")
        found.append(Command(words))
    found += [Http(_plain(url, "check-url")) for url in urls]
    if queries and not prometheus:
        raise UsageError("--check-query needs --prometheus")
    return found + [Query(_plain(prometheus or "", "prometheus"), query) for query in queries]


def _plain(url: str, option: str) -> str:
    parts = address(url, option)
    if "@" in parts.netloc:
        raise UsageError(f"--{option} takes no credentials in the address")
    return url
