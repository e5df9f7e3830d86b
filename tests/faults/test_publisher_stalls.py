"""A store that takes requests and never answers, from any request of a publish on: given up after a few of them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pytest

from dagferry_publisher import patience
from dagferry_publisher.cli import session
from dagferry_publisher.s3store import S3Store, Timeouts
from dagferry_shared.store.url import parse_store_url
from support import faults
from support.buckets import Bucket
from support.moto_server import MotoServer
from support.publishing import OK, UNREACHABLE, actions, problems, seen_by_a_puller
from support.scale import LONG
from support.sitefixtures import keys, line, shared_repo, site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.proxy import Exchange, Fault
    from support.sites import Site

__all__ = ["keys", "line", "shared_repo", "site"]

SHORT = Timeouts(connect_seconds=2.0, read_seconds=0.15, upload_seconds=0.15)
MOST = 6  # requests that wait for their time-outs: a conditional write, two others of two attempts each, one to spare


def opened(url: str) -> S3Store:
    parsed = parse_store_url(url)
    return S3Store(parsed.bucket_or_path, parsed.prefix, timeouts=SHORT)


@pytest.fixture
def bucket(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """A bucket; commands run in this process, with one client, and give up after half a second."""
    once = functools.cache(opened)
    monkeypatch.setattr(session, "open_store", once)
    monkeypatch.setattr(patience, "_LEAST_SECONDS", 0.5)
    with MotoServer() as moto, Bucket(site, moto, monkeypatch) as made:
        yield made
        once(site.dagctl.environ["DAGFERRY_STORE"]).close()


def silent_from(number: int, bucket: Bucket) -> list[Exchange]:
    """Let all requests stall from now on but for so many; returns a list that gets them."""
    first = len(bucket.proxy.requests) + number
    stalled: list[Exchange] = []

    def script(exchange: Exchange) -> Fault | None:
        if exchange.number < first:
            return None
        stalled.append(exchange)
        return faults.stall

    bucket.proxy.lifted.clear()
    bucket.proxy.script = script
    return stalled


def test_a_store_that_falls_silent_at_any_request_is_given_up_and_the_chain_is_whole(
    bucket: Bucket, site: Site, line: list[str], record_property: Callable[[str, object], None]
) -> None:
    site.publish(line[0])
    before, first = bucket.objects(), len(bucket.proxy.requests)
    site.publish(line[1])
    requests = bucket.proxy.requests[first:]
    end = actions(bucket.chain())
    numbers = range(len(requests)) if LONG else [at for at in range(len(requests)) if at % 3 == 0 or kind(requests[at])]
    for number in numbers:
        bucket.bring_back(before)
        stalled = silent_from(number, bucket)
        result = site.dagctl.ended("publish", "--commit", line[1], "--ref", "main")
        bucket.proxy.heal()
        what = f"{requests[number].method} {requests[number].path}: {result}"
        assert result.code == UNREACHABLE or (result.code == OK and "/scratch/" in requests[number].path), what
        assert 1 <= len(stalled) <= MOST, f"{len(stalled)} {what}"
        seen_by_a_puller(bucket.chain())
        site.publish(line[1])
        assert actions(bucket.chain()) == end, what
        assert problems(bucket.chain()) == [], what
    record_property("stalls of a publish", len(numbers))


def kind(exchange: Exchange) -> bool:
    """Whether it is a write of the channel, or of what the channel names."""
    return exchange.method == "PUT" and "/scratch/" not in exchange.path
