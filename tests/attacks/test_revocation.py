"""What the trust file takes back, releases, commits and keys: nothing brings it in again, and what runs is not lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dagferry_puller.status import Outcome
from dagferry_shared.errors import Reason
from dagferry_shared.trust import Role
from support.attacker import Target, up_to_release
from support.bundles import Published, commit_id
from support.lies import signed_anew, tell
from support.refusals import refused

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from dagferry_shared.store import Blob, BlobReader

by_digest_or_commit = pytest.mark.parametrize(
    "named", [lambda p: p.pointer.release, lambda p: p.pointer.commit], ids=["release", "commit"]
)


@by_digest_or_commit
def test_pointer_to_a_revoked_release_is_refused(target: Target, named: Callable[[Published], str]) -> None:
    told = target.publish("two")
    target.write_trust(revoked=[named(told)])
    target.refuses(Reason.REVOKED)
    target.write_trust(revoked=[commit_id("unrelated")])
    target.accepts(told)


def test_revoked_commit_behind_another_commits_name_is_refused(target: Target) -> None:
    """The pointer lies about the commit, so that only the release can tell."""
    told = target.publish("two")
    told = target.simulator.again(told, commit=commit_id("innocent"))
    target.write_trust(revoked=[commit_id("two")])
    target.refuses(Reason.REVOKED, fetched=up_to_release(told))
    target.write_trust()
    target.accepts(target.simulator.again(told))


@by_digest_or_commit
def test_rollback_to_a_revoked_release_that_is_still_on_the_volume_is_refused(
    target: Target, named: Callable[[Published], str]
) -> None:
    one, two = target.last, target.publish("two")
    target.accepts(two)
    target.simulator.again(one)
    target.write_trust(revoked=[named(one)])
    target.refuses(Reason.REVOKED)
    target.write_trust()
    target.accepts(target.last)


@by_digest_or_commit
@pytest.mark.parametrize("way", ["pin", "at_commit"])
def test_revoked_release_that_is_asked_for_by_name_is_refused(
    target: Target, way: str, named: Callable[[Published], str]
) -> None:
    one, two = target.last, target.publish("two")
    target.accepts(two)

    def ask() -> Outcome:
        return target.puller.pin(one.version) if way == "pin" else target.puller.at_commit(one.pointer.commit)

    target.write_trust(revoked=[named(one)])
    with target.unchanged([] if way == "pin" else ["pointer", "history 1-1"]), refused(Reason.REVOKED):
        ask()
    target.write_trust()
    assert ask() is Outcome.SWAPPED


@by_digest_or_commit
def test_live_release_that_is_revoked_stays_with_an_alarm_and_is_not_repaired(
    target: Target, named: Callable[[Published], str], caplog: pytest.LogCaptureFixture
) -> None:
    one = target.last
    target.write_trust(revoked=[named(one)])
    for _ in range(2):
        target.refuses(Reason.REVOKED)
    assert [record.levelname for record in caplog.records if "no longer trusted" in record.message] == ["ERROR"]
    assert target.recorder.snapshot().revoked
    assert target.puller.keeper.ready
    (target.path / "current").unlink()
    target.refuses(Reason.REVOKED)
    target.accepts(target.publish("two"))
    assert target.recorder.snapshot().revoked is None


def test_revoked_live_release_loses_its_link_where_that_is_wanted_and_no_request_brings_it_back(cold: Target) -> None:
    cold.start(on_revoked="stop")
    one = cold.warm()
    cold.write_trust(revoked=[one.pointer.commit])
    with refused(Reason.REVOKED):
        cold.puller.sync()
    assert cold.look().link is None
    cold.refuses(Reason.REVOKED)
    cold.start(on_revoked="stop")
    cold.refuses(Reason.REVOKED)
    cold.write_trust()
    cold.accepts(one)


@pytest.mark.parametrize("role", ["release", "pointer"])
def test_key_removed_from_trust_while_its_document_is_live(target: Target, role: str) -> None:
    """The release counts as revoked, the pointer as nobody's; what runs stays until the new key has signed."""
    keys = target.simulator.keys
    old = getattr(keys, role)
    setattr(keys, role, type(old).generate())
    target.write_trust()
    target.refuses(Reason.UNKNOWN_KEY)
    assert bool(target.recorder.snapshot().revoked) is (role == "release")
    assert target.puller.keeper.ready
    target.accepts(target.publish("two"))


def test_release_of_a_removed_key_is_refused_after_a_restart(target: Target) -> None:
    """A pod that starts with it is not ready."""
    keys = target.simulator.keys
    keys.release = type(keys.release).generate()
    target.write_trust()
    target.start().start()
    assert not target.puller.keeper.ready
    assert target.look().link == f"versions/{target.last.version}"
    target.accepts(target.publish("two"))
    assert target.puller.keeper.ready


def test_rollback_to_the_release_of_a_removed_key_is_refused(target: Target) -> None:
    one, keys = target.last, target.simulator.keys
    old = keys.release
    keys.release = type(old).generate()
    target.write_trust()
    target.accepts(target.publish("two"))
    target.simulator.again(one)
    target.refuses(Reason.UNKNOWN_KEY, remembered=True)
    target.accepts(target.publish("three"))


# The trust file is swapped in mid-sync


class SwapsTrust:
    """A store that runs something, once, when a key with this word is asked for."""

    def __init__(self, inner: BlobReader, word: str, action: Callable[[], None]) -> None:
        self._inner = inner
        self._word = word
        self._action: Callable[[], None] | None = action

    def get(self, key: str, *, limit: int, if_none_match: str | None = None) -> Blob | None:
        """See BlobReader.get."""
        self._act(key)
        return self._inner.get(key, limit=limit, if_none_match=if_none_match)

    def stream(self, key: str, *, limit: int) -> Generator[bytes]:
        """See BlobReader.stream."""
        for chunk in self._inner.stream(key, limit=limit):
            self._act(key)
            yield chunk

    def _act(self, key: str) -> None:
        if self._action and self._word in key:
            self._action()
            self._action = None


@pytest.mark.parametrize("stage", ["pointer.json", "releases/", "archives/"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param({"revoked": [commit_id("two")]}, Reason.REVOKED, id="revoked"),
        pytest.param({"floor": 9}, Reason.BELOW_FLOOR, id="floor"),
        pytest.param({"epoch": 2}, Reason.WRONG_EPOCH, id="epoch"),
        pytest.param({"max_ttl": 60}, Reason.NO_EXPIRY, id="max-ttl"),
    ],
)
def test_trust_file_swapped_in_mid_sync_counts_from_the_next_sync(
    target: Target, stage: str, change: dict[str, Any], reason: Reason
) -> None:
    """A sync is judged by one trust file from its first byte to its last: never by parts of two."""
    two = target.publish("two")
    target.serve(SwapsTrust(target.store, stage, lambda: target.write_trust(**change)))
    target.accepts(two)
    target.refuses(reason)
    target.write_trust()
    target.keeps(two)


@pytest.mark.parametrize("stage", ["pointer.json", "releases/", "archives/"])
def test_laxer_trust_file_in_mid_sync_does_not_help_this_sync(target: Target, stage: str) -> None:
    two = target.publish("two", release_changes={"source_ref": "feature"})
    target.serve(SwapsTrust(target.store, stage, lambda: target.write_trust(refs=("feature",))))
    target.refuses(Reason.WRONG_REF, fetched=up_to_release(two))
    if stage == "archives/":  # never asked for
        target.write_trust(refs=("feature",))
    target.accepts(two)


@pytest.mark.parametrize("stage", ["pointer.json", "releases/", "archives/"])
def test_key_removed_in_mid_sync_counts_from_the_next_sync(target: Target, stage: str) -> None:
    two, keys = target.publish("two"), target.simulator.keys
    other = Role(1, (keys.other.public.id,))
    target.serve(SwapsTrust(target.store, stage, lambda: target.write_trust(release=other, pointer=other)))
    target.accepts(two)
    target.refuses(Reason.UNKNOWN_KEY)
    assert target.puller.keeper.revoked is not None


@pytest.mark.parametrize("content", [b"", b"{", b'{"bundle":"etl"}', None])
def test_broken_trust_file_stops_what_is_new_and_keeps_what_is_live(target: Target, content: bytes | None) -> None:
    two = target.publish("two")
    target.trust.unlink() if content is None else target.trust.write_bytes(content)
    target.refuses(Reason.MALFORMED, fetched=[])
    target.write_trust()
    target.accepts(two)


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"bundle": "other"}, Reason.WRONG_BUNDLE), ({"channel": "canary"}, Reason.UNTRUSTED_CHANNEL)],
)
def test_trust_file_of_another_bundle_or_channel_stops_what_is_new_and_keeps_what_is_live(
    target: Target, change: dict[str, Any], reason: Reason
) -> None:
    two = target.publish("two")
    target.write_trust(**change)
    target.refuses(reason, fetched=[])
    target.write_trust()
    target.accepts(two)


# One release, several envelopes


def test_revoked_commit_is_revoked_in_every_envelope(target: Target) -> None:
    """A digest stands for one envelope; whoever has a pointer key may leave one of several signatures off it."""
    keys = target.simulator.keys
    role = Role(1, (keys.release.public.id, keys.other.public.id))
    target.write_trust(release=role)
    two = target.publish("two", release_signers=[keys.release, keys.other])
    target.accepts(two)
    bare = tell(target.simulator, "release", lambda _: signed_anew(two.release_raw, keys.other), word="two")
    target.write_trust(release=role, revoked=[two.pointer.release])
    target.simulator.again(two)
    target.refuses(Reason.REVOKED)
    target.accepts(target.simulator.again(bare))  # the same commit by another digest: so revoke commits
    target.write_trust(release=role, revoked=[two.pointer.commit])
    target.refuses(Reason.REVOKED)
    target.simulator.again(two)
    target.refuses(Reason.REVOKED)
