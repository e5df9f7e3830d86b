"""Proof that a store honours conditional writes, on a scratch key, before the first write of a process.

Stores fail open: one that ignores conditions answers 200 and loses updates. RGW does so in a versioned bucket.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from dagferry_publisher.errors import UnsafeStore
from dagferry_shared import times
from dagferry_shared.errors import Reason, Refused, StoreConflict, StoreError, StoreUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from dagferry_shared.layout import Layout
    from dagferry_shared.store import Store

MAX_SKEW = timedelta(seconds=60)
_TRIES = 2  # a right write that is refused once may have been sent twice on the way; a lost answer says nothing


def _refused(write: Callable[[], str]) -> bool:
    try:
        write()
    except StoreConflict:
        return True
    return False


def prove_conditional_writes(store: Store, layout: Layout) -> None:
    """Show that a second create and a wrong If-Match are refused, and a right one is not.

    Raises:
        UnsafeStore: the store ignores conditions, or never accepts a right one.
        StoreUnreachable: also the second try got no answer.
    """
    for attempt in range(_TRIES):
        key = layout.scratch(secrets.token_hex(16))
        try:
            if _proves(store, key):
                return
        except StoreUnreachable:
            if attempt == _TRIES - 1:
                raise
        finally:
            with suppress(StoreError):  # the proof counts; what is left expires by the bucket's lifecycle rule
                store.discard(key)
    raise UnsafeStore("the store refuses a write whose If-Match is right: it cannot compare and swap")


def _proves(store: Store, key: str) -> bool:
    """Try it on a new key; False if a write was refused that is right, UnsafeStore if one was done that is wrong."""
    try:
        etag = store.create(key, b"1")
    except StoreConflict:
        return False
    again = _refused(lambda: store.create(key, b"2"))
    wrong = _refused(lambda: store.replace(key, b"3", etag="0" * 32))
    if not again or not wrong:
        which = "If-None-Match: *" if not again else "If-Match"
        raise UnsafeStore(
            f"the store ignores {which}, so concurrent writers would lose updates; on Ceph RGW this is a bucket with "
            "versioning or object lock: use an unversioned bucket"
        )
    return not _refused(lambda: store.replace(key, b"4", etag=etag))


def check_clock(store: Store, now: datetime) -> None:
    """Refuse (CLOCK_SKEW) to sign times while this clock and the store's differ by more than a minute."""
    there = store.now()
    if abs(there - now) > MAX_SKEW:
        seconds = int((now - there).total_seconds())
        raise Refused(
            Reason.CLOCK_SKEW,
            f"this clock ({times.show(now)}) is {seconds:+d} s off the store's ({times.show(there)}): set it (NTP)",
        )
