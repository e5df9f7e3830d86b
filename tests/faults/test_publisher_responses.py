"""Answers of an S3 store that get lost, lie or come twice, and requests that arrive late, whichever request it is.

A command that says "done" is in the chain, once; one that fails says so by its exit code, and can be run again.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pytest

from dagferry_publisher.cli import session
from support import faults
from support.buckets import Bucket
from support.faults import INTERNAL, SLOW_DOWN, answer, done_then, error
from support.moto_server import MotoServer
from support.publishing import (
    CONFLICT,
    OK,
    OPERATIONS,
    REFUSED,
    UNREACHABLE,
    actions,
    prepare,
    problems,
    seen_by_a_puller,
    words,
)
from support.scale import LONG
from support.sitefixtures import keys, line, shared_repo, site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.proxy import Exchange, Fault
    from support.sites import Site

__all__ = ["keys", "line", "shared_repo", "site"]

NOT_FOUND = 8


def half_an_answer(exchange: Exchange) -> None:
    """The request is done; the connection breaks in the middle of the answer's head."""
    exchange.send(exchange.forward()[:40])
    exchange.reset()


MEANWHILE = error("409 Conflict", "ConditionalRequestConflict")
PRECONDITION = error("412 Precondition Failed", "PreconditionFailed")
GONE = error("404 Not Found", "NoSuchKey")
LOST = (faults.reset_before, faults.reset_after, faults.close_after, half_an_answer)
ERRORS = (INTERNAL, done_then(INTERNAL), faults.BAD_GATEWAY, SLOW_DOWN, done_then(SLOW_DOWN))
LIES = (PRECONDITION, done_then(PRECONDITION), MEANWHILE, answer("200 OK"))
WRITES: tuple[Fault, ...] = (*LOST, *ERRORS, *LIES, faults.twice)
FALSE = (GONE, faults.empty_body)
SEEN = {REFUSED, CONFLICT, UNREACHABLE, NOT_FOUND}  # what a false object may be taken for
READS: tuple[Fault, ...] = (*FALSE, faults.reset_after, INTERNAL, faults.reset_in_body)


@pytest.fixture(scope="session")
def moto() -> Iterator[MotoServer]:
    with MotoServer() as server:
        yield server


@pytest.fixture
def bucket(site: Site, moto: MotoServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """A bucket; commands run in this process, with one client, and do not pause."""
    with Bucket(site, moto, monkeypatch) as made:
        opened = functools.cache(session.open_store)
        monkeypatch.setattr(session, "open_store", opened)
        monkeypatch.setattr("dagferry_publisher.transaction.time.sleep", lambda _: None)
        yield made
        opened(site.dagctl.environ["DAGFERRY_STORE"]).close()  # type: ignore[attr-defined]


def on(number: int, fault: Fault, bucket: Bucket) -> None:
    """Let a fault happen to one request from now on."""
    number += len(bucket.proxy.requests)
    bucket.proxy.script = lambda exchange: fault if exchange.number == number else None


def on_write(key: str, fault: Fault, bucket: Bucket) -> list[Exchange]:
    """Let a fault happen to the next write of such a key; returns a list that has the request then."""
    hit: list[Exchange] = []

    def script(exchange: Exchange) -> Fault | None:
        if hit or exchange.method != "PUT" or key not in exchange.path:
            return None
        hit.append(exchange)
        return fault

    bucket.proxy.script = script
    return hit


def disturbances(name: str, requests: list[Exchange]) -> list[tuple[int, Fault]]:
    """Choose which fault happens to which request: all to the writes of the channel; in the long form, all to all.

    In the short form, some to the writes of archive and release, and one to each other request, of a publish alone.
    """
    chosen: list[tuple[int, Fault]] = []
    for number, request in enumerate(requests):
        fitting = WRITES if request.method == "PUT" else READS
        if LONG or (request.method == "PUT" and "/channels/" in request.path):
            chosen += [(number, fault) for fault in fitting]
        elif name == "publish" and request.method == "PUT" and "/scratch/" not in request.path:
            chosen += [(number, fault) for fault in WRITES[number % 3 :: 3]]
        elif name == "publish":
            chosen.append((number, fitting[number % len(fitting)]))
    return chosen


@pytest.mark.parametrize("name", OPERATIONS if LONG else ["publish", "first publish", "refresh"])
def test_a_lost_or_lying_answer_is_neither_a_lost_nor_a_doubled_entry(
    bucket: Bucket, site: Site, line: list[str], name: str, record_property: Callable[[str, object], None]
) -> None:
    operation = OPERATIONS[name]
    command = operation.words(line)
    prepare(site, line, operation, bucket.remove)
    before = bucket.objects()
    first = len(bucket.proxy.requests)
    site.dagctl(*command, code=operation.code)
    requests = bucket.proxy.requests[first:]
    tried = disturbances(name, requests)
    end = actions(bucket.chain())
    for number, fault in tried:
        request = requests[number]
        bucket.bring_back(before)
        on(number, fault, bucket)
        result = site.dagctl.ended(*command)
        bucket.proxy.heal()
        what = f"{request.method} {request.path}, {fault.__name__}: {result}"
        seen_by_a_puller(bucket.chain())
        if request.method == "PUT" and "/history/" in request.path:  # what is live is not reported as failed
            assert result.code == operation.code, what
        if result.code == operation.code:
            assert actions(bucket.chain()) == end, what
            continue
        assert result.code in (SEEN if fault in FALSE else {UNREACHABLE}), what
        site.dagctl(*command, code=operation.code)
        assert actions(bucket.chain()) in ([end, end + end[-1:]] if operation.repeats else [end]), what
        assert problems(bucket.chain()) == [], what
    record_property("lost or false answers", len(tried))


@pytest.mark.parametrize("number", [1, 4], ids=["create", "replace"])
def test_a_proof_that_the_line_sent_twice_is_no_unsafe_store(
    bucket: Bucket, site: Site, line: list[str], number: int
) -> None:
    on(number, faults.twice, bucket)
    site.dagctl(*words("publish --commit {0}", line))
    proof = [request for request in bucket.proxy.requests if "/scratch/" in request.path and request.method == "PUT"]
    assert len({request.path for request in proof}) == 2


def test_every_write_delivered_again_later_changes_nothing(
    bucket: Bucket, site: Site, line: list[str], record_property: Callable[[str, object], None]
) -> None:
    """A proxy that replays what it has sent already, in any order: conditions and content addresses hold."""
    for commit in range(3):
        site.dagctl(*words(f"publish --commit {{{commit}}}", line))
    site.dagctl("rollback")
    site.dagctl("resume")
    before = bucket.objects()
    writes = [
        request for request in bucket.proxy.requests if request.method == "PUT" and "/scratch/" not in request.path
    ]
    for request in [*writes, *reversed(writes)]:
        request.forward()
        assert bucket.objects() == before, request.path
    record_property("replayed writes", 2 * len(writes))


@pytest.mark.parametrize("later", ["at once", "after two publishes"])
@pytest.mark.parametrize("key", ["/archives/", "/releases/", "/pointer.json", "/history/"])
@pytest.mark.parametrize("published", [0, 1], ids=["first publish", "update"])
def test_a_write_that_arrives_late_is_found_or_refused(
    bucket: Bucket, site: Site, line: list[str], published: int, key: str, later: str
) -> None:
    """The answer is lost, and the request arrives when the command has been run again, and others have published."""
    for commit in range(published):
        site.dagctl(*words(f"publish --commit {{{commit}}}", line))
    late = on_write(key, faults.reset_before, bucket)
    commits = [published]
    command = words(f"publish --commit {{{published}}}", line)
    if site.dagctl.ended(*command).code != OK:
        site.dagctl(*command)
    for commit in range(published + 1, published + (1 if later == "at once" else 3)):
        site.dagctl(*words(f"publish --commit {{{commit}}}", line))
        commits.append(commit)
    late[0].forward()
    assert problems(bucket.chain()) == []
    assert actions(bucket.chain()) == [f"publish {line[commit][:12]}" for commit in [*range(published), *commits]]


def test_a_rollback_of_which_nobody_knows_does_not_advise_to_repeat_it(
    bucket: Bucket, site: Site, line: list[str]
) -> None:
    """Run again without --to it would go further back than what was asked for."""
    for commit in range(3):
        site.dagctl(*words(f"publish --commit {{{commit}}}", line))
    gone: list[str] = []

    def script(exchange: Exchange) -> Fault | None:
        if exchange.method == "PUT" and "/pointer.json" in exchange.path:
            gone.append(exchange.path)
            return faults.reset_after
        return faults.reset_before if gone else None

    bucket.proxy.script = script
    message = site.dagctl("rollback", code=UNREACHABLE).message
    bucket.proxy.heal()
    assert "look with dagctl history before you run it again" in message
    assert "safe to repeat" not in message
    assert actions(bucket.chain())[-1] == f"rollback {line[1][:12]}"
