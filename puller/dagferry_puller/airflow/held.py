"""Versions that this process uses: leased while anybody here refers to them, and for an hour after that.

Airflow keeps paths longer than bundles. The dag-processor parses what is in its queue from the directory that was
current when it was queued, and drops the bundle of a callback before the callback's process starts. So a lease outlives
its bundle. A process that is forked meanwhile holds it as well, until it ends: a lock belongs to the open file, which
both have.
"""

from __future__ import annotations

import os
import time
import weakref
from contextlib import ExitStack
from typing import TYPE_CHECKING

from dagferry_puller import leases

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 3600.0  # more than any queue of files takes; dag_file_processor_timeout is 50 s by default


class Held:
    """A leased version; the lease ends with the last reference to it.

    Attributes:
        version: id.
        path: its real directory.
        stamp: its modification time when it was leased, nanoseconds since 1970: what a swap gives all that it changes.
    """

    def __init__(self, root: str, link: str, version: str | None) -> None:
        stack = ExitStack()
        self.version, self.path = stack.enter_context(leases.lease(root, link, version))
        self.stamp = os.stat(self.path).st_mtime_ns
        weakref.finalize(self, stack.close).atexit = False  # a process that ends gives its locks up anyway


class Recent:
    """The versions that were handed out within the last hour.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._held: list[tuple[float, Held]] = []

    def hold(self, root: str, link: str = "current", version: str | None = None) -> Held:
        """Lease a version, or what the link names, for the caller and for the next hour.

        Raises:
            NoVersion: it is not there.
        """
        held, now = Held(root, link, version), self._clock()
        kept = [(since, other) for since, other in self._held if now - since < SECONDS and other.path != held.path]
        self._held = [*kept, (now, held)]
        return held


recent = Recent()
