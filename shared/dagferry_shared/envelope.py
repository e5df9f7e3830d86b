"""DSSE envelopes: a payload, its type, and signatures over both (secure-systems-lab/dsse, protocol 1.0.0).

Stricter than DSSE asks: an envelope has exactly one encoding (sorted names, no spaces, standard base64 with padding,
signatures sorted by key id, one for each key), so its digest names one document and re-spacing it is refused.
"""

from __future__ import annotations

import binascii
import hashlib
from typing import TYPE_CHECKING

from dagferry_shared import names, strictjson
from dagferry_shared.errors import Reason, Refused
from dagferry_shared.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dagferry_shared.keys import PublicKey, Signer

MAX_ENVELOPE = 64 * 1024  # bytes; a pointer and a release are about 1 and 2 KiB
MAX_SIGNATURES = 16


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that are signed: DSSE's pre-authentication encoding."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A parsed envelope. That it parses says nothing about who signed it.

    Attributes:
        payload_type: the media type that says how to read the payload.
        payload: the signed bytes.
        signatures: (key id, 64-byte signature), sorted by key id.
    """

    payload_type: str
    payload: bytes
    signatures: tuple[tuple[str, bytes], ...]

    @property
    def payload_digest(self) -> str:
        """SHA-256 of the payload: a pointer's identity."""
        return hashlib.sha256(self.payload).hexdigest()

    def encode(self) -> bytes:
        """Write the envelope's one encoding."""
        return strictjson.encode(
            {
                "payload": _encode64(self.payload),
                "payloadType": self.payload_type,
                "signatures": [{"keyid": keyid, "sig": _encode64(sig)} for keyid, sig in self.signatures],
            }
        )


def digest(raw: bytes) -> str:
    """Return the SHA-256 of an envelope's bytes: a release's name."""
    return hashlib.sha256(raw).hexdigest()


def sign(payload_type: str, payload: bytes, signers: Iterable[Signer]) -> Envelope:
    """Sign a payload; each key signs once."""
    message = pae(payload_type, payload)
    signatures = {signer.public.id: signer.sign(message) for signer in signers}
    return Envelope(payload_type, payload, tuple(sorted(signatures.items())))


def _encode64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode()


def _decode64(value: str, where: str) -> bytes:
    try:
        return binascii.a2b_base64(value, strict_mode=True)
    except ValueError as error:
        raise Refused(Reason.MALFORMED, f"{where} is not base64") from error


def parse(raw: bytes, what: str) -> Envelope:
    """Parse an envelope; Refused for anything but its one encoding."""
    fields = strictjson.Fields(strictjson.parse_object(raw, what, limit=MAX_ENVELOPE), what)
    fields.only("payload", "payloadType", "signatures")
    payload = _decode64(fields.text("payload", lambda value, _: value), f"{what}.payload")
    signatures = []
    for entry in fields.objects("signatures", most=MAX_SIGNATURES):
        entry.only("keyid", "sig")
        keyid = entry.text("keyid", names.sha256)
        signatures.append((keyid, _decode64(entry.text("sig", names.text), f"{entry.where}.sig")))
    result = Envelope(fields.text("payloadType", names.word), payload, tuple(signatures))
    keyids = [keyid for keyid, _ in signatures]
    if keyids != sorted(set(keyids)):
        raise Refused(Reason.MALFORMED, f"{what} has unsorted signatures, or two by one key")
    if result.encode() != raw:
        raise Refused(Reason.MALFORMED, f"{what} is not in its one encoding (re-spaced or re-ordered)")
    return result


def verify(envelope: Envelope, keys: Sequence[PublicKey], threshold: int, what: str) -> frozenset[str]:
    """Check that at least ``threshold`` of the ``keys`` signed, and nobody else did.

    Returns the ids of the keys that signed. Raises Refused: UNKNOWN_KEY for a signature by any other key,
    BAD_SIGNATURE for one that does not verify, THRESHOLD for too few.
    """
    known = {key.id: key for key in keys}
    message = pae(envelope.payload_type, envelope.payload)
    for keyid, signature in envelope.signatures:
        if keyid not in known:
            raise Refused(Reason.UNKNOWN_KEY, f"{what} is signed by key {keyid[:16]}…, which has no such role")
        if not known[keyid].verifies(signature, message):
            raise Refused(Reason.BAD_SIGNATURE, f"{what}: the signature of key {keyid[:16]}… does not verify")
    signers = frozenset(keyid for keyid, _ in envelope.signatures)
    if len(signers) < threshold:
        raise Refused(Reason.THRESHOLD, f"{what} has {len(signers)} signatures of {threshold} needed")
    return signers
