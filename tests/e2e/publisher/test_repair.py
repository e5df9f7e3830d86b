"""A store that was damaged, restored or attacked: verify says what is wrong, repair brings the channel back."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from support.sites import copy_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.sites import Site

REFUSED, CONFLICT, NOT_FOUND = 3, 4, 8


def findings(site: Site) -> dict[str, str]:
    """What verify finds: problem by key."""
    rows = site.dagctl("verify", "--all", "--json", code=REFUSED).json["findings"]
    return {row["key"].removeprefix("analytics/v1/"): row["problem"] for row in rows}


def clean(site: Site) -> None:
    """Verify finds nothing."""
    document = site.dagctl("verify", "--all", "--json").json
    assert document["findings"] == []
    assert document["checked"]["pointers"] == 1


def pointer(site: Site) -> Path:
    return site.bundle / "channels/main/pointer.json"


def history(site: Site, position: str) -> Path:
    return site.bundle / f"channels/main/history/{position}.json"


@pytest.fixture
def published(site: Site, line: list[str]) -> Site:
    """A site with three publishes."""
    for commit in line[:3]:
        site.publish(commit)
    return site


def forged(raw: bytes) -> bytes:
    """The same pointer, its signature changed by one digit."""
    head, mark, tail = raw.partition(b'"sig":"')
    return head + mark + (b"B" if tail[:1] == b"A" else b"A") + tail[1:]


DAMAGE: dict[str, Callable[[Site], object]] = {
    "deleted": lambda site: pointer(site).unlink(),
    "empty": lambda site: pointer(site).write_bytes(b""),
    "garbage": lambda site: pointer(site).write_bytes(b"\xff\x00 garbage"),
    "oversize": lambda site: pointer(site).write_bytes(b"[" * 100_000),
    "bad signature": lambda site: pointer(site).write_bytes(forged(pointer(site).read_bytes())),
    "behind": lambda site: shutil.copy(history(site, "1-2"), pointer(site)),
    "another channel's": lambda site: shutil.copy(site.bundle / "channels/canary/pointer.json", pointer(site)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_repair_restores_the_newest_verified_history_copy(site: Site, line: list[str], damage: str) -> None:
    if damage == "another channel's":
        site.publish(line[4], "--channel", "canary")
    for commit in line[:3]:
        site.publish(commit)
    site.dagctl("hold", "--reason", "before the accident")
    DAMAGE[damage](site)
    assert findings(site)
    before = site.tree()
    for command in (["publish", "--commit", line[3], "--ref", "main"], ["rollback"], ["hold"], ["refresh"]):
        if (damage, command[0]) == ("behind", "hold"):
            continue  # the older pointer is not held: a hold is a move, refused like the others below
        message = site.dagctl(*command, code=CONFLICT if damage in {"deleted", "behind"} else REFUSED).message
        assert "dagctl repair" in message
    assert site.tree().keys() == before.keys() | set(site.tree()), "nothing was removed"
    assert pointer(site).exists() is (damage != "deleted")
    out = site.dagctl.process("repair", "--reason", "restored").out
    assert f"restores 1-4 (commit {line[2][:12]}) as 1-5" in out
    now = site.pointer()
    assert (now["action"], now["commit"], now["tip"]) == ("repair", line[2], line[2])
    assert now["held"]["reason"] == "before the accident"
    document = site.dagctl("verify", "--all", "--json").json
    assert document["findings"] == []
    site.dagctl("resume")
    site.publish(line[3])


def test_repair_of_a_whole_channel_changes_nothing_but_a_missing_copy(published: Site) -> None:
    before = published.tree()
    assert "the pointer is whole" in published.dagctl("repair").out
    assert "the pointer is whole" in published.dagctl("repair", "--dry-run").out
    assert published.tree() == before
    history(published, "1-3").unlink()
    published.dagctl("repair", "--dry-run")
    assert published.tree() != before
    published.dagctl("repair")
    assert published.tree() == before


def test_a_missing_newest_history_copy_is_written_by_the_next_publish(published: Site, line: list[str]) -> None:
    history(published, "1-3").unlink()
    assert "the live pointer has no history copy" in findings(published)["channels/main/history/1-3.json"]
    published.publish(line[3])
    clean(published)


def test_a_missing_older_history_copy_is_a_broken_chain(published: Site) -> None:
    history(published, "1-2").unlink()
    assert "is missing or damaged" in findings(published)["channels/main/history/"]
    assert "broken-chain" in published.dagctl("history", code=REFUSED).message


@pytest.mark.parametrize("content", [b"garbage", b"x" * 70_000], ids=["garbage", "oversize"])
def test_garbage_where_the_next_history_copy_belongs_is_found_and_stepped_over(
    published: Site, line: list[str], content: bytes
) -> None:
    history(published, "1-4").write_bytes(content)
    assert findings(published) == {"channels/main/history/1-4.json": "not part of the chain"}
    assert "dagctl repair" in published.publish(line[3], code=CONFLICT).message
    assert "as 1-5" in published.dagctl("repair").out
    published.publish(line[3])
    clean(published)
    notes = published.dagctl("verify", "--json").json["notes"]
    assert notes == ["analytics/v1/channels/main/history/1-4.json stepped over by the repair 1-5"]
    published.dagctl("rollback", "--to", line[0])


def test_garbage_in_place_of_the_live_pointers_copy_is_not_overwritten_silently(
    published: Site, line: list[str]
) -> None:
    kept = history(published, "1-3").read_bytes()
    history(published, "1-3").write_bytes(b"garbage")
    assert "not the copy of the live pointer" in findings(published)["channels/main/history/1-3.json"]
    message = published.publish(line[3], code=CONFLICT).message
    assert "history/1-3.json is not the copy of the live pointer" in message
    published.dagctl("repair")
    assert history(published, "1-3").read_bytes() == kept
    clean(published)


def test_another_signed_entry_in_place_of_the_live_pointers_copy_is_never_replaced(published: Site) -> None:
    """Two signed pointers of one sequence: a key or a publisher is broken, and a person must look."""
    copy_store(published, published.root / "before")
    published.dagctl("hold")
    other = history(published, "1-4").read_bytes()
    shutil.rmtree(published.store)
    (published.root / "before").rename(published.store)
    published.dagctl("refresh")
    history(published, "1-4").write_bytes(other)
    assert "not the copy of the live pointer" in findings(published)["channels/main/history/1-4.json"]
    published.dagctl("repair", code=CONFLICT)
    assert history(published, "1-4").read_bytes() == other


def test_a_restored_backup_of_the_bucket_is_overtaken_by_the_history(site: Site, line: list[str]) -> None:
    site.publish(line[0])
    site.publish(line[1])
    copy_store(site, site.root / "backup")
    site.publish(line[2])
    for path in (site.root / "backup").rglob("pointer.json"):
        shutil.copy(path, pointer(site))
    assert "restored bucket?" in site.publish(line[3], code=CONFLICT).message
    site.dagctl("repair")
    assert site.live() == line[2]
    clean(site)


def test_a_new_epoch_moves_the_channel_past_everything_signed_before(published: Site, line: list[str]) -> None:
    assert "already: first raise the trust file's" in published.dagctl("repair", "--new-epoch", code=2).message
    published.dagctl("trust", "epoch")
    assert "run dagctl repair --new-epoch" in published.publish(line[3], code=CONFLICT).message
    assert "run dagctl repair --new-epoch" in published.dagctl("repair", code=CONFLICT).message
    published.dagctl("repair", "--new-epoch", "--reason", "restored bucket")
    now = published.pointer()
    assert (now["epoch"], now["sequence"], now["commit"]) == (2, 1, line[2])
    clean(published)
    published.publish(line[3])
    published.dagctl("rollback", "--to", line[0])
    entries = published.dagctl("history", "--json").json["entries"]
    assert [(entry["epoch"], entry["sequence"]) for entry in entries] == [
        (2, 3),
        (2, 2),
        (2, 1),
        (1, 3),
        (1, 2),
        (1, 1),
    ]
    clean(published)


def test_an_old_trust_file_is_told_to_be_old(published: Site, line: list[str]) -> None:
    old = published.trust.read_bytes()
    published.dagctl("trust", "epoch")
    published.dagctl("repair", "--new-epoch")
    published.trust.write_bytes(old)
    assert "use the newest trust file" in published.publish(line[3], code=CONFLICT).message


def test_a_compromised_pointer_key_is_removed_and_the_channel_goes_on(site: Site, line: list[str]) -> None:
    """The operator's key leaked: what CI signed stands, what the leaked key signed does not."""
    site.publish(line[0])
    site.publish(line[1])
    site.dagctl("rollback", "--to", line[0], "--pointer-key", site.key("ops"))
    site.dagctl("trust", "remove-key", site.key_id("ops")[:12])
    site.dagctl("trust", "epoch")
    assert "unknown-key" in site.dagctl("rollback", code=REFUSED).message
    assert "unknown-key" in findings(site)["channels/main/pointer.json"]
    site.dagctl("repair", "--new-epoch", "--reason", "key leaked")
    now = site.pointer()
    assert (now["epoch"], now["sequence"], now["commit"], now["held"]) == (2, 1, line[1], None)
    notes = site.dagctl("verify", "--all", "--json").json["notes"]
    assert notes == ["analytics/v1/channels/main/history/1-3.json stepped over by the repair 2-1"]
    site.publish(line[2])
    site.dagctl("rollback")
    assert site.live() == line[1]


def test_what_a_removed_key_signed_below_a_sound_entry_is_shown_and_is_no_finding(site: Site, line: list[str]) -> None:
    site.publish(line[0])
    site.dagctl("refresh", "--pointer-key", site.key("ops"))
    site.publish(line[1])
    site.dagctl("trust", "remove-key", site.key_id("ops"))
    assert "unknown-key" in findings(site)["channels/main/history/1-2.json"]
    site.dagctl("trust", "epoch")
    site.dagctl("repair", "--new-epoch")
    document = site.dagctl("verify", "--json").json
    assert document["findings"] == []
    assert "1-2" in document["notes"][0]
    assert "NOT VERIFIED (unknown-key)" in site.dagctl("history").out
    assert "note: " in site.dagctl.process("verify").out
    site.dagctl("rollback")
    assert site.live() == line[0]


def test_rollback_to_what_only_a_removed_key_put_live_is_refused(site: Site, line: list[str]) -> None:
    site.publish(line[0], "--pointer-key", site.key("ops"))
    site.publish(line[1])
    site.dagctl("trust", "remove-key", site.key_id("ops"))
    message = site.dagctl("rollback", code=REFUSED).message
    assert "unknown-key: the history entry of the target is not acceptable" in message


def test_a_release_that_was_revoked_and_left_is_a_note_and_live_a_finding(published: Site, line: list[str]) -> None:
    published.dagctl("trust", "revoke", line[2])
    assert any("is revoked" in problem for problem in findings(published).values())
    published.dagctl("rollback", "--to", line[0])
    document = published.dagctl("verify", "--all", "--json").json
    assert document["findings"] == []
    assert len(document["notes"]) == 1
    assert "is revoked" in document["notes"][0]


def test_repair_goes_back_to_a_release_that_is_still_allowed(published: Site, line: list[str]) -> None:
    published.dagctl("trust", "revoke", line[2])
    pointer(published).unlink()
    published.dagctl("repair")
    assert published.live() == line[1]
    published.dagctl("verify", code=0)
    published.dagctl("rollback", "--to", line[0])


def test_repair_of_a_release_that_is_lost_goes_further_back(published: Site, line: list[str]) -> None:
    (published.bundle / f"releases/{published.pointer()['release']}.json").unlink()
    assert "is not in the store" in " ".join(findings(published).values())
    assert "is not in the store" in published.dagctl("refresh", code=NOT_FOUND).message
    published.dagctl("repair")
    assert published.live() == line[1]
    published.dagctl("verify")
    published.dagctl("rollback", "--to", line[0])


def test_repair_with_nothing_that_verifies_says_so(site: Site) -> None:
    assert "no entry of channel main verifies" in site.dagctl("repair", code=NOT_FOUND).message


def test_a_pointer_that_moves_during_the_repair_is_not_overwritten(
    published: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dagferry_publisher.ops import repair
    from dagferry_publisher.transaction import Transaction

    pointer(published).write_bytes(b"garbage")

    class Slow(Transaction):
        def write(self, *arguments, **named):  # type: ignore[no-untyped-def]
            monkeypatch.undo()
            published.dagctl("repair")
            return super().write(*arguments, **named)

    monkeypatch.setattr(repair, "Transaction", Slow)
    assert "the pointer moved during the repair" in published.dagctl("repair", code=CONFLICT).message
    assert published.pointer()["sequence"] == 4
