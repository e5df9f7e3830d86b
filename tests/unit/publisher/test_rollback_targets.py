"""Which entry a rollback goes to, as a pure function of the chain."""

from __future__ import annotations

from itertools import pairwise

import pytest

from dagferry_publisher.chain import Entry
from dagferry_publisher.errors import NotFound, UsageError
from dagferry_publisher.ops.rollback import default_target, named_target
from dagferry_shared.pointer import Action, Pointer
from support.inventories import ACTIONS


def entry(sequence: int, action: Action, release: str) -> Entry:
    commit = (release.lower() * 40)[:40]
    content = Pointer(
        bundle="b",
        channel="c",
        epoch=1,
        sequence=sequence,
        issued="2026-01-01T00:00:00.000Z",
        expires=None,
        release=(release.lower() * 64)[:64],
        commit=commit,
        tip=commit,
        previous=None,
        action=action,
        held=None,
        actor="a",
        reason="",
    )
    return Entry(content, b"", str(sequence))


def chain(text: str) -> list[Entry]:
    """Entries newest first of ``pA pB rA``: action letter and release, oldest first."""
    return [entry(n, ACTIONS[word[0]], word[1]) for n, word in enumerate(text.split(), 1)][::-1]


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("pA", None),
        ("pA pB", "A"),
        ("pA pB rA", None),
        ("pA pB pC", "B"),
        ("pA pB pC rB", "A"),
        ("pA pB pC rB rA", None),
        ("pA pB fB hB fB", "A"),
        ("pA fA pB", "A"),
        ("pA pB rA pC", "A"),
        ("pA pB rA pC rA", None),
        ("pA pB pC rA pB", "A"),
        ("pA mB", "A"),
        ("pA pB pC rB pD rB", "A"),
        ("pA pB xB", "A"),
        ("pA pB pC pB", "A"),
        ("xA", None),
        ("xA rB", None),
    ],
)
def test_default_target(text: str, target: str | None) -> None:
    entries = chain(text)
    found = default_target(entries)
    assert (found.content.release[0].upper() if found else None) == target


def test_repeated_default_rollbacks_always_end_and_never_return() -> None:
    entries = chain("pA pB pC pD rB pE pF")
    live = []
    while target := default_target(entries):
        live.append(target.content.release[0].upper())
        entries.insert(0, entry(len(entries) + 1, Action.ROLLBACK, live[-1]))
    assert live == ["E", "B", "A"]
    assert all(one != other for one, other in pairwise(live))


@pytest.mark.parametrize("prefix", ["b" * 7, "B" * 7, "b" * 40, "b" * 64])
def test_named_target(prefix: str) -> None:
    assert named_target(chain("pA pB pC fC"), prefix).content.release[0] == "b"


@pytest.mark.parametrize(
    ("prefix", "error"),
    [("b" * 6, UsageError), ("", UsageError), ("HEAD~~~~", UsageError), ("d" * 7, NotFound), ("b" * 65, NotFound)],
)
def test_named_target_that_is_none(prefix: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        named_target(chain("pA pB pC"), prefix)
