"""The signed cut under attack: it excuses what is missing below the entry that it names, and nothing else.

``once --commit`` of a real puller and the publisher's own walk read the same store, which the attacker writes to.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_publisher.chain import Chain
from dagferry_puller.status import Outcome
from dagferry_shared import cut, envelope
from dagferry_shared.cut import Cut
from dagferry_shared.errors import BlobMissing, Reason, Refused
from dagferry_shared.rules import Rules
from dagferry_shared.store.directory import DirectoryStore
from dagferry_shared.trust import Role
from support.bundles import ago, commit_id
from support.refusals import refused

if TYPE_CHECKING:
    from dagferry_shared.keys import FileSigner
    from support.attacker import Target
    from support.bundles import Published

WORDS = ("one", "two", "three", "four", "five")


@pytest.fixture
def line(target: Target) -> list[Published]:
    """Five entries; "one" is live on the pod, and 1-1 and 1-2 are gone from the store."""
    published = [target.last, *(target.publish(word) for word in WORDS[1:])]
    for sequence in (1, 2):
        target.simulator.path(target.simulator.layout.history_entry("main", 1, sequence)).unlink()
    return published


def cut_at(target: Target, published: Published, **changes: Any) -> Cut:
    made = Cut(
        bundle=target.simulator.bundle,
        channel="main",
        epoch=published.pointer.epoch,
        sequence=published.pointer.sequence,
        entry=published.digest,
        issued=ago(0),
        actor="pruner",
        reason="",
    )
    return replace(made, **changes)


def put(target: Target, made: Cut, *signers: FileSigner, kind: str = cut.PAYLOAD_TYPE) -> None:
    keys = target.simulator.keys
    raw = envelope.sign(kind, made.payload(), signers or (keys.pointer,)).encode()
    target.simulator.put(target.simulator.layout.cut("main"), raw)


def walked(target: Target, **trust: Any) -> list[int]:
    """Walk as dagctl does; the sequences."""
    simulator = target.simulator
    chain = Chain(DirectoryStore(simulator.directory), Rules(simulator.trust(**trust), "main"))
    return [entry.content.sequence for entry in chain.walk(chain.live())]


def asks_for_what_is_gone(target: Target) -> None:
    target.puller.at_commit(commit_id("one"))


def test_a_gap_without_a_cut_is_refused(target: Target, line: list[Published]) -> None:
    asked = ["pointer", "history 1-4", "history 1-3", "history 1-2", "cut"]
    with target.unchanged(asked, remembered=True), refused(Reason.BROKEN_CHAIN, "no signed cut"):
        asks_for_what_is_gone(target)
    with refused(Reason.BROKEN_CHAIN, "1-3"):
        walked(target)


def test_a_chain_that_starts_at_a_signed_cut_is_whole(target: Target, line: list[Published]) -> None:
    """The control: the same store with an honest cut."""
    put(target, cut_at(target, line[2]))
    assert walked(target) == [5, 4, 3]
    with pytest.raises(BlobMissing):
        asks_for_what_is_gone(target)
    assert target.puller.at_commit(commit_id("three")) is Outcome.SWAPPED


@pytest.mark.parametrize("above", [3, 4])
def test_a_cut_above_the_gap_excuses_it_too(target: Target, line: list[Published], above: int) -> None:
    """One that was written after the walk had passed its entry."""
    put(target, cut_at(target, line[above]))
    assert walked(target) == list(range(5, above, -1))
    with pytest.raises(BlobMissing):
        asks_for_what_is_gone(target)


LIES: dict[str, dict[str, Any]] = {
    "of another channel": {"channel": "canary"},
    "of another bundle": {"bundle": "other"},
    "naming another payload": {"entry": "0" * 64},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_cut_that_is_not_of_this_chain_excuses_nothing(target: Target, line: list[Published], lie: str) -> None:
    put(target, cut_at(target, line[2], **LIES[lie]))
    refuses_the_gap(target)


def test_a_cut_at_another_entrys_place_excuses_nothing(target: Target, line: list[Published]) -> None:
    """The position is for people: the payload digest decides, and that of 1-1 is not passed."""
    put(target, cut_at(target, line[0], sequence=3))
    refuses_the_gap(target)


def test_an_older_cut_put_back_excuses_nothing(target: Target, line: list[Published]) -> None:
    """1-2 was where the history began once; since then it was cut at 1-3."""
    put(target, cut_at(target, line[1]))
    refuses_the_gap(target)


@pytest.mark.parametrize("who", ["other", "release"])
def test_a_cut_by_a_key_of_no_such_role_excuses_nothing(target: Target, line: list[Published], who: str) -> None:
    put(target, cut_at(target, line[2]), getattr(target.simulator.keys, who))
    refuses_the_gap(target)


def test_a_cut_by_a_removed_key_excuses_nothing_and_by_a_retired_one_does(
    target: Target, line: list[Published]
) -> None:
    keys = target.simulator.keys
    put(target, cut_at(target, line[2]), keys.other)
    refuses_the_gap(target)
    target.write_trust(pointer=Role(1, (keys.pointer.public.id,), (keys.other.public.id,)))
    assert walked(target, pointer=Role(1, (keys.pointer.public.id,), (keys.other.public.id,))) == [5, 4, 3]


def test_a_cut_with_too_few_signatures_excuses_nothing(target: Target, line: list[Published]) -> None:
    keys = target.simulator.keys
    put(target, cut_at(target, line[2]))
    two = Role(2, (keys.pointer.public.id, keys.other.public.id))
    raw = target.simulator.path(target.simulator.layout.cut("main")).read_bytes()
    with refused(Reason.THRESHOLD):
        Rules(target.simulator.trust(pointer=two), "main").cut(raw)


def test_a_pointer_in_the_cuts_place_excuses_nothing(target: Target, line: list[Published]) -> None:
    target.simulator.put(target.simulator.layout.cut("main"), line[2].raw)
    refuses_the_gap(target)


@pytest.mark.parametrize("raw", [b"", b"{}", b"\xff", b"x" * (envelope.MAX_ENVELOPE + 1)])
def test_garbage_in_the_cuts_place_excuses_nothing(target: Target, line: list[Published], raw: bytes) -> None:
    target.simulator.put(target.simulator.layout.cut("main"), raw)
    refuses_the_gap(target)


def test_garbage_in_the_cuts_place_stops_no_walk_of_a_whole_chain(target: Target, line: list[Published]) -> None:
    for sequence, published in enumerate(line[:2], 1):
        target.simulator.put(target.simulator.layout.history_entry("main", 1, sequence), published.raw)
    target.simulator.put(target.simulator.layout.cut("main"), b"garbage")
    assert walked(target) == [5, 4, 3, 2, 1]
    assert target.puller.at_commit(commit_id("two")) is Outcome.SWAPPED


def test_a_cut_excuses_no_entry_that_is_not_the_one_named(target: Target, line: list[Published]) -> None:
    """Another signed entry in the place of the one below: the hash link decides, cut or not."""
    put(target, cut_at(target, line[2]))
    forged = target.simulator.sign_pointer(replace(line[3].pointer, reason="forged"))
    target.simulator.put(target.simulator.layout.history_entry("main", 1, 4), forged)
    with refused(Reason.BROKEN_CHAIN):
        asks_for_what_is_gone(target)
    with refused(Reason.BROKEN_CHAIN):
        walked(target)


def test_a_cut_moves_no_pod(target: Target, line: list[Published]) -> None:
    """Whoever holds a pointer key can hide history with it; what runs, and what may run, is not touched."""
    put(target, cut_at(target, line[4]))
    assert target.puller.sync() is Outcome.SWAPPED
    target.simulator.show(line[3])
    target.refuses(Reason.ROLLBACK)


def refuses_the_gap(target: Target) -> None:
    """Assert that the gap is refused by both sides, and that nothing moves."""
    with target.unchanged(remembered=True), pytest.raises(Refused):
        asks_for_what_is_gone(target)
    with refused(Reason.BROKEN_CHAIN, "1-3"):
        walked(target)
