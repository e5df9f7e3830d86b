import json

from hypothesis import given, settings
from hypothesis import strategies as st

from dagferry_shared import envelope, names, pointer, release, strictjson, times, trust
from dagferry_shared.envelope import Envelope
from dagferry_shared.errors import Refused
from property import strategies as some
from support.docs import CI, OPERATOR, as_json

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-strictjson.MAX_INTEGER, strictjson.MAX_INTEGER)
    | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=("Cs",))), inner, max_size=4)
    ),
    max_leaves=12,
)
documents = st.dictionaries(st.text(st.characters(exclude_categories=("Cs",)), max_size=10), json_values, max_size=5)


@given(documents)
def test_strict_json_reads_what_it_writes_and_agrees_with_python(document):
    raw = strictjson.encode(document)
    assert strictjson.parse_object(raw, "x", limit=10**6) == document == json.loads(raw)
    assert strictjson.encode(strictjson.parse_object(json.dumps(document, indent=1).encode(), "x", limit=10**6)) == raw


@given(some.releases)
@settings(max_examples=60)
def test_release_round_trips(content):
    assert release.parse(Envelope(release.PAYLOAD_TYPE, content.payload(), ())) == content


@given(some.pointers)
def test_pointer_round_trips(content):
    assert pointer.parse(Envelope(pointer.PAYLOAD_TYPE, content.payload(), ())) == content


@given(some.trust_files)
@settings(max_examples=40)
def test_trust_file_round_trips(content):
    assert trust.parse(content.encode()) == content
    assert trust.parse(content.encode()).encode() == content.encode()


@given(some.words, st.binary(max_size=300), st.lists(st.sampled_from(some.SIGNERS), max_size=6))
@settings(max_examples=60)
def test_envelope_round_trips_and_verifies(kind, payload, signers):
    made = envelope.sign(kind, payload, signers)
    assert envelope.parse(made.encode(), "x") == made
    keys = [signer.public for signer in some.SIGNERS]
    wanted = {signer.public.id for signer in signers}
    if wanted:
        assert envelope.verify(made, keys, len(wanted), "x") == wanted


@given(some.words, st.binary(max_size=60), some.words, st.binary(max_size=60))
def test_pae_is_injective(kind, payload, other_kind, other_payload):
    same = (kind, payload) == (other_kind, other_payload)
    assert (envelope.pae(kind, payload) == envelope.pae(other_kind, other_payload)) is same


@given(some.pointers, st.data())
@settings(max_examples=60)
def test_any_byte_changed_in_a_signed_envelope_is_refused(content, data):
    raw = envelope.sign(pointer.PAYLOAD_TYPE, content.payload(), [OPERATOR]).encode()
    at = data.draw(st.integers(0, len(raw) - 1))
    broken = raw[:at] + bytes([raw[at] ^ data.draw(st.integers(1, 255))]) + raw[at + 1 :]
    try:
        envelope.verify(envelope.parse(broken, "x"), [OPERATOR.public], 1, "x")
    except Refused:
        return
    raise AssertionError(f"accepted with another byte at {at}")


@given(documents, st.sampled_from(["indent", "spaces", "order"]))
def test_other_spelling_of_an_envelope_is_refused(document, how):
    raw = envelope.sign("x", strictjson.encode(document), [CI]).encode()
    parsed = as_json(raw)
    if how == "order":
        parsed = dict(reversed(parsed.items()))
    other = json.dumps(
        parsed, indent=1 if how == "indent" else None, separators=(",", ": " if how == "spaces" else ":")
    )
    try:
        envelope.parse(other.encode(), "x")
    except Refused:
        return
    raise AssertionError("accepted")


@given(st.text())
def test_cleaned_text_is_valid_and_clean_already(value):
    cleaned = names.clean_text(value)
    assert names.text(cleaned, "x") == cleaned == names.clean_text(cleaned)


@given(some.instants)
def test_instants_round_trip_and_sort_as_text(value):
    assert times.show(times.parse(value)) == value


@given(some.instants, some.instants)
def test_instants_as_text_have_the_order_of_time(one, other):
    assert (one < other) is (times.parse(one) < times.parse(other))
