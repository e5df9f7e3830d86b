"""One document has one encoding: the same content in other bytes is refused, or names would stand for two documents."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from dagferry_shared import envelope, pointer, strictjson
from dagferry_shared.errors import Reason
from support.attacker import Target, up_to_release
from support.bundles import small_tree
from support.lies import attack, both, signer_of, tell

if TYPE_CHECKING:
    from collections.abc import Callable

_BASE64 = re.compile(rb'("payload":")([^"]*)(")')


def _payload(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda raw: _BASE64.sub(lambda match: match[1] + change(match[2]) + match[3], raw)


def _dumped(**how: object) -> Callable[[bytes], bytes]:
    return lambda raw: json.dumps(json.loads(raw), **how).encode()  # type: ignore[arg-type]


def _loose_bits(text: bytes) -> bytes:
    """Set bits behind the last byte, which a careless decoder throws away."""
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    bare = text.rstrip(b"=")
    assert len(text) - len(bare), "the payload has no loose bits"
    return bare[:-1] + bytes([alphabet[alphabet.index(bare[-1]) + 1]]) + text[len(bare) :]


RESPACED = {
    "newline-at-the-end": lambda raw: raw + b"\n",
    "space-before": lambda raw: b" " + raw,
    "nul-at-the-end": lambda raw: raw + b"\0",
    "spaces": _dumped(sort_keys=True),
    "indented": _dumped(sort_keys=True, indent=1),
    "key-order": lambda raw: json.dumps(dict(reversed(json.loads(raw).items())), separators=(",", ":")).encode(),
    "carriage-returns": lambda raw: raw.replace(b",", b",\r\n"),
    "byte-order-mark": lambda raw: b"\xef\xbb\xbf" + raw,
    "utf-16": lambda raw: raw.decode().encode("utf-16"),
    "escaped-name": lambda raw: raw.replace(b'"keyid"', b'"key\\u0069d"'),
    "escaped-type": lambda raw: raw.replace(b"application/", b"appl\\u0069cation/"),
    "escaped-slash": lambda raw: raw.replace(b"application/", b"application\\/"),
    "escaped-payload": _payload(lambda text: b"\\u%04x" % text[0] + text[1:]),
    "two-documents": lambda raw: raw + raw,
    "in-a-list": lambda raw: b"[" + raw + b"]",
    "base64-newline": _payload(lambda text: text[:76] + b"\\n" + text[76:]),
    "base64-space": _payload(lambda text: text + b" "),
    "base64-comment": _payload(lambda text: text[:8] + b"-_" + text[8:]),
    "base64-more-padding": _payload(lambda text: text + b"===="),
    "unknown-field": lambda raw: raw[:-1] + b',"unsigned":1}',
    "duplicate-field": lambda raw: raw[:-1] + b',"signatures":[]}',
    "unknown-signature-field": lambda raw: raw.replace(b'{"keyid"', b'{"cert":"x","keyid"'),
    "upper-case-key-id": lambda raw: re.sub(rb'("keyid":")([0-9a-f]+)', lambda m: m[1] + m[2].upper(), raw),
    "signatures-null": lambda raw: re.sub(rb'"signatures":\[.*\]', b'"signatures":null', raw),
    "no-signatures-field": lambda raw: re.sub(rb',"signatures":\[.*\]', b"", raw),
    "payload-an-object": lambda raw: _BASE64.sub(b'"payload":{}', raw),
}


@both
@pytest.mark.parametrize("lie", [pytest.param(lie, id=name) for name, lie in RESPACED.items()])
def test_envelope_in_another_encoding_is_refused(target: Target, document: str, lie: Callable[[bytes], bytes]) -> None:
    attack(target, document, lie, Reason.MALFORMED)


@both
@pytest.mark.parametrize("change", [lambda text: text.rstrip(b"="), _loose_bits], ids=["no-padding", "loose-bits"])
def test_base64_that_decodes_to_the_same_bytes_is_refused(
    target: Target, document: str, change: Callable[[bytes], bytes]
) -> None:
    def padded(raw: bytes) -> bytes:
        """Sign a payload whose base64 has padding: spaces after the JSON."""
        parsed = envelope.parse(raw, "it")
        payload = parsed.payload + b" " * (-len(parsed.payload) % 3 + 1)
        return envelope.sign(parsed.payload_type, payload, [signer_of(target.simulator, document)]).encode()

    attack(target, document, lambda raw: _payload(change)(padded(raw)), Reason.MALFORMED, truth=padded)


@pytest.mark.parametrize("lie", [RESPACED["newline-at-the-end"], RESPACED["key-order"]], ids=["newline", "key-order"])
def test_release_in_another_encoding_under_its_old_name_is_refused(
    target: Target, lie: Callable[[bytes], bytes]
) -> None:
    told = target.simulator.publish(small_tree("two"), "two")
    target.simulator.put(target.simulator.layout.release(told.pointer.release), lie(told.release_raw))
    target.refuses(Reason.WRONG_DIGEST, fetched=up_to_release(told))
    target.simulator.put(target.simulator.layout.release(told.pointer.release), told.release_raw)
    target.accepts(told)


def test_same_content_signed_in_another_encoding_is_another_pointer(target: Target) -> None:
    """The payload may have any layout, as other programs may sign; but then it is not the pointer that was seen."""
    simulator = target.simulator
    published = simulator.publish(small_tree("two"), "two")
    target.accepts(published)
    spaced = json.dumps(json.loads(published.pointer.payload()), indent=1).encode()
    raw = envelope.sign(pointer.PAYLOAD_TYPE, spaced, [simulator.keys.pointer]).encode()
    simulator.put(simulator.layout.pointer("main"), raw)
    target.refuses(Reason.EQUIVOCATION)
    simulator.show(published)
    target.keeps(published)


@both
def test_signed_payload_may_have_a_field_that_this_program_does_not_know(target: Target, document: str) -> None:
    """The control of all these: signed payloads may grow."""
    simulator = target.simulator

    def grown(raw: bytes) -> bytes:
        parsed = envelope.parse(raw, "it")
        content = {**json.loads(parsed.payload), "since-2031": {"deep": [1]}}
        signers = [signer_of(simulator, document)]
        return envelope.sign(parsed.payload_type, strictjson.encode(content), signers).encode()

    target.accepts(tell(simulator, document, grown))
