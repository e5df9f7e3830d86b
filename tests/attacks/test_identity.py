"""Every signature is right, and the document is somebody else's: another bundle's, channel's, commit's or kind's."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_shared import envelope, pointer, release, strictjson
from dagferry_shared.errors import Reason, Refused
from dagferry_shared.release import Selection
from support.attacker import ONLY_POINTER, Target, up_to_archive, up_to_release
from support.bundles import Published, Simulator, archive_bytes, commit_id, small_tree
from support.lies import tell

if TYPE_CHECKING:
    from collections.abc import Callable

    Lies = Callable[[release.Release], dict[str, Any]]


def neighbour(target: Target, bundle: str = "etl", channel: str = "main") -> Simulator:
    """Return who publishes next door, to the same store and with the same keys."""
    other = Simulator(target.simulator.directory, bundle, channel)
    other.keys = target.simulator.keys
    return other


# Another bundle's or channel's


@pytest.mark.parametrize(
    ("bundle", "channel", "reason"),
    [("staging", "main", Reason.WRONG_BUNDLE), ("etl", "canary", Reason.WRONG_CHANNEL)],
)
def test_pointer_of_another_bundle_or_channel_is_refused(
    target: Target, bundle: str, channel: str, reason: Reason
) -> None:
    other = neighbour(target, bundle, channel)
    other.sequence = 10
    stolen = other.publish(small_tree("two"), "two")
    target.simulator.show(stolen)
    target.refuses(reason)
    target.accepts(target.simulator.publish(small_tree("two"), "two"))


def test_whole_other_bundle_in_the_place_of_ours_is_refused(target: Target) -> None:
    """Pointer, release and archive of a neighbour, all genuine, copied over."""
    other = neighbour(target, "staging")
    other.sequence = 10
    stolen = other.publish(small_tree("two"), "two")
    for path in list((other.directory / "staging").rglob("*.*")):
        if path.is_file():
            target.simulator.put(f"etl/{path.relative_to(other.directory / 'staging')}", path.read_bytes())
    assert target.simulator.path(target.simulator.layout.release(stolen.pointer.release)).exists()
    target.refuses(Reason.WRONG_BUNDLE)
    target.accepts(target.simulator.publish(small_tree("two"), "two"))


@pytest.mark.parametrize("pattern", ["ma*", "*"])
def test_channel_that_two_patterns_of_the_trust_file_match_is_refused(target: Target, pattern: str) -> None:
    honest = target.simulator.publish(small_tree("two"), "two")
    trust = target.simulator.trust()
    entry = trust.channels["main"]
    target.trust.write_bytes(replace(trust, channels={"m*": entry, pattern: entry}).encode())
    target.refuses(Reason.UNTRUSTED_CHANNEL, fetched=[])
    target.trust.write_bytes(replace(trust, channels={pattern: entry}).encode())
    target.accepts(honest)


# A release of somebody else's code


@pytest.mark.parametrize(
    ("lies", "reason"),
    [
        pytest.param({"bundle": "staging"}, Reason.WRONG_BUNDLE, id="bundle"),
        pytest.param({"source_repository": "https://git.example.org/data/fork"}, Reason.WRONG_REPOSITORY, id="fork"),
        pytest.param({"source_repository": "http://git.example.org/data/dags"}, Reason.WRONG_REPOSITORY, id="scheme"),
        pytest.param({"source_repository": "https://git.example.org/data/dags/"}, Reason.WRONG_REPOSITORY, id="slash"),
        pytest.param({"source_paths": ("tests",)}, Reason.WRONG_PATH, id="path"),
        pytest.param({"source_paths": ("dags", "secrets")}, Reason.WRONG_PATH, id="more-paths"),
        pytest.param({"source_paths": (".",)}, Reason.WRONG_PATH, id="whole-repository"),
        pytest.param({"source_paths": ()}, Reason.WRONG_PATH, id="no-path"),
        pytest.param({"source_ref": "feature/main"}, Reason.WRONG_REF, id="ref"),
        pytest.param({"source_ref": "Main"}, Reason.WRONG_REF, id="ref-case"),
        pytest.param({"source_ref": "refs/heads/main"}, Reason.WRONG_REF, id="full-ref"),
        pytest.param({"source_selection": Selection(("**",), ())}, Reason.WRONG_SELECTION, id="include"),
        pytest.param({"source_selection": Selection((), ("a/**",))}, Reason.WRONG_SELECTION, id="exclude"),
        pytest.param({"dev": True}, Reason.DEV_RELEASE, id="dev"),
    ],
)
def test_release_of_other_code_is_refused(target: Target, lies: dict[str, Any], reason: Reason) -> None:
    told = target.simulator.publish(small_tree("two"), "two", release_changes=lies)
    target.refuses(reason, fetched=up_to_release(told))
    target.accepts(target.simulator.publish(small_tree("two"), "two"))


@pytest.mark.parametrize(
    ("ref", "taken"),
    [("release/2026.1", True), ("release", False), ("release/2026/1", False), ("prerelease/2026.1", False)],
)
def test_ref_must_match_the_whole_glob(target: Target, ref: str, taken: bool) -> None:
    target.write_trust(refs=("release/*",))
    told = target.simulator.publish(small_tree("two"), "two", release_changes={"source_ref": ref})
    if taken:
        target.accepts(told)
    else:
        target.refuses(Reason.WRONG_REF, fetched=up_to_release(told))


# Mix and match


def mixed(target: Target, **changes: Any) -> Published:
    """Point to the release of commit "two", with other fields of the pointer."""
    simulator = target.simulator
    honest = simulator.publish(small_tree("two"), "two")
    entry = simulator.make_pointer(honest.release, honest.pointer.release, **changes)
    return simulator.point(honest.release, honest.release_raw, entry)


def test_pointer_of_one_commit_with_the_release_of_another_is_refused(target: Target) -> None:
    told = mixed(target, commit=commit_id("one"))
    target.refuses(Reason.WRONG_COMMIT, fetched=up_to_release(told))
    target.accepts(mixed(target))


def test_live_release_under_another_commit_is_refused(target: Target) -> None:
    live = target.simulator.last
    assert live is not None
    target.simulator.again(live, commit=commit_id("two"))
    target.refuses(Reason.WRONG_COMMIT, remembered=True)  # the release is on the volume
    target.keeps(target.simulator.again(live))


@pytest.mark.parametrize("old", ["one", "three"])
def test_release_served_under_the_name_of_another_is_refused(target: Target, old: str) -> None:
    simulator = target.simulator
    other = simulator.publish(small_tree(old), old)
    told = simulator.publish(small_tree("two"), "two")
    place = simulator.layout.release(told.pointer.release)
    simulator.put(place, other.release_raw)
    target.refuses(Reason.WRONG_DIGEST, fetched=up_to_release(told))
    simulator.put(place, told.release_raw)
    target.accepts(told)


def test_archive_of_another_signed_release_is_refused(target: Target) -> None:
    """The bytes are signed, by the right key, for this channel: for another commit."""
    simulator = target.simulator
    trees = [small_tree("two"), next(t for t in map(small_tree, _words()) if _size(t) == _size(small_tree("two")))]
    told, other = simulator.publish(trees[0], "two"), simulator.publish(trees[1], "other")
    simulator.archive(told).write_bytes(archive_bytes(trees[1]))
    told = simulator.again(told)
    target.refuses(Reason.WRONG_DIGEST, fetched=up_to_archive(told))
    simulator.archive(told).write_bytes(archive_bytes(trees[0]))
    target.start()  # what was refused is left alone for a while
    target.accepts(told)
    target.accepts(simulator.again(other))


def _words() -> list[str]:
    return [f"tw{number}" for number in range(100, 200)]


def _size(tree: dict[str, Any]) -> int:
    return len(archive_bytes(tree))


@pytest.mark.parametrize(
    ("lies", "reason", "fetched"),
    [
        pytest.param(lambda _: {"tree": "7" * 64}, Reason.WRONG_TREE, up_to_archive, id="tree"),
        pytest.param(lambda one: {"archive": one.archive}, Reason.WRONG_TREE, up_to_archive, id="archive"),
        pytest.param(lambda _: {"archive_files": 5}, Reason.BAD_ARCHIVE, up_to_archive, id="files"),
        pytest.param(lambda _: {"archive_unpacked_size": 1 << 20}, Reason.BAD_ARCHIVE, up_to_archive, id="size"),
        pytest.param(lambda _: {"archive_unpacked_size": 1024}, Reason.TOO_LARGE, up_to_archive, id="size-too-small"),
        pytest.param(lambda _: {"archive_files": 10**9}, Reason.TOO_LARGE, up_to_release, id="a-billion-files"),
        pytest.param(lambda _: {"archive_size": 10**15}, Reason.TOO_LARGE, up_to_release, id="petabyte"),
        pytest.param(lambda _: {"archive_unpacked_size": 10**15}, Reason.TOO_LARGE, up_to_release, id="zstd-bomb"),
    ],
)
def test_release_that_signs_another_tree_than_its_archive_holds_is_refused(
    target: Target, lies: Lies, reason: Reason, fetched: Callable[[Published], list[str]]
) -> None:
    """Release of one, archive of another: a broken or stolen signer of releases."""
    live = target.simulator.last
    assert live is not None
    changes = lies(live.release)
    stored = (lambda _: None) if "archive" in changes else (lambda packed: packed)
    told = target.simulator.publish(small_tree("two"), "two", release_changes=changes, archive=stored)
    target.refuses(reason, fetched=fetched(told))
    target.start()
    target.accepts(target.simulator.publish(small_tree("two"), "two"))


def test_release_that_signs_the_live_tree_brings_just_that_whatever_its_archive_holds(target: Target) -> None:
    """The tree is what is signed: a pod that has it asks for no archive. One that has not refuses what it gets."""
    live = target.last
    told = target.simulator.publish(small_tree("two"), "two", release_changes={"tree": live.release.tree})
    target.accepts(told)
    target.path = target.path.with_name("cold")
    target.start()
    with pytest.raises(Refused) as caught:
        target.puller.sync()
    assert caught.value.reason is Reason.WRONG_TREE


# One kind of document in the place of another


@pytest.fixture
def one_key(target: Target) -> Target:
    """A target whose one key signs releases and pointers, as CI's does: only types keep the two apart."""
    target.simulator.keys.pointer = target.simulator.keys.release
    target.write_trust()
    return target


def test_release_in_the_place_of_the_pointer_is_refused(one_key: Target) -> None:
    simulator = one_key.simulator
    honest = simulator.publish(small_tree("two"), "two")
    simulator.put(simulator.layout.pointer("main"), honest.release_raw)
    one_key.refuses(Reason.UNKNOWN_TYPE)
    simulator.show(honest)
    one_key.accepts(honest)


def test_pointer_in_the_place_of_the_release_is_refused(one_key: Target) -> None:
    simulator = one_key.simulator
    honest = simulator.publish(small_tree("two"), "two")
    simulator.put(simulator.layout.release(envelope.digest(honest.raw)), honest.raw)
    entry = simulator.make_pointer(honest.release, envelope.digest(honest.raw))
    told = simulator.point(honest.release, honest.raw, entry)
    one_key.refuses(Reason.UNKNOWN_TYPE, fetched=up_to_release(told))
    one_key.accepts(simulator.again(honest))


@pytest.mark.parametrize("document", ["pointer", "release"])
@pytest.mark.parametrize("form", ["other-type", "other-payload"])
def test_payload_of_one_kind_under_the_type_of_the_other_is_refused(one_key: Target, document: str, form: str) -> None:
    """The signer signs what it is given: a payload of one kind, said to be of the other."""
    simulator = one_key.simulator
    kinds = {"pointer": pointer.PAYLOAD_TYPE, "release": release.PAYLOAD_TYPE}
    other = "release" if document == "pointer" else "pointer"
    live = simulator.last
    assert live is not None
    foreign = (live.raw if other == "pointer" else live.release_raw) if form == "other-payload" else None

    def lie(raw: bytes) -> bytes:
        payload = envelope.parse(foreign or raw, "it").payload
        kind = kinds[document if form == "other-payload" else other]
        return envelope.sign(kind, payload, [simulator.keys.release]).encode()

    told = tell(simulator, document, lie)
    reason = Reason.UNKNOWN_TYPE if form == "other-type" else Reason.MALFORMED
    one_key.refuses(reason, fetched=ONLY_POINTER if document == "pointer" else up_to_release(told))
    one_key.accepts(tell(simulator, document, word="truth"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param({"predicateType": "https://slsa.dev/provenance/v1"}, Reason.UNKNOWN_TYPE, id="provenance"),
        pytest.param({"predicateType": "urn:dagferry:release:v2"}, Reason.UNKNOWN_TYPE, id="next-version"),
        pytest.param({"predicateType": "urn:dagferry:dev-release:v1"}, Reason.DEV_RELEASE, id="dev"),
        pytest.param({"predicateType": None}, Reason.MALFORMED, id="none"),
        pytest.param({"_type": "https://in-toto.io/Statement/v0.1"}, Reason.UNKNOWN_TYPE, id="statement-v0.1"),
        pytest.param({"_type": 1}, Reason.UNKNOWN_TYPE, id="statement-number"),
        pytest.param({"subject": []}, Reason.MALFORMED, id="no-subject"),
    ],
)
def test_statement_of_another_kind_signed_by_the_release_key_is_refused(
    target: Target, change: dict[str, Any], reason: Reason
) -> None:
    """CI's key may also sign provenance for other tools: an in-toto statement alone is no release."""

    def lie(raw: bytes) -> bytes:
        statement = {**json.loads(envelope.parse(raw, "it").payload), **change}
        return envelope.sign(
            release.PAYLOAD_TYPE, strictjson.encode(statement), [target.simulator.keys.release]
        ).encode()

    told = tell(target.simulator, "release", lie)
    target.refuses(reason, fetched=up_to_release(told))
    target.accepts(tell(target.simulator, "release", word="truth"))


def test_two_archives_in_one_release_are_refused(target: Target) -> None:
    """Which of two subjects of one name counts would be the reader's guess."""
    evil = hashlib.sha256(b"evil").hexdigest()

    def lie(raw: bytes) -> bytes:
        statement = json.loads(envelope.parse(raw, "it").payload)
        statement["subject"].append({"name": "dags.tar.zst", "digest": {"sha256": evil}})
        return envelope.sign(
            release.PAYLOAD_TYPE, strictjson.encode(statement), [target.simulator.keys.release]
        ).encode()

    told = tell(target.simulator, "release", lie)
    target.refuses(Reason.MALFORMED, fetched=up_to_release(told), text="two subjects")
    target.accepts(tell(target.simulator, "release", word="truth"))
