"""A site whose channels were last published on weeks ago, so that a retention run finds something to remove."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING
from unittest.mock import patch

from dagferry_shared import times
from dagferry_shared.store.directory import DirectoryStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from support.sites import Site

DAYS = 60
PRUNE = ("prune", "--keep-days", "10", "--grace", "0s", "--yes")


@contextmanager
def in_the_past(site: Site, days: float = DAYS) -> Iterator[None]:
    """Let what commands in this process do have happened so long ago; what they wrote is that old afterwards."""
    before, real_now, real_there = set(site.store.rglob("*")), times.now, DirectoryStore.now
    back = timedelta(days=days)
    with (
        patch.object(times, "now", lambda: real_now() - back),
        patch.object(DirectoryStore, "now", lambda self: real_there(self) - back),
    ):
        yield
    age([path for path in site.store.rglob("*") if path not in before or path.stat().st_mtime > _day_ago()], days)


def _day_ago() -> float:
    return time.time() - 86400


def age(paths: Sequence[os.PathLike[str]], days: float = DAYS) -> None:
    """Make files that old."""
    when = time.time() - days * 86400
    for path in paths:
        os.utime(path, (when, when))


def publish_long_ago(site: Site, commits: Sequence[str], *arguments: object, days: float = DAYS) -> None:
    """Publish commits, one after the other, so long ago."""
    with in_the_past(site, days):
        for commit in commits:
            site.publish(commit, *arguments)
