"""Publishers killed with SIGKILL, at each change of a file and at each request to the store.

Whenever that is, a puller sees a whole release, ``dagctl verify`` finds nothing but what the next publish repairs, the
same command can be run again, and any other publish goes on from there.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING

import pytest

from support.buckets import Bucket
from support.crashes import KILLED, Ended, Kill, dagctl_process, ended, start
from support.moto_server import MotoServer
from support.publishing import (
    CONFLICT,
    HELD,
    NO_COPY,
    OK,
    OPERATIONS,
    actions,
    bring_back,
    keep,
    prepare,
    problems,
    seen_by_a_puller,
    words,
)
from support.scale import LONG
from support.sitefixtures import keys, line, own_site, repo, shared_repo, site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dagferry_publisher.chain import Chain
    from support.proxy import Exchange, Fault
    from support.publishing import Operation
    from support.sites import Site

__all__ = ["keys", "line", "own_site", "repo", "shared_repo", "site"]


@pytest.fixture(scope="session")
def moto() -> Iterator[MotoServer]:
    with MotoServer() as server:
        yield server


@pytest.fixture
def bucket(site: Site, moto: MotoServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    with Bucket(site, moto, monkeypatch) as made:
        yield made


def go_on(
    chain: Chain, run: Callable[..., Ended], operation: Operation, line: list[str], ends: list[list[str]]
) -> None:
    """Publish another commit on what a crash left: it succeeds, and nothing is missing or doubled after it."""
    command = words("publish --commit {4}", line)
    ended = run(command)
    if operation.needs_itself and ended.code == CONFLICT:
        assert "dagctl repair" in ended.err
        assert run(operation.words(line)).code == operation.code
        ended = run(command)
    assert ended.code in {OK, HELD}, ended.err
    published = [f"publish {line[4][:12]}"] if ended.code == OK else []
    assert problems(chain) == []
    assert actions(chain) in [end + published for end in ends]


def go_again(chain: Chain, run: Callable[..., Ended], operation: Operation, line: list[str], end: list[str]) -> None:
    """Run the command that was killed again: it is in the chain once."""
    ended = run(operation.words(line))
    assert ended.code in {operation.code, operation.again}, ended.err
    assert set(problems(chain)) <= ({NO_COPY} if ended.code != operation.code else set())
    assert actions(chain) in ([end, end + end[-1:]] if operation.repeats else [end])


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_kill_at_any_change_of_a_file_leaves_a_whole_channel(
    site: Site, line: list[str], name: str, record_property: Callable[[str, object], None]
) -> None:
    operation = OPERATIONS[name]
    prepare(site, line, operation)
    keep(site, "before")
    least = seen_by_a_puller(site.chain()) or (0, 0)
    ends = [actions(site.chain())] if not operation.needs_itself else []

    def run(command: list[str], kill: Kill | None = None) -> Ended:
        return dagctl_process(site.dagctl, *command, kill=kill)

    whole = run(operation.words(line), Kill())
    assert whole.code == operation.code, whole.err
    ends.append(actions(site.chain()))
    points = range(len(whole.points))
    if not LONG and name != "publish":  # the proof on a scratch key is the same in all: up to its removal
        points = points[whole.points.index("unlink") :]
    for at in points:
        bring_back(site, "before")
        crashed = run(operation.words(line), Kill(at=at))
        assert crashed.killed, f"point {at}: {crashed}"
        assert (seen_by_a_puller(site.chain()) or least) >= least
        assert operation.needs_itself or set(problems(site.chain())) <= {NO_COPY}
        keep(site, "crashed")
        if LONG or at % 2:
            go_on(site.chain(), run, operation, line, ends)
            bring_back(site, "crashed")
        if LONG or not at % 2:
            go_again(site.chain(), run, operation, line, ends[-1])
    record_property("crash points", len(points))


class Killer:
    """Kills a process when its n-th request has come to the proxy: at once, or after the store has done it."""

    def __init__(self, bucket: Bucket, at: int, *, done: bool) -> None:
        self._at = at
        self._done = done
        self._first = len(bucket.proxy.requests)
        self._pid: Future[int] = Future()
        bucket.proxy.script = self.script

    def script(self, exchange: Exchange) -> Fault | None:
        return self._kill if exchange.number - self._first == self._at else None

    def _kill(self, exchange: Exchange) -> None:
        if self._done:
            exchange.forward()
        os.kill(self._pid.result(), signal.SIGKILL)
        exchange.reset()

    def run(self, site: Site, command: list[str]) -> Ended:
        directory = site.root / f"process-{secrets.token_hex(8)}"
        process = start(site.dagctl, command, directory, None)
        assert process.pid
        self._pid.set_result(process.pid)
        return ended(process, directory)


# In the short form: those with a commit point of each kind.
ON_S3 = OPERATIONS if LONG else ("first publish", "publish", "rollback", "repair of a lost pointer")


def disturbing(requests: list[Exchange]) -> list[tuple[int, bool]]:
    """Choose at which request to kill, and whether it is done: all writes after them; in the long form, all before."""
    kept = [number for number, request in enumerate(requests) if request.method == "PUT"]
    if LONG:
        return [(number, True) for number in kept] + [(number, False) for number in range(len(requests))]
    return [(number, True) for number in kept if "/scratch/" not in requests[number].path]


@pytest.mark.parametrize("name", ON_S3)
def test_a_kill_at_any_write_to_s3_leaves_a_whole_channel(
    bucket: Bucket, site: Site, line: list[str], name: str, record_property: Callable[[str, object], None]
) -> None:
    operation = OPERATIONS[name]
    prepare(site, line, operation, bucket.remove)
    before = bucket.objects()
    ends = [actions(bucket.chain())] if not operation.needs_itself else []

    def run(command: list[str]) -> Ended:
        bucket.proxy.heal()
        return dagctl_process(site.dagctl, *command)

    first = len(bucket.proxy.requests)
    assert run(operation.words(line)).code == operation.code
    points = disturbing(bucket.proxy.requests[first:])
    ends.append(actions(bucket.chain()))
    for number, (at, done) in enumerate(points):
        bucket.bring_back(before)
        crashed = Killer(bucket, at, done=done).run(site, operation.words(line))
        assert crashed.code == KILLED, f"request {at}: {crashed}"
        seen_by_a_puller(bucket.chain())
        assert operation.needs_itself or set(problems(bucket.chain())) <= {NO_COPY}
        if number % 2:
            go_on(bucket.chain(), run, operation, line, ends)
        else:
            go_again(bucket.chain(), run, operation, line, ends[-1])
    record_property("crash points", len(points))


def killed_before(site: Site, command: list[str], what: Callable[[list[str]], int]) -> None:
    """Run a command to its end, bring the store back, and kill the command at one of the points that it passed."""
    keep(site, "before")
    points = dagctl_process(site.dagctl, *command, kill=Kill("requests")).points
    bring_back(site, "before")
    assert dagctl_process(site.dagctl, *command, kill=Kill("requests", what(points))).killed


def at_the_copy(points: list[str]) -> int:
    """The last history copy that is written: that of the new entry."""
    return max(number for number, name in enumerate(points) if name.startswith("create") and "/history/" in name)


def test_a_new_epoch_after_a_crash_at_the_commit_keeps_the_entry_that_has_no_copy_yet(
    site: Site, line: list[str]
) -> None:
    site.publish(line[0])
    killed_before(site, words("publish --commit {1}", line), at_the_copy)
    site.dagctl("trust", "epoch")
    site.dagctl("repair", "--new-epoch")
    assert actions(site.chain()) == [f"publish {line[0][:12]}", f"publish {line[1][:12]}", f"repair {line[1][:12]}"]
    assert problems(site.chain()) == []


def test_a_repair_that_steps_over_garbage_keeps_the_entry_that_has_no_copy_yet(site: Site, line: list[str]) -> None:
    site.publish(line[0])
    killed_before(site, words("publish --commit {1}", line), at_the_copy)
    (site.bundle / "channels/main/history/1-3.json").write_bytes(b"garbage")
    site.dagctl("repair")
    assert actions(site.chain()) == [f"publish {line[0][:12]}", f"publish {line[1][:12]}", f"repair {line[1][:12]}"]
    assert problems(site.chain()) == []


def test_an_archive_that_was_taken_away_before_a_crash_at_the_commit_is_written_by_the_next_run(
    site: Site, line: list[str]
) -> None:
    killed_before(site, words("publish --commit {0}", line), at_the_copy)
    [archive] = (site.bundle / "archives").iterdir()
    archive.unlink()
    assert "nothing changed" in site.publish(line[0]).out
    seen_by_a_puller(site.chain())
    assert problems(site.chain()) == []


def test_what_killed_writers_left_is_removed_a_day_later(
    site: Site, line: list[str], record_property: Callable[[str, object], None]
) -> None:
    command = words("publish --commit {0}", line)
    points = dagctl_process(site.dagctl, *command, kill=Kill()).points
    renames = [number for number, point in enumerate(points) if point == "rename"]
    for at in renames:
        shutil.rmtree(site.store / "analytics")
        assert dagctl_process(site.dagctl, *command, kill=Kill(at=at)).killed
        [left] = site.store.rglob(".tmp-*")
        site.publish(line[0])
        assert left.exists(), "its writer may be at it still"
        other = left.with_name(".tmp-of-somebody-else")
        other.write_bytes(b"")
        for path in (left, other):
            os.utime(path, (0, time.time() - 25 * 3600))
        site.publish(line[1])
        assert list(site.store.rglob(".tmp-*")) == [other]
    record_property("crash points", len(renames))
