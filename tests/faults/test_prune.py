"""Retention runs that are killed with SIGKILL at each change of a file, or that race with a publish or a rollback.

Whenever that is, ``dagctl verify --all`` finds nothing, a puller gets what is live, a rollback without a target goes
where it went before, and the next run does what was left undone.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_publisher import cuts, keyring
from dagferry_publisher.retention.history import Policy
from dagferry_publisher.retention.inventory import Reader
from dagferry_publisher.retention.plan import Fate
from dagferry_publisher.retention.prune import Means, Prune
from dagferry_publisher.transaction import Move, Transaction, Writer
from dagferry_shared import trust
from dagferry_shared.errors import StoreDenied, StoreUnreachable
from dagferry_shared.keys import FileSigner
from dagferry_shared.pointer import Action
from dagferry_shared.store.directory import DirectoryStore
from dagferry_shared.store.removal import DirectoryRemover
from support.crashes import Kill, dagctl_process, ended, start
from support.oldsites import PRUNE, in_the_past, publish_long_ago
from support.publishing import bring_back, keep, problems, seen_by_a_puller
from support.scale import LONG
from support.sitefixtures import keys, line, shared_repo, site

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagferry_shared.store import Listed
    from support.sites import Site

__all__ = ["keys", "line", "shared_repo", "site"]

COMMAND = (*PRUNE, "--keep", "2")


@pytest.fixture
def old(site: Site, line: list[str]) -> Site:
    """Two channels: main with five old entries, canary with two of the same releases."""
    publish_long_ago(site, line)
    publish_long_ago(site, (line[0], line[2]), "--channel", "canary")
    return site


def objects(site: Site) -> set[str]:
    return {key for key in site.tree() if "/scratch/" not in key and "/.tmp-" not in key}


def assert_whole(site: Site) -> None:
    for channel in ("main", "canary"):
        assert seen_by_a_puller(site.chain(channel)) is not None
    assert problems(site.chain()) == []


def test_a_run_that_is_killed_anywhere_leaves_a_whole_bundle_and_the_next_one_finishes(
    old: Site, line: list[str], record_property: Callable[[str, object], None]
) -> None:
    keep(old, "before")
    whole = dagctl_process(old.dagctl, *COMMAND, kill=Kill())
    assert whole.code == 0, whole.err
    end = objects(old)
    assert len(end) < len(objects_of(old, "before"))
    first = whole.points.index("unlink")  # the proof on a scratch key is the same in all: up to its removal
    points = range(0 if LONG else first, len(whole.points))
    for at in points:
        bring_back(old, "before")
        crashed = dagctl_process(old.dagctl, *COMMAND, kill=Kill(at=at))
        assert crashed.killed, f"point {at}: {crashed}"
        assert_whole(old)
        assert "commit " + line[3][:12] in old.dagctl("rollback", "--dry-run").out
        assert dagctl_process(old.dagctl, *COMMAND).code == 0
        assert objects(old) == end
        assert_whole(old)
    record_property("crash points", len(points))


def objects_of(site: Site, copy: str) -> list[str]:
    return [str(path) for path in (site.root / copy).rglob("*") if path.is_file()]


class Racing(DirectoryRemover):
    """Lets something happen just before the n-th removal."""

    def __init__(self, site: Site, at: int, happens: Callable[[], object]) -> None:
        super().__init__(site.store)
        self._left, self._happens = at, happens

    def remove(self, found: Listed) -> bool:
        if self._left == 0:
            self._happens()
        self._left -= 1
        return super().remove(found)


def a_run(site: Site, remover: DirectoryRemover | None = None, **changes: Any) -> Prune:
    """Prepare a run in this process; ``plan`` is what it is going to do."""
    remover = remover or DirectoryRemover(site.store)
    signer = FileSigner.from_pem(keyring.read_bounded(str(site.key("ci")), "key", 4096), None, "ci")
    reader = Reader(DirectoryStore(site.store), remover, trust.parse(site.trust.read_bytes()), lambda _: True)
    means = {"grace": timedelta(0), "cutter": lambda _: cuts.Cutter("pruner", [signer])} | changes
    return Prune(Means(reader, remover, Policy(2, timedelta(days=10)), **means))


MOVES = {
    "publish of a new commit": "publish --ref main --commit {4}",
    "rollback to what stays": "rollback --to {1}",
    "rollback without a target": "rollback",
    "promote of what another channel is at": "promote --from canary --to main",
    "publish of what is about to go": "publish --ref main --commit {0} --force",
}


@pytest.mark.parametrize("name", MOVES)
def test_whatever_moves_a_channel_between_two_removals_is_whole_afterwards(
    site: Site, line: list[str], name: str
) -> None:
    publish_long_ago(site, line[:4])
    publish_long_ago(site, (line[0], line[1]), "--channel", "canary")
    keep(site, "before")
    command = MOVES[name].format(*line).split()
    count = len(a_run(site).plan.of(Fate.REMOVE))
    assert count >= 4
    for at in range(0, count, 1 if LONG else 2):
        bring_back(site, "before")
        codes: list[int] = []
        remover = Racing(site, at, lambda: codes.append(site.dagctl.ended(*command).code))  # noqa: B023 - run at once
        a_run(site, remover).run()
        assert len(codes) == 1
        assert_whole(site)


def test_a_rollback_that_read_the_history_before_the_cut_finds_its_release_afterwards(
    old: Site, line: list[str]
) -> None:
    """It moves the pointer while the run waits between the cut and the first release that goes."""
    chain = old.chain()
    head, etag = chain.verified_head()
    assert head is not None
    target = next(entry for entry in chain.walk(head) if entry.content.commit == line[1])
    signer = FileSigner.from_pem(keyring.read_bounded(str(old.key("ci")), "key", 4096), None, "ci")
    content = target.content
    waits: list[float] = []

    def meanwhile(seconds: float) -> None:
        waits.append(seconds)
        move = Move(Action.ROLLBACK, content.release, content.commit, head.content.tip, None, "late")
        assert Transaction(chain, Writer("late", [signer])).write(head, etag, (1, 6), move)

    run = a_run(old, grace=timedelta(seconds=60), sleep=meanwhile)
    doomed = {one.found.key for one in run.plan.of(Fate.REMOVE)}
    assert chain.layout.release(content.release) in doomed
    run.run()
    assert 55 < waits[0] <= 60
    assert len(waits) == 1
    assert old.live() == line[1]
    assert chain.layout.release(content.release) in {one.found.key for one in run.spared}
    assert_whole(old)


def test_a_run_waits_for_no_cut_that_has_been_known_for_long(old: Site) -> None:
    def never(_: float) -> None:
        raise AssertionError("it waited")

    with in_the_past(old, 1):
        a_run(old).run()
    a_run(old, grace=timedelta(seconds=60), sleep=never).run()


def test_what_moved_between_the_plan_and_the_cut_is_decided_again(old: Site, line: list[str]) -> None:
    run = a_run(old)
    agreed = {one.channel: one.entry.content.position for one in run.plan.cuts}
    assert agreed["main"] == (1, 4)
    old.dagctl("rollback", "--to", line[1])  # from now on a rollback without a target goes to the first entry
    run.run()
    assert not (old.bundle / "channels/main/cut.json").exists()
    assert_whole(old)
    old.dagctl("rollback")
    assert old.live() == line[0]


def test_a_cut_never_goes_beyond_what_was_agreed_to(site: Site, line: list[str]) -> None:
    publish_long_ago(site, line[:3])
    publish_long_ago(site, line[:1], "--channel", "canary")
    run = a_run(site)
    publish_long_ago(site, line[3:], days=20)
    run.run()
    cut = site.chain().beginning().signed
    assert cut is not None
    assert cut.content.position == (1, 2)
    assert_whole(site)


def test_what_was_not_cut_off_stays_though_it_is_not_needed_any_more(old: Site, line: list[str]) -> None:
    """The channel goes back before the cut, which then is an earlier one, and forth again before the first removal."""
    remover = Racing(old, 0, lambda: old.dagctl("rollback", "--to", line[4]))
    run = a_run(old, remover)
    old.dagctl("rollback", "--to", line[2])
    run.run()
    cut = old.chain().beginning().signed
    assert cut is not None
    assert cut.content.position == (1, 2)
    assert_whole(old)


@pytest.mark.parametrize("error", [StoreDenied("no"), StoreUnreachable("gone")])
def test_a_store_that_refuses_or_goes_away_in_the_middle_leaves_a_whole_bundle(old: Site, error: Exception) -> None:
    def fails() -> None:
        raise error

    for at in range(4):
        with pytest.raises(type(error)):
            a_run(old, Racing(old, at, fails)).run()
        assert_whole(old)
    a_run(old).run()
    assert_whole(old)


def test_runs_and_publishers_in_processes_of_their_own_leave_a_whole_bundle(old: Site, line: list[str]) -> None:
    commands: list[list[object]] = [[*COMMAND]] * 3
    commands += [["rollback"], ["publish", "--ref", "main", "--commit", line[1], "--force"]]
    commands += [["refresh", "--channel", "canary"], ["promote", "--from", "canary", "--to", "main"]]
    directories = [old.root / f"racer-{number}" for number in range(len(commands))]
    started = [start(old.dagctl, words, at, None) for words, at in zip(commands, directories, strict=True)]
    ends = [ended(process, at) for process, at in zip(started, directories, strict=True)]
    assert {end.code for end in ends} <= {0, 4, 5, 8}, [end.err for end in ends]
    assert_whole(old)
    assert dagctl_process(old.dagctl, *COMMAND).code == 0
    assert_whole(old)
