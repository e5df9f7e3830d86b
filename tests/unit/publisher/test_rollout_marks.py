"""What a rollout writes into reasons, and what is read back from them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dagferry_publisher.errors import UsageError
from dagferry_publisher.fleet.quorum import parse_limit
from dagferry_publisher.rollout.marks import Mark, Step, parse, recall
from dagferry_shared.names import MAX_TEXT
from dagferry_shared.pointer import Action, Pointer

ID, OTHER = "0123456789ab", "ba9876543210"
STAGES = ("canary", "main")
NEW, OLD = "e" * 64, "d" * 64


def entry(channel: str, sequence: int, release: str, reason: str = "") -> Pointer:
    commit = release[:40]
    return Pointer(
        *("etl", channel, 1, sequence, f"2026-11-25T12:00:{sequence:02d}.000Z", None, release, commit, commit, None),
        *(Action.PROMOTE, None, "ann", reason),
    )


def mark(step: Step = Step.STAGE, number: str = ID) -> str:
    return Mark(number, step, STAGES).reason("words")


@pytest.mark.parametrize("step", Step)
def test_a_mark_is_read_back(step: Step) -> None:
    made = Mark(ID, step, STAGES)
    assert parse(made.reason("why [rollout x]")) == made
    assert parse(made.reason()) == made
    assert len(made.reason("x" * 5000)) == MAX_TEXT


@pytest.mark.parametrize(
    "reason",
    [
        "",
        "rollout",
        "[rollout 0123 stage a,b] x",
        f"[rollout {ID} begin a,b] x",
        f"[rollout {ID} stage A,b] x",
        f"[rollout {ID} stage ,] x",
        f"[rollout {ID} stage a,,b] x",
        f" [rollout {ID} stage a,b] x",
        f"[rollout {ID} stage {'a' * 64}] x",
    ],
)
def test_what_people_write_is_no_mark(reason: str) -> None:
    assert parse(reason) is None


def test_a_rollout_is_recalled_from_the_chains() -> None:
    chains = {
        "canary": [entry("canary", 3, NEW, mark()), entry("canary", 2, NEW), entry("canary", 1, OLD)],
        "main": [entry("main", 1, OLD)],
    }
    found = recall(chains)
    assert found
    assert (found.id, found.stages, found.release, found.entered, found.present) == (
        *(ID, STAGES, NEW, ("canary",), ("canary",)),
    )
    assert (found.done, found.undone) == (False, False)
    chains["main"].insert(0, entry("main", 4, NEW, mark()))
    chains["main"].insert(0, entry("main", 5, NEW, mark(Step.DONE)))
    chains["canary"].insert(0, entry("canary", 6, OLD, mark(Step.UNDO)))
    found = recall(chains)
    assert found
    assert (found.entered, found.present, found.done, found.undone) == (STAGES, ("main",), True, True)


def test_the_newest_rollout_counts_unless_one_is_named() -> None:
    chains = {
        "canary": [entry("canary", 4, NEW, mark(number=OTHER)), entry("canary", 2, OLD, mark())],
        "main": [entry("main", 3, OLD, mark())],
    }
    newest, named = recall(chains), recall(chains, only=ID)
    assert newest
    assert named
    assert (newest.id, newest.entered) == (OTHER, ("canary",))
    assert (named.id, named.release, named.present) == (ID, OLD, ("main",))
    assert recall(chains, only="f" * 12) is None
    assert recall({"main": []}) is None


def test_marks_of_channels_that_are_no_stage_are_nobodys() -> None:
    assert recall({"late": [entry("late", 1, NEW, mark())]}) is None
    carried = replace(entry("main", 2, NEW, mark(Step.DONE)))
    assert recall({"main": [carried]}) is None, "an end without a beginning"


@pytest.mark.parametrize(
    ("text", "total", "enough"), [("10%", 50, 45), ("0%", 3, 3), ("0", 3, 3), ("2", 50, 48), ("5", 3, 1), ("33%", 3, 3)]
)
def test_failure_limit_says_how_many_are_enough(text: str, total: int, enough: int) -> None:
    assert parse_limit(text).of(total) == enough


@pytest.mark.parametrize("text", ["", "100%", "-1", "x", "1.5", "200%"])
def test_what_is_no_failure_limit_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="neither a share below"):
        parse_limit(text)
