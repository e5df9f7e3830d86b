"""The cut: what is read as one, and who may sign it."""

import json
from dataclasses import replace

import pytest

from dagferry_shared import cut, envelope, pointer
from dagferry_shared.cut import Cut
from dagferry_shared.errors import Reason
from dagferry_shared.rules import Rules
from support.docs import CI_RETIRED, ISSUED, OPERATOR, OPERATOR_RETIRED, STRANGER, a_pointer, a_trust
from support.refusals import refused

GOOD = Cut("prod", "main", 1, 57, "a" * 64, ISSUED, "ann", "prune --keep 50")


def sealed(payload: bytes, *signers, kind=cut.PAYLOAD_TYPE):
    return envelope.sign(kind, payload, signers or (OPERATOR,)).encode()


def changed(**fields):
    document = json.loads(GOOD.payload()) | fields
    return json.dumps({name: value for name, value in document.items() if value is not ...}).encode()


def judge(raw, channel="main", **changes):
    return Rules(a_trust(**changes), channel).cut(raw)


def test_it_is_read_as_it_was_written():
    signed = judge(sealed(GOOD.payload()))
    assert signed.content == GOOD
    assert signed.content.position == (1, 57)
    assert signed.signers == {OPERATOR.public.id}


def test_an_unknown_field_is_ignored_as_payloads_may_grow():
    assert judge(sealed(changed(later="x"))).content == GOOD


@pytest.mark.parametrize("name", sorted(json.loads(GOOD.payload())))
def test_a_missing_field_is_refused(name):
    with refused(Reason.MALFORMED, name):
        judge(sealed(changed(**{name: ...})))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bundle", "Prod"),
        ("channel", "../main"),
        ("epoch", 0),
        ("epoch", True),
        ("sequence", "57"),
        ("sequence", 0),
        ("entry", "a" * 63),
        ("entry", None),
        ("issued", "2026-03-01"),
        ("actor", ""),
        ("actor", "ann\u202e"),
        ("reason", "two\nlines"),
        ("reason", None),
    ],
)
def test_a_wrong_value_is_refused(name, value):
    with refused(Reason.MALFORMED, name):
        judge(sealed(changed(**{name: value})))


def test_a_payload_that_is_no_json_is_refused():
    with refused(Reason.MALFORMED):
        judge(sealed(b"[]"))


@pytest.mark.parametrize("signers", [(STRANGER,), (OPERATOR, STRANGER)])
def test_a_strangers_signature_is_refused(signers):
    with refused(Reason.UNKNOWN_KEY):
        judge(sealed(GOOD.payload(), *signers))


def test_a_release_key_signs_no_cut():
    with refused(Reason.UNKNOWN_KEY):
        judge(sealed(GOOD.payload(), CI_RETIRED))


def test_a_retired_pointer_key_is_valid_for_what_it_signed():
    assert judge(sealed(GOOD.payload(), OPERATOR_RETIRED)).content == GOOD


def test_too_few_signatures_are_refused():
    with refused(Reason.THRESHOLD):
        judge(envelope.Envelope(cut.PAYLOAD_TYPE, GOOD.payload(), ()).encode())


@pytest.mark.parametrize(
    ("field", "reason"), [({"bundle": "other"}, Reason.WRONG_BUNDLE), ({"channel": "canary"}, Reason.WRONG_CHANNEL)]
)
def test_a_cut_of_elsewhere_is_refused(field, reason):
    with refused(reason):
        judge(sealed(replace(GOOD, **field).payload()))


def test_a_pointer_is_no_cut_and_a_cut_no_pointer():
    with refused(Reason.UNKNOWN_TYPE):
        judge(sealed(a_pointer().payload(), kind=pointer.PAYLOAD_TYPE))
    with refused(Reason.UNKNOWN_TYPE):
        Rules(a_trust(), "main").old_pointer(sealed(GOOD.payload()))


def test_a_pointer_relabelled_as_a_cut_does_not_verify():
    parsed = envelope.parse(sealed(a_pointer().payload(), kind=pointer.PAYLOAD_TYPE), "pointer")
    relabelled = envelope.Envelope(cut.PAYLOAD_TYPE, parsed.payload, parsed.signatures)
    with refused(Reason.BAD_SIGNATURE):
        judge(relabelled.encode())
