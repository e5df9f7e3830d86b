"""What each stolen key is worth: the table "Who can do what" of SECURITY.md, cell by cell, and the way back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dagferry_shared import envelope
from dagferry_shared.errors import Reason
from dagferry_shared.keys import FileSigner
from dagferry_shared.pointer import Action
from dagferry_shared.release import Selection
from dagferry_shared.trust import Role
from support.attacker import Target, up_to_release
from support.bundles import Published, Simulator, small_tree

ACTIONS = list(Action)


def point(target: Target, to: Published, action: Action = Action.ROLLBACK, **changes: Any) -> Published:
    """Do what the thief of a pointer key can do: sign any pointer to any release that lies in the store."""
    return target.simulator.again(to, action, **changes)


def plant(target: Target, word: str, signer: FileSigner | None = None, **changes: Any) -> Published:
    """Put a release into the store that no pointer names."""
    simulator = target.simulator
    made, packed = simulator.make_release(small_tree(word), word, **changes)
    raw = simulator.sign_release(made, *([signer] if signer else []))
    simulator.put(simulator.layout.archive(made.archive.sha256), packed)
    simulator.put(simulator.layout.release(envelope.digest(raw)), raw)
    entry = simulator.make_pointer(made, envelope.digest(raw))
    return Published(entry, simulator.sign_pointer(entry), raw, made)


# A pointer key


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    ("lies", "reason"),
    [
        pytest.param({"dev": True}, Reason.DEV_RELEASE, id="dev-release"),
        pytest.param({"source_ref": "feature/evil"}, Reason.WRONG_REF, id="foreign-ref"),
        pytest.param({"source_repository": "https://evil.example.org/dags"}, Reason.WRONG_REPOSITORY, id="repository"),
        pytest.param({"source_paths": ("staging",)}, Reason.WRONG_PATH, id="foreign-path"),
        pytest.param({"source_selection": Selection(("all/**",))}, Reason.WRONG_SELECTION, id="foreign-selection"),
        pytest.param({"bundle": "staging"}, Reason.WRONG_BUNDLE, id="foreign-bundle"),
    ],
)
def test_stolen_pointer_key_makes_no_release_live_that_is_not_for_the_channel(
    target: Target, lies: dict[str, Any], reason: Reason, action: Action
) -> None:
    """CI signed all of these, with the right key: for a developer, a branch, another place."""
    told = point(target, plant(target, "two", **lies), action)
    target.refuses(reason, fetched=up_to_release(told))
    target.accepts(point(target, plant(target, "two"), action))


@pytest.mark.parametrize("action", ACTIONS)
def test_stolen_pointer_key_signs_no_code(target: Target, action: Action) -> None:
    told = point(target, plant(target, "evil", target.simulator.keys.pointer), action)
    target.refuses(Reason.UNKNOWN_KEY, fetched=up_to_release(told))
    target.accepts(point(target, plant(target, "two"), action))


@pytest.mark.parametrize("action", ACTIONS)
def test_stolen_pointer_key_does_not_bring_a_revoked_release_back(target: Target, action: Action) -> None:
    one = target.last
    target.accepts(target.publish("two"))
    target.write_trust(revoked=[one.pointer.release])
    point(target, one, action)
    target.refuses(Reason.REVOKED)
    target.write_trust()
    target.accepts(target.last)


def test_stolen_pointer_key_of_one_channel_is_worth_nothing_on_another(target: Target) -> None:
    keys, trust = target.simulator.keys, target.simulator.trust()
    canary = replace(trust.channels["main"], pointer=Role(1, (keys.other.public.id,)))
    target.trust.write_bytes(replace(trust, channels={**trust.channels, "canary": canary}).encode())
    told = target.publish("two", pointer_signers=[keys.other])
    target.refuses(Reason.UNKNOWN_KEY)
    target.accepts(point(target, told))


@pytest.mark.parametrize("way", ["rollback", "never-live"])
def test_stolen_pointer_key_moves_the_channel_among_signed_releases_until_it_is_removed(
    target: Target, way: str
) -> None:
    """What it can do is said in SECURITY.md; the way back is a new key and a new epoch."""
    simulator, one = target.simulator, target.last
    two = target.publish("two")
    target.accepts(two)
    target.accepts(point(target, one if way == "rollback" else plant(target, "signed-only")))
    thief, simulator.keys.pointer = simulator.keys.pointer, FileSigner.generate()
    simulator.epoch, simulator.sequence = 2, 0
    target.write_trust()
    target.refuses(Reason.UNKNOWN_KEY)
    target.accepts(point(target, two, Action.REPAIR))
    simulator.put_pointer(replace(target.last.pointer, sequence=2, release=one.pointer.release), thief)
    target.refuses(Reason.UNKNOWN_KEY)


def test_thiefs_pointers_of_the_old_epoch_count_for_nothing_even_where_the_key_is_only_retired(target: Target) -> None:
    simulator, one = target.simulator, target.last
    target.accepts(target.publish("two"))
    thief = simulator.keys.pointer
    entry = simulator.make_pointer(one.release, one.pointer.release, sequence=10**9)
    simulator.keys.pointer = FileSigner.generate()
    simulator.epoch = 2
    simulator.keys.other = thief
    retired = Role(1, (simulator.keys.pointer.public.id,), (thief.public.id,))
    target.write_trust(pointer=retired)
    simulator.put_pointer(entry, thief)
    target.refuses(Reason.RETIRED_KEY)
    simulator.sequence = 0
    target.accepts(target.publish("three"))


# A release key


def test_stolen_release_key_alone_makes_nothing_live(target: Target) -> None:
    keys = target.simulator.keys
    evil = plant(target, "evil", keys.release)
    for signer in (keys.release, FileSigner.generate()):
        target.simulator.put_pointer(target.simulator.make_pointer(evil.release, evil.pointer.release), signer)
        target.refuses(Reason.UNKNOWN_KEY)
    target.accepts(point(target, evil))  # with a pointer key besides, it does: the control


def test_stolen_release_key_does_not_replace_a_release_that_is_named(target: Target) -> None:
    """A genuine pointer names one envelope by its digest: another one, signed as well, is not it."""
    simulator, honest = target.simulator, target.publish("two")
    evil = plant(target, "evil")
    simulator.put(simulator.layout.release(honest.pointer.release), evil.release_raw)
    target.refuses(Reason.WRONG_DIGEST, fetched=up_to_release(honest))
    simulator.put(simulator.layout.release(honest.pointer.release), honest.release_raw)
    target.accepts(honest)


@pytest.fixture
def retired(target: Target) -> Target:
    """A target that knows a retired release key."""
    keys = target.simulator.keys
    target.write_trust(release=Role(1, (keys.release.public.id,), (keys.other.public.id,)))
    return target


@pytest.mark.parametrize("action", ACTIONS)
def test_stolen_retired_release_key_alone_makes_nothing_live(retired: Target, action: Action) -> None:
    evil = plant(retired, "evil", retired.simulator.keys.other)
    retired.simulator.put_pointer(replace(evil.pointer, action=action), retired.simulator.keys.other)
    retired.refuses(Reason.UNKNOWN_KEY)
    retired.accepts(point(retired, plant(retired, "two"), action))


def test_stolen_retired_release_key_publishes_nothing_even_with_a_pointer_key(retired: Target) -> None:
    told = point(retired, plant(retired, "evil", retired.simulator.keys.other), Action.PUBLISH)
    retired.refuses(Reason.RETIRED_KEY, fetched=up_to_release(told))
    retired.accepts(point(retired, plant(retired, "two"), Action.PUBLISH))


@pytest.mark.parametrize("action", [action for action in ACTIONS if action is not Action.PUBLISH])
def test_stolen_retired_release_key_and_pointer_key_pass_for_a_rollback_until_it_is_removed(
    retired: Target, action: Action
) -> None:
    """A pod cannot know when a release was signed: that is why a stolen key is removed, and never just retired."""
    retired.accepts(point(retired, plant(retired, "evil", retired.simulator.keys.other), action))
    retired.write_trust()
    retired.refuses(Reason.UNKNOWN_KEY)
    assert retired.recorder.snapshot().revoked
    retired.accepts(retired.publish("two"))


# Both, and thresholds


def test_both_keys_stolen_is_over_once_they_are_removed(target: Target) -> None:
    """All that they signed is void, the live release too: it stays until the new keys have signed another."""
    simulator = target.simulator
    evil = target.publish("evil")
    target.accepts(evil)
    simulator.keys.release, simulator.keys.pointer = FileSigner.generate(), FileSigner.generate()
    simulator.epoch, simulator.sequence = 2, 0
    target.write_trust()
    target.refuses(Reason.UNKNOWN_KEY)
    assert target.recorder.snapshot().revoked
    target.accepts(target.publish("good"))
    point(target, evil)
    target.refuses(Reason.UNKNOWN_KEY, remembered=True)


@pytest.mark.parametrize("document", ["pointer", "release"])
def test_one_stolen_key_of_a_threshold_of_two_is_worth_nothing(target: Target, document: str) -> None:
    keys = target.simulator.keys
    owner = getattr(keys, document)
    role = Role(2, (owner.public.id, keys.other.public.id))
    target.write_trust(**{document: role})
    for thief in (owner, keys.other):
        told = target.publish("evil", **{f"{document}_signers": [thief]})
        target.refuses(Reason.THRESHOLD, fetched=["pointer"] if document == "pointer" else up_to_release(told))
    target.accepts(target.publish("two", **{f"{document}_signers": [owner, keys.other]}))


def test_stolen_key_of_another_bundle_is_worth_nothing(target: Target) -> None:
    """Each bundle has its own trust file, so another bundle's keys are strangers here."""
    other = Simulator(target.simulator.directory, "staging")
    other.publish(small_tree("theirs"), "theirs")
    told = target.publish("two", pointer_signers=[other.keys.pointer])
    target.refuses(Reason.UNKNOWN_KEY)
    target.publish("three", release_signers=[other.keys.release])
    target.refuses(Reason.UNKNOWN_KEY, fetched=up_to_release(target.last))
    target.accepts(point(target, told))
