"""Older and doubled pointers: what a pod has seen counts, over every restart, until the trust file begins an epoch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_puller.status import Outcome
from dagferry_shared import envelope
from dagferry_shared.errors import BlobMissing, Reason
from dagferry_shared.strictjson import MAX_INTEGER
from dagferry_shared.trust import Role
from support.attacker import Target, kill_at, up_to_archive, up_to_release
from support.bundles import Simulator, small_tree
from support.refusals import refused

if TYPE_CHECKING:
    from pathlib import Path


# Rollback and replay


def test_pointer_with_lower_sequence_is_refused(target: Target) -> None:
    one, two = target.last, target.publish("two")
    target.accepts(two)
    target.simulator.show(one)
    target.refuses(Reason.ROLLBACK)
    target.simulator.show(two)
    target.keeps(two)


def test_lower_sequence_signed_anew_is_refused(target: Target) -> None:
    """Not a replay: a fresh pointer of the right key, numbered lower."""
    target.accepts(target.publish("two"))
    one = target.last
    target.simulator.sequence = 0
    target.simulator.again(one)
    target.refuses(Reason.ROLLBACK)
    target.simulator.sequence = 2
    target.accepts(target.publish("three"))


def test_pointer_of_an_earlier_epoch_is_refused_even_if_the_trust_file_goes_back(target: Target) -> None:
    one = target.last
    target.simulator.epoch, target.simulator.sequence = 2, 0
    target.write_trust()
    two = target.publish("two")
    target.accepts(two)
    target.simulator.show(one)
    target.refuses(Reason.WRONG_EPOCH)
    target.write_trust(epoch=1)
    target.refuses(Reason.ROLLBACK)
    target.write_trust()
    target.simulator.show(two)
    target.keeps(two)


@pytest.mark.parametrize("lost", [None, "state.json", "envelopes"])
def test_replay_after_a_restart_is_refused(target: Target, lost: str | None) -> None:
    """What was seen is on the volume twice; the loss of either forgets nothing."""
    one, two = target.last, target.publish("two")
    target.accepts(two)
    target.simulator.show(one)
    if lost == "envelopes":
        (target.path / ".dagferry/envelopes/pointer+etl+main.json").unlink()
    elif lost:
        (target.path / ".dagferry" / lost).write_bytes(b"{")
    target.start().start()
    target.refuses(Reason.ROLLBACK)
    target.simulator.show(two)
    target.keeps(two)


@pytest.mark.parametrize("word", ["releases/", "archives/"])
def test_replay_after_a_kill_between_remembering_and_the_swap_is_refused(target: Target, word: str) -> None:
    """The newer pointer was accepted and nothing of it is there yet: the older one is over all the same."""
    one, two = target.last, target.publish("two")
    assert kill_at(target, word)
    assert target.look().link == f"versions/{one.version}"
    target.puller.start()
    target.simulator.show(one)
    target.refuses(Reason.ROLLBACK)
    target.simulator.show(two)
    target.accepts(two)


def test_kill_before_the_pointer_was_seen_remembers_nothing(target: Target) -> None:
    """The control of the kills: a pointer that never arrived is not held against an older one."""
    one = target.last
    target.publish("two")
    assert kill_at(target, "pointer.json")
    target.simulator.show(one)
    target.keeps(one)


@pytest.mark.parametrize("withheld", ["archive", "release"])
def test_newest_shown_but_withheld_and_then_the_older_one_served_is_refused(target: Target, withheld: str) -> None:
    target.accepts(target.publish("two"))
    two, three = target.last, target.publish("three")
    path = target.simulator.archive(three)
    if withheld == "release":
        path = target.simulator.path(target.simulator.layout.release(three.pointer.release))
    kept = path.read_bytes()
    path.unlink()
    fetched = up_to_archive(three) if withheld == "archive" else up_to_release(three)
    target.fails(BlobMissing, fetched=fetched, remembered=True)
    target.simulator.show(two)
    target.refuses(Reason.ROLLBACK)
    target.simulator.show(three)
    path.write_bytes(kept)
    target.accepts(three)


def test_refused_pointer_is_not_remembered(target: Target) -> None:
    """Otherwise anybody who writes to the bucket could put every honest pointer below what was seen."""
    simulator, one = target.simulator, target.last
    entry = simulator.make_pointer(one.release, one.pointer.release, sequence=MAX_INTEGER)
    simulator.put_pointer(entry, simulator.keys.other)
    target.refuses(Reason.UNKNOWN_KEY, remembered=False)
    target.accepts(target.publish("two"))


def test_memory_of_one_channel_survives_another(target: Target, tmp_path: Path) -> None:
    one, two = target.last, target.publish("two")
    target.accepts(two)
    other = Simulator(target.simulator.directory, channel="canary")
    other.keys = target.simulator.keys
    canary = other.publish(small_tree("canary"), "canary")
    trust = other.write_trust(tmp_path / "canary.json")
    target.start(channel="canary", trust=str(trust))
    assert target.puller.sync() is Outcome.SWAPPED
    assert target.look().link == f"versions/{canary.version}"
    target.simulator.show(one)
    target.start()
    target.refuses(Reason.ROLLBACK)


@pytest.mark.parametrize("retired", [False, True], ids=["stolen-key", "retired-key"])
def test_forged_history_is_refused(target: Target, retired: bool) -> None:
    """``once --commit`` walks back: each entry must be the one that the next one names, whoever signed another."""
    simulator, one, keys = target.simulator, target.last, target.simulator.keys
    made, _ = simulator.make_release(small_tree("evil"), "evil")
    entry = replace(one.pointer, release=envelope.digest(simulator.sign_release(made)), commit=made.source.commit)
    target.accepts(target.publish("two"))
    target.write_trust(pointer=Role(1, (keys.pointer.public.id,), (keys.other.public.id,)))
    place = simulator.layout.history_entry("main", 1, 1)
    simulator.put(place, simulator.sign_pointer(entry, keys.other if retired else keys.pointer))
    for commit in (entry.commit, one.pointer.commit):
        with target.unchanged(["pointer", "history 1-1"]), refused(Reason.BROKEN_CHAIN):
            target.puller.at_commit(commit)
    simulator.put(place, simulator.sign_pointer(one.pointer, keys.other if retired else keys.pointer))
    assert target.puller.at_commit(one.pointer.commit) is Outcome.SWAPPED


# Fast-forward


def test_fast_forward_by_a_stolen_key_ends_with_the_epoch(target: Target) -> None:
    """The highest sequence there is: nothing can follow it, until the trust file begins a new epoch."""
    simulator = target.simulator
    forward = simulator.again(target.last, sequence=MAX_INTEGER)
    target.keeps(forward)
    simulator.sequence = 1
    target.publish("two")
    target.refuses(Reason.ROLLBACK)
    simulator.keys.pointer = type(simulator.keys.pointer).generate()
    simulator.epoch, simulator.sequence = 2, 0
    target.write_trust()
    recovered = target.publish("two")
    target.accepts(recovered)
    simulator.show(forward)
    target.refuses(Reason.UNKNOWN_KEY)


def test_sequence_above_the_highest_is_refused(target: Target) -> None:
    simulator, one = target.simulator, target.last
    simulator.put_pointer(simulator.make_pointer(one.release, one.pointer.release, sequence=MAX_INTEGER + 1))
    target.refuses(Reason.MALFORMED)
    target.accepts(target.publish("two"))


@pytest.mark.parametrize("epoch", [2, MAX_INTEGER])
def test_fast_forward_of_the_epoch_is_refused(target: Target, epoch: int) -> None:
    """Only the trust file begins an epoch: a stolen key cannot."""
    simulator, one = target.simulator, target.last
    simulator.put_pointer(simulator.make_pointer(one.release, one.pointer.release, epoch=epoch, sequence=1))
    target.refuses(Reason.WRONG_EPOCH)
    target.accepts(target.publish("two"))


# Equivocation


@pytest.mark.parametrize(
    "changes",
    [{"reason": "forked"}, {"previous": "0" * 64}, {"expires": "2099-01-01T00:00:00.000Z"}, {"tip": "0" * 40}],
    ids=["reason", "previous", "expires", "tip"],
)
def test_other_pointer_of_a_sequence_that_was_seen_is_refused(target: Target, changes: dict[str, Any]) -> None:
    one = target.last
    target.simulator.put_pointer(replace(one.pointer, **changes))
    target.refuses(Reason.EQUIVOCATION)
    target.simulator.show(one)
    target.keeps(one)


def test_fork_after_a_restart_is_refused(target: Target) -> None:
    one = target.last
    target.simulator.sequence = 0
    fork = target.publish("fork")
    target.start().start()
    target.refuses(Reason.EQUIVOCATION)
    target.simulator.show(one)
    target.keeps(one)
    assert fork.version not in target.look().versions


def test_same_pointer_signed_by_another_key_of_its_role_is_the_same_pointer(target: Target) -> None:
    one, keys = target.last, target.simulator.keys
    target.write_trust(pointer=Role(1, (keys.pointer.public.id, keys.other.public.id)))
    target.simulator.put_pointer(one.pointer, keys.other)
    target.keeps(one)
