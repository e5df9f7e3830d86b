import json

import pytest

from dagferry_shared import pointer
from dagferry_shared.envelope import Envelope
from dagferry_shared.errors import Reason, Refused
from dagferry_shared.pointer import Action, Held
from support.docs import COMMIT, a_pointer, changed, places, wrong_types
from support.refusals import refused

POINTER = a_pointer(held=Held("ann", "incident 7", "2026-03-01T10:00:00.000Z"), expires="2026-03-08T11:00:00.000Z")
DOCUMENT = json.loads(POINTER.payload())
NULLABLE = {("expires",), ("previous",), ("held",)}
PLACES = list(places(DOCUMENT))


def parse(document, kind=pointer.PAYLOAD_TYPE):
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    return pointer.parse(Envelope(kind, raw, ()))


@pytest.mark.parametrize("content", [POINTER, a_pointer(), a_pointer(previous=None, sequence=1)])
def test_pointer_round_trips(content):
    assert parse(content.payload()) == content


@pytest.mark.parametrize("action", list(Action))
def test_every_action_round_trips(action):
    again = parse(a_pointer(action=action).payload())
    assert again.action is action


def test_pointer_knows_its_position_and_version():
    assert POINTER.position == (1, 5)
    assert POINTER.version == f"{COMMIT}-{'e' * 64}"


@pytest.mark.parametrize("place", [place for place, _ in PLACES], ids=str)
def test_pointer_without_a_field_is_refused(place):
    with refused(Reason.MALFORMED, "lacks"):
        parse(changed(DOCUMENT, place))


@pytest.mark.parametrize(("place", "value"), PLACES, ids=str)
def test_pointer_with_a_field_of_wrong_type_is_refused(place, value):
    for wrong in wrong_types(value, nullable=place in NULLABLE):
        with pytest.raises(Refused) as caught:
            parse(changed(DOCUMENT, place, wrong))
        expected = Reason.UNKNOWN_TYPE if place == ("action",) and isinstance(wrong, str) else Reason.MALFORMED
        assert caught.value.reason is expected, (wrong, caught.value)


@pytest.mark.parametrize("place", [(), ("held",)], ids=str)
def test_unknown_field_is_ignored(place):
    assert parse(changed(DOCUMENT, (*place, "new"), {"x": 1})) == POINTER


def test_release_passed_off_as_a_pointer_is_refused():
    with refused(Reason.UNKNOWN_TYPE, "payload type"):
        parse(DOCUMENT, "application/vnd.in-toto+json")


@pytest.mark.parametrize("action", ["delete", "PUBLISH", "", "publish "])
def test_action_of_a_later_version_is_refused(action):
    with refused(Reason.UNKNOWN_TYPE, "not one this version knows"):
        parse(changed(DOCUMENT, ("action",), action))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("bundle",), "../x"),
        (("channel",), "dev-*"),
        (("epoch",), 0),
        (("sequence",), 0),
        (("sequence",), 2**53),
        (("issued",), "2026-03-01T11:00:00Z"),
        (("expires",), "never"),
        (("release",), "e" * 40),
        (("commit",), "e" * 39),
        (("tip",), "HEAD"),
        (("previous",), ""),
        (("actor",), ""),
        (("reason",), "a\nb"),
        (("held", "actor"), ""),
        (("held", "reason"), "\x07"),
        (("held", "since"), "x"),
    ],
    ids=str,
)
def test_value_out_of_its_range_is_refused(place, value):
    with refused():
        parse(changed(DOCUMENT, place, value))


def test_reason_too_long_is_oversize():
    with refused(Reason.OVERSIZE):
        parse(changed(DOCUMENT, ("reason",), "x" * 1001))


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"\xff", b'{"bundle":"a","bundle":"b"}'])
def test_payload_that_is_no_json_object_is_refused(raw):
    with refused():
        parse(raw)
