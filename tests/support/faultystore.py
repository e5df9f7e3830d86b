"""A real store behind a faulty line: answers get lost, writes arrive late, the process dies at a chosen request."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from dagferry_shared.errors import StoreConflict, StoreUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from datetime import datetime

    from dagferry_shared.store import Blob, BlobInfo, Store

    T = TypeVar("T")


class Crash(BaseException):
    """The process is killed here: nothing after this runs."""


class Fault(Enum):
    """What happens to one request."""

    CRASH_BEFORE = "the process dies before the request is sent"
    CRASH_AFTER = "the process dies after the request is done"
    LOST_BEFORE = "the request is lost"
    LOST_AFTER = "the request is done, its answer is lost"
    LATE = "the answer is lost, and the request is done just before the next write"
    LATE_1 = "the answer is lost, and the request is done just before the first request after it"
    LATE_2 = "… the second …"
    LATE_3 = "… the third …"
    LATE_4 = "… the fourth …"
    CONFLICT_AFTER = "the request is done, and answered with 412 (a proxy sent it twice)"


_DELAYS = {Fault.LATE_1: 1, Fault.LATE_2: 2, Fault.LATE_3: 3, Fault.LATE_4: 4}  # requests


class FaultyStore:
    """A Store over another one.

    Args:
        inner: the real one.
        fault: called with (number of the request from 0, method, key); what it returns happens to that request.
    """

    def __init__(self, inner: Store, fault: Callable[[int, str, str], Fault | None]) -> None:
        self.inner = inner
        self.log: list[tuple[str, str]] = []
        self._fault = fault
        self._late: list[Callable[[], object]] = []
        self._due = -1  # number of the request before which they arrive, at the latest before the next write

    def _do(self, method: str, key: str, request: Callable[[], T]) -> T:
        number = len(self.log)
        self.log.append((method, key))
        fault = self._fault(number, method, key)
        if method in {"create", "replace", "put"} or self._due == number:
            self.settle()
        if fault is Fault.CRASH_BEFORE:
            raise Crash
        late = fault is Fault.LATE or fault in _DELAYS
        if late:
            self._late.append(request)
            self._due = number + _DELAYS[fault] if fault in _DELAYS else -1
        if late or fault is Fault.LOST_BEFORE:
            raise StoreUnreachable("the line is down")
        try:
            return request()
        finally:  # whatever the answer is, nobody hears it
            if fault is Fault.CRASH_AFTER:
                raise Crash
            if fault is Fault.LOST_AFTER:
                raise StoreUnreachable("the answer is lost")
            if fault is Fault.CONFLICT_AFTER:
                raise StoreConflict("412")

    def settle(self) -> None:
        """Let late requests arrive; the store judges their conditions now."""
        late, self._late = self._late, []
        for request in late:
            try:
                request()
            except StoreConflict:
                self.log.append(("late", "refused"))

    def get(self, key: str, *, limit: int, if_none_match: str | None = None) -> Blob | None:
        return self._do("get", key, lambda: self.inner.get(key, limit=limit, if_none_match=if_none_match))

    def stream(self, key: str, *, limit: int) -> Generator[bytes]:
        yield from self._do("stream", key, lambda: list(self.inner.stream(key, limit=limit)))

    def head(self, key: str) -> BlobInfo | None:
        return self._do("head", key, lambda: self.inner.head(key))

    def put(self, key: str, body: bytes | BinaryIO) -> None:
        self._do("put", key, lambda: self.inner.put(key, body))

    def create(self, key: str, data: bytes) -> str:
        return self._do("create", key, lambda: self.inner.create(key, data))

    def replace(self, key: str, data: bytes, *, etag: str) -> str:
        return self._do("replace", key, lambda: self.inner.replace(key, data, etag=etag))

    def keys(self, prefix: str) -> Iterator[str]:
        return self._do("keys", prefix, lambda: iter(list(self.inner.keys(prefix))))

    def discard(self, key: str) -> None:
        self._do("discard", key, lambda: self.inner.discard(key))

    def now(self) -> datetime:
        return self._do("now", "", self.inner.now)
