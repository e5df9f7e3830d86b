"""What a retention run keeps, what it removes, and the reason it gives for each."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from dagferry_publisher.errors import UsageError
from dagferry_publisher.retention import keeplist
from dagferry_publisher.retention.history import Policy, kept_history
from dagferry_publisher.retention.plan import Decision, Fate, Kind, Plan, decide, total
from dagferry_shared.errors import Reason
from support.inventories import LAYOUT, NOW, Bundle, a_line, commit, sha
from support.refusals import refused

OLD = (100, 90, 80, 70, 60, 50)


def policy(keep: int = 1, days: float = 0, *pinned: str) -> Policy:
    return Policy(keep, timedelta(days=days), pinned=pinned)


def on(bundle: Bundle, key: str, rules: Policy | None = None) -> Decision:
    plan = decide(bundle.inventory(), rules or policy(), NOW)
    [found] = [one for one in plan.decisions if one.found.key == key]
    return found


def gone(bundle: Bundle, rules: Policy) -> set[str]:
    """The releases that go, by their names."""
    plan = decide(bundle.inventory(), rules, NOW)
    names = {sha(name): name for name in "ABCDEFXYZ"}
    keys = [one.found.key for one in plan.of(Fate.REMOVE) if one.kind is Kind.RELEASE]
    return {names[key.rpartition("/")[2].removesuffix(".json")] for key in keys}


@pytest.mark.parametrize(
    ("text", "keep", "days", "first", "why"),
    [
        ("pA pB pC pD pE pF", 1, 0, 5, "default target of a rollback"),
        ("pA pB pC pD pE pF", 3, 0, 4, "one of the newest 3 deployments"),
        ("pA pB pC pD pE pF", 9, 0, 1, "one of the newest 9 deployments"),
        ("pA pB pC pD pE pF", 1, 75, 4, "young"),
        ("pA pB pC pD rB rA", 1, 0, 4, "tip"),  # nothing was live before A: rollbacks go no further
        ("pA pB pC pD pE rC", 1, 0, 2, "default target of a rollback"),
        ("pA pB pC pD pE rB", 1, 0, 1, "default target of a rollback"),
        ("pA pB pC pA pD pA", 2, 0, 4, "default target of a rollback"),  # nothing was live before A, and C would be now
        ("pA pB fB fB fB fB", 1, 0, 1, "default target of a rollback"),
        ("pA pB fB fB pC fC", 2, 0, 2, "one of the newest 2 deployments"),  # refreshing is no deployment
    ],
)
def test_history_is_kept_to_the_oldest_entry_that_anything_needs(
    text: str, keep: int, days: float, first: int, why: str
) -> None:
    line = a_line(text, OLD)
    kept = kept_history(line, policy(keep, days), frozenset(), NOW)
    assert (line.entries[kept.index].content.sequence, kept.why) == (first, why)


def test_the_newest_commit_is_kept_though_it_was_rolled_back_long_ago() -> None:
    line = a_line("pA pB pC rA fA fA", (400, 390, 380, 370, 2.5, 2.4))
    kept = kept_history(line, policy(1), frozenset(), NOW)
    assert kept.why == "tip"
    assert line.entries[kept.index].content.commit == commit("C")


def test_history_of_the_last_two_days_is_kept_whatever_the_policy_says() -> None:
    line = a_line("pA pB pC pD", (2.1, 1.9, 1.8, 1.7))
    kept = kept_history(line, policy(1), frozenset(), NOW)
    assert (line.entries[kept.index].content.sequence, kept.why) == (2, "young")


def test_revoked_deployments_do_not_count() -> None:
    line = a_line("pA pB pC pD pE pF", OLD)
    kept = kept_history(line, policy(3), frozenset({commit("F"), sha("E")}), NOW)
    assert line.entries[kept.index].content.commit == commit("B")


def test_a_history_that_no_key_can_cut_stays_whole() -> None:
    line = replace(a_line("pA pB pC pD pE pF", OLD), can_cut=False)
    assert kept_history(line, policy(1), frozenset(), NOW).index == 5
    bundle = Bundle()
    bundle.line("pA pB pC pD pE pF", OLD)
    bundle.lines = [line]
    plan = decide(bundle.inventory(), policy(1), NOW)
    assert (plan.of(Fate.REMOVE), plan.cuts, plan.uncut) == ([], [], ["main"])


def test_a_kept_history_does_not_begin_with_the_live_release_if_something_was_live_before() -> None:
    # Begun with the rollback to B, as three deployments would, nothing would seem to have been live before B.
    line = a_line("pC rB pD fD pB", OLD[1:])
    kept = kept_history(line, policy(3), frozenset(), NOW)
    assert (line.entries[kept.index].content.sequence, kept.why) == (1, "default target of a rollback")


def test_the_cut_names_the_oldest_kept_entry() -> None:
    bundle = Bundle()
    bundle.line("pA pB pC pD pE pF", OLD)
    [cut] = decide(bundle.inventory(), policy(3), NOW).cuts
    assert (cut.channel, cut.entry.content.position, cut.before) == ("main", (1, 4), 3)
    assert decide(bundle.inventory(), policy(9), NOW).cuts == []


def test_what_no_kept_entry_names_goes_and_its_archive_too() -> None:
    bundle = Bundle()
    bundle.line("pA pB pC pD pE pF", OLD)
    assert gone(bundle, policy(3)) == {"A", "B", "C"}
    assert on(bundle, LAYOUT.archive(sha("archive A")), policy(3)).why == "no kept release names it"
    assert on(bundle, LAYOUT.archive(sha("archive D")), policy(3)).fate is Fate.KEEP
    assert on(bundle, LAYOUT.history_entry("main", 1, 3), policy(3)).why == "before the kept history"


def test_another_channel_keeps_what_this_one_lets_go() -> None:
    bundle = Bundle()
    bundle.line("pA pB pC pD pE pF", OLD)
    bundle.line("mB", (95,), "canary")
    assert gone(bundle, policy(2)) == {"A", "C", "D"}
    assert on(bundle, LAYOUT.release(sha("B")), policy(2)).why == "live on canary"


def test_delta_archives_are_kept_with_the_release_that_names_them() -> None:
    bundle = Bundle()
    bundle.release("F", 50, deltas=("delta E",))
    bundle.release("A", 50, deltas=("delta Z",))
    bundle.line("pA pB pC pD pE pF", OLD)
    assert on(bundle, LAYOUT.archive(sha("archive delta E"))).fate is Fate.KEEP
    assert on(bundle, LAYOUT.archive(sha("archive delta Z"))).fate is Fate.REMOVE


def test_an_upload_that_may_be_under_way_is_kept() -> None:
    bundle = Bundle()
    bundle.line("pA pB", (100, 90))
    bundle.release("X", 1.9, deltas=("delta",))
    bundle.archive("Y", 1.9)
    bundle.put(LAYOUT.scratch("abc"), 1.9)
    for key in (LAYOUT.release(sha("X")), LAYOUT.archive(sha("archive Y")), LAYOUT.scratch("abc")):
        assert on(bundle, key).why == "younger than 48 h"


def test_a_young_release_keeps_an_old_archive_that_it_names() -> None:
    bundle = Bundle()
    bundle.line("pA pB", (100, 90))
    bundle.archive("X", 100)
    bundle.release("X", 1)
    found = on(bundle, LAYOUT.archive(sha("archive X")))
    assert (found.fate, found.why) == (Fate.KEEP, f"of commit {commit('X')[:12]}, younger than 48 h")


@pytest.mark.parametrize(
    "word",
    [commit("A"), commit("A")[:7], sha("A"), f"{commit('A')}-{sha('A')}"],
    ids=["commit", "digits of a commit", "release digest", "version id"],
)
def test_what_is_pinned_is_kept_with_its_archive(word: str) -> None:
    bundle = Bundle()
    bundle.line("pA pB pC pD pE pF", OLD)
    rules = policy(1, 0, word, "f" * 40)
    assert gone(bundle, rules) == {"B", "C", "D"}
    assert on(bundle, LAYOUT.archive(sha("archive A")), rules).fate is Fate.KEEP
    assert decide(bundle.inventory(), rules, NOW).unmatched == ["f" * 40]


def test_a_pinned_archive_is_kept_and_known() -> None:
    bundle = Bundle()
    bundle.line("pA pB pC pD pE pF", OLD)
    rules = policy(1, 0, sha("archive A"), sha("archive F"))
    assert on(bundle, LAYOUT.archive(sha("archive A")), rules).why == "pinned"
    assert decide(bundle.inventory(), rules, NOW).unmatched == []


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt",
        "archives/x.tar.zst",
        f"archives/{'a' * 64}.zip",
        f"releases/{'A' * 64}.json",
        f"releases/sub/{'a' * 64}.json",
        "channels/main/history/1-01.json",
        "channels/main/history/sub/1-1.json",
        "channels/main/other.json",
        "channels/elsewhere/pointer.json",
    ],
)
def test_what_is_not_known_is_left_alone(name: str) -> None:
    bundle = Bundle()
    bundle.line("pA pB pC pD pE pF", OLD)
    key = bundle.put(LAYOUT.root + name, 900)
    assert on(bundle, key).fate is Fate.UNKNOWN


def test_a_release_that_cannot_be_read_is_left_alone_if_nothing_names_it() -> None:
    bundle = Bundle()
    bundle.line("pA pB", (100, 90))
    key = bundle.put(LAYOUT.release(sha("X")), 900)
    assert on(bundle, key).fate is Fate.UNKNOWN


@pytest.mark.parametrize("pinned", [False, True])
def test_nothing_goes_if_a_release_that_is_needed_cannot_be_read(pinned: bool) -> None:
    bundle = Bundle()
    bundle.line("pA pB pC pD pE pF", OLD)
    name = "A" if pinned else "E"
    del bundle.releases[sha(name)]
    with refused(Reason.BROKEN_CHAIN, "nothing is removed"):
        decide(bundle.inventory(), policy(1, 0, *([sha("A")] if pinned else [])), NOW)


@pytest.mark.parametrize("word", [commit("E"), sha("E")])
def test_a_revoked_release_may_be_missing(word: str) -> None:
    bundle = Bundle()
    bundle.line("pA pB pC pD pE pF", OLD)
    del bundle.releases[sha("E")]
    bundle.revoked = frozenset({word})
    assert gone(bundle, policy(2)) == {"A", "B", "C"}


def test_copies_above_the_start_stay_though_the_chain_steps_over_them() -> None:
    bundle = Bundle()
    bundle.line("pA pB pC pD pE pF", OLD)
    key = bundle.put(LAYOUT.history_entry("main", 1, 99), 500)
    assert on(bundle, key).fate is Fate.KEEP


def test_copies_of_an_epoch_before_the_chain_go_once_they_are_old() -> None:
    bundle = Bundle()
    line = a_line("pA", (90,))
    first = replace(line.entries[0], content=replace(line.entries[0].content, epoch=2))
    bundle.lines = [replace(line, entries=[first])]
    bundle.release("A", 90)
    old, young = (bundle.put(LAYOUT.history_entry("main", 1, number), days) for number, days in ((7, 95), (8, 85)))
    rules = policy(1, 90)
    assert on(bundle, old, rules).fate is Fate.REMOVE
    assert on(bundle, young, rules).why == "younger than what is kept"


def test_old_scratch_objects_go() -> None:
    bundle = Bundle()
    bundle.line("pA", (90,))
    key = bundle.put(LAYOUT.scratch("0f"), 3)
    assert on(bundle, key).fate is Fate.REMOVE


def test_history_goes_before_releases_and_releases_before_archives() -> None:
    bundle = Bundle()
    bundle.line("pA pB pC pD pE pF", OLD)
    plan: Plan = decide(bundle.inventory(), policy(1), NOW)
    kinds = [one.kind for one in plan.of(Fate.REMOVE)]
    assert kinds == [Kind.HISTORY] * 4 + [Kind.RELEASE] * 4 + [Kind.ARCHIVE] * 4
    assert total(plan.of(Fate.REMOVE)) == 120


def test_a_keep_list_has_a_word_a_line_and_comments() -> None:
    text = f"# pinned runs\n{commit('A')}-{sha('A')}  # run 7\n\n{'ABCDEF1'}\n{commit('B')}\n{commit('B')}\n"
    assert keeplist.parse(text.encode()) == (f"{commit('A')}-{sha('A')}", "abcdef1", commit("B"))


@pytest.mark.parametrize("line", ["main", "abcdef", "g" * 40, "a" * 65, f"{'a' * 40}-{'b' * 63}", "../x", "abcdef1 x"])
def test_a_line_of_a_keep_list_that_is_nothing_is_an_error(line: str) -> None:
    with pytest.raises(UsageError, match="line 2"):
        keeplist.parse(f"{commit('A')}\n{line}\n".encode())


def test_a_keep_list_that_is_no_text_is_an_error() -> None:
    with pytest.raises(UsageError, match="UTF-8"):
        keeplist.parse(b"\xff")


def test_a_copy_before_the_kept_history_that_stays_keeps_its_release() -> None:
    """It was written again lately, say by a replication: while it is there, what it names is."""
    bundle = Bundle()
    bundle.line("pA pB pC pD", (100, 90, 80, 70))
    key = LAYOUT.history_entry("main", 1, 1)
    bundle.objects = [
        replace(one, modified=NOW - timedelta(days=5)) if one.key == key else one for one in bundle.objects
    ]
    assert on(bundle, key, policy(1, 10)).why == "younger than what is kept"
    assert gone(bundle, policy(1, 10)) == {"B"}
    assert gone(bundle, policy(1, 1)) == {"A", "B"}
