"""Any edits of any trust file: the result is a trust file again, and says what the edit says."""

from hypothesis import given, settings
from hypothesis import strategies as st

from dagferry_publisher import trustedit
from dagferry_publisher.errors import NotFound, UsageError
from dagferry_shared import trust
from property import strategies as some

KEYS = [signer.public for signer in some.SIGNERS]
files = some.trust_files.filter(lambda file: file.channels)
roles = st.sampled_from(["release", "pointer"])
keys = st.sampled_from(KEYS)


def role_of(file, channel, role):
    entry = file.channels[channel]
    return entry.release if role == "release" else entry.pointer


def again(file):
    """Write and read; what an edit makes must be a valid file."""
    found = trust.parse(file.encode())
    assert found == file
    return found


@st.composite
def edits(draw, file):
    """Draw an edit of a file: what is done, and what must hold of (before, after)."""
    channel, role, key = draw(st.sampled_from(sorted(file.channels))), draw(roles), draw(keys)
    old, entry = role_of(file, channel, role), file.channels[channel]
    number, word = draw(some.counts), draw(some.commits | some.sha256s)
    return draw(
        st.sampled_from(
            [
                (
                    lambda f: trustedit.add_key(f, channel, role, key),
                    lambda f: (
                        key.id in role_of(f, channel, role).keys and key.id not in role_of(f, channel, role).retired
                    ),
                ),
                (
                    lambda f: trustedit.retire_key(f, channel, role, key.id),
                    lambda f: (
                        key.id not in role_of(f, channel, role).keys and key.id in role_of(f, channel, role).retired
                    ),
                ),
                (
                    lambda f: trustedit.remove_key(f, key.id),
                    lambda f: key.id not in f.encode().decode(),
                ),
                (lambda f: trustedit.revoke(f, word), lambda f: f.revoked == file.revoked | {word}),
                (
                    lambda f: trustedit.set_floor(f, channel, number),
                    lambda f: f.channels[channel].floor == number >= entry.floor,
                ),
                (
                    trustedit.next_epoch,
                    lambda f: f.epoch == file.epoch + 1 and not any(e.floor for e in f.channels.values()),
                ),
                (
                    lambda f: trustedit.add_channel(f, "new-one", entry, KEYS),
                    lambda f: f.channels["new-one"] == entry and role_of(f, channel, role) == old,
                ),
            ]
        )
    )


@given(files.filter(lambda file: file.epoch < 2**53 - 9), st.data())
@settings(max_examples=40)
def test_edits_in_any_order_keep_the_file_valid_and_do_what_they_say(file, data):
    for _ in range(data.draw(st.integers(1, 4))):
        edit, holds = data.draw(edits(file))
        before = file.encode()
        try:
            edited = edit(file)
        except (UsageError, NotFound):
            assert file.encode() == before
            continue
        assert holds(edited)
        file = again(edited)


@given(files, keys)
@settings(max_examples=20)
def test_removed_key_leaves_no_role_below_its_threshold(file, key):
    try:
        edited = trustedit.remove_key(file, key.id)
    except UsageError:
        return
    for entry in edited.channels.values():
        for role in (entry.release, entry.pointer):
            assert len(role.keys) >= role.threshold


@given(files, roles, keys)
@settings(max_examples=20)
def test_retired_key_that_is_added_again_is_active_again(file, role, key):
    channel = min(file.channels)
    file = trustedit.add_key(file, channel, role, key)
    try:
        retired = trustedit.retire_key(file, channel, role, key.id)
    except UsageError:
        return
    back = role_of(trustedit.add_key(retired, channel, role, key), channel, role)
    assert set(back.keys) == set(role_of(file, channel, role).keys)
    assert set(back.retired) == set(role_of(file, channel, role).retired)


@given(files)
@settings(max_examples=20)
def test_explanation_names_every_channel_and_every_revocation(file):
    words = "\n".join(trustedit.explain(file))
    assert all(f"channel {name}:" in words for name in file.channels)
    assert all(f"revoked: {what}" in words for what in file.revoked)
