"""The pure parts: what to keep, which times to give, how long to wait."""

from __future__ import annotations

import pytest

from dagferry_puller.backoff import BackedOff, Backoff, DigestBackoff, jittered, uniform
from dagferry_puller.retire import Policy, Why, plan
from dagferry_puller.stamps import next_stamp, unchanged
from dagferry_shared.errors import Reason, Refused
from dagferry_shared.gittree import Leaf, Mode
from support.bundles import commit_id

NOW = 1_800_000_000
HOUR = 3600


def test_live_and_previous_never_go() -> None:
    left = {"a": 0, "b": 0, "c": 0}
    assert plan(left, live="a", previous="b", policy=Policy(keep=1, seconds=0), now=NOW) == {
        "a": Why.LIVE,
        "b": Why.PREVIOUS,
        "c": Why.OLD,
    }


def test_newest_fill_up_to_the_number_kept() -> None:
    left = {"live": NOW, "prev": NOW - 1, "x": NOW - 90 * HOUR, "y": NOW - 80 * HOUR, "z": NOW - 70 * HOUR}
    result = plan(left, live="live", previous="prev", policy=Policy(keep=4, seconds=HOUR), now=NOW)
    assert [v for v, why in result.items() if why is Why.AMONG_NEWEST] == ["z", "y"]
    assert result["x"] is Why.OLD


def test_of_two_that_were_left_in_one_second_the_later_one_stays() -> None:
    for first, second in (("x", "y"), ("y", "x")):
        left = {"live": NOW, "prev": NOW, first: NOW, second: NOW}
        result = plan(left, live="live", previous="prev", policy=Policy(keep=3, seconds=0), now=NOW)
        assert (result[first], result[second]) == (Why.AMONG_NEWEST, Why.OLD)


def test_grace_time_is_exact() -> None:
    left = {"live": NOW, "a": NOW - HOUR, "b": NOW - HOUR + 1}
    result = plan(left, live="live", previous=None, policy=Policy(keep=1, seconds=HOUR), now=NOW)
    assert (result["a"], result["b"]) == (Why.OLD, Why.RECENT)


def test_plan_names_only_what_is_on_the_volume() -> None:
    assert plan({}, live="gone", previous="gone too", policy=Policy(), now=NOW) == {}
    assert plan({"a": 0}, live=None, previous=None, policy=Policy(keep=1, seconds=0), now=NOW) == {
        "a": Why.AMONG_NEWEST
    }


def test_version_that_is_live_and_previous_counts_as_live() -> None:
    assert plan({"a": 0}, live="a", previous="a", policy=Policy(), now=NOW) == {"a": Why.LIVE}


@pytest.mark.parametrize(
    ("now", "last", "stamp"), [(100.1, 0, 101), (100.9, 101, 102), (100.0, 99, 100), (50.0, 200, 201)]
)
def test_stamp_is_whole_and_always_higher(now: float, last: int, stamp: int) -> None:
    assert next_stamp(now, last) == stamp


def test_unchanged_means_same_content_type_and_mode() -> None:
    leaf = Leaf(Mode.FILE, "0" * 64)
    new = {"same": leaf, "mode": leaf, "content": leaf, "new": leaf}
    old = {"same": leaf, "mode": Leaf(Mode.EXECUTABLE, "0" * 64), "content": Leaf(Mode.FILE, "1" * 64), "gone": leaf}
    assert unchanged(new, old) == {"same"}


def test_backoff_doubles_up_to_its_bound_and_jitters() -> None:
    backoff = Backoff(5.0, longest=60.0)
    seen = []
    for failures in (0, 1, 2, 3, 4, 1000):
        backoff.failures = failures
        seen.append(backoff.delay(0.5))
    assert seen == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
    assert (backoff.delay(0.0), round(backoff.delay(1.0), 6)) == (48.0, 72.0)


def test_backoff_is_never_shorter_than_a_long_period() -> None:
    assert Backoff(600.0, longest=60.0, failures=3).delay(0.5) == 600.0


def test_jitter_stays_within_a_fifth() -> None:
    assert all(0.8 <= jittered(1.0, uniform()) <= 1.2 for _ in range(1000))
    assert len({uniform() for _ in range(100)}) > 90


def test_bad_content_is_left_alone_for_longer_each_time() -> None:
    now = [0.0]
    backoff = DigestBackoff(first=10.0, clock=lambda: now[0], longest=35.0)
    refusal = Refused(Reason.WRONG_DIGEST, "no")
    for wait in (10.0, 20.0, 35.0, 35.0):
        backoff.failed("x", refusal)
        now[0] += wait - 0.1
        with pytest.raises(BackedOff, match="wrong-digest"):
            backoff.check("x")
        now[0] += 0.2
        backoff.check("x")
    backoff.succeeded("x")
    backoff.failed("x", refusal)
    now[0] += 10.1
    backoff.check("x")


def test_only_the_last_bad_contents_are_remembered() -> None:
    backoff = DigestBackoff(first=10.0, clock=lambda: 0.0)
    for i in range(40):
        backoff.failed(commit_id(str(i)), Refused(Reason.BAD_ARCHIVE, "no"))
    backoff.check(commit_id("0"))
    with pytest.raises(BackedOff):
        backoff.check(commit_id("39"))
