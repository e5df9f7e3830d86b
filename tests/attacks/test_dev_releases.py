"""A dev release where none is taken, or in another's guise: what a developer's keys are worth on other channels."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_puller.status import Outcome
from dagferry_shared import envelope
from dagferry_shared.errors import BlobMissing, Reason
from dagferry_shared.pointer import Action
from dagferry_shared.release import DEV_PREDICATE_TYPE, PREDICATE_TYPE
from dagferry_shared.trust import Role
from support.attacker import Target, up_to_release
from support.bundles import Published, Simulator, small_tree

if TYPE_CHECKING:
    from dagferry_shared.keys import FileSigner
    from support.pods import Pod

WORK = {"dev": True}


@pytest.fixture
def developer(target: Target) -> FileSigner:
    """The developer's key: listed for releases and pointers of the channel dev-ann, which takes dev releases."""
    key, trust = target.simulator.keys.other, target.simulator.trust()
    role = Role(1, (key.public.id,))
    mine = replace(trust.channels["main"], release=role, pointer=role, allow_dev=True)
    target.trust.write_bytes(replace(trust, channels={**trust.channels, "dev-ann": mine}).encode())
    return key


def on_own_channel(target: Target, developer: FileSigner, **lies: Any) -> Published:
    """Publish on dev-ann, honestly."""
    own = Simulator(target.simulator.directory, channel="dev-ann")
    own.keys.release = own.keys.pointer = developer
    own.sequence = 10
    return own.publish(small_tree("work"), "one", release_changes={**WORK, **lies})


@pytest.mark.parametrize("action", list(Action))
def test_dev_release_by_cis_own_keys_is_refused_whatever_the_pointer_says_it_does(
    target: Target, action: Action
) -> None:
    told = target.publish("work", release_changes=WORK, action=action)
    target.refuses(Reason.DEV_RELEASE, fetched=up_to_release(told))
    target.write_trust(allow_dev=True)
    target.accepts(told)


def test_dev_release_of_a_dev_channel_is_not_pointed_to_by_a_protected_one(
    target: Target, developer: FileSigner
) -> None:
    """What a promotion would write, by the pointer key of the protected channel."""
    work = on_own_channel(target, developer)
    entry = target.simulator.make_pointer(work.release, work.pointer.release, action=Action.PROMOTE)
    told = target.simulator.point(work.release, work.release_raw, entry)
    target.refuses(Reason.UNKNOWN_KEY, fetched=up_to_release(told))


def test_pointer_of_the_dev_channel_in_the_place_of_the_protected_ones_is_refused(
    target: Target, developer: FileSigner
) -> None:
    work = on_own_channel(target, developer)
    target.simulator.show(work)
    target.refuses(Reason.UNKNOWN_KEY)
    told = target.publish("two", pointer_signers=[developer])
    target.refuses(Reason.UNKNOWN_KEY)
    target.accepts(target.simulator.again(told))


def test_developers_key_signs_no_normal_release_for_a_protected_channel(target: Target, developer: FileSigner) -> None:
    told = target.publish("evil", release_signers=[developer])
    assert not told.release.dev
    target.refuses(Reason.UNKNOWN_KEY, fetched=up_to_release(told))
    target.accepts(target.publish("two"))


@pytest.mark.parametrize("lie", [PREDICATE_TYPE, "urn:dagferry:dev-release:v2"])
def test_signed_dev_release_that_is_relabelled_no_longer_verifies(target: Target, lie: str) -> None:
    made, _ = target.simulator.make_release(small_tree("work"), "work", **WORK)
    signed = envelope.parse(target.simulator.sign_release(made), "release")
    payload = signed.payload.replace(DEV_PREDICATE_TYPE.encode(), lie.encode())
    raw = replace(signed, payload=payload).encode()
    entry = target.simulator.make_pointer(made, envelope.digest(raw))
    target.simulator.put(target.simulator.layout.release(envelope.digest(raw)), raw)
    told = target.simulator.point(made, raw, entry)
    target.refuses(Reason.BAD_SIGNATURE, fetched=up_to_release(told))
    target.accepts(target.publish("two"))


def test_dev_release_that_is_live_is_revoked_when_the_channel_takes_none_any_more(target: Target) -> None:
    target.write_trust(allow_dev=True)
    told = target.publish("work", release_changes=WORK)
    target.accepts(told)
    target.write_trust()
    target.refuses(Reason.DEV_RELEASE)
    assert target.recorder.snapshot().revoked
    target.accepts(target.publish("two"))


def test_dev_releases_of_one_commit_are_versions_of_their_own(target: Target) -> None:
    target.write_trust(allow_dev=True)
    versions = set()
    for word in ("a", "b", "c"):
        told = target.simulator.publish(small_tree(word), "one", release_changes=WORK)
        target.accepts(told)
        versions.add(told.version)
    assert len(versions) == 3
    assert len({version.partition("-")[0] for version in versions}) == 1


def test_pin_to_a_dev_release_is_refused_where_none_is_taken(pod: Pod) -> None:
    told = pod.simulator.publish(small_tree("work"), "one", release_changes=WORK)
    done = pod.once("--pin", told.version, "--no-retry")
    assert "takes no dev releases" in done.stderr
    assert done.code != 0
    assert pod.live() is None
    pod.simulator.write_trust(pod.trust, allow_dev=True)
    assert pod.once("--pin", told.version, "--no-retry").code == 0
    assert pod.live() == told.version


def test_once_for_a_commit_brings_the_commit_and_not_work_on_top_of_it(target: Target) -> None:
    target.write_trust(allow_dev=True)
    told = target.publish("one")
    target.simulator.publish(small_tree("work"), "one", release_changes=WORK)
    assert target.puller.at_commit(told.pointer.commit) is Outcome.SWAPPED
    assert target.volume.link.read() == told.version


def test_once_for_a_commit_that_only_has_work_on_top_of_it_brings_nothing(target: Target) -> None:
    target.write_trust(allow_dev=True)
    told = target.simulator.publish(small_tree("work"), "two", release_changes=WORK)
    with target.unchanged(remembered=True), pytest.raises(BlobMissing, match="uncommitted work"):
        target.puller.at_commit(told.pointer.commit)


def test_live_work_on_a_commit_is_not_that_commit_for_a_once_without_a_store(pod: Pod) -> None:
    pod.simulator.write_trust(pod.trust, allow_dev=True)
    told = pod.simulator.publish(small_tree("work"), "one", release_changes=WORK)
    assert pod.once("--pin", told.version, "--no-retry").code == 0
    away = ("--store", f"file://{pod.trust.parent}/away", "--offline-ok", "--no-retry")
    assert pod.once("--commit", told.pointer.commit, *away).code != 0
    assert pod.once("--pin", told.version, *away).code == 0
