"""``dagctl prune`` on real stores: what goes, what stays, and how every other command reads what is left."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from support.oldsites import DAYS, PRUNE, age, in_the_past, publish_long_ago
from support.terminals import Terminal

if TYPE_CHECKING:
    from pathlib import Path

    from support.sites import Site

OK, USAGE, REFUSED, CONFLICT, NOT_FOUND = 0, 2, 3, 4, 8


@pytest.fixture
def old(site: Site, line: list[str]) -> Site:
    """Five commits on main, published weeks ago."""
    publish_long_ago(site, line)
    return site


@pytest.fixture
def pruned(old: Site) -> Site:
    """The same with the two newest left."""
    old.dagctl(*PRUNE, "--keep", 2)
    return old


def names(site: Site, kind: str) -> list[str]:
    return sorted(path.name for path in site.bundle.rglob("*") if path.is_file() and kind in path.parts)


def test_what_no_channel_needs_goes_and_the_rest_verifies(old: Site) -> None:
    done = old.dagctl.process(*PRUNE, "--keep", 2)
    assert "removed " in done.out
    assert names(old, "history") == ["1-4.json", "1-5.json"]
    assert len(names(old, "releases")) == 2
    document = old.dagctl("verify", "--all", "--json").json
    assert (document["findings"], document["notes"]) == ([], [])
    assert document["checked"]["cuts"] == 1
    again = old.dagctl(*PRUNE, "--keep", 2, "--json").json
    assert again["doomed"] == again["removed"] == {"objects": 0, "bytes": 0}


def test_a_dry_run_tells_each_object_and_writes_nothing(old: Site) -> None:
    before = old.tree()
    document = old.dagctl("prune", "--keep", 2, "--keep-days", 10, "--dry-run", "--json").json
    assert old.tree() == before
    assert document["dry_run"] is True
    assert document["cuts"] == [
        {
            "channel": "main",
            "epoch": 1,
            "sequence": 4,
            "entry": old.pointer()["previous"],
            "before": 3,
            "reason": "default target of a rollback",
        }
    ]
    assert {one["key"] for one in document["objects"]} == set(before)
    goes = [one for one in document["objects"] if one["action"] == "remove"]
    assert document["doomed"] == {"objects": len(goes), "bytes": sum(len(before[one["key"]]) for one in goes)}
    shown = old.dagctl("prune", "--keep", 2, "--keep-days", 10, "--dry-run", DAGFERRY_POINTER_KEY="")
    assert "channel main begins at 1-4" in shown.out
    assert "before the kept history" in shown.out
    assert "nothing was written or removed" in shown.err


def test_what_is_young_stays(site: Site, line: list[str]) -> None:
    for commit in line:
        site.publish(commit)
    before = site.tree()
    assert site.dagctl(*PRUNE, "--keep", 1, "--json").json["doomed"]["objects"] == 0
    assert {key: data for key, data in site.tree().items() if "/scratch/" not in key} == before


def test_history_log_export_and_why_end_at_the_cut(pruned: Site, tmp_path: Path) -> None:
    for command in ("history", "log"):
        documents = pruned.dagctl(command, "--json")
        entries = documents.json["entries"] if command == "history" else map(json.loads, documents.out.splitlines())
        assert [entry["sequence"] for entry in entries] == [5, 4]
    assert "older history was pruned" in pruned.dagctl("history").out
    assert "older history" not in pruned.dagctl("history", "--limit", 1).out
    file = tmp_path / "exported"
    pruned.dagctl("log", "--export", file)
    assert pruned.dagctl("verify", "--export", file, "--json").json["checked"]["cuts"] == 1
    assert pruned.dagctl("why", "--json").code == OK


def test_a_rollback_goes_back_to_the_cut_and_says_why_no_further(pruned: Site, line: list[str]) -> None:
    pruned.dagctl("rollback")
    assert pruned.live() == line[3]
    assert "older history was pruned" in pruned.dagctl("rollback", code=NOT_FOUND).message
    pruned.dagctl("rollback", "--to", line[0], code=NOT_FOUND)
    pruned.dagctl("rollback", "--to", line[4])
    assert pruned.live() == line[4]


def test_publishing_goes_on_and_a_later_run_moves_the_cut(site: Site, line: list[str]) -> None:
    publish_long_ago(site, line[:3])
    site.dagctl(*PRUNE, "--keep", 2)
    assert names(site, "history") == ["1-2.json", "1-3.json"]
    publish_long_ago(site, line[3:], days=DAYS / 2)
    site.dagctl(*PRUNE, "--keep", 2)
    assert names(site, "history") == ["1-4.json", "1-5.json"]
    assert site.dagctl("verify", "--all", "--json").json["findings"] == []
    site.dagctl("rollback")
    assert site.live() == line[3]


def test_a_puller_finds_a_commit_above_the_cut_and_is_told_of_one_below(
    pruned: Site, line: list[str], tmp_path: Path
) -> None:
    def once(commit: str, root: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "dagferry_puller", "once", "--root", str(tmp_path / root), "--commit", commit]
        named = {name: value for name, value in pruned.dagctl.environ.items() if "_KEY" not in name}
        return subprocess.run(
            words, env=named | {"DAGFERRY_BUNDLE": "analytics"}, capture_output=True, text=True, check=False
        )

    assert once(line[3], "a").returncode == OK
    below = once(line[0], "b")
    assert (below.returncode, "not in the last" in below.stderr) == (NOT_FOUND, True), below.stderr
    (pruned.bundle / "channels/main/history/1-4.json").unlink()
    gap = once(line[3], "c")
    assert (gap.returncode, "no signed cut" in gap.stderr) == (REFUSED, True), gap.stderr


def test_a_gap_above_the_cut_is_still_a_broken_chain_and_nothing_is_removed(pruned: Site) -> None:
    age([path for path in pruned.store.rglob("*") if path.is_file()])
    (pruned.bundle / "channels/main/history/1-4.json").unlink()
    (pruned.bundle / f"archives/{'a' * 64}.tar.zst").write_bytes(b"old")
    age([pruned.bundle / f"archives/{'a' * 64}.tar.zst"])
    assert "broken-chain" in pruned.dagctl("verify", code=REFUSED).out
    before = pruned.tree()
    refusal = pruned.dagctl(*PRUNE, "--keep", 1, code=REFUSED)
    assert "dagctl repair --cut --channel main" in refusal.message
    assert {key: data for key, data in pruned.tree().items() if "/scratch/" not in key} == before


def test_repair_signs_that_a_history_begins_where_it_is_whole(pruned: Site) -> None:
    (pruned.bundle / "channels/main/history/1-4.json").unlink()
    assert "would: the history begins at 1-5" in pruned.dagctl("repair", "--cut", "--dry-run").out
    pruned.dagctl("verify", code=REFUSED)
    assert pruned.dagctl("repair", "--cut", "--json").json["changed"] is True
    assert pruned.dagctl("verify", "--all", "--json").json["findings"] == []
    assert pruned.dagctl("repair", "--cut", "--json").json["note"] == "the history is whole"
    pruned.dagctl("repair", "--cut", "--new-epoch", code=USAGE)


def test_a_cut_by_a_key_that_was_removed_is_signed_again(old: Site) -> None:
    old.dagctl(*PRUNE, "--keep", 2, "--pointer-key", old.key("ops"))
    old.dagctl("trust", "remove-key", old.keys / "ops.pub")
    old.dagctl("trust", "epoch")
    old.dagctl("repair", "--new-epoch")
    assert "unknown-key" in old.dagctl("verify", code=REFUSED).out
    old.dagctl(*PRUNE, code=REFUSED)
    old.dagctl("repair", "--cut")
    assert old.dagctl("verify", "--all", "--json").json["findings"] == []
    old.dagctl(*PRUNE)


def test_an_epoch_that_begins_from_nothing_needs_no_cut(pruned: Site, line: list[str]) -> None:
    pruned.dagctl("trust", "epoch")
    pruned.publish(line[4], "--new-epoch")
    document = pruned.dagctl("verify", "--all", "--json").json
    assert document["findings"] == []
    assert any("cut.json of an epoch before 2" in note for note in document["notes"])
    pruned.dagctl(*PRUNE)


def test_the_keep_list_keeps_what_a_pinned_run_needs(old: Site, line: list[str], tmp_path: Path) -> None:
    version = old.dagctl("history", "--json").json["entries"][-1]
    (tmp_path / "pinned").write_text(f"{version['commit']}-{version['release']}  # run 7\n{'ab' * 20}\n")
    shown = old.dagctl(*PRUNE, "--keep", 2, "--keep-list", tmp_path / "pinned")
    assert f"names {'ab' * 20}, which is not in the store" in shown.out
    words = [sys.executable, "-m", "dagferry_puller", "once", "--root", str(tmp_path / "root")]
    words += ["--pin", f"{version['commit']}-{version['release']}"]
    named = {name: value for name, value in old.dagctl.environ.items() if "_KEY" not in name}
    subprocess.run(words, env=named | {"DAGFERRY_BUNDLE": "analytics"}, check=True)
    assert (tmp_path / "root/current").resolve().name.startswith(line[0])
    (tmp_path / "pinned").write_text("main\n")
    old.dagctl(*PRUNE, "--keep-list", tmp_path / "pinned", code=USAGE)
    old.dagctl(*PRUNE, "--keep-list", tmp_path / "none", code=USAGE)


def test_channels_share_releases_and_each_keeps_its_own(old: Site, line: list[str]) -> None:
    with in_the_past(old):
        old.publish(line[0], "--channel", "canary")
        old.publish(line[4], "--channel", "canary")
    old.dagctl(*PRUNE, "--keep", 1)
    assert old.dagctl("verify", "--all", "--json").json["findings"] == []
    old.dagctl("rollback", "--channel", "canary")
    assert old.live("canary") == line[0]


def test_a_channel_without_a_key_here_keeps_its_history(old: Site, line: list[str]) -> None:
    with in_the_past(old):
        for commit in line:
            old.publish(commit, "--channel", "canary")
    document = json.loads(old.trust.read_text())
    ci = old.key_id("ci")
    document["channels"]["canary"]["pointer"]["keys"].remove(old.key_id("ops"))
    document["channels"]["canary"]["pointer"]["keys"] = [ci]
    old.trust.write_text(json.dumps(document))
    shown = old.dagctl(*PRUNE, "--keep", 1, "--pointer-key", old.key("ops"))
    assert "channel canary keeps its history: no --pointer-key signs for it" in shown.out
    assert not (old.bundle / "channels/canary/cut.json").exists()
    assert (old.bundle / "channels/main/cut.json").exists()
    assert old.dagctl("verify", "--all", "--json").json["findings"] == []


def test_what_lies_in_the_bundle_and_is_not_known_is_shown_and_left(old: Site) -> None:
    strange = old.bundle / "notes.txt"
    strange.write_text("mine")
    age([strange])
    assert "left alone: analytics/v1/notes.txt" in old.dagctl(*PRUNE, "--keep", 1).out
    assert strange.exists()


@pytest.mark.parametrize(
    ("damage", "code", "cure"),
    [
        ("pointer", REFUSED, "dagctl repair"),
        ("no pointer", CONFLICT, "dagctl repair"),
        ("behind", CONFLICT, "dagctl repair"),
        ("history", REFUSED, "dagctl verify"),
        ("release", REFUSED, "dagctl verify"),
        ("unknown channel", REFUSED, "trust file"),
        ("epoch", CONFLICT, "repair --new-epoch"),
    ],
)
def test_nothing_is_removed_while_a_channel_does_not_verify(
    old: Site, line: list[str], damage: str, code: int, cure: str
) -> None:
    with in_the_past(old):
        old.publish(line[0], "--channel", "canary")
        old.publish(line[1], "--channel", "canary")
    canary = old.bundle / "channels/canary"
    if damage == "pointer":
        (canary / "pointer.json").write_bytes(b"{}")
    elif damage == "no pointer":
        (canary / "pointer.json").unlink()
    elif damage == "behind":
        (canary / "pointer.json").write_bytes((canary / "history/1-1.json").read_bytes())
    elif damage == "history":
        (canary / "history/1-1.json").unlink()
    elif damage == "release":
        (old.bundle / f"releases/{old.pointer('canary')['release']}.json").write_bytes(b"x")
    elif damage == "unknown channel":
        canary.rename(canary.with_name("dev-ann"))
    else:
        old.trust_text(epoch=2)
    age([path for path in old.store.rglob("*") if path.is_file()])
    before = old.tree()
    assert cure in old.dagctl(*PRUNE, "--keep", 1, code=code).message
    assert {key: data for key, data in old.tree().items() if "/scratch/" not in key} == before


def test_a_person_is_asked_and_may_say_no(old: Site) -> None:
    words = ("prune", "--keep", "2", "--keep-days", "10", "--grace", "0s")
    before = old.tree()
    with Terminal(*words, cwd=old.root, environ=old.dagctl.environ) as terminal:
        terminal.wait_text("for good?")
        terminal.type("n\n")
        assert terminal.end() == OK
        assert "nothing was removed" in terminal.text()
    assert {key: data for key, data in old.tree().items() if "/scratch/" not in key} == before
    with Terminal(*words, cwd=old.root, environ=old.dagctl.environ) as terminal:
        terminal.wait_text("for good?")
        terminal.type("y\n")
        assert terminal.end() == OK
        assert "removed" in terminal.text()
    assert names(old, "history") == ["1-4.json", "1-5.json"]


def test_json_asks_nobody(old: Site) -> None:
    with Terminal(
        "prune", "--keep", "2", "--keep-days", "10", "--json", cwd=old.root, environ=old.dagctl.environ
    ) as terminal:
        assert terminal.end() == USAGE
        assert "give --yes" in terminal.text()


def test_a_key_is_needed_but_for_a_dry_run(old: Site) -> None:
    assert "--pointer-key is needed" in old.dagctl(*PRUNE, code=USAGE, DAGFERRY_POINTER_KEY="").message
    old.dagctl(*PRUNE, "--grace", "soon", code=REFUSED)
    old.dagctl("prune", "--keep", 0, code=USAGE)


def test_promoting_what_may_have_been_here_before_the_cut_does_not_move_the_tip_back(
    old: Site, line: list[str]
) -> None:
    old.dagctl(*PRUNE, "--keep", 1)
    old.publish(line[0], "--channel", "canary")
    old.dagctl("promote", "--from", "canary", "--to", "main")
    assert old.live() == line[0]
    assert old.pointer()["tip"] == line[4]
