"""Signatures of pointers and releases: who signed, how many, and over which bytes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_shared import envelope
from dagferry_shared.errors import Reason
from dagferry_shared.trust import Role
from support.attacker import ONLY_POINTER, Target, up_to_release
from support.bundles import small_tree
from support.docs import STRANGER
from support.lies import attack, both, signatures_of, signed_anew, signer_of, tell, with_signatures

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagferry_shared.keys import FileSigner

_GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493  # of Ed25519


def _fetched(document: str, told: Any) -> list[str]:
    return ONLY_POINTER if document == "pointer" else up_to_release(told)


@both
def test_arbitrary_document_of_a_stranger_is_refused(target: Target, document: str) -> None:
    attack(target, document, lambda raw: signed_anew(raw, STRANGER), Reason.UNKNOWN_KEY)


@both
def test_strangers_signature_under_a_trusted_key_id_is_refused(target: Target, document: str) -> None:
    trusted = signer_of(target.simulator, document).public.id

    def lie(raw: bytes) -> bytes:
        [(_, signature)] = signatures_of(signed_anew(raw, STRANGER))
        return with_signatures(raw, [(trusted, signature)])

    attack(target, document, lie, Reason.BAD_SIGNATURE)


@both
def test_key_that_the_trust_file_lists_without_a_role_is_refused(target: Target, document: str) -> None:
    attack(target, document, lambda raw: signed_anew(raw, target.simulator.keys.other), Reason.UNKNOWN_KEY)


@both
def test_stripped_signatures_are_refused(target: Target, document: str) -> None:
    attack(target, document, lambda raw: with_signatures(raw, []), Reason.THRESHOLD)


@both
def test_duplicate_signature_is_refused(target: Target, document: str) -> None:
    attack(target, document, lambda raw: with_signatures(raw, signatures_of(raw) * 2), Reason.MALFORMED, "two by one")


@both
def test_extra_signature_of_a_stranger_is_refused(target: Target, document: str) -> None:
    key = signer_of(target.simulator, document)
    attack(target, document, lambda raw: signed_anew(raw, key, STRANGER), Reason.UNKNOWN_KEY)


@both
def test_extra_signature_of_the_other_role_is_refused(target: Target, document: str) -> None:
    keys = target.simulator.keys
    attack(target, document, lambda raw: signed_anew(raw, keys.pointer, keys.release), Reason.UNKNOWN_KEY)


@both
def test_extra_signature_that_does_not_verify_is_refused(target: Target, document: str) -> None:
    key, other = signer_of(target.simulator, document), target.simulator.keys.other
    target.write_trust(**{document: Role(1, (key.public.id, other.public.id))})

    def lie(raw: bytes) -> bytes:
        return with_signatures(raw, sorted([*signatures_of(raw), (other.public.id, bytes(64))]))

    attack(target, document, lie, Reason.BAD_SIGNATURE)


@both
def test_more_signatures_than_any_role_needs_are_refused(target: Target, document: str) -> None:
    many = [(f"{number:064x}", bytes(64)) for number in range(17)]
    attack(target, document, lambda raw: with_signatures(raw, many), Reason.MALFORMED, "at most 16")


def _malleable(signature: bytes) -> bytes:
    """Make the other S that a careless verifier takes for the same signature."""
    scalar = int.from_bytes(signature[32:], "little") + _GROUP_ORDER
    return signature[:32] + scalar.to_bytes(32, "little")


@both
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda sig: b"", id="empty"),
        pytest.param(lambda sig: sig[:-1], id="short"),
        pytest.param(lambda sig: sig + b"\0", id="long"),
        pytest.param(lambda sig: sig[:-1] + bytes([sig[-1] ^ 1]), id="bit"),
        pytest.param(lambda sig: bytes(64), id="zeros"),
        pytest.param(lambda sig: sig[32:] + sig[:32], id="halves"),
        pytest.param(_malleable, id="malleable"),
    ],
)
def test_damaged_signature_is_refused(target: Target, document: str, damage: Callable[[bytes], bytes]) -> None:
    def lie(raw: bytes) -> bytes:
        return with_signatures(raw, [(keyid, damage(signature)) for keyid, signature in signatures_of(raw)])

    attack(target, document, lie, Reason.BAD_SIGNATURE)


@both
def test_signature_of_another_document_of_the_same_key_is_refused(target: Target, document: str) -> None:
    earlier = tell(target.simulator, document, word="earlier")
    target.accepts(earlier)
    old = signatures_of(earlier.raw if document == "pointer" else earlier.release_raw)
    attack(target, document, lambda raw: with_signatures(raw, old), Reason.BAD_SIGNATURE)


@both
def test_signature_over_the_payload_without_its_type_is_refused(target: Target, document: str) -> None:
    key = signer_of(target.simulator, document)

    def lie(raw: bytes) -> bytes:
        return with_signatures(raw, [(key.public.id, key.sign(envelope.parse(raw, "it").payload))])

    attack(target, document, lie, Reason.BAD_SIGNATURE)


@both
def test_payload_changed_after_it_was_signed_is_refused(target: Target, document: str) -> None:
    def lie(raw: bytes) -> bytes:
        parsed = envelope.parse(raw, "it")
        content = json.loads(parsed.payload)
        content["extra"] = "x"  # would be ignored, were it signed
        return replace(parsed, payload=json.dumps(content).encode()).encode()

    attack(target, document, lie, Reason.BAD_SIGNATURE)


@both
def test_payload_type_changed_after_it_was_signed_is_refused(target: Target, document: str) -> None:
    def lie(raw: bytes) -> bytes:
        return replace(envelope.parse(raw, "it"), payload_type="text/plain").encode()

    attack(target, document, lie, Reason.BAD_SIGNATURE)


# Thresholds count distinct keys


@pytest.fixture(params=["pointer", "release"])
def two_of_two(request: pytest.FixtureRequest, target: Target) -> tuple[Target, str, list[FileSigner]]:
    """A target whose trust file wants two signatures of one kind of document."""
    keys = [signer_of(target.simulator, request.param), target.simulator.keys.other]
    target.write_trust(**{request.param: Role(2, tuple(key.public.id for key in keys))})
    return target, request.param, keys


TwoOfTwo = tuple[Target, str, "list[FileSigner]"]


def _refused_then_two_are_taken(two: TwoOfTwo, lie: Callable[[bytes], bytes], reason: Reason) -> None:
    target, document, keys = two
    # Until its own document is new, the live one has too few signatures itself: that is an alarm, and it stays.
    told = tell(target.simulator, document, lie)
    target.refuses(reason, fetched=_fetched(document, told))
    target.accepts(tell(target.simulator, document, signers=keys, word="truth"))


def test_one_signature_of_two_needed_is_refused(two_of_two: TwoOfTwo) -> None:
    _refused_then_two_are_taken(two_of_two, lambda raw: raw, Reason.THRESHOLD)


def test_same_key_twice_is_not_two_keys(two_of_two: TwoOfTwo) -> None:
    _refused_then_two_are_taken(two_of_two, lambda raw: with_signatures(raw, signatures_of(raw) * 2), Reason.MALFORMED)


def test_one_signature_under_two_ids_is_not_two_keys(two_of_two: TwoOfTwo) -> None:
    ids = sorted(key.public.id for key in two_of_two[2])

    def lie(raw: bytes) -> bytes:
        [(_, signature)] = signatures_of(raw)
        return with_signatures(raw, [(keyid, signature) for keyid in ids])

    _refused_then_two_are_taken(two_of_two, lie, Reason.BAD_SIGNATURE)


def test_right_key_and_a_stranger_are_not_two_keys(two_of_two: TwoOfTwo) -> None:
    _refused_then_two_are_taken(
        two_of_two, lambda raw: signed_anew(raw, two_of_two[2][0], STRANGER), Reason.UNKNOWN_KEY
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(lambda keys, role: keys.update({"0" * 64: keys[role["keys"][0]]}), Reason.BAD_KEY, id="two-ids"),
        pytest.param(lambda keys, role: role["keys"].append(role["keys"][0]), Reason.MALFORMED, id="listed-twice"),
        pytest.param(lambda keys, role: role.update(threshold=2), Reason.MALFORMED, id="too-few-keys"),
        pytest.param(lambda keys, role: role.update(threshold=0), Reason.MALFORMED, id="zero"),
        pytest.param(lambda keys, role: role.update(threshold=True), Reason.MALFORMED, id="true"),
        pytest.param(lambda keys, role: role["keys"].append("0" * 64), Reason.MALFORMED, id="no-such-key"),
        pytest.param(lambda keys, role: role["retired"].append(role["keys"][0]), Reason.MALFORMED, id="also-retired"),
    ],
)
def test_trust_file_that_makes_one_key_count_twice_or_none_is_refused(
    target: Target, change: Callable[[dict[str, Any], dict[str, Any]], None], reason: Reason
) -> None:
    document = json.loads(target.trust.read_bytes())
    change(document["keys"], document["channels"]["main"]["pointer"])
    target.trust.write_text(json.dumps(document))
    honest = target.simulator.publish(small_tree("two"), "two")
    target.refuses(reason, fetched=[])
    target.write_trust()
    target.accepts(honest)


# Roles


@both
def test_key_of_the_other_role_is_refused(target: Target, document: str) -> None:
    keys = target.simulator.keys
    wrong = keys.release if document == "pointer" else keys.pointer
    attack(target, document, lambda raw: signed_anew(raw, wrong), Reason.UNKNOWN_KEY)


@both
def test_key_of_another_channel_is_refused(target: Target, document: str) -> None:
    keys, trust = target.simulator.keys, target.simulator.trust()
    role = Role(1, (keys.other.public.id,))
    canary = replace(trust.channels["main"], release=role, pointer=role)
    target.trust.write_bytes(replace(trust, channels={**trust.channels, "canary": canary}).encode())
    attack(target, document, lambda raw: signed_anew(raw, keys.other), Reason.UNKNOWN_KEY)


@both
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside-an-active-key"])
def test_retired_key_signs_nothing_new(target: Target, document: str, beside: bool) -> None:
    key, old = signer_of(target.simulator, document), target.simulator.keys.other
    target.write_trust(**{document: Role(1, (key.public.id,), (old.public.id,))})
    signers = (key, old) if beside else (old,)
    attack(target, document, lambda raw: signed_anew(raw, *signers), Reason.RETIRED_KEY)
