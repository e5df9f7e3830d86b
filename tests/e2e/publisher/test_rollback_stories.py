"""What operators do when a deployment went wrong, through the commands."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.gitrepos import GitRepo
    from support.sites import Site

HELD = 5


def actions(site: Site, channel: str = "main") -> list[tuple[str, str]]:
    """The chain, oldest first: (action, commit)."""
    entries = site.dagctl("history", "--channel", channel, "--json").json["entries"]
    return [(entry["action"], entry["commit"]) for entry in reversed(entries)]


def test_late_retry_of_the_bad_pipeline_is_refused_after_a_rollback(site: Site, line: list[str]) -> None:
    good, bad = line[:2]
    for commit in (good, bad):
        site.dagctl.process("publish", "--commit", commit, "--ref", "main")
    back = site.dagctl.process("rollback", "--reason", "imports fail").out
    assert f"analytics/main is at commit {good[:12]}, sequence 1-3, HELD by tester (imports fail)" in back
    before = site.tree()
    message = site.dagctl.process("publish", "--commit", bad, "--ref", "main", code=4).message
    assert "was published here before and something else is live now" in message
    assert "--force" in message
    assert site.tree() == before
    site.dagctl("resume")
    site.publish(bad, code=4)
    assert actions(site) == [("publish", good), ("publish", bad), ("rollback", good), ("resume", good)]


def test_rerun_of_what_is_live_is_a_success_that_changes_nothing(site: Site, line: list[str]) -> None:
    site.publish(line[0])
    site.publish(line[1])
    site.dagctl("rollback")
    before = site.tree()
    assert "it is live already; nothing changed" in site.publish(line[0]).out
    assert "it is live already; nothing changed" in site.dagctl("rollback", "--to", line[0]).out
    assert site.tree() == before


def test_second_default_rollback_goes_further_back_and_never_returns(site: Site, line: list[str]) -> None:
    for commit in line[:3]:
        site.publish(commit)
    site.dagctl("rollback")
    assert site.live() == line[1]
    site.dagctl("rollback")
    assert site.live() == line[0]
    before = site.tree()
    assert "nothing was live before" in site.dagctl.process("rollback", code=8).message
    assert site.tree() == before


def test_default_rollback_skips_entries_that_only_refreshed_held_or_resumed(site: Site, line: list[str]) -> None:
    site.publish(line[0])
    site.publish(line[1])
    for move in ("refresh", "hold", "resume", "refresh"):
        site.dagctl(move)
    site.dagctl("rollback")
    assert site.live() == line[0]


def test_default_rollback_after_a_forward_fix_goes_to_what_was_live_before_it(site: Site, line: list[str]) -> None:
    a, bad, fix = line[:3]
    site.publish(a)
    site.publish(bad)
    site.dagctl("rollback", "--no-hold")
    site.publish(fix)
    site.dagctl("rollback")
    assert site.live() == a, "the fix replaced A, not the bad release"


def test_rollback_does_not_need_the_release_key_nor_a_clone(site: Site, line: list[str]) -> None:
    site.publish(line[0])
    site.publish(line[1])
    for name in ("RELEASE_KEY", "REPO"):
        del site.dagctl.environ[f"DAGFERRY_{name}"]
    site.dagctl.process("rollback", "--pointer-key", site.key("ops"), cwd=site.store)
    assert site.live() == line[0]


def test_refresh_keeps_the_hold_and_the_release(site: Site, line: list[str]) -> None:
    site.publish(line[0])
    site.publish(line[1])
    site.dagctl("rollback", "--reason", "burning")
    held = site.pointer()
    site.dagctl.process("refresh", "--expires", "7d")
    now = site.pointer()
    assert now["held"] == held["held"] == {"actor": "tester", "reason": "burning", "since": held["held"]["since"]}
    assert (now["release"], now["tip"]) == (held["release"], line[1])
    assert held["expires"] is None
    assert now["expires"] > now["issued"]
    site.publish(line[2], code=HELD)


def test_publish_on_a_held_channel_uploads_and_moves_nothing(site: Site, line: list[str]) -> None:
    site.publish(line[0])
    site.dagctl("hold", "--reason", "incident 4711")
    before = site.tree()
    message = site.publish(line[1], code=HELD).message
    assert "held by tester since" in message
    assert "(incident 4711): nothing was moved; dagctl resume lifts the hold" in message
    after = site.tree()
    new = sorted(set(after) - set(before))
    assert [name.split("/")[2] for name in new] == ["archives", "releases"]
    assert {name: after[name] for name in before} == before
    site.dagctl("resume")
    site.publish(line[1])
    assert site.live() == line[1]


def test_resume_says_what_the_tip_would_deploy(site: Site, line: list[str]) -> None:
    site.publish(line[0])
    site.publish(line[1])
    site.dagctl("rollback")
    out = site.dagctl("resume").out
    assert f"live is {line[0][:12]}; the newest commit published here is {line[1][:12]}, which stays off" in out
    assert site.pointer()["held"] is None
    again = site.dagctl("resume").out
    assert "resume: unchanged" in again
    assert "the channel is not held" in again
    site.publish(line[2])
    assert "the newest commit published here" in site.dagctl("hold").out + site.dagctl("resume").out


def test_only_resume_lifts_a_hold(site: Site, line: list[str]) -> None:
    for commit in line[:3]:
        site.publish(commit)
    site.dagctl("hold", "--reason", "first")
    assert "already held by tester" in site.dagctl("hold", "--reason", "second").out
    site.dagctl("rollback", "--no-hold")
    site.dagctl("rollback", "--to", line[0], "--reason", "further")
    site.dagctl("refresh")
    site.dagctl("repair")
    assert site.pointer()["held"]["reason"] == "first"
    assert site.live() == line[0]


def test_no_hold_lets_the_next_descendant_through(site: Site, line: list[str]) -> None:
    site.publish(line[0])
    site.publish(line[1])
    site.dagctl("rollback", "--no-hold")
    assert site.pointer()["held"] is None
    site.publish(line[2])
    assert site.live() == line[2]


def test_rollback_to_a_prefix_or_a_digest(site: Site, line: list[str]) -> None:
    for commit in line[:3]:
        site.publish(commit)
    digest = {entry["commit"]: entry["release"] for entry in site.dagctl("history", "--json").json["entries"]}
    site.dagctl("rollback", "--to", line[0][:7].upper())
    assert site.live() == line[0]
    site.dagctl("rollback", "--to", digest[line[1]][:20])
    assert site.live() == line[1]
    before = site.tree()
    assert "at least 7 hex digits" in site.dagctl("rollback", "--to", line[0][:6], code=2).message
    assert "at least 7 hex digits" in site.dagctl("rollback", "--to", "HEAD~1^{}", code=2).message
    assert "no release of this channel's history" in site.dagctl("rollback", "--to", line[3], code=8).message
    assert site.tree() == before


def test_two_releases_of_one_commit_are_told_apart_by_digest(site: Site, line: list[str]) -> None:
    site.publish(line[0], "--ref", "main")
    document = json.loads(site.trust.read_text())
    document["channels"]["main"]["refs"] = ["*"]
    site.trust.write_text(json.dumps(document))
    site.publish(line[0], "--ref", "hotfix", "--force")
    site.publish(line[1])
    digests = [entry["release"] for entry in site.dagctl("history", "--json").json["entries"]]
    message = site.dagctl.process("rollback", "--to", line[0], code=2).message
    for digest in digests[1:]:
        assert digest[:16] in message
    site.dagctl("rollback", "--to", digests[2][:16])
    assert site.pointer()["release"] == digests[2]


def test_revoked_target_is_refused_and_another_one_can_be_chosen(site: Site, line: list[str]) -> None:
    for commit in line[:3]:
        site.publish(commit)
    site.dagctl("trust", "revoke", line[1])
    before = site.tree()
    message = site.dagctl.process("rollback", code=3).message
    assert "revoked" in message
    assert "choose another release with --to" in message
    assert site.tree() == before
    site.dagctl("rollback", "--to", line[0])
    assert site.live() == line[0]
    site.publish(line[1], "--force", code=3)


def test_rollback_to_a_release_that_is_damaged_or_lost_moves_nothing(site: Site, line: list[str]) -> None:
    site.publish(line[0])
    release = site.bundle / f"releases/{site.pointer()['release']}.json"
    site.publish(line[1])
    release.write_bytes(b"{}")
    assert "wrong-digest" in site.dagctl("rollback", code=3).message
    release.unlink()
    assert "is not in the store" in site.dagctl("rollback", "--to", line[0], code=8).message
    assert site.live() == line[1]


def test_promote_takes_what_the_other_channel_has_live(site: Site, line: list[str]) -> None:
    site.publish(line[0], "--channel", "canary")
    site.publish(line[1], "--channel", "canary")
    site.dagctl("promote", "--from", "canary", "--to", "main")
    assert site.live() == line[1]
    assert actions(site) == [("promote", line[1])]
    assert "promote: unchanged" in site.dagctl("promote", "--from", "canary", "--to", "main").out
    assert "same channel" in site.dagctl("promote", "--from", "main", "--to", "main", code=2).message


def test_promote_of_a_ref_that_the_target_does_not_trust_is_refused(site: Site, line: list[str]) -> None:
    site.publish(line[0])
    site.publish(line[1], "--channel", "canary", "--ref", "feature/x")
    before = site.tree()
    message = site.dagctl.process("promote", "--from", "canary", "--to", "main", code=3).message
    assert "wrong-ref" in message
    assert "feature/x" in message
    assert site.tree() == before


def test_promote_to_a_held_channel_moves_nothing(site: Site, line: list[str]) -> None:
    site.publish(line[0])
    site.publish(line[1], "--channel", "canary")
    site.dagctl("hold")
    before = site.tree()
    site.dagctl.process("promote", "--from", "canary", "--to", "main", code=HELD)
    assert site.tree() == before


def test_promote_of_an_older_release_does_not_set_the_tip_back(site: Site, line: list[str]) -> None:
    site.publish(line[0], "--channel", "canary")
    site.publish(line[0])
    site.publish(line[2])
    site.dagctl("promote", "--from", "canary", "--to", "main")
    assert (site.live(), site.pointer()["tip"]) == (line[0], line[2])
    site.publish(line[1], code=4)


@pytest.mark.parametrize("damage", [b"", b"garbage"])
def test_promote_of_a_release_whose_archive_is_damaged_is_refused(site: Site, line: list[str], damage: bytes) -> None:
    site.publish(line[0], "--channel", "canary")
    archive = next((site.bundle / "archives").iterdir())
    archive.write_bytes(damage)
    assert "damaged in the store" in site.dagctl.process("promote", "--from", "canary", "--to", "main", code=3).message


def test_force_overrides_ancestry_and_nothing_else(own_site: Site, repo: GitRepo) -> None:
    first = repo.git("rev-parse", "HEAD")
    second = repo.commit({"dags/etl.py": "A = 2\n"})
    own_site.publish(second)
    own_site.publish(first, code=4)
    own_site.publish(first, "--force", "--ref", "feature", code=3)
    own_site.publish(first, "--force")
    assert own_site.live() == first
    assert own_site.pointer()["tip"] == first
    own_site.dagctl("hold")
    own_site.publish(second, "--force", code=HELD)


COMMANDS = ["publish", "rollback", "hold", "resume", "refresh", "promote", "repair"]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_dry_run_writes_nothing(site: Site, line: list[str], name: str) -> None:
    site.publish(line[0])
    site.publish(line[1], "--channel", "canary")
    site.publish(line[2])
    if name == "resume":
        site.dagctl("hold")
    if name == "repair":
        (site.bundle / "channels/main/pointer.json").unlink()
    options = {"publish": ["--commit", line[3], "--ref", "main"], "promote": ["--from", "canary", "--to", "main"]}
    before = site.tree()
    shown = site.dagctl.process(name, *options.get(name, []), "--dry-run").out
    assert shown.startswith("dry run: would")
    assert site.tree() == before


def test_a_dry_run_of_the_first_publish_writes_nothing_and_checks_all_the_same(site: Site, line: list[str]) -> None:
    document = site.publish(line[0], "--dry-run", "--json").json
    assert document == {
        "action": "publish",
        "changed": True,
        "dry_run": True,
        "note": f"would write 1-1: publish commit {line[0][:12]} on channel main",
        "pointer": None,
        "notified": [],
        "dev": False,
    }
    site.publish(line[0], "--dry-run", "--ref", "feature", code=3)
    assert site.tree() == {}
    site.publish(line[0])
    assert site.publish(line[0], "--dry-run").out == "dry run: it is live already; nothing changed\n"


def test_a_history_damaged_far_back_does_not_stop_a_named_rollback(site: Site, line: list[str]) -> None:
    for commit in line[:4]:
        site.publish(commit)
    (site.bundle / "channels/main/history/1-1.json").unlink()
    before = site.tree()
    assert "name a target with --to" in site.dagctl("rollback", code=3).message
    assert "is missing or damaged" in site.dagctl("rollback", "--to", line[0], code=3).message
    assert site.tree() == before
    site.dagctl("rollback", "--to", line[1])
    assert site.live() == line[1]
