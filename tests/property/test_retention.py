"""Any bundle, any policy: nothing that a kept entry needs goes, and what is left is a bundle that loses no more."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from dagferry_publisher.ops.rollback import default_target
from dagferry_publisher.retention.history import SAFETY_AGE, Policy
from dagferry_publisher.retention.plan import Fate, Kind, decide
from dagferry_shared import times
from support.inventories import LAYOUT, NOW, Bundle, commit, sha

NAMES = "ABCDEF"
days = st.floats(0, 200, allow_nan=False)
policies = st.builds(
    lambda keep, age, pinned: Policy(keep, timedelta(days=age), pinned=tuple(pinned)),
    st.integers(1, 8),
    st.integers(0, 150),
    st.lists(st.sampled_from(NAMES).map(sha), max_size=2),
)


@st.composite
def bundles(draw):
    """Some channels with shared releases, orphans, deltas, and objects that nobody knows."""
    bundle = Bundle()
    for name in NAMES:
        deltas = draw(st.lists(st.sampled_from(NAMES).map("delta {}".format), max_size=2, unique=True))
        bundle.release(name, draw(days), deltas)
    for channel in draw(st.lists(st.sampled_from(["main", "canary", "dev-ann"]), max_size=3, unique=True)):
        words = draw(
            st.lists(st.tuples(st.sampled_from("pmrfhx"), st.sampled_from(NAMES)).map("".join), min_size=1, max_size=12)
        )
        ages = sorted(draw(st.lists(days, min_size=len(words), max_size=len(words))), reverse=True)
        bundle.line(" ".join(words), ages, channel)
        if draw(st.booleans()):
            bundle.lines[-1] = replace(bundle.lines[-1], can_cut=False)
    bundle.revoked = frozenset(draw(st.lists(st.sampled_from(NAMES).map(commit), max_size=2)))
    for number in range(draw(st.integers(0, 3))):
        bundle.put(f"{LAYOUT.root}strange-{number}", draw(days))
        bundle.put(LAYOUT.scratch(str(number)), draw(days))
    return bundle


def after(bundle, plan):
    """Return the bundle as the plan leaves it."""
    removed = {one.found for one in plan.of(Fate.REMOVE)}
    objects = [found for found in bundle.objects if found not in removed]
    cuts = {one.channel: one.entry for one in plan.cuts}
    lines = []
    for line in bundle.lines:
        first = cuts.get(line.channel)
        end = line.entries.index(first) + 1 if first else len(line.entries)
        lines.append(replace(line, entries=line.entries[:end]))
    there = {found.key for found in objects}
    releases = {digest: made for digest, made in bundle.releases.items() if LAYOUT.release(digest) in there}
    return Bundle(objects, lines, releases, bundle.revoked)


def keys_of(digests, releases):
    """Return the keys of releases, their archives and deltas."""
    for digest in digests:
        archive = releases[digest].archive
        yield LAYOUT.release(digest)
        yield from (LAYOUT.archive(one) for one in (archive.sha256, *(delta.sha256 for delta in archive.deltas)))


def needed(line, policy, revoked):
    """A second reading of the rules: the entries of a channel that must stay, whatever else does."""
    entries = line.entries
    if not line.can_cut:
        yield from entries
        return
    yield entries[0]
    if target := default_target(entries):
        yield target
    yield next((entry for entry in entries if entry.content.commit == entries[0].content.tip), entries[0])
    moved = [
        entry
        for entry, older in zip(entries, [*entries[1:], None], strict=True)
        if (older is None or older.content.release != entry.content.release) and entry.content.commit not in revoked
    ]
    yield from moved[: policy.keep]
    for entry in entries:
        if NOW - times.parse(entry.content.issued) <= max(policy.age, SAFETY_AGE):
            yield entry


@given(bundles(), policies)
def test_nothing_that_a_kept_entry_needs_is_ever_removed(bundle, policy):
    plan = decide(bundle.inventory(), policy, NOW)
    removed = {one.found.key for one in plan.of(Fate.REMOVE)}
    left = after(bundle, plan)
    for line, kept in zip(bundle.lines, left.lines, strict=True):
        for entry in needed(line, policy, bundle.revoked):
            assert entry in kept.entries
        for entry in kept.entries:
            assert LAYOUT.history_entry(line.channel, *entry.content.position) not in removed
            assert not removed & set(keys_of([entry.content.release], bundle.releases))
        assert LAYOUT.pointer(line.channel) not in removed
    assert not removed & set(keys_of(policy.pinned, bundle.releases))
    assert not removed & set(keys_of(left.releases, bundle.releases))


@given(bundles(), policies)
def test_a_rollback_without_a_target_goes_where_it_went_before(bundle, policy):
    plan = decide(bundle.inventory(), policy, NOW)
    for line, kept in zip(bundle.lines, after(bundle, plan).lines, strict=True):
        assert default_target(kept.entries) is default_target(line.entries)


@given(bundles(), policies)
def test_every_object_is_decided_on_once_and_the_young_and_the_unknown_stay(bundle, policy):
    plan = decide(bundle.inventory(), policy, NOW)
    assert sorted(one.found.key for one in plan.decisions) == sorted(found.key for found in bundle.objects)
    for one in plan.decisions:
        assert one.why
        assert (one.fate is Fate.UNKNOWN) == ("strange" in one.found.key)
        if one.fate is Fate.REMOVE:
            assert NOW - one.found.modified >= SAFETY_AGE


@given(bundles(), policies)
def test_history_goes_only_below_a_cut(bundle, policy):
    plan = decide(bundle.inventory(), policy, NOW)
    cuts = {one.channel: one.entry.content.position for one in plan.cuts}
    for line in bundle.lines:
        for entry in line.entries:
            key = LAYOUT.history_entry(line.channel, *entry.content.position)
            if any(one.found.key == key for one in plan.of(Fate.REMOVE)):
                assert entry.content.position < cuts[line.channel]


@given(bundles(), policies)
def test_a_second_run_finds_nothing_to_do(bundle, policy):
    left = after(bundle, decide(bundle.inventory(), policy, NOW))
    again = decide(left.inventory(), policy, NOW)
    assert again.of(Fate.REMOVE) == []
    assert [one for one in again.cuts if one.before] == []


@given(bundles(), policies, st.integers(0, 3), st.integers(0, 50))
def test_who_keeps_more_removes_no_more(bundle, policy, more, longer):
    def removed(rules):
        return {one.found.key for one in decide(bundle.inventory(), rules, NOW).of(Fate.REMOVE)}

    wider = replace(policy, keep=policy.keep + more, age=policy.age + timedelta(days=longer))
    assert removed(wider) <= removed(policy)


@given(bundles(), policies)
def test_no_archive_outlives_its_release_in_a_crash_between_them(bundle, policy):
    plan = decide(bundle.inventory(), policy, NOW)
    order = [one.kind for one in plan.of(Fate.REMOVE)]
    assert order == sorted(order, key=[Kind.HISTORY, Kind.RELEASE, Kind.ARCHIVE, Kind.SCRATCH].index)
