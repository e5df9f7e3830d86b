"""Lies about what has changed: a store that says 304 for ever can withhold news, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dagferry_puller import sync
from dagferry_puller.attempt import attempt, record
from dagferry_puller.logs import Complaints
from dagferry_puller.metrics import render
from dagferry_puller.status import Outcome
from dagferry_shared import times
from dagferry_shared.errors import Reason, StoreUnreachable
from support.attacker import ONLY_POINTER, Target
from support.bundles import ago, small_tree
from support.hostile import HostileStore, etag_of
from support.raw_server import reply

if TYPE_CHECKING:
    from pathlib import Path

    from support.bundles import Published
    from support.hostile import Lie


def not_modified(_: bytes) -> object:
    return reply("304 Not Modified")


def conditions(store: HostileStore) -> list[str | None]:
    return [asked.headers.get("if-none-match") for asked in store.asked if asked.kind == "pointer"]


def test_304_for_ever_withholds_an_update_and_changes_nothing(target: Target, store: HostileStore) -> None:
    first = target.warm()
    store.lies["pointer"] = not_modified
    target.simulator.publish(small_tree("two"), "two")
    for _ in range(3):
        target.keeps(first)


def test_304_to_a_pod_that_knows_nothing_is_no_pointer(target: Target, store: HostileStore) -> None:
    target.simulator.publish(small_tree("one"), "one")
    store.lies["pointer"] = not_modified
    target.fails(StoreUnreachable, "304 without being asked", fetched=ONLY_POINTER, remembered=False)


def test_304_after_a_restart_is_no_pointer(target: Target, store: HostileStore) -> None:
    """A restart forgets the ETag: what is live stays, and the store has to show a pointer again."""
    first = target.warm()
    store.lies["pointer"] = not_modified
    target.start()
    target.fails(StoreUnreachable, "304 without being asked", fetched=ONLY_POINTER, remembered=False)
    assert target.look().link == f"versions/{first.version}"


def test_304_for_ever_does_not_stop_the_expiry(
    target: Target, store: HostileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = target.simulator.publish(small_tree("one"), "one", expires=ago(-3600))
    target.accepts(first)
    store.lies["pointer"] = not_modified
    target.keeps(first)
    later = times.parse(ago(-3601))
    monkeypatch.setattr(sync.times, "now", lambda: later)
    for _ in range(2):
        target.refuses(Reason.EXPIRED)


def test_304_for_ever_does_not_stop_max_ttl(
    target: Target, store: HostileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    target.write_trust(max_ttl=3600)
    first = target.simulator.publish(small_tree("one"), "one", expires=ago(-1_000_000))
    target.accepts(first)
    store.lies["pointer"] = not_modified
    target.keeps(first)
    later = times.parse(ago(-3601))
    monkeypatch.setattr(sync.times, "now", lambda: later)
    target.refuses(Reason.EXPIRED)


def test_age_grows_from_the_moment_that_304_hides_an_expiry(
    target: Target, store: HostileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = target.simulator.publish(small_tree("one"), "one", expires=ago(-3600))
    target.accepts(first)
    store.lies["pointer"] = not_modified
    complaints = Complaints()
    assert record(attempt(target.puller.sync), target.recorder, complaints) is Outcome.UNCHANGED
    success = target.recorder.snapshot().last_success
    assert success is not None
    later = times.parse(ago(-7200))
    monkeypatch.setattr(sync.times, "now", lambda: later)
    for _ in range(2):
        assert record(attempt(target.puller.sync), target.recorder, complaints) is Outcome.REFUSED
    assert target.recorder.snapshot().last_success == success
    shown = render(target.recorder.snapshot(), later.timestamp()).splitlines()
    (age,) = (float(line.split()[1]) for line in shown if line.startswith("dagferry_puller_since_last_success_seconds"))
    assert age == pytest.approx((later - times.parse(success)).total_seconds())
    assert 'dagferry_puller_refusals_total{reason="expired"} 2.0' in shown


def test_changed_trust_file_makes_the_store_show_its_pointer_again(target: Target, store: HostileStore) -> None:
    """What a floor means for a pointer must not depend on a 304."""
    first = target.warm()
    target.keeps(first)
    store.lies["pointer"] = not_modified
    target.write_trust(floor=2)
    target.fails(StoreUnreachable, "304 without being asked", fetched=ONLY_POINTER, remembered=False)
    assert conditions(store)[-1] is None
    store.lies.clear()
    target.refuses(Reason.BELOW_FLOOR)
    assert target.look().link == f"versions/{first.version}"


@pytest.mark.parametrize("stop", [False, True], ids=["keep", "stop"])
def test_304_for_ever_does_not_hide_a_revocation(tmp_path: Path, stop: bool) -> None:
    target = Target(tmp_path, on_revoked="stop" if stop else "keep")
    with HostileStore(target.simulator.directory) as store:
        target.serve(store.reader(tmp_path))
        first = target.warm()
        store.lies["pointer"] = not_modified
        target.write_trust(revoked={first.pointer.release})
        with pytest.raises(StoreUnreachable):
            target.puller.sync()
        if stop:
            assert target.look().link is None
        else:
            assert "revoked" in (target.recorder.snapshot().revoked or "")
            assert target.look().link == f"versions/{first.version}"
    target.close()


def swapped(target: Target, first: Published, second: Published) -> dict[str, Lie]:
    """ETags that belong to the other pointer."""
    old, new = etag_of(first.raw), etag_of(second.raw)
    return {
        "new content, old ETag": lambda _: reply("200 OK", second.raw, ETag=old),
        "old content, new ETag": lambda _: reply("200 OK", first.raw, ETag=new),
        "304 with the new ETag": lambda _: reply("304 Not Modified", ETag=new),
        "304 with content": lambda _: reply("304 Not Modified", second.raw, ETag=new),
    }


@pytest.mark.parametrize(
    "lie", ["new content, old ETag", "old content, new ETag", "304 with the new ETag", "304 with content"]
)
def test_content_counts_and_not_the_etag_that_it_comes_with(target: Target, store: HostileStore, lie: str) -> None:
    first = target.warm()
    second = target.simulator.publish(small_tree("two"), "two")
    store.lies["pointer"] = swapped(target, first, second)[lie]
    if lie == "new content, old ETag":
        target.accepts(second)
        target.keeps(second)
        assert conditions(store)[-1] == etag_of(first.raw)
    else:
        target.keeps(first)
        target.keeps(first)


def test_replay_under_the_etag_of_the_live_pointer_is_a_rollback(target: Target, store: HostileStore) -> None:
    first = target.warm()
    second = target.simulator.publish(small_tree("two"), "two")
    target.accepts(second)
    store.lies["pointer"] = lambda _: reply("200 OK", first.raw, ETag=etag_of(second.raw))
    target.refuses(Reason.ROLLBACK)
    target.refuses(Reason.ROLLBACK)
    assert conditions(store)[-1] is None, "the ETag of what was refused is never sent"
    store.lies.clear()
    target.keeps(second)


def test_etag_of_what_was_refused_does_not_hide_its_cure(target: Target, store: HostileStore) -> None:
    """The same ETag for garbage and for the update: after the refusal the pod asks without a condition."""
    target.warm()
    second = target.simulator.publish(small_tree("two"), "two")
    store.lies["pointer"] = lambda _: reply("200 OK", b"garbage", ETag=etag_of(second.raw))
    target.refuses(Reason.MALFORMED)
    store.lies.clear()
    target.accepts(second)
    assert conditions(store)[-1] is None


def test_etag_that_changes_with_every_answer_fetches_the_pointer_alone(target: Target, store: HostileStore) -> None:
    first = target.warm()
    store.lies["pointer"] = lambda data: reply("200 OK", data, ETag=f'"{len(store.asked)}"')
    target.reader.take()
    for _ in range(3):
        assert target.puller.sync() is Outcome.UNCHANGED
    assert target.requests() == ONLY_POINTER * 3
    target.keeps(first)


@pytest.mark.parametrize("etag", ["a", "*", "a, b", "\x21" * 256, "'", "\\", "a\\"], ids=ascii)
def test_odd_etag_comes_back_as_it_was_given(target: Target, store: HostileStore, etag: str) -> None:
    """It goes into a header: nothing of it may end its quotes."""
    store.lies["pointer"] = lambda data: reply("200 OK", data, ETag=f'"{etag}"')
    if " " in etag:
        target.simulator.publish(small_tree("one"), "one")
        target.fails(StoreUnreachable, "without a usable ETag", fetched=ONLY_POINTER, remembered=False)
        return
    first = target.warm()
    target.keeps(first)
    assert conditions(store)[-1] == f'"{etag}"'
