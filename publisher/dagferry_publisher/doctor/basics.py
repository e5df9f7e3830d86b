"""What is looked at in any store; nothing is written but scratch keys."""

from __future__ import annotations

import secrets
import time
from contextlib import suppress
from statistics import median
from typing import TYPE_CHECKING

from dagferry_publisher import trustedit
from dagferry_publisher.doctor.result import Result, unchecked
from dagferry_publisher.errors import UnsafeStore
from dagferry_publisher.proof import MAX_SKEW, prove_conditional_writes
from dagferry_shared.errors import DagferryError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from dagferry_shared.layout import Layout
    from dagferry_shared.store import Store
    from dagferry_shared.trust import TrustFile

CONDITIONS = "conditional writes"
_LOOKS = 10
_SLOW_SECONDS = 0.03  # of a GET on a kept-alive connection: Nagle and a delayed ACK make it 40 ms
_LIMIT = 1024


def check_clock(store: Store, now: Callable[[], datetime]) -> Result:
    """Compare the clocks; any answer of the store is enough, so this also says whether it is there."""
    try:
        there = store.now()
    except StoreError as error:
        return Result("store", "failure", str(error), "check the store URL, AWS_ENDPOINT_URL_S3 and the network")
    skew = (now() - there).total_seconds()
    if abs(skew) > MAX_SKEW.total_seconds():
        seen = f"it answers; this clock is {skew:+.0f} s off the store's"
        return Result(
            "store", "failure", seen, "set the clock (NTP) here or on the gateways: nothing is signed like this"
        )
    return Result("store", "ok", "it answers; the clocks agree to a minute")


def check_rights(store: Store, layout: Layout) -> Result:
    """Try what a publisher does, each on a scratch key: create, read, HEAD, list."""
    check, key = "publisher's rights", layout.scratch(f"doctor-{secrets.token_hex(8)}")
    tries: tuple[tuple[str, Callable[[], object]], ...] = (
        ("create", lambda: store.create(key, b"doctor")),
        ("read", lambda: store.get(key, limit=_LIMIT)),
        ("HEAD", lambda: store.head(key)),
        ("list", lambda: next(iter(store.keys(layout.scratch(""))), None)),
    )
    done: list[str] = []
    for name, attempt in tries:
        try:
            attempt()
        except StoreError as error:
            may = f"may {', '.join(done)}; " if done else ""
            cure = "give these keys PutObject, GetObject and ListBucket on the store's prefix (they need no delete)"
            return Result(check, "failure", f"{may}cannot {name}: {error}", cure)
        done.append(name)
    deletes = ""
    with suppress(StoreError):
        store.discard(key)
        deletes = "; may delete, too, which it need not" if store.head(key) is None else "; may not delete: good"
    return Result(check, "ok", f"may {', '.join(done)}{deletes}")


def check_conditions(store: Store, layout: Layout) -> Result:
    """Prove conditional writes, as every command that writes does."""
    try:
        prove_conditional_writes(store, layout)
    except UnsafeStore as error:
        cure = "take a store that honours If-None-Match and If-Match; on Ceph RGW a bucket neither versioned nor locked"
        return Result(CONDITIONS, "failure", str(error), cure)
    except StoreError as error:
        return unchecked(CONDITIONS, str(error))
    return Result(CONDITIONS, "ok", "a second create and a wrong If-Match are refused, a right one is not")


def check_latency(store: Store, layout: Layout, clock: Callable[[], float] = time.perf_counter) -> Result:
    """Time GETs of a small object on a connection that is kept alive; the first one, which may connect, is left out."""
    key = layout.scratch(f"doctor-{secrets.token_hex(8)}")
    took = []
    try:
        store.create(key, b"doctor")
        for _ in range(1 + _LOOKS):
            begin = clock()
            store.get(key, limit=_LIMIT)
            took.append(clock() - begin)
    except StoreError as error:
        return unchecked("latency", str(error))
    finally:
        with suppress(StoreError):
            store.discard(key)
    usual = median(took[1:])
    seen = f"{usual * 1000:.1f} ms for a small GET (median of {_LOOKS})"
    if usual < _SLOW_SECONDS:
        return Result("latency", "ok", seen)
    cure = "a far store, or, at 40 ms on Ceph RGW, Nagle: put tcp_nodelay=1 on the beast line of rgw_frontends"
    return Result("latency", "warning", seen, cure)


def check_trust(read: Callable[[], TrustFile], bundle: str, channel: str | None) -> Result:
    """Read the trust file as a puller does."""
    check = "trust file"
    try:
        trusted = read()
    except DagferryError as error:
        return Result(check, "failure", str(error), "dagctl trust check says what is wrong")
    if trusted.bundle != bundle:
        return Result(
            check, "failure", f"it is of bundle {trusted.bundle}, not {bundle}", "give the right --trust or --bundle"
        )
    if channel is not None:
        try:
            trusted.channel(channel)
        except DagferryError as error:
            return Result(check, "failure", str(error), "add the channel: dagctl trust init --add")
    warned = [line.strip().removeprefix("warning: ") for line in trustedit.explain(trusted) if "  warning: " in line]
    if warned:
        return Result(
            check,
            "warning",
            "; ".join(dict.fromkeys(warned)),
            "use a release key of its own, which only protected refs can read",
        )
    return Result(
        check, "ok", f"bundle {trusted.bundle}, epoch {trusted.epoch}, channels {', '.join(sorted(trusted.channels))}"
    )
