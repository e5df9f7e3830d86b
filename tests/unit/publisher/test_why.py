"""Every refusal, outcome and state has a cure, and each of ``dagctl why``'s sentences is one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dagferry_publisher.errors import ChannelHeld, Conflict, FoundProblems, NotFound, PartOfFleet
from dagferry_publisher.fleet.judge import Row, State
from dagferry_publisher.fleet.survey import Answer
from dagferry_publisher.why import cures, verdict
from dagferry_publisher.why.facts import Facts
from dagferry_puller.status import Outcome
from dagferry_shared.errors import BlobMissing, Reason, Refused, StoreUnreachable
from dagferry_shared.pointer import Action, Held, Pointer

A, B, C = "a" * 40, "b" * 40, "c" * 40


def entry(commit: str, sequence: int, action: Action = Action.PUBLISH, **changes: object) -> Pointer:
    made = Pointer(
        *("etl", "main", 1, sequence, f"2026-11-25T12:00:0{sequence}.000Z", None, "d" * 64, commit, commit, None),
        *(action, None, "ann", ""),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


HELD = Held("ann", "incident", "2026-11-25T12:00:00.000Z")
PUBLISHED = Facts("main", entries=(entry(B, 2), entry(A, 1)), commit=C, is_uploaded=False)


@pytest.mark.parametrize("reason", Reason)
def test_each_refusal_has_a_cure(reason: Reason) -> None:
    assert cures.of_refusal(Refused(reason, "x")).endswith((".", ")."))


def test_each_state_and_each_outcome_of_a_puller_that_is_no_success_has_a_cure() -> None:
    for state in set(State) - {State.LIVE}:
        assert cures.of_pod(Row(Answer("a"), state)).endswith((".", "?"))
    good = {Outcome.UNCHANGED, Outcome.SWAPPED, Outcome.STANDBY, Outcome.REFUSED, Outcome.UNEXPECTED}
    assert set(Outcome) - good == set(cures._BY_OUTCOME)


@pytest.mark.parametrize(
    ("facts", "words", "cure", "kind"),
    [
        (Facts("main"), "Nothing was ever published on channel main", "dagctl publish", NotFound),
        (Facts("main", problem=StoreUnreachable("away")), "cannot be used: away", "dagctl doctor", StoreUnreachable),
        (Facts("main", problem=Refused(Reason.MALFORMED, "x")), "malformed: x", "dagctl repair", Refused),
        (replace(PUBLISHED, is_revoked=True), "revoked by the trust file", "on top of it", FoundProblems),
        (
            replace(PUBLISHED, commit=A),
            f"{A[:12]} was live until 2026-11-25 12:00:02 UTC, when ann moved the channel to {B[:12]} by publish.",
            f"dagctl rollback --to {A[:12]}",
            Conflict,
        ),
        (
            replace(
                PUBLISHED,
                commit=B,
                entries=(
                    entry(A, 3, Action.HOLD, held=HELD),
                    entry(A, 2, Action.ROLLBACK, reason="imports fail", held=HELD),
                    entry(B, 1),
                ),
            ),
            "by rollback (imports fail); it is held by ann since then.",
            "dagctl resume",
            ChannelHeld,
        ),
        (
            replace(PUBLISHED, entries=(entry(B, 2, held=HELD), entry(A, 1))),
            "held by ann since 2026-11-25T12:00:00Z (incident): publishes upload, and move nothing.",
            "the publish job again",
            ChannelHeld,
        ),
        (replace(PUBLISHED, descends=False), f"does not descend from {B[:12]}", "--force", Conflict),
        (
            replace(PUBLISHED, is_uploaded=True),
            "A release of cccccccccccc is in the store",
            "publish job again",
            NotFound,
        ),
        (PUBLISHED, "was never published on this channel", "--dry-run", NotFound),
        (
            replace(PUBLISHED, commit=None, standing=Refused(Reason.EXPIRED, "over")),
            "will refuse what is live there: expired: over.",
            "dagctl refresh",
            Refused,
        ),
        (
            replace(PUBLISHED, commit=B, standing=NotFound("gone")),
            "refuse what is live there: gone.",
            "verify",
            NotFound,
        ),
    ],
)
def test_each_reason_of_a_channel(facts: Facts, words: str, cure: str, kind: type[Exception]) -> None:
    (why,) = verdict.of_channel(facts)
    assert words in why.sentence
    assert cure in why.cure
    assert why.kind is kind
    assert why.sentence.count("\n") == why.cure.count("\n") == 0


@pytest.mark.parametrize(
    "facts",
    [
        replace(PUBLISHED, commit=None),
        replace(PUBLISHED, commit=B),
        replace(PUBLISHED, commit=B[:8]),
        replace(PUBLISHED, is_contained=True),
    ],
)
def test_nothing_is_in_the_way_of_what_is_live(facts: Facts) -> None:
    assert verdict.of_channel(facts) == []
    assert verdict.error_of([]) is None


def test_the_end_is_of_the_kind_of_the_first_reason() -> None:
    def of(kind: type[Exception]) -> str:
        return type(verdict.error_of([verdict.Why("", "", "", kind), verdict.Why("", "", "", NotFound)])).__name__

    found = [of(kind) for kind in (Refused, BlobMissing, ChannelHeld, PartOfFleet)]
    assert found == ["FoundProblems", "NotFound", "ChannelHeld", "PartOfFleet"]
    assert str(verdict.error_of([verdict.Why("", "", "", NotFound)])) == "the reason is named above"


def test_where_a_channel_is() -> None:
    live = replace(PUBLISHED, entries=(entry(B, 2, reason="why not"),))
    assert verdict.where_it_is(live) == (
        f"Channel main is at commit {B[:12]}, sequence 1-2: publish by ann at 2026-11-25 12:00:02 UTC (why not)."
    )
    assert verdict.where_it_is(Facts("main")) == "Nothing is live on channel main."
