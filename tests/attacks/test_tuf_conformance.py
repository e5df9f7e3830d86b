"""Scenarios of The Update Framework's public client conformance suite, by name; TUF.md says what stands for what.

Here the trust file is its root, the pointer its timestamp and snapshot, the release its targets, the archive its
artifact.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_puller.exits import ConfigError
from dagferry_puller.status import Outcome
from dagferry_shared.errors import BlobMissing, Reason
from dagferry_shared.keys import FileSigner
from dagferry_shared.pointer import Action
from support.attacker import ONLY_POINTER, Target, up_to_archive, up_to_release
from support.bundles import ago, commit_id
from support.clocks import DAY, shift
from support.lies import attack, both, with_signatures
from support.refusals import refused

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
TESTS = HERE.parent


# test_basic.py


def test_basic_refresh_requests(cold: Target) -> None:
    one = cold.publish("one")
    assert cold.puller.sync() is Outcome.SWAPPED
    assert cold.requests() == up_to_archive(one)


def test_basic_refresh_trusted_data(target: Target) -> None:
    kept = target.volume.envelopes
    assert kept.pointer("etl", "main") == target.last.raw
    assert kept.release(target.last.pointer.release) == target.last.release_raw


def test_implicit_refresh(target: Target) -> None:
    """Who asks for a commit that is not there gets nothing, and what was seen on the way counts."""
    target.publish("two")
    with target.unchanged(["pointer", "history 1-1"], remembered=True), pytest.raises(BlobMissing):
        target.puller.at_commit(commit_id("nonexistent"))


@pytest.mark.parametrize("missing", ["bundle", "epoch", "keys", "channels", "revoked", "max_ttl"])
def test_invalid_initial_root(cold: Target, missing: str) -> None:
    cold.publish("one")
    document = json.loads(cold.trust.read_bytes())
    del document[missing]
    cold.trust.write_text(json.dumps(document))
    with refused(Reason.MALFORMED, missing):
        cold.start()
    assert cold.requests() == []


def test_trusted_root_missing(cold: Target) -> None:
    cold.publish("one")
    cold.trust.unlink()
    with refused(Reason.MALFORMED):
        cold.start()
    assert cold.requests() == []


@both
def test_unsigned_metadata(target: Target, document: str) -> None:
    attack(target, document, lambda raw: with_signatures(raw, []), Reason.THRESHOLD)


def test_url_and_metadata_version_mismatch(target: Target) -> None:
    """A history copy counts only at its own position."""
    one, simulator = target.last, target.simulator
    two = target.publish("two")
    target.accepts(target.publish("three"))
    place = simulator.layout.history_entry("main", 1, 1)
    simulator.put(place, two.raw)
    with target.unchanged(["pointer", "history 1-2", "history 1-1"]), refused(Reason.BROKEN_CHAIN):
        target.puller.at_commit(one.pointer.commit)
    simulator.put(place, one.raw)
    assert target.puller.at_commit(one.pointer.commit) is Outcome.SWAPPED


def test_timestamp_content_changes(target: Target) -> None:
    """Refused and an alarm, where TUF goes on in silence: two pointers of one number mean a broken signer."""
    one = target.last
    target.simulator.sequence = 0
    target.publish("two")
    target.refuses(Reason.EQUIVOCATION)
    target.simulator.show(one)
    target.keeps(one)


def test_basic_metadata_hash_support(target: Target) -> None:
    simulator, one = target.simulator, target.last
    two = target.publish("two")
    simulator.put(simulator.layout.release("4" * 64), two.release_raw)
    told = simulator.point(two.release, two.release_raw, simulator.make_pointer(two.release, "4" * 64))
    target.refuses(Reason.WRONG_DIGEST, fetched=up_to_release(told))
    target.accepts(simulator.again(two))
    target.accepts(simulator.again(one))


def test_new_targets_version_mismatch(target: Target) -> None:
    """A release that no pointer names is not even asked for."""
    one = target.last
    target.publish("two")
    target.simulator.show(one)
    with target.unchanged(ONLY_POINTER):
        assert target.puller.sync() is Outcome.UNCHANGED


@both
def test_metadata_bytes_match(target: Target, document: str) -> None:
    """There is one encoding, so the bytes kept are always the bytes served; a space more is refused."""
    attack(target, document, lambda raw: raw + b" ", Reason.MALFORMED)
    assert target.volume.envelopes.pointer("etl", "main") == target.last.raw


def test_custom_fields(target: Target) -> None:
    """Unknown fields are ignored where they are signed; in the trust file a typo must not switch a rule off."""
    two = target.publish("two")
    document = json.loads(target.trust.read_bytes())
    target.trust.write_text(json.dumps({**document, "custom-field": "value"}))
    target.refuses(Reason.MALFORMED, fetched=[], text="custom-field")
    target.write_trust()
    target.accepts(two)


def test_timestamp_404(target: Target) -> None:
    one = target.last
    target.simulator.path(target.simulator.layout.pointer("main")).unlink()
    target.fails(BlobMissing, fetched=ONLY_POINTER, remembered=False)
    target.simulator.show(one)
    target.keeps(one)


def test_snapshot_404(target: Target) -> None:
    """The pointer is accepted, its release is not there."""
    told = target.publish("two")
    target.simulator.path(target.simulator.layout.release(told.pointer.release)).unlink()
    target.fails(BlobMissing, fetched=up_to_release(told), remembered=True)
    target.accepts(target.publish("two"))


def test_targets_404(target: Target) -> None:
    """The pointer and the release are accepted, the archive is not there."""
    told = target.publish("two", archive=lambda _: None)
    target.fails(BlobMissing, fetched=up_to_archive(told), remembered=True)
    target.accepts(target.publish("two"))


# test_expiration.py


def test_timestamp_expired(target: Target) -> None:
    told = target.publish("two", expires=ago(5 * DAY))
    target.refuses(Reason.EXPIRED, remembered=True)
    target.accepts(target.simulator.again(told, expires=ago(-DAY)))


def test_expired_local_timestamp(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """Day 0: valid to day 7. Day 18: what is known has expired, what is served is valid to day 21."""
    target.keeps(target.simulator.again(target.last, Action.REFRESH, expires=ago(-7 * DAY)))
    two = target.publish("two", expires=ago(-21 * DAY))
    shift(monkeypatch, 18 * DAY)
    target.accepts(two)


def test_expired_timestamp_version_rollback(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was seen counts, however long ago it expired."""
    one = target.last
    target.accepts(target.publish("two", expires=ago(-7 * DAY)))
    target.simulator.sequence = 0
    target.simulator.again(one, expires=ago(-21 * DAY))
    shift(monkeypatch, 18 * DAY)
    target.refuses(Reason.ROLLBACK)


# test_rollback.py


def test_new_timestamp_version_rollback(target: Target) -> None:
    one, two = target.last, target.publish("two")
    target.accepts(two)
    target.simulator.show(one)
    target.refuses(Reason.ROLLBACK)
    target.simulator.show(two)
    target.keeps(two)


@pytest.mark.parametrize("versions", [100, 99999])
def test_new_timestamp_fast_forward_recovery(target: Target, versions: int) -> None:
    """New keys and a new epoch: the numbers begin again, for whoever trusts the new epoch alone."""
    simulator = target.simulator
    forward = simulator.again(target.last, Action.REFRESH, sequence=versions)
    target.keeps(forward)
    simulator.keys.pointer = FileSigner.generate()
    simulator.epoch, simulator.sequence = 2, 0
    again = simulator.again(forward, Action.REPAIR)
    target.refuses(Reason.UNKNOWN_KEY)
    target.write_trust()
    target.keeps(again)
    assert again.pointer.position == (2, 1)


# test_quoting_issues.py


@pytest.mark.parametrize("name", ["?", "#", "/delegatedrole", "../delegatedrole", "..", "", "a/b", "a\0", "%2e%2e"])
@pytest.mark.parametrize("place", ["bundle", "channel", "release", "trust", "option"])
def test_unusual_role_name(target: Target, name: str, place: str) -> None:
    """No name with such characters is read at all, so none reaches a request or a file name."""
    simulator, one = target.simulator, target.last
    if place == "option":
        with pytest.raises(ConfigError, match="--channel"):
            target.start(channel=name)
        return
    if place == "trust":
        target.write_trust(channel=name)
        target.refuses(Reason.MALFORMED, fetched=[])
        target.write_trust()
    else:
        honest: dict[str, Any] = {"bundle": "etl", "channel": "main", "release": one.pointer.release}
        simulator.put_pointer(
            simulator.make_pointer(one.release, **{"release_digest": "0" * 64, **honest, place: name})
        )
        target.refuses(Reason.MALFORMED)
    target.accepts(target.publish("two"))


# The table


def rows() -> Iterator[tuple[str, str]]:
    """Read (scenario, what stands for it here) out of the tables of TUF.md."""
    for line in (HERE / "TUF.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| `") and len(cells) == 2:
            yield cells[0], cells[1]


def test_table_names_tests_that_exist_or_says_why_there_is_none() -> None:
    assert len(list(rows())) > 50
    for scenario, answer in rows():
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", answer)
        assert named or answer.startswith("does not apply: "), scenario
        for file, test in named:
            assert f"def {test}(" in (TESTS / file).read_text(), f"{scenario}: {file}::{test}"


def test_every_scenario_that_was_ported_is_in_the_table() -> None:
    table = " ".join(answer for _, answer in rows())
    for file in HERE.glob("test_tuf_*.py"):
        for test in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE):
            listed = f"`attacks/{file.name}::{test}`" in table
            assert listed or test.startswith(("test_table_", "test_every_scenario_")), f"{file.name}::{test}"
