"""Downloads out of The Update Framework's conformance suite and python-tuf's client tests, by name; see TUF.md."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dagferry_puller.status import Outcome
from dagferry_shared import envelope, release, strictjson
from dagferry_shared.envelope import MAX_ENVELOPE
from dagferry_shared.errors import Reason
from support.attacker import ONLY_POINTER, Target, up_to_archive, up_to_release
from support.bundles import small_tree
from support.lies import tell


@pytest.mark.parametrize(
    "path", ["target.py", "åäö.py", "a/b/c/target.py", "%2e%2e/target.py", "a b.py", "?", "#", "-rf", "~"]
)
def test_client_downloads_expected_file(target: Target, path: str) -> None:
    """A name means itself: no decoding, no quoting, no shell."""
    content = f"NAME = {path!r}\n"
    target.accepts(target.simulator.publish({path: content, "same.py": "x"}, "two"))
    assert (target.path / "current" / path).read_text() == content


def test_client_downloads_expected_file_in_sub_dir(target: Target) -> None:
    assert (target.path / "current/lib/tables.py").read_text() == small_tree()["lib/tables.py"]


def test_repository_substitutes_target_file(target: Target) -> None:
    """Both archives are replaced: the one that is live is not asked for again, the other one is refused."""
    one, two = target.last, target.publish("two")
    good = target.simulator.archive(two).read_bytes()
    for published in (one, two):
        target.simulator.archive(published).write_bytes(b"malicious data".ljust(len(good), b"."))
    target.simulator.show(one)
    target.keeps(one)
    target.simulator.show(two)
    target.refuses(Reason.WRONG_DIGEST, fetched=up_to_archive(two))
    target.simulator.archive(two).write_bytes(good)
    target.start()
    target.accepts(two)


def test_multiple_changes_to_target(target: Target) -> None:
    """Ten honest changes, each followed by other bytes in the place of what is live: those are never even asked for."""
    for number in range(10):
        told = target.publish(f"commit {number}")
        target.accepts(told)
        target.simulator.archive(told).write_bytes(b"malicious")
        with target.unchanged(ONLY_POINTER):
            assert target.puller.sync() is Outcome.UNCHANGED


def with_digests(target: Target, digests: dict[str, str | None]) -> Any:
    """Publish a release whose archive is named by other digests; None stands for the right SHA-256."""

    def lie(raw: bytes) -> bytes:
        statement = json.loads(envelope.parse(raw, "it").payload)
        right = statement["subject"][0]["digest"]["sha256"]
        statement["subject"][0]["digest"] = {name: value or right for name, value in digests.items()}
        payload = strictjson.encode(statement)
        return envelope.sign(release.PAYLOAD_TYPE, payload, [target.simulator.keys.release]).encode()

    return tell(target.simulator, "release", lie)


@pytest.mark.parametrize(
    ("digests", "taken"),
    [({"sha256": None}, True), ({"sha512": "5" * 128}, False), ({"sha256": None, "sha512": "5" * 128}, True)],
    ids=["sha256", "sha512", "both"],
)
def test_download_with_hash_algorithms(target: Target, digests: dict[str, str | None], taken: bool) -> None:
    """SHA-256 alone counts, and must be there."""
    told = with_digests(target, digests)
    if taken:
        target.accepts(told)
    else:
        target.refuses(Reason.MALFORMED, fetched=up_to_release(told), text="lacks 'sha256'")


def test_download_with_unknown_hash_algorithm(target: Target) -> None:
    told = with_digests(target, {"unknown-hash": None})
    target.refuses(Reason.MALFORMED, fetched=up_to_release(told))
    target.accepts(with_digests(target, {"sha256": None, "unknown-hash": None}))


@pytest.mark.parametrize("restarted", [False, True])
def test_artifact_cache(target: Target, restarted: bool) -> None:
    """What is on the volume, live or kept, is not downloaded again: the pointer is all that is asked for."""
    one, two = target.last, target.publish("two")
    target.accepts(two)
    if restarted:
        target.start()
    with target.unchanged(ONLY_POINTER):
        assert target.puller.sync() is Outcome.UNCHANGED
    target.simulator.again(one)
    assert target.puller.sync() is Outcome.SWAPPED
    assert target.requests() == ONLY_POINTER


# python-tuf


@pytest.mark.parametrize("lie", [lambda data: data[:-1] + b"@", lambda data: data[:-3]], ids=["hash", "length"])
def test_invalid_target_download(target: Target, lie: Any) -> None:
    told = target.publish("two", archive=lie)
    target.refuses(Reason.WRONG_DIGEST, fetched=up_to_archive(told))
    target.accepts(target.publish("three"))


def test_invalid_target_cache(target: Target) -> None:
    """A kept version that somebody changed is found out, and downloaded anew."""
    one = target.last
    target.accepts(target.publish("two"))
    path = target.path / "versions" / one.version / "etl.py"
    path.chmod(0o644)
    path.write_text("evil\n")
    again = target.simulator.again(one)
    assert target.puller.sync() is Outcome.SWAPPED
    assert target.requests() == ["pointer", f"archive {one.release.archive.sha256}"]
    target.keeps(again)


@pytest.mark.parametrize("document", ["pointer", "release"])
def test_max_metadata_lengths(target: Target, document: str) -> None:
    told = tell(target.simulator, document, lambda raw: raw.ljust(MAX_ENVELOPE + 1))
    target.refuses(Reason.OVERSIZE, fetched=ONLY_POINTER if document == "pointer" else up_to_release(told))
    target.accepts(tell(target.simulator, document, word="truth"))
