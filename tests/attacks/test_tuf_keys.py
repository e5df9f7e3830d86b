"""Keys and thresholds out of The Update Framework's conformance suite, by name; see TUF.md."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from dagferry_shared.errors import Reason
from dagferry_shared.trust import Role
from support.attacker import ONLY_POINTER, Target, up_to_release
from support.bundles import Published
from support.docs import fixed_key
from support.lies import both, signatures_of, signed_anew, signer_of, tell, with_signatures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagferry_shared.keys import FileSigner

SIGNERS = [fixed_key(number) for number in range(10, 20)]


def trust(target: Target, document: str, signers: Sequence[FileSigner], threshold: int) -> None:
    """Write a trust file in which these keys, and no others, sign one kind of document."""
    role = Role(threshold, tuple(signer.public.id for signer in signers))
    whole = target.simulator.trust(**{document: role})
    keys = {**whole.keys, **{signer.public.id: signer.public for signer in signers}}
    target.trust.write_bytes(replace(whole, keys=keys).encode())


def fetched(document: str, told: Published) -> list[str]:
    """Name the requests of a pull that ends with this kind of document."""
    return ONLY_POINTER if document == "pointer" else up_to_release(told)


# test_keys.py


@both
def test_snapshot_does_not_meet_threshold(target: Target, document: str) -> None:
    trust(target, document, SIGNERS[:3], 3)
    target.accepts(tell(target.simulator, document, signers=SIGNERS[:3], word="two"))
    told = tell(target.simulator, document, signers=SIGNERS[:2])
    target.refuses(Reason.THRESHOLD, fetched=fetched(document, told))
    target.accepts(tell(target.simulator, document, signers=SIGNERS[:3], word="three"))


@both
def test_snapshot_has_too_few_keys(target: Target, document: str) -> None:
    """Such a trust file is refused itself: it would lock everybody out."""
    two = tell(target.simulator, document, signers=SIGNERS[:5])
    trust(target, document, SIGNERS[:5], 6)
    target.refuses(Reason.MALFORMED, fetched=[], text="needs 6 of 5 keys")
    trust(target, document, SIGNERS[:5], 5)
    target.accepts(two)


@both
def test_duplicate_keys(target: Target, document: str) -> None:
    """One key under several ids, so that it would sign several times."""
    simulator, key = target.simulator, SIGNERS[0]
    ids = [key.public.id, *(f"{number:064x}" for number in range(5))]
    told = tell(simulator, document, lambda raw: _under(raw, ids), signers=[key])
    trust(target, document, [key], 1)
    content = json.loads(target.trust.read_bytes())
    content["keys"] |= dict.fromkeys(ids, key.public.pem)
    content["channels"]["main"][document] |= {"keys": ids, "threshold": 6}
    target.trust.write_text(json.dumps(content))
    target.refuses(Reason.BAD_KEY, fetched=[])
    trust(target, document, SIGNERS[:6], 6)
    target.refuses(Reason.UNKNOWN_KEY, fetched=fetched(document, told))
    target.accepts(tell(simulator, document, signers=SIGNERS[:6], word="truth"))


def _under(raw: bytes, ids: Sequence[str]) -> bytes:
    [(_, signature)] = signatures_of(raw)
    return with_signatures(raw, [(keyid, signature) for keyid in sorted(ids)])


@both
def test_duplicate_sig_keyids(target: Target, document: str) -> None:
    told = tell(target.simulator, document, lambda raw: with_signatures(raw, signatures_of(raw) * 2))
    target.refuses(Reason.MALFORMED, fetched=fetched(document, told))
    target.accepts(tell(target.simulator, document, word="truth"))


@pytest.mark.parametrize("scheme", ["rsa", "ecdsa", "ed448"])
def test_keytype_and_scheme(target: Target, scheme: str) -> None:
    """Ed25519 alone: a trust file with another kind of key, or with another kind under an id of ours, is refused."""
    made = {
        "rsa": lambda: rsa.generate_private_key(65537, 1024),
        "ecdsa": lambda: ec.generate_private_key(ec.SECP256R1()),
        "ed448": ed448.Ed448PrivateKey.generate,
    }[scheme]().public_key()
    two = target.publish("two")
    content = json.loads(target.trust.read_bytes())
    pem = made.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    content["keys"][target.simulator.keys.pointer.public.id] = pem
    target.trust.write_text(json.dumps(content))
    target.refuses(Reason.BAD_KEY, fetched=[], text="not an Ed25519 key")
    target.write_trust()
    target.accepts(two)


@both
@pytest.mark.parametrize("bad", [bytes(64), bytes(range(64)), b""], ids=["zeros", "plausible", "empty"])
def test_invalid_sig_in_valid_metadata(target: Target, document: str, bad: bytes) -> None:
    """Refused, where TUF counts the good ones alone: nobody has a reason to send a signature that does not verify."""
    simulator, owner = target.simulator, signer_of(target.simulator, document)
    trust(target, document, [owner, SIGNERS[0]], 1)

    def lie(raw: bytes) -> bytes:
        return with_signatures(raw, sorted([*signatures_of(raw), (SIGNERS[0].public.id, bad)]))

    told = tell(simulator, document, lie)
    target.refuses(Reason.BAD_SIGNATURE, fetched=fetched(document, told))
    target.accepts(tell(simulator, document, word="truth"))


@both
def test_root_has_keys_but_not_snapshot(target: Target, document: str) -> None:
    """Keys that the role lists count once they have signed, not because they are listed."""
    trust(target, document, SIGNERS[:5], 5)
    told = tell(target.simulator, document, signers=SIGNERS[:4])
    target.refuses(Reason.THRESHOLD, fetched=fetched(document, told))
    target.accepts(tell(target.simulator, document, signers=SIGNERS[:5], word="truth"))


# test_updater_key_rotations.py


@dataclass(frozen=True)
class Rotation:
    """Keys and threshold of the trust file, and the keys that sign; numbers are places in ``SIGNERS``."""

    keys: list[int]
    threshold: int
    signers: list[int]
    reason: Reason | None = None


ROTATIONS = {
    "1-of-1-key-rotation": Rotation([2], 1, [2]),
    # TUF passes over the signatures of keys 3 and 4; here nobody signs who has no role
    "1-of-1-key-rotation-unused-signatures": Rotation([1], 1, [3, 1, 4], Reason.UNKNOWN_KEY),
    "1-of-1-key-rotation-fail-not-signed-with-new-key": Rotation([2], 1, [1, 3, 4], Reason.UNKNOWN_KEY),
    "3-of-5-one-key-signature-wrong-not-signed-with-3-expected-keys": Rotation(
        [0, 1, 3, 4, 5], 3, [0, 2, 4], Reason.UNKNOWN_KEY
    ),
    "2-of-5-one-key-signature-mising-threshold-not-reached": Rotation([0, 1, 3, 4, 5], 3, [0, 4], Reason.THRESHOLD),
    "3-of-5-sign-first-combo": Rotation([0, 1, 2, 3, 4], 3, [0, 2, 4]),
    "3-of-5-sign-second-combo": Rotation([0, 1, 2, 3, 4], 3, [0, 4, 1]),
    "3-of-5-sign-third-combo": Rotation([0, 1, 2, 3, 4], 3, [0, 1, 3]),
    "3-of-5-sign-fourth-combo": Rotation([0, 1, 2, 3, 4], 3, [1, 2, 3]),
    "3-of-5-sign-fifth-combo": Rotation([0, 1, 2, 3, 4], 3, [2, 3, 4]),
}


@both
@pytest.mark.parametrize("case", ROTATIONS)
def test_non_root_rotations(target: Target, document: str, case: str) -> None:
    rotation = ROTATIONS[case]
    trust(target, document, [SIGNERS[number] for number in rotation.keys], rotation.threshold)
    told = tell(target.simulator, document, signers=[SIGNERS[number] for number in rotation.signers])
    if rotation.reason is None:
        target.accepts(told)
    else:
        target.refuses(rotation.reason, fetched=fetched(document, told))
        enough = [SIGNERS[number] for number in rotation.keys[: rotation.threshold]]
        target.accepts(tell(target.simulator, document, signers=enough, word="truth"))


@both
def test_root_rotation(target: Target, document: str) -> None:
    """Old key, both keys, new key: each step is a trust file, and what is live is signed anew on the way."""
    simulator, old, new = target.simulator, signer_of(target.simulator, document), SIGNERS[0]
    trust(target, document, [old, new], 1)
    target.accepts(tell(simulator, document, signers=[new], word="two"))
    trust(target, document, [new], 1)
    target.keeps(target.last)
    told = tell(simulator, document, lambda raw: signed_anew(raw, old), signers=[new])
    target.refuses(Reason.UNKNOWN_KEY, fetched=fetched(document, told))
    target.accepts(tell(simulator, document, signers=[new], word="three"))
