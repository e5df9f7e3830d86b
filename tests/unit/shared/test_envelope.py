import base64
import json
import subprocess

import pytest
from securesystemslib.dsse import Envelope as ForeignEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

from dagferry_shared import envelope
from dagferry_shared.envelope import Envelope
from dagferry_shared.errors import Reason
from support.docs import CI, CI_2, OPERATOR, STRANGER
from support.refusals import refused

KIND = "application/x"
PAYLOAD = b'{"a":1}'
BOTH = sorted([CI, CI_2], key=lambda signer: signer.public.id)
RAW = envelope.sign(KIND, PAYLOAD, BOTH).encode()
KEYS = [signer.public for signer in BOTH]


def foreign_key(signer):
    return SSlibKey(signer.public.id, "ed25519", "ed25519", {"public": signer.public.key.public_bytes_raw().hex()})


def rewritten(change):
    document = json.loads(RAW)
    change(document)
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def test_pae_is_that_of_the_dsse_specification():
    assert envelope.pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert envelope.pae("", b"") == b"DSSEv1 0  0 "
    assert envelope.pae("ü", b"\xff\n") == b"DSSEv1 2 \xc3\xbc 2 \xff\n"  # lengths are of bytes


def test_pae_keeps_type_and_payload_apart():
    assert envelope.pae("a", b"1 b") != envelope.pae("a 3 1", b"b")


def test_envelope_round_trips_and_verifies():
    parsed = envelope.parse(RAW, "release")
    assert parsed.encode() == RAW
    assert (parsed.payload_type, parsed.payload) == (KIND, PAYLOAD)
    assert envelope.verify(parsed, KEYS, 2, "release") == {CI.public.id, CI_2.public.id}


def test_signing_order_and_repetition_do_not_change_the_bytes():
    assert envelope.sign(KIND, PAYLOAD, [*reversed(BOTH), CI]).encode() == RAW


def test_securesystemslib_verifies_our_envelope():
    foreign = ForeignEnvelope.from_dict(json.loads(RAW))
    assert len(foreign.verify([foreign_key(s) for s in BOTH], 2)) == 2
    with pytest.raises(VerificationError):
        foreign.verify([foreign_key(OPERATOR)], 1)


def test_we_verify_an_envelope_of_securesystemslib():
    foreign = ForeignEnvelope(PAYLOAD, KIND, {})
    foreign.sign(CryptoSigner(CI._key, foreign_key(CI)))
    document = foreign.to_dict()
    assert document["signatures"][0].keys() == {"keyid", "sig"}
    raw = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    assert envelope.verify(envelope.parse(raw, "release"), [CI.public], 1, "release") == {CI.public.id}
    assert envelope.sign(KIND, PAYLOAD, [CI]).encode() == raw


def test_openssl_verifies_our_signature_over_the_pae(tmp_path):
    parsed = envelope.parse(envelope.sign(KIND, PAYLOAD, [CI]).encode(), "x")
    files = {"pub": CI.public.pem.encode(), "pae": envelope.pae(KIND, PAYLOAD), "sig": parsed.signatures[0][1]}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    command = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", "pub", "-in", "pae", "-sigfile", "sig"]
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == 0
    (tmp_path / "pae").write_bytes(envelope.pae(KIND, PAYLOAD + b" "))
    assert subprocess.run(command, cwd=tmp_path, check=False, capture_output=True).returncode != 0


def test_we_verify_a_signature_that_openssl_made(tmp_path):
    (tmp_path / "key").write_bytes(CI.to_pem(None))
    (tmp_path / "pae").write_bytes(envelope.pae(KIND, PAYLOAD))
    command = ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", "key", "-in", "pae", "-out", "sig"]
    subprocess.run(command, cwd=tmp_path, check=True)
    made = Envelope(KIND, PAYLOAD, ((CI.public.id, (tmp_path / "sig").read_bytes()),))
    assert envelope.verify(made, [CI.public], 1, "x") == {CI.public.id}


@pytest.mark.parametrize(
    "raw",
    [
        RAW + b"\n",
        b" " + RAW,
        RAW.replace(b",", b", ", 1),
        RAW.replace(b"payloadType", b"payload\\u0054ype"),
        RAW.replace(b"application/x", b"application\\/x"),
        json.dumps(json.loads(RAW), separators=(",", ":")).encode().replace(b'{"payload":', b'{"payload" :'),
        json.dumps(dict(reversed(json.loads(RAW).items())), separators=(",", ":")).encode(),
    ],
)
def test_re_spaced_or_re_ordered_envelope_is_refused(raw):
    with refused(Reason.MALFORMED, "one encoding"):
        envelope.parse(raw, "release")


@pytest.mark.parametrize("field", ["payload", "payloadType", "signatures"])
def test_envelope_without_a_field_is_refused(field):
    with refused(Reason.MALFORMED, f"lacks '{field}'"):
        envelope.parse(rewritten(lambda d: d.pop(field)), "release")


@pytest.mark.parametrize("field", ["payload", "payloadType", "signatures"])
@pytest.mark.parametrize("value", [None, 1, True, {}, [1], [["x"]], [None]])
def test_envelope_with_a_field_of_wrong_type_is_refused(field, value):
    with refused():
        envelope.parse(rewritten(lambda d: d.update({field: value})), "release")


@pytest.mark.parametrize("field", ["keyid", "sig"])
@pytest.mark.parametrize("value", [None, 1, {}, [], "ü", "A" * 63])
def test_signature_with_a_field_of_wrong_type_is_refused(field, value):
    with refused():
        envelope.parse(rewritten(lambda d: d["signatures"][0].update({field: value})), "release")
    with refused(Reason.MALFORMED, f"lacks '{field}'"):
        envelope.parse(rewritten(lambda d: d["signatures"][0].pop(field)), "release")


def test_envelope_with_a_field_more_is_refused():
    with refused(Reason.MALFORMED, "unknown field 'x'"):
        envelope.parse(rewritten(lambda d: d.update(x=1)), "release")
    with refused(Reason.MALFORMED, "unknown field 'cert'"):
        envelope.parse(rewritten(lambda d: d["signatures"][0].update(cert="x")), "release")


@pytest.mark.parametrize(
    "payload",
    ["e30", "e30=\n", "e3 0=", "e31=", "e30==", "e30=e30=", "-_==", "e30=x", "=", "ü", "\u0660\u0660\u0660\u0660"],
)
def test_payload_that_is_not_the_one_base64_of_some_bytes_is_refused(payload):
    with refused():
        envelope.parse(rewritten(lambda d: d.update(payload=payload)), "release")


def test_signature_that_is_not_base64_is_refused():
    with refused(Reason.MALFORMED, "signatures[0].sig is not base64"):
        envelope.parse(rewritten(lambda d: d["signatures"][0].update(sig="A")), "release")


@pytest.mark.parametrize("kind", ["", " x", "x\n", "x" * 1001, "\u202e"])
def test_payload_type_that_is_no_word_is_refused(kind):
    with refused(Reason.OVERSIZE if len(kind) > 1000 else Reason.MALFORMED):
        envelope.parse(Envelope(kind, PAYLOAD, ()).encode(), "release")


def test_envelope_of_exactly_the_limit_is_parsed_and_one_byte_more_is_oversize():
    payload = b"x" * 48_600
    room = envelope.MAX_ENVELOPE - len(Envelope(KIND, payload, ()).encode())
    raw = Envelope(KIND + "y" * room, payload, ()).encode()
    assert len(raw) == envelope.MAX_ENVELOPE
    assert envelope.parse(raw, "release").payload == payload
    with refused(Reason.OVERSIZE):
        envelope.parse(Envelope(KIND + "y" * (room + 1), payload, ()).encode(), "release")


def test_too_many_signatures_are_refused():
    def with_signatures(count):
        return Envelope(KIND, PAYLOAD, tuple((f"{i:064x}", b"s" * 64) for i in range(count))).encode()

    assert len(envelope.parse(with_signatures(envelope.MAX_SIGNATURES), "x").signatures) == envelope.MAX_SIGNATURES
    with refused(Reason.MALFORMED, "at most 16"):
        envelope.parse(with_signatures(envelope.MAX_SIGNATURES + 1), "x")


def test_unsorted_signatures_are_refused():
    with refused(Reason.MALFORMED, "unsorted"):
        envelope.parse(rewritten(lambda d: d["signatures"].reverse()), "release")


def test_two_signatures_by_one_key_are_refused():
    with refused(Reason.MALFORMED, "two by one key"):
        envelope.parse(rewritten(lambda d: d["signatures"].append(d["signatures"][1])), "release")


def test_signature_counted_twice_does_not_reach_the_threshold():
    twice = Envelope(KIND, PAYLOAD, ((CI.public.id, CI.sign(envelope.pae(KIND, PAYLOAD))),) * 2)
    with refused(Reason.THRESHOLD):
        envelope.verify(twice, KEYS, 2, "release")


def test_stripped_signature_is_below_the_threshold():
    stripped = envelope.parse(rewritten(lambda d: d["signatures"].pop()), "release")
    assert envelope.verify(stripped, KEYS, 1, "release")
    with refused(Reason.THRESHOLD, "1 signatures of 2"):
        envelope.verify(stripped, KEYS, 2, "release")


def test_envelope_without_signatures_is_below_any_threshold():
    with refused(Reason.THRESHOLD):
        envelope.verify(envelope.parse(rewritten(lambda d: d.update(signatures=[])), "release"), KEYS, 1, "release")


def test_extra_signature_by_a_stranger_is_refused_even_above_the_threshold():
    signed = envelope.sign(KIND, PAYLOAD, [*BOTH, STRANGER])
    with refused(Reason.UNKNOWN_KEY, STRANGER.public.id[:16]):
        envelope.verify(signed, KEYS, 1, "release")


def test_extra_signature_that_does_not_verify_is_refused_even_above_the_threshold():
    first, second = envelope.parse(RAW, "x").signatures
    broken = Envelope(KIND, PAYLOAD, (first, (second[0], first[1])))
    with refused(Reason.BAD_SIGNATURE, second[0][:16]):
        envelope.verify(broken, KEYS, 1, "release")


@pytest.mark.parametrize(
    "signature", ["", "AA==", base64.b64encode(b"s" * 64).decode(), base64.b64encode(b"s" * 65).decode()]
)
def test_signature_of_wrong_bytes_or_length_is_refused(signature):
    raw = rewritten(lambda d: d["signatures"][0].update(sig=signature))
    with refused(Reason.BAD_SIGNATURE):
        envelope.verify(envelope.parse(raw, "release"), KEYS, 1, "release")


def test_payload_changed_after_signing_is_refused():
    raw = rewritten(lambda d: d.update(payload=base64.b64encode(b'{"a":2}').decode()))
    with refused(Reason.BAD_SIGNATURE):
        envelope.verify(envelope.parse(raw, "release"), KEYS, 1, "release")


def test_payload_signed_as_another_type_is_refused():
    with refused(Reason.BAD_SIGNATURE):
        envelope.verify(envelope.parse(rewritten(lambda d: d.update(payloadType="other")), "x"), KEYS, 1, "x")


def test_signature_over_the_bare_payload_is_refused():
    bare = Envelope(KIND, PAYLOAD, ((CI.public.id, CI.sign(PAYLOAD)),))
    with refused(Reason.BAD_SIGNATURE):
        envelope.verify(bare, KEYS, 1, "release")


def test_digests_are_of_the_envelope_and_of_the_payload():
    parsed = envelope.parse(RAW, "x")
    assert envelope.digest(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert envelope.digest(RAW) != parsed.payload_digest == envelope.digest(PAYLOAD)
    other = envelope.sign(KIND, PAYLOAD, [OPERATOR])  # the same statement, signed by another
    assert other.payload_digest == parsed.payload_digest
