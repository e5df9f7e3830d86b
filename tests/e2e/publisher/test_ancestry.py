"""Which commit may follow which: descendants only, and a shallow clone fetches what it does not know."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.gitrepos import GitRepo, git

if TYPE_CHECKING:
    from pathlib import Path

    from support.sites import Site

CONFLICT, UNKNOWN = 4, 6


def shallow(repo: GitRepo, to: Path, depth: int = 1) -> Path:
    """Clone as GitLab CI does; the address that releases name stays the repository's own."""
    git(to.parent, "clone", "--quiet", f"--depth={depth}", f"file://{repo.path}", str(to))
    return to


def test_an_older_commit_does_not_overtake(site: Site, line: list[str]) -> None:
    site.publish(line[2])
    before = site.tree()
    message = site.dagctl.process("publish", "--commit", line[1], "--ref", "main", code=CONFLICT).message
    assert f"commit {line[1][:12]} does not descend from {line[2][:12]}" in message
    assert site.tree() == before
    site.publish(line[4])
    assert site.pointer()["tip"] == line[4]


def test_a_force_pushed_branch_is_refused_until_forced(own_site: Site, repo: GitRepo) -> None:
    base = repo.git("rev-parse", "HEAD")
    published = repo.commit({"dags/etl.py": "A = 2\n"})
    own_site.publish(published)
    repo.git("reset", "--quiet", "--hard", base)
    rewritten = repo.commit({"dags/etl.py": "A = 3\n"})
    assert "does not descend" in own_site.publish(rewritten, code=CONFLICT).message
    own_site.publish(rewritten, "--force")
    assert own_site.live() == rewritten
    own_site.publish(repo.commit({"dags/etl.py": "A = 4\n"}))


def test_unrelated_history_is_refused(own_site: Site, repo: GitRepo) -> None:
    own_site.publish(repo.git("rev-parse", "HEAD"))
    repo.git("checkout", "--quiet", "--orphan", "fresh")
    own_site.publish(repo.commit({"dags/etl.py": "A = 9\n"}), code=CONFLICT)


@pytest.mark.parametrize("how", ["graft", "replace"])
def test_a_parent_that_only_this_clone_believes_in_counts_for_nothing(own_site: Site, repo: GitRepo, how: str) -> None:
    tip = repo.git("rev-parse", "HEAD")
    own_site.publish(tip)
    repo.git("checkout", "--quiet", "--orphan", "fresh")
    orphan = repo.commit({"dags/etl.py": "A = 9\n"})
    if how == "graft":
        (repo.path / ".git/info/grafts").write_text(f"{orphan} {tip}\n")
    else:
        repo.git("replace", "--graft", orphan, tip)
    assert repo.git("merge-base", "--is-ancestor", tip, orphan) == "", "git itself believes it"
    own_site.publish(orphan, code=CONFLICT)


def test_a_merge_descends_from_both_parents(own_site: Site, repo: GitRepo) -> None:
    repo.git("checkout", "--quiet", "-b", "feature")
    feature = repo.commit({"dags/b.py": "B = 1\n"})
    repo.git("checkout", "--quiet", "main")
    own_site.publish(repo.commit({"dags/etl.py": "A = 2\n"}))
    own_site.publish(feature, code=CONFLICT)
    repo.git("merge", "--quiet", "--no-edit", "feature")
    own_site.publish(repo.git("rev-parse", "HEAD"))


def test_a_tip_that_the_full_clone_never_had_is_a_refusal_and_not_unknown(own_site: Site, repo: GitRepo) -> None:
    lost = repo.commit({"dags/etl.py": "A = 2\n"})
    own_site.publish(lost)
    repo.git("reset", "--quiet", "--hard", "HEAD~1")
    repo.git("reflog", "expire", "--expire=now", "--all")
    repo.git("prune", "--expire=now")
    own_site.publish(repo.commit({"dags/etl.py": "A = 3\n"}), code=CONFLICT)


@pytest.mark.parametrize("by_id", [True, False], ids=["origin gives any commit", "origin gives branches only"])
def test_a_shallow_clone_deepens_from_origin(own_site: Site, repo: GitRepo, tmp_path: Path, by_id: bool) -> None:
    first = repo.git("rev-parse", "HEAD")
    own_site.publish(first)
    commit = repo.commits(60)[-2]  # no branch's newest
    repo.git("config", "uploadpack.allowAnySHA1InWant", str(by_id).lower())
    clone = shallow(repo, tmp_path / "clone", depth=2)
    git(clone, "config", "protocol.version", "0")  # later ones give any commit
    url = git(own_site.repo.path, "remote", "get-url", "origin")
    own_site.publish(commit, "--repo", clone, "--repository", url)
    assert own_site.live() == commit
    assert git(clone, "rev-list", "--count", commit) == "60"
    assert not (clone / ".git/FETCH_HEAD").exists()


def test_a_shallow_clone_whose_origin_is_gone_does_not_know(own_site: Site, repo: GitRepo, tmp_path: Path) -> None:
    own_site.publish(repo.git("rev-parse", "HEAD"))
    newest = repo.commits(3)[-1]
    clone = shallow(repo, tmp_path / "clone")
    git(clone, "remote", "set-url", "origin", f"file://{tmp_path}/gone")
    options = ("--repo", clone, "--repository", "https://gitlab.example.org/data/dags")
    before = own_site.tree()
    result = own_site.dagctl.process("publish", "--commit", newest, "--ref", "main", *options, code=UNKNOWN)
    assert "GIT_DEPTH: 0" in result.message
    assert "--unshallow" in result.message
    assert own_site.tree() == before
    own_site.publish(newest, *options, "--force")


def test_a_shallow_clone_that_holds_both_commits_knows(own_site: Site, repo: GitRepo, tmp_path: Path) -> None:
    repo.commits(5)
    older, newest = repo.git("rev-parse", "HEAD~1", "HEAD").split()
    own_site.publish(newest)
    clone = shallow(repo, tmp_path / "clone", depth=2)
    git(clone, "remote", "set-url", "origin", f"file://{tmp_path}/gone")
    options = ("--repo", clone, "--repository", "https://gitlab.example.org/data/dags")
    own_site.publish(older, *options, code=CONFLICT)


def test_a_commit_that_a_shallow_clone_lacks_names_the_cure(own_site: Site, repo: GitRepo, tmp_path: Path) -> None:
    first = repo.git("rev-parse", "HEAD")
    repo.commits(2)
    clone = shallow(repo, tmp_path / "clone")
    assert "GIT_DEPTH: 0" in own_site.publish(first, "--repo", clone, code=8).message


def test_the_ref_is_the_branch_that_is_checked_out(own_site: Site, repo: GitRepo) -> None:
    options = ("publish", "--commit", "HEAD")
    repo.git("checkout", "--quiet", "-b", "feature")
    assert "'feature'" in own_site.dagctl(*options, code=3).message
    repo.git("checkout", "--quiet", "--detach", "main")
    assert "--ref is needed" in own_site.dagctl(*options, code=2).message
    repo.git("checkout", "--quiet", "main")
    own_site.dagctl(*options)
    assert own_site.dagctl("show", repo.git("rev-parse", "HEAD"), "--json").json["ref"] == "main"
