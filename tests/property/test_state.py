"""The puller's memory: what is saved is what is loaded."""

from hypothesis import given
from hypothesis import strategies as st

from dagferry_puller import state
from dagferry_puller.state import Live, State
from dagferry_shared import names
from dagferry_shared.errors import Refused
from dagferry_shared.rules import Seen
from dagferry_shared.strictjson import MAX_INTEGER
from property import strategies as some

versions = st.builds(names.version_id, some.commits, some.sha256s)
seen = st.builds(Seen, some.counts, some.counts, some.sha256s)
states = st.builds(
    State,
    seen=st.dictionaries(st.builds("{}/{}".format, some.name_words, some.name_words), seen, max_size=4),
    stamp=st.integers(0, MAX_INTEGER),
    live=st.none() | st.builds(Live, versions, st.none() | versions, some.instants),
    left=st.dictionaries(versions, st.integers(0, MAX_INTEGER), max_size=4),
)


@given(states)
def test_state_round_trips(content):
    assert state.parse(content.encode()) == content
    assert state.parse(content.encode()).encode() == content.encode()


@given(states, st.data())
def test_state_with_a_byte_changed_is_refused_or_still_one_that_round_trips(content, data):
    raw = content.encode()
    at = data.draw(st.integers(0, len(raw) - 1))
    broken = raw[:at] + bytes([raw[at] ^ data.draw(st.integers(1, 255))]) + raw[at + 1 :]
    try:
        found = state.parse(broken)
    except Refused:
        return
    assert state.parse(found.encode()) == found


@given(states, st.data())
def test_state_cut_anywhere_is_refused(content, data):
    """A write that a crash tore may not count as a memory of less."""
    raw = content.encode()
    try:
        state.parse(raw[: data.draw(st.integers(0, len(raw) - 1))])
    except Refused:
        return
    raise AssertionError("accepted")


@given(st.lists(st.none() | seen, max_size=5))
def test_newest_memory_is_the_highest_position(candidates):
    found = state.newest(*candidates)
    positions = [memory.position for memory in candidates if memory]
    assert (found.position if found else None) == max(positions, default=None)
