"""Which versions stay on the volume: a pure plan with a reason for each, and the one way to carry it out."""

from __future__ import annotations

import fcntl
import os
from enum import StrEnum
from typing import TYPE_CHECKING

from dagferry_puller import fsio
from dagferry_shared.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dagferry_puller.root import Root


class Why(StrEnum):
    """Why a version is kept or goes."""

    LIVE = "live"
    PREVIOUS = "previous"
    AMONG_NEWEST = "among the newest"
    RECENT = "live not long ago"
    LEASED = "leased"
    OLD = "old and unused"


@dataclass(frozen=True, slots=True)
class Policy:
    """What to keep at least.

    Attributes:
        keep: number of versions, the live one counted.
        seconds: how long a version stays after it was live; readers on other nodes are promised this alone.
    """

    keep: int = 3
    seconds: int = 24 * 3600


def plan(
    left: Mapping[str, int], *, live: str | None, previous: str | None, policy: Policy, now: int
) -> dict[str, Why]:
    """Decide about each version; leases are looked at when the plan is carried out.

    Args:
        left: versions on the volume, with when each stopped being live (seconds since 1970); those that did so in the
            same second in their order, the last one first.
        live: the version that the link names.
        previous: the one before: readers may still resolve it.
        policy: what to keep.
        now: seconds since 1970.
    """
    pinned = {version: why for version, why in ((previous, Why.PREVIOUS), (live, Why.LIVE)) if version in left}
    result = {version: why for version, why in pinned.items() if version}
    rest = sorted((version for version in left if version not in result), key=lambda version: -left[version])
    for version in rest:
        if len(result) < policy.keep:
            result[version] = Why.AMONG_NEWEST
        elif left[version] > now - policy.seconds:
            result[version] = Why.RECENT
        else:
            result[version] = Why.OLD
    return result


def make_lease(root: Root, version: str) -> None:
    """Make the file that readers lock, before the version can become live."""
    fd = os.open(version, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=root.leases)
    with fsio.closing(fd):
        os.fchmod(fd, 0o644)


def retire(root: Root, version: str) -> bool:
    """Remove a version unless it is leased; False if it is.

    While the exclusive lock is held no reader gets in; one that opened the lease before finds another or no file at
    its path and starts over.
    """
    make_lease(root, version)
    lease = os.open(version, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root.leases)
    with fsio.closing(lease):
        try:
            fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        aside = fsio.random_name(fsio.RETIRED)
        os.rename(version, aside, src_dir_fd=root.versions, dst_dir_fd=root.versions)
        try:
            os.unlink(version, dir_fd=root.leases)
            root.fsync(root.versions)
        finally:
            fsio.discard(aside, root.versions)
    return True


def drop_orphan_leases(root: Root, versions: Iterable[str]) -> None:
    """Remove leases of versions that are gone: a crash came between the two."""
    for name in set(os.listdir(root.leases)) - set(versions):
        fsio.discard(name, root.leases)
