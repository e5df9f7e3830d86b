"""What verify, show, diff, history and list say of a store."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from support.gitrepos import GitRepo, Link, Script, git
from support.sites import Site, make_site

if TYPE_CHECKING:
    from pathlib import Path

REFUSED = 3


@pytest.fixture(scope="module")
def history_repo(tmp_path_factory: pytest.TempPathFactory) -> GitRepo:
    repo = GitRepo(tmp_path_factory.mktemp("history") / "repo")
    repo.commit(
        {"dags/etl.py": "A = 1\nB = 2\n", "dags/old.py": "old\n", "dags/run.sh": "echo\n", "dags/x.bin": b"\0\1"}
    )
    repo.commit(
        {
            "dags/etl.py": "A = 1\nB = 3\n",
            "dags/old.py": None,
            "dags/run.sh": Script("echo\n"),
            "dags/x.bin": b"\0\1\2",
            "dags/latin.csv": b"\xff\xfe\n",
            "dags/link": Link("etl.py"),
        },
        "[bold]markup[/bold] is text",
    )
    return repo


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, keys: Path, history_repo: GitRepo) -> Site:
    """Two publishes and a rollback; no test changes its store."""
    site = make_site(tmp_path_factory.mktemp("published") / "site", keys, history_repo)
    for commit in commits(history_repo):
        site.publish(commit, "--reason", "[red]because[/red]", CI_PIPELINE_URL="https://gitlab.example.org/p/1")
    site.dagctl("rollback", "--reason", "it burns")
    return site


@pytest.fixture
def damaged(published: Site, tmp_path: Path) -> Site:
    """A copy of it to damage."""
    shutil.copytree(published.root, tmp_path / "site", symlinks=True)
    settings = {"DAGFERRY_STORE": f"file://{tmp_path}/site/store", "DAGFERRY_TRUST": f"{tmp_path}/site/trust.json"}
    dagctl = type(published.dagctl)(tmp_path, published.dagctl.environ | settings)
    return Site(tmp_path / "site", published.keys, published.repo, dagctl)


def commits(repo: GitRepo) -> list[str]:
    return repo.git("rev-list", "--reverse", "main").split()


def objects(site: Site, kind: str) -> dict[str, Path]:
    """Releases or archives by commit."""
    found = {row["commit"]: row for row in site.dagctl("list", "--json").json["releases"] if "commit" in row}
    names = {"releases": "{release}.json", "archives": "{archive[sha256]}.tar.zst"}
    return {commit: site.bundle / kind / names[kind].format(**row) for commit, row in found.items()}


def findings(site: Site, *options: object) -> list[tuple[str, str]]:
    rows = site.dagctl("verify", *options, "--json", code=REFUSED).json["findings"]
    return [(row["key"].split("/")[2], row["problem"]) for row in rows]


def test_a_sound_store_verifies(published: Site) -> None:
    assert published.dagctl("verify", "--json").json["checked"] == {
        "pointers": 1,
        "history entries": 3,
        "releases": 2,
        "archives": 1,
    }
    shown = published.dagctl.process("verify", "--all").out
    assert shown.startswith("checked: 1 pointers, 3 history entries, 2 releases, 2 archives, 4 objects\n")
    assert "all of it verifies" in shown


@pytest.mark.parametrize("damage", [b"", b"garbage", None], ids=["empty", "garbage", "one byte"])
def test_a_damaged_live_archive_is_found(damaged: Site, history_repo: GitRepo, damage: bytes | None) -> None:
    archive = objects(damaged, "archives")[commits(history_repo)[0]]
    data = archive.read_bytes()
    archive.write_bytes(data[:-1] + bytes([data[-1] ^ 1]) if damage is None else damage)
    [(kind, problem)] = findings(damaged)
    assert kind == "archives"
    assert "is damaged in the store" in problem
    assert "digest that it is named by" in findings(damaged, "--all")[1][1]


def test_only_all_finds_a_damaged_archive_that_is_not_live(damaged: Site, history_repo: GitRepo) -> None:
    objects(damaged, "archives")[commits(history_repo)[1]].write_bytes(b"garbage")
    damaged.dagctl("verify")
    assert [kind for kind, _ in findings(damaged, "--all")] == ["archives", "archives"]


def test_a_lost_archive_is_found(damaged: Site, history_repo: GitRepo) -> None:
    objects(damaged, "archives")[commits(history_repo)[0]].unlink()
    [(kind, problem)] = findings(damaged)
    assert (kind, "does not exist" in problem) == ("archives", True)


def test_damaged_and_swapped_releases_are_found(damaged: Site, history_repo: GitRepo) -> None:
    one, two = objects(damaged, "releases").values()
    content = one.read_bytes()
    one.write_bytes(two.read_bytes())
    assert findings(damaged)[0][0] == "releases"
    one.write_bytes(b"{}")
    assert "has the digest" in findings(damaged)[0][1]
    assert "DAMAGED" in damaged.dagctl("list").out
    assert {"release": one.name.removesuffix(".json"), "problem": "not a release of that digest"} in damaged.dagctl(
        "list", "--json"
    ).json["releases"]
    one.write_bytes(b"x" * 70_000)
    assert "oversize" in findings(damaged)[0][1]
    assert "DAMAGED" in damaged.dagctl("list").out
    one.unlink()
    two.unlink()
    assert [kind for kind, _ in findings(damaged)] == ["releases"] * 2
    one.write_bytes(content)


def test_swapped_archives_are_found(damaged: Site) -> None:
    one, two = objects(damaged, "archives").values()
    one_data, two_data = one.read_bytes(), two.read_bytes()
    one.write_bytes(two_data)
    two.write_bytes(one_data)
    problems = " ".join(problem for _, problem in findings(damaged, "--all"))
    assert "oversize" in problems or "damaged" in problems


def test_an_object_that_nobody_refers_to_must_have_its_name_too(damaged: Site) -> None:
    (damaged.bundle / "archives" / f"{'0' * 64}.tar.zst").write_bytes(b"stray")
    damaged.dagctl("verify")
    assert findings(damaged, "--all") == [("archives", "its content does not have the digest that it is named by")]


def test_swapped_history_copies_are_a_broken_chain(damaged: Site) -> None:
    history = damaged.bundle / "channels/main/history"
    (history / "1-1.json").rename(history / "x")
    (history / "1-2.json").rename(history / "1-1.json")
    (history / "x").rename(history / "1-2.json")
    assert any("broken-chain" in problem for _, problem in findings(damaged))
    assert "broken-chain" in damaged.dagctl("history", code=REFUSED).message


def test_a_channel_that_the_trust_file_does_not_know_is_found_by_all(damaged: Site) -> None:
    shutil.copytree(damaged.bundle / "channels/main", damaged.bundle / "channels/unknown")
    damaged.dagctl("verify")
    assert "'unknown' is not in the trust file" in findings(damaged, "--all")[0][1]


def test_an_empty_channel_and_an_empty_bundle(site: Site) -> None:
    assert "nothing is published on channel main" in findings(site)[0][1]
    assert site.dagctl("verify", "--all", "--json").json["checked"] == {}
    assert site.dagctl("verify", "--all").out.startswith("checked: nothing")


def test_expired_and_below_floor_are_found(damaged: Site) -> None:
    damaged.dagctl("trust", "floor", "9", "--channel", "main")
    assert any("below-floor" in problem for _, problem in findings(damaged))


def test_a_pointer_that_has_expired_is_found(damaged: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import timedelta

    from dagferry_shared import times

    damaged.dagctl("refresh", "--expires", "1h")
    damaged.dagctl("verify")
    later = times.now() + timedelta(hours=2)
    monkeypatch.setattr(times, "now", lambda: later)
    assert "expired" in findings(damaged)[0][1]


def test_rebuild_from_a_clone_is_equal(published: Site, history_repo: GitRepo, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", str(history_repo.path), "clone")
    document = published.dagctl.process("verify", "--rebuild", tmp_path / "clone", "--json").json
    assert document["findings"] == []
    assert document["checked"]["rebuilds"] == 2


def test_rebuild_from_a_clone_that_lacks_the_commit_is_a_finding(published: Site, repo: GitRepo) -> None:
    assert "no commit" in findings(published, "--rebuild", repo.path)[0][1]


def test_history_in_a_table_and_as_json(published: Site, history_repo: GitRepo) -> None:
    first, second = commits(history_repo)
    rows = published.dagctl.process("history").out.splitlines()
    assert rows[0].split() == ["sequence", "issued", "(UTC)", "action", "commit", "actor", "state", "reason"]
    assert rows[1].split()[0] == "1-3"
    assert f"rollback  {first[:12]}  tester  live held  it burns" in rows[1]
    assert f"publish   {second[:12]}  tester             [red]because[/red]" in rows[2]
    assert [row.split()[0] for row in published.dagctl("history", "--limit", "1").out.splitlines()[1:]] == ["1-3"]
    entries = published.dagctl("history", "--json").json["entries"]
    assert [(e["sequence"], e["action"], e["tip"], e["problem"]) for e in entries] == [
        (3, "rollback", second, None),
        (2, "publish", second, None),
        (1, "publish", first, None),
    ]


def test_list_marks_what_is_live(published: Site, history_repo: GitRepo) -> None:
    first, _ = commits(history_repo)
    rows = published.dagctl.process("list").out.splitlines()
    assert [row for row in rows if " * " in row] == [row for row in rows if first[:12] in row]
    assert "[bold]markup[/bold] is text" in "".join(rows)
    live = [row for row in published.dagctl("list", "--json").json["releases"] if row["live"]]
    assert [row["commit"] for row in live] == [first]


def test_show_tells_all_of_a_release(published: Site, history_repo: GitRepo) -> None:
    first, second = commits(history_repo)
    document = published.dagctl("show", first[:9], "--json").json
    assert document["commit"] == first
    assert document["repository"] == "https://gitlab.example.org/data/dags"
    assert document["author"] == "Ann Example <ann@example.org>"
    assert document["builder"]["pipeline"] == "https://gitlab.example.org/p/1"
    assert [entry["action"] for entry in document["entries"]] == ["rollback", "publish"]
    shown = published.dagctl.process("show", document["release"][:12]).out
    assert f"tree        {document['tree']}" in shown
    assert "selection   include -, exclude -" in shown
    assert second not in shown
    assert "no release of this channel" in published.dagctl("show", "0" * 40, code=8).message


def test_diff_shows_added_removed_changed_mode_and_binary(published: Site, history_repo: GitRepo) -> None:
    first, second = commits(history_repo)
    document = published.dagctl("diff", first, second, "--json").json
    changes = {change["path"]: change for change in document["changes"]}
    assert {path: change["status"] for path, change in changes.items()} == {
        "etl.py": "changed",
        "latin.csv": "added",
        "link": "added",
        "old.py": "removed",
        "run.sh": "mode",
        "x.bin": "changed",
    }
    assert changes["etl.py"]["diff"].splitlines() == [
        "--- a/etl.py",
        "+++ b/etl.py",
        "@@ -1,2 +1,2 @@",
        " A = 1",
        "-B = 2",
        "+B = 3",
    ]
    assert changes["x.bin"]["diff"] == "binary or large: 2 -> 3 bytes"
    assert (changes["run.sh"]["before"], changes["run.sh"]["after"]) == ("file", "executable")
    assert (changes["link"]["before"], changes["link"]["after"]) == (None, "symlink")
    assert "+etl.py" in changes["link"]["diff"]
    shown = published.dagctl.process("diff", first, second).out.splitlines()
    assert "mode     run.sh (file -> executable)" in shown
    assert "  +B = 3" in shown
    assert published.dagctl("diff", first, second, "--names-only").out.splitlines() == [
        "changed  etl.py",
        "added    latin.csv",
        "added    link",
        "removed  old.py",
        "mode     run.sh (file -> executable)",
        "changed  x.bin",
    ]
    assert published.dagctl("diff", first, first).out == "no difference\n"
    backwards = {
        row["path"]: row["status"] for row in published.dagctl("diff", second, first, "--json").json["changes"]
    }
    assert (backwards["old.py"], backwards["link"]) == ("added", "removed")
    assert "fits several" not in published.dagctl("diff", first, "0000000", code=8).message


def test_a_store_that_goes_away_is_no_finding(damaged: Site) -> None:
    shutil.rmtree(damaged.store)
    assert "is not a directory: mount it" in damaged.dagctl("verify", code=7).message


def test_a_gap_that_no_repair_made_is_found(damaged: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A publisher with a fault of its own skips a sequence."""
    from dagferry_publisher import transaction

    monkeypatch.setattr(transaction, "next_position", lambda _, head: (1, head.content.sequence + 2))
    damaged.dagctl("refresh")
    monkeypatch.undo()
    assert [problem for _, problem in findings(damaged)] == ["follows 1-3: a gap"]


def test_reading_commands_write_nothing(published: Site, history_repo: GitRepo) -> None:
    before = published.tree()
    first, second = commits(history_repo)
    for command in (["history"], ["list"], ["show", first], ["diff", first, second], ["verify", "--all"], ["config"]):
        published.dagctl(*command)
    assert published.tree() == before
