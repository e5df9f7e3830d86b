"""What a fleet's answers mean: the pure half of ``dagctl status`` and ``wait``."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from dagferry_publisher.errors import UsageError
from dagferry_publisher.fleet import quorum
from dagferry_publisher.fleet.judge import Reference, Row, State, judge, reference_of
from dagferry_publisher.fleet.podstatus import Live, PodStatus, Trouble
from dagferry_publisher.fleet.quorum import Quorum, Reached
from dagferry_publisher.fleet.survey import Answer
from dagferry_shared import times

NOW = times.parse("2026-11-25T12:00:00.000Z")
LINE = ("etl", "main")
ONE, TWO, OTHER = "1" * 64, "2" * 64, "f" * 64
A, B = "a" * 40, "b" * 40


def at(seconds: float) -> str:
    return times.show(NOW - timedelta(seconds=seconds))


def live(commit: str = B, sequence: int | None = 2, pointer: str | None = TWO, **changes: Any) -> Live:
    release = ("c" if commit == A else "d") * 64
    position = None if sequence is None else (1, sequence)
    found = Live(f"{commit}-{release}", commit, release, at(50), position, pointer, at(60), held=False)
    return replace(found, **changes)


def status(**changes: Any) -> PodStatus:
    found = PodStatus(
        host="pod",
        program="1",
        role="owner",
        bundle="etl",
        channel="main",
        ready=True,
        live=live(),
        revoked=None,
        damaged=False,
        seen=((1, 2), TWO),
        last_attempt=at(1),
        last_success=at(1),
        problem=None,
        refusals={},
        alarms=0,
        now=at(0),
        period=5.0,
    )
    return replace(found, **changes)


REFERENCE = Reference((1, 2), TWO, live().release, B, at(60), held=False, of_store=True)
OLD = status(live=live(A, 1, ONE), seen=((1, 1), ONE))


def rows(*said: PodStatus | Answer, reference: Reference | None = REFERENCE) -> list[Row]:
    answers = [one if isinstance(one, Answer) else Answer(f"10.0.0.{n}:1", one) for n, one in enumerate(said)]
    return judge(answers, {LINE: reference} if reference else {}, NOW)


def states(*said: PodStatus | Answer, reference: Reference | None = REFERENCE) -> list[str]:
    return [row.state for row in rows(*said, reference=reference)]


def test_pod_at_what_its_channel_is_at_is_well() -> None:
    (row,) = rows(status())
    assert (row.well, row.troubles, row.lag_seconds) == (True, (), None)


def test_pod_that_lags_says_by_how_much() -> None:
    (row,) = rows(OLD)
    assert (row.state, row.entries_behind, row.lag_seconds) == (State.BEHIND, 1, 60.0)
    assert row.troubles == (f"has {A[:12]} live, its channel is at {B[:12]}",)


def test_release_counts_and_not_the_entry_that_a_hold_or_refresh_added() -> None:
    held = replace(REFERENCE, position=(1, 3), pointer=OTHER, held=True)
    assert states(status(), reference=held) == [State.LIVE]


def test_standby_that_knows_no_pointer_is_judged_by_its_release() -> None:
    standby = status(role="standby", seen=None, last_success=None)
    assert states(replace(standby, live=live(sequence=None, pointer=None))) == [State.LIVE]
    (row,) = rows(replace(standby, live=live(A, None, None)))
    assert (row.state, row.entries_behind, row.lag_seconds) == (State.BEHIND, None, 60.0)


@pytest.mark.parametrize(
    ("changes", "state", "words"),
    [
        ({"ready": False, "live": None, "seen": None}, State.NOT_READY, "no verified version is live"),
        ({"ready": False}, State.NOT_READY, "no verified version is live"),
        ({"revoked": "revoked: x"}, State.REVOKED, "no longer verifies: revoked: x"),
        ({"damaged": True, "ready": False}, State.DAMAGED, "not as it was signed"),
        ({"alarms": 2}, State.DIVERGED, "two different pointers of one sequence, 2 times"),
        ({"seen": ((1, 3), OTHER)}, State.AHEAD, "was the bucket restored?"),
        ({"seen": ((1, 2), OTHER)}, State.DIVERGED, f"has pointer {OTHER[:12]} as 1-2"),
        ({"live": live(pointer=OTHER)}, State.DIVERGED, f"has pointer {OTHER[:12]} as 1-2"),
        (
            {"problem": Trouble("refused", "expired", "pointer expired", at(9))},
            State.FAILING,
            f"refused (expired) since {at(9)}: pointer expired",
        ),
        ({"problem": Trouble("volume", None, "full", at(9))}, State.FAILING, f"volume since {at(9)}: full"),
        ({"last_attempt": at(76)}, State.QUIET, "began no look for 76 s"),
    ],
)
def test_each_trouble_is_named(changes: dict[str, Any], state: State, words: str) -> None:
    (row,) = rows(status(**changes))
    assert row.state is state
    assert words in row.troubles[0]


def test_silence_is_measured_by_the_pods_own_clock_and_period() -> None:
    assert states(status(last_attempt=at(75))) == [State.LIVE], "three periods and a minute"
    assert states(status(last_attempt=at(3676), now=at(3600))) == [State.QUIET], "its clock is an hour behind"
    assert states(status(last_attempt=at(3670), now=at(3600))) == [State.LIVE]
    assert states(status(last_attempt=at(200), now=None, period=None)) == [State.LIVE], "an older puller"
    assert states(status(last_attempt=at(241), now=None, period=None)) == [State.QUIET]


def test_silence_strangers_and_names_are_told_apart() -> None:
    said = Answer("a", why="connection refused", silent=True), Answer("b", why="what answers is no puller")
    assert states(*said) == [State.UNREACHABLE, State.STRANGER]


def test_worst_trouble_comes_first() -> None:
    (row,) = rows(status(problem=Trouble("x", None, "y", at(1)), revoked="z", seen=((1, 2), OTHER)))
    assert row.state is State.DIVERGED
    assert [words.split()[0] for words in row.troubles] == ["split", "its", "x"]


# Without a store


def test_without_a_store_the_newest_that_a_pod_accepted_counts() -> None:
    assert states(OLD, status(), reference=None) == [State.BEHIND, State.LIVE]
    found = reference_of([OLD, status()])
    assert found
    assert (found.position, found.commit, found.of_store) == ((1, 2), B, False)


def test_without_a_store_the_majority_decides_who_diverged_and_a_tie_suspects_all() -> None:
    odd = status(seen=((1, 2), OTHER), live=live(pointer=OTHER))
    assert states(status(), odd, status(), reference=None) == [State.LIVE, State.DIVERGED, State.LIVE]
    assert states(status(), odd, reference=None) == [State.DIVERGED, State.DIVERGED]
    assert states(status(), odd) == [State.LIVE, State.DIVERGED], "the store decides a tie"


def test_a_store_outvotes_any_number_of_pods() -> None:
    odd = status(seen=((1, 2), OTHER), live=live(pointer=OTHER))
    assert states(odd, odd, status()) == [State.DIVERGED, State.DIVERGED, State.LIVE]


def test_split_view_of_an_older_entry_shows_as_well() -> None:
    odd = replace(OLD, seen=((1, 1), OTHER), live=live(A, 1, OTHER))
    assert states(OLD, OLD, odd) == [State.BEHIND, State.BEHIND, State.DIVERGED]


def test_fleet_that_accepted_nothing_has_no_reference() -> None:
    fresh = status(ready=False, live=None, seen=None)
    assert reference_of([fresh]) is None
    assert states(fresh, reference=None) == [State.NOT_READY]


def test_pointer_that_is_seen_and_nowhere_live_names_no_release() -> None:
    refusing = replace(OLD, seen=((1, 2), TWO))
    found = reference_of([refusing])
    assert found
    assert (found.position, found.release) == ((1, 2), None)
    assert states(refusing, reference=None) == [State.LIVE], "nobody can say what it lacks"


def test_channels_are_judged_each_by_itself() -> None:
    canary = status(channel="canary", seen=((1, 2), OTHER), live=live(pointer=OTHER))
    assert states(status(), canary) == [State.LIVE, State.LIVE]


# Enough


@pytest.mark.parametrize(
    ("text", "total", "enough"),
    [
        *(("90%", 10, 9), ("90%", 11, 10), ("100%", 3, 3), ("0.5%", 50, 1), ("33.3%", 3, 1), ("66.7%", 3, 3)),
        *(("7", 10, 7), ("7", 3, 7), ("90%", 50, 45), ("10%", 0, 1)),
    ],
)
def test_quorum(text: str, total: int, enough: int) -> None:
    assert quorum.parse(text).of(total) == enough


@pytest.mark.parametrize("text", ["", "0", "0%", "101%", "-1", "x", "1e3%", "9" * 20, "5.5", "½", "٣%"])
def test_what_is_no_quorum_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="neither a share"):
        quorum.parse(text)


def reached(found: list[Row], wanted: Quorum, commit: str = B[:7], **where: str) -> tuple[str, int, int]:
    counted = quorum.count(found, commit, **where)
    return str(counted.reached(wanted)), counted.live, counted.total


def test_commit_counts_where_it_is_live_ready_and_trusted() -> None:
    dead = Answer("a", why="connection refused", silent=True)
    found = rows(status(), OLD, dead, status(ready=False), status(revoked="x"), status(live=None))
    assert reached(found, Quorum()) == (Reached.NONE, 1, 6)
    assert dict(quorum.count(found, B).missing)["a"] == "connection refused"
    assert reached(found, Quorum(number=1)) == (Reached.QUORUM, 1, 6)
    assert reached(found[:1], Quorum()) == (Reached.ALL, 1, 1)
    assert reached(found[:1], Quorum(number=2)) == (Reached.NONE, 1, 1), "two were asked for"
    assert reached([], Quorum()) == (Reached.NONE, 0, 0), "nobody is not everybody"


def test_uncommitted_work_is_not_its_commit_and_a_version_id_is_this_very_release() -> None:
    found = rows(status(), status(live=live(dev=True)), status(live=live(version=f"{B}-{'e' * 64}")))
    assert reached(found, Quorum(), B) == (Reached.NONE, 2, 3)
    assert "uncommitted work on" in dict(quorum.count(found[1:2], B).missing).popitem()[1]
    assert reached(found[:2], Quorum(), f"{B}-{'d' * 64}") == (Reached.ALL, 2, 2)
    assert reached(found, Quorum(), f"{B}-{'e' * 64}") == (Reached.NONE, 1, 3)


def test_pods_of_other_channels_do_not_count() -> None:
    found = rows(status(), status(channel="canary", live=live(A, 1, ONE)))
    assert reached(found, Quorum(), channel="main") == (Reached.ALL, 1, 1)
    assert reached(found, Quorum(), bundle="etl") == (Reached.NONE, 1, 2)
    assert reached(found, Quorum(), bundle="ml") == (Reached.NONE, 0, 0)


def test_pod_that_is_well_with_another_commit_says_which() -> None:
    reference = replace(REFERENCE, release=OLD.live.release if OLD.live else "", commit=A)
    found = judge([Answer("a", OLD)], {LINE: replace(reference, position=(1, 1), pointer=ONE)}, NOW)
    assert quorum.count(found, B).missing == (("a", f"has {A[:12]} live"),)
    nothing = [Row(Answer("a", status(live=None)), State.LIVE)]
    assert quorum.count(nothing, B).missing == (("a", "has nothing live"),)
