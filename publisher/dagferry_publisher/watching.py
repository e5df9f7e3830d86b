"""When a work tree changes: the only module that knows watchdog. A hint, never the truth: git says what has changed."""

from __future__ import annotations

import errno
import os
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from watchdog.events import FileSystemEventHandler
from watchdog.observers import Observer

from dagferry_publisher.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from watchdog.events import FileSystemEvent
    from watchdog.observers.api import ObservedWatch

QUIET_SECONDS = 0.1  # without a change before it is taken: an editor writes a file in several steps
LONGEST_SECONDS = 1.0  # from the first change on: something that never rests delays nothing for ever
_READING = frozenset({"opened", "closed_no_write"})  # git's own looks, among others


class Changes(FileSystemEventHandler):
    """Watches directories; ``wait`` returns when one has changed, and then rested for a moment.

    A directory that is removed and made again is watched again by ``renew``. Events may be lost (the kernel's queue is
    bounded), so whoever waits also looks now and then.

    Args:
        directories: watched with all below them, ``.git`` aside.
    """

    def __init__(self, directories: Sequence[Path]) -> None:
        self._watches: dict[str, ObservedWatch | None] = {os.fspath(path): None for path in directories}
        self._changed = threading.Event()
        self._observer = Observer()

    def __enter__(self) -> Self:
        self._observer.start()
        self.renew()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._observer.stop()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Take note of a change. Called by the observer's thread."""
        paths = [os.fsdecode(path) for path in (event.src_path, event.dest_path) if path]
        if event.event_type in _READING or all(".git" in path.split(os.sep) for path in paths):
            return
        if event.event_type in {"deleted", "moved"} and paths[0] in self._watches:
            self._watches[paths[0]] = None
        self._changed.set()

    def renew(self) -> None:
        """Watch what is not watched and is there.

        Raises:
            UsageError: the kernel has no room for more watches.
        """
        for path, watch in self._watches.items():
            if watch is not None:
                continue
            with suppress(FileNotFoundError, NotADirectoryError):  # until it is made again
                self._watches[path] = self._watch(path)

    def wait(self, seconds: float) -> float | None:
        """Wait for a change, and until it rests.

        Args:
            seconds: to wait for one at most.

        Returns:
            When the first one was seen (monotonic seconds); None if there was none.
        """
        if not self._changed.wait(seconds):
            return None
        first = time.monotonic()
        while True:
            self._changed.clear()
            left = min(QUIET_SECONDS, first + LONGEST_SECONDS - time.monotonic())
            if left <= 0 or not self._changed.wait(left):
                return first

    def _watch(self, path: str) -> ObservedWatch:
        for old in [watch for watch in self._known() if watch.path == path]:
            with suppress(KeyError):
                self._observer.unschedule(old)
        if not os.path.isdir(path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        try:
            return self._observer.schedule(self, path, recursive=True)
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EMFILE}:
                raise UsageError(
                    f"{path} cannot be watched: raise fs.inotify.max_user_watches and max_user_instances (sysctl)"
                ) from error
            raise

    def _known(self) -> Sequence[ObservedWatch]:
        return [emitter.watch for emitter in self._observer.emitters]
