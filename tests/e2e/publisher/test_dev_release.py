"""``dagctl publish --dev``: uncommitted work of a real clone: what is in it, where it is taken, how it is marked."""

import os
from pathlib import Path

import pytest

from dagferry_publisher.stored import fetched, read_checked
from dagferry_shared.gittree import Leaf, Mode, blob_id
from dagferry_shared.release import Release, Selection
from support.devloops import CHANNEL, by_ci, make_dev_site, watching
from support.gitrepos import GitRepo, Link, Script
from support.sites import Site


@pytest.fixture
def dev(tmp_path: Path, keys: Path, repo: GitRepo) -> Site:
    return make_dev_site(tmp_path / "site", keys, repo)


def live(site: Site, channel: str = CHANNEL) -> Release:
    chain = site.chain(channel)
    return chain.release_of(chain.live().content).content


def leaves(site: Site) -> dict[str, Leaf]:
    """Return what is in the live archive, by path."""
    release = live(site)
    with fetched(site.chain(CHANNEL), release) as file:
        return dict(read_checked(file, release).leaves)


def files(site: Site) -> list[str]:
    return sorted(leaves(site))


# What is in it


def test_it_has_what_git_add_would_take(dev: Site, repo: GitRepo) -> None:
    repo.commit({"dags/etl.py": "A = 1\n", "dags/old.py": "", "dags/moved.py": "M = 1\n", "dags/run.sh": "true\n"})
    repo.write({".gitignore": "*.log\n__pycache__/\n", "dags/.gitignore": "secret.py\n"})
    repo.write({"dags/etl.py": "A = (\n", "dags/old.py": None, "dags/deep/new.py": "N = 1\n", "dags/x.log": "x"})
    repo.write({"dags/__pycache__/etl.pyc": b"\0", "dags/secret.py": "S = 1\n", "dags/run.sh": Script("true\n")})
    repo.write({"dags/link.py": Link("etl.py"), "outside.py": "O = 1\n"})
    (repo.path / "dags/moved.py").rename(repo.path / "dags/here.py")
    dev.dagctl("publish", "--dev")
    plain = dict.fromkeys((".gitignore", "etl.py", "deep/new.py", "here.py"), Mode.FILE)
    assert {path: leaf.mode for path, leaf in leaves(dev).items()} == {
        **plain,
        "run.sh": Mode.EXECUTABLE,
        "link.py": Mode.LINK,
    }


def test_a_clean_work_tree_is_the_tree_of_its_commit(dev: Site, repo: GitRepo) -> None:
    """Attributes included: line ends are what a commit has."""
    repo.write({".gitattributes": "*.txt text eol=crlf\n", "dags/a.txt": "one\r\ntwo\r\n", "dags/b.bin": b"\r\n\0"})
    commit = repo.commit({"dags/link": Link("a.txt")})
    dev.dagctl("publish", "--commit", commit, **by_ci(dev))
    dev.dagctl("publish", "--dev")
    assert live(dev).tree == live(dev, "main").tree


def test_index_objects_refs_and_hooks_of_the_clone_are_left_alone(dev: Site, repo: GitRepo) -> None:
    repo.write({"dags/staged.py": "S = 1\n", "dags/new.py": "N = 1\n"})
    repo.git("add", "dags/staged.py")
    hook = repo.path / ".git/hooks/post-index-change"
    hook.write_text("#!/bin/sh\ntouch hook-ran\n")
    hook.chmod(0o755)

    def everything() -> dict[str, tuple[int, bytes]]:
        """Return time and bytes of all files; git touches the time of an object that it would have written."""
        found = [path for path in (repo.path / ".git").rglob("*") if path.is_file()]
        times = {path: 0 if "objects" in path.parts else path.stat().st_mtime_ns for path in found}
        return {str(path): (times[path], path.read_bytes()) for path in found}

    before = everything()
    dev.dagctl("publish", "--dev")
    assert files(dev) == ["etl.py", "new.py", "staged.py"]
    assert everything() == before
    assert not list(repo.path.rglob("hook-ran"))
    repo.git("add", "dags/new.py")  # the control: it does run when the index changes
    assert list(repo.path.rglob("hook-ran"))


def test_what_is_tracked_counts_although_it_is_ignored(dev: Site, repo: GitRepo) -> None:
    repo.write({".gitignore": "*.gen.py\n", "dags/a.gen.py": "A = 1\n", "dags/b.gen.py": "B = 1\n"})
    repo.git("add", "--force", "dags/a.gen.py")
    dev.dagctl("publish", "--dev")
    assert files(dev) == ["a.gen.py", "etl.py"]


def test_a_change_of_the_same_length_in_the_same_moment_as_the_index_is_seen(dev: Site, repo: GitRepo) -> None:
    """Git's racy entries: size and time say nothing, so the content must be read."""
    index, file = repo.path / ".git/index", repo.path / "dags/etl.py"
    repo.git("update-index", "--refresh")
    for text in ("A = 8\n", "A = 9\n"):
        moment = index.stat().st_mtime_ns
        file.write_text("A = 7\n")
        os.utime(file, ns=(moment, moment))
        repo.git("add", "dags/etl.py")
        file.write_text(text)
        os.utime(file, ns=(moment, moment))
        os.utime(index, ns=(moment, moment))
        dev.dagctl("publish", "--dev")
        assert leaves(dev)["etl.py"].blob == blob_id(text.encode())


def test_an_unfinished_merge_elsewhere_is_not_in_the_way(dev: Site, repo: GitRepo) -> None:
    repo.commit({"notes.txt": "base\n"})
    repo.git("checkout", "--quiet", "-b", "side")
    repo.commit({"notes.txt": "side\n", "dags/side.py": "S = 1\n"})
    repo.git("checkout", "--quiet", "main")
    repo.commit({"notes.txt": "main\n"})
    with pytest.raises(AssertionError, match="git merge"):
        repo.git("merge", "side")
    dev.dagctl("publish", "--dev")
    assert files(dev) == ["etl.py", "side.py"]
    assert "<<<<<<<" in (repo.path / "notes.txt").read_text()
    assert repo.git("ls-files", "--unmerged")


def test_from_a_subdirectory_a_linked_work_tree_and_a_sha256_clone(tmp_path: Path, keys: Path) -> None:
    repo = GitRepo(tmp_path / "repo", object_format="sha256")
    repo.commit({"dags/etl.py": "A = 1\n", "dags/lib/x.py": ""})
    dev = make_dev_site(tmp_path / "site", keys, repo)
    repo.git("worktree", "add", "--quiet", str(tmp_path / "linked"), "-b", "linked")
    (tmp_path / "linked/dags/etl.py").write_text("L = 1\n")
    dev.dagctl("publish", "--dev", "--repo", tmp_path / "linked/dags/lib")
    assert live(dev).source.ref == "linked"
    assert "changed etl.py" in live(dev).source.subject
    assert files(dev) == ["etl.py", "lib/x.py"]


def test_the_selection_of_the_trust_file_holds(tmp_path: Path, keys: Path, repo: GitRepo) -> None:
    dev = make_dev_site(tmp_path / "site", keys, repo, paths=(".",), selection=Selection((), ("*.md", "big/**")))
    repo.write({"big/data.bin": "x", "notes.md": "x", "dags/new.py": "N = 1\n"})
    dev.dagctl("publish", "--dev")
    assert files(dev) == ["dags/etl.py", "dags/new.py"]


def test_a_submodule_is_refused_as_in_a_commit(dev: Site, repo: GitRepo) -> None:
    inner = GitRepo(repo.path / "dags/inner")
    inner.commit({"x.py": ""})
    assert "is a submodule" in dev.dagctl("publish", "--dev", code=3).message


# Where it is taken


def test_a_channel_without_allow_dev_is_refused_with_words_before_anything_is_written(dev: Site) -> None:
    before = dev.tree()
    result = dev.dagctl("publish", "--dev", "--json", code=3, **by_ci(dev))
    with watching(dev, **by_ci(dev)) as watch:
        assert watch.process.wait(timeout=30) == 3
    for error in (result.error, watch.errors()[0]["error"]):
        assert error["reason"] == "dev-release"
        assert "allow_dev" in error["message"]
    assert dev.tree() == before


def test_promotion_to_a_protected_channel_is_refused(dev: Site, repo: GitRepo) -> None:
    """Also one that is signed by CI's own key, which both channels trust."""
    first = repo.git("rev-parse", "HEAD")
    dev.dagctl("publish", "--commit", first, **by_ci(dev))
    key = {"DAGFERRY_RELEASE_KEY": str(dev.key("ci"))}
    dev.dagctl("publish", "--dev", **key)
    before = dev.pointer("main")
    arguments = ("promote", "--from", CHANNEL, "--to", "main", "--json")
    assert dev.dagctl(*arguments, code=3, **by_ci(dev)).error["reason"] == "dev-release"
    rollout = ("rollout", "--from", CHANNEL, "--stages", "main", "--yes", "--json")
    refused = dev.dagctl.ended(*rollout, **by_ci(dev))
    assert refused.code != 0
    assert dev.pointer("main") == before
    dev.dagctl("publish", "--dev", DAGFERRY_CHANNEL="dev-bob", **key)  # the control: a channel that takes them
    dev.dagctl("promote", "--from", "dev-bob", "--to", CHANNEL)


def test_a_developers_release_that_says_it_is_none_is_refused_by_a_protected_channel(dev: Site, repo: GitRepo) -> None:
    """The developer's key may sign commits for the own channel; main's trust entry does not know it."""
    commit = repo.commit({"dags/etl.py": "EVIL = 1\n"})
    dev.dagctl("publish", "--commit", commit)
    assert not live(dev).dev
    arguments = ("promote", "--from", CHANNEL, "--to", "main", "--json")
    assert dev.dagctl(*arguments, code=3, **by_ci(dev)).error["reason"] == "unknown-key"


@pytest.mark.parametrize("option", ["--force", "--new-epoch", "--commit=HEAD"])
def test_options_that_mean_a_commit_do_not_go_with_it(dev: Site, option: str) -> None:
    assert (
        f"{option.partition('=')[0]} does not go with --dev" in dev.dagctl("publish", "--dev", option, code=2).message
    )


def test_a_commit_of_ci_variables_is_not_what_is_meant(dev: Site, repo: GitRepo) -> None:
    old = repo.git("rev-parse", "HEAD")
    new = repo.commit({"dags/etl.py": "A = 2\n"})
    dev.dagctl("publish", "--dev", DAGFERRY_COMMIT=old)
    assert live(dev).source.commit == new


def test_nothing_committed_no_directory_or_no_work_tree_is_said(dev: Site, repo: GitRepo, tmp_path: Path) -> None:
    (empty := tmp_path / "empty").mkdir()
    repo.git("init", "--quiet", str(empty))
    (empty / "dags").mkdir()
    assert "no commit 'HEAD'" in dev.dagctl("publish", "--dev", "--repo", empty, code=8).message
    repo.git("clone", "--quiet", "--bare", str(repo.path), str(tmp_path / "bare"))
    assert "work tree" in dev.dagctl("publish", "--dev", "--repo", tmp_path / "bare", code=2).message
    repo.write({"dags/etl.py": None})
    (repo.path / "dags").rmdir()
    assert "no directory 'dags' in the work tree" in dev.dagctl("publish", "--dev", code=8).message


# One after the other


def test_several_of_one_commit_follow_each_other_and_leave_the_tip(dev: Site, repo: GitRepo) -> None:
    base = repo.git("rev-parse", "HEAD")
    versions = set()
    for number in range(3):
        repo.write({"dags/etl.py": f"A = {number}\n"})
        dev.dagctl("publish", "--dev")
        pointer = dev.pointer(CHANNEL)
        assert (pointer["sequence"], pointer["commit"], pointer["tip"]) == (number + 1, base, base)
        versions.add(pointer["release"])
    assert len(versions) == 3
    assert not dev.dagctl("publish", "--dev", "--json").json["changed"]
    repo.git("checkout", "--quiet", "--detach")
    dev.dagctl("publish", "--dev")
    assert live(dev).source.ref == "HEAD"


def test_work_on_an_older_or_unrelated_commit_is_taken_and_the_tip_stays(dev: Site, repo: GitRepo) -> None:
    old = repo.git("rev-parse", "HEAD")
    new = repo.commit({"dags/etl.py": "A = 2\n"})
    dev.dagctl("publish", "--commit", new)
    repo.git("checkout", "--quiet", "-b", "old", old)
    dev.dagctl("publish", "--dev")
    assert (dev.pointer(CHANNEL)["commit"], dev.pointer(CHANNEL)["tip"]) == (old, new)
    repo.git("checkout", "--quiet", "--orphan", "other")
    repo.commit({"dags/etl.py": "A = 3\n"})
    dev.dagctl("publish", "--dev")
    assert dev.pointer(CHANNEL)["tip"] == new
    assert "does not descend" in dev.dagctl("publish", "--commit", old, "--ref", "x", code=4).message


def test_the_commit_itself_replaces_work_on_it_but_not_what_was_rolled_back(dev: Site, repo: GitRepo) -> None:
    base = repo.git("rev-parse", "HEAD")
    repo.write({"dags/etl.py": "A = 2\n"})
    dev.dagctl("publish", "--dev")
    dev.dagctl("publish", "--commit", base)
    assert not live(dev).dev
    dev.dagctl("rollback", "--no-hold")
    assert live(dev).dev
    dev.dagctl("publish", "--commit", base)
    assert not live(dev).dev


def test_work_on_an_older_commit_does_not_let_that_commit_overtake(dev: Site, repo: GitRepo) -> None:
    old = repo.git("rev-parse", "HEAD")
    new = repo.commit({"dags/etl.py": "A = 2\n"})
    dev.dagctl("publish", "--commit", new)
    repo.git("checkout", "--quiet", "-b", "old", old)
    dev.dagctl("publish", "--dev")
    assert "does not descend" in dev.dagctl("publish", "--commit", old, code=4).message


def test_a_held_channel_gets_nothing(dev: Site, repo: GitRepo) -> None:
    dev.dagctl("publish", "--dev")
    dev.dagctl("hold", "--reason", "look at it")
    repo.write({"dags/etl.py": "A = 2\n"})
    before = dev.tree()
    assert "look at it" in dev.dagctl("publish", "--dev", code=5).message
    assert dev.tree() == before
    dev.dagctl("resume")
    dev.dagctl("publish", "--dev")


def test_dry_run_writes_nothing(dev: Site, repo: GitRepo) -> None:
    result = dev.dagctl("publish", "--dev", "--dry-run", "--json").json
    assert (result["dry_run"], result["changed"], result["dev"]) == (True, True, True)
    assert not dev.tree()


def test_whole_store_verifies(dev: Site, repo: GitRepo) -> None:
    for number in range(2):
        repo.write({"dags/etl.py": f"A = {number}\n"})
        dev.dagctl("publish", "--dev", "--deltas", "3")
    commit = repo.commit({"dags/etl.py": "A = 2\n"})
    dev.dagctl("publish", "--commit", commit)
    assert dev.dagctl("verify", "--all", "--json").json["findings"] == []


# How it is marked


@pytest.fixture
def marked(dev: Site, repo: GitRepo) -> Site:
    """A commit, and uncommitted work on it, live."""
    dev.dagctl("publish")
    repo.write({"dags/etl.py": "A = 2\n", "dags/new.py": ""})
    repo.git("config", "user.name", "Ann Example")
    repo.git("config", "user.email", "ann@example.org")
    dev.dagctl("publish", "--dev")
    return dev


def test_who_what_and_on_which_commit_is_in_the_release(marked: Site, repo: GitRepo) -> None:
    source, base = live(marked).source, repo.git("rev-parse", "HEAD")
    assert source.subject == f"uncommitted work on {base[:12]}: changed etl.py, added new.py"
    assert source.author == "Ann Example <ann@example.org>"
    assert (source.commit, source.ref) == (base, "main")
    assert marked.pointer(CHANNEL)["reason"] == "changed etl.py, added new.py"


def test_outcome_history_log_show_list_and_why_mark_it(marked: Site, repo: GitRepo) -> None:
    base = repo.git("rev-parse", "HEAD")
    mark = f"{base[:12]}+dev"
    for command in ("history", "log"):
        lines = marked.dagctl(command).out.splitlines()
        assert [line for line in lines if mark in line] == [line for line in lines if "1-2" in line.split()]
    dev = [entry["dev"] for entry in marked.dagctl("history", "--json").json["entries"]]
    assert dev == [True, False]
    assert '"dev": true' in marked.dagctl("log", "--json").out.splitlines()[0]
    shown = marked.dagctl("show", marked.pointer(CHANNEL)["release"])
    assert "a dev release" in shown.out
    assert mark in shown.out
    assert mark in marked.dagctl("list").out
    why = marked.dagctl("why", "--commit", base, "--json", code=4).json
    assert "may undo it" in why["reasons"][0]["sentence"]
    assert f"is at uncommitted work on {base[:12]}" in marked.dagctl("why").out
    assert f"at commit {mark}" in marked.dagctl("publish", "--dev").out


def test_trust_check_warns_of_a_key_that_developers_and_ci_share(dev: Site) -> None:
    lines = dev.dagctl("trust", "check").out
    assert f"{dev.key_id('ci')[:16]} signs releases of channel main, too" in lines
    assert f"{dev.key_id('spare')[:16]} signs releases of channel main" not in lines


def test_scratch_files_are_gone(dev: Site, tmp_path: Path) -> None:
    (scratch := tmp_path / "scratch").mkdir()
    dev.dagctl.process("publish", "--dev", TMPDIR=str(scratch))
    assert not list(scratch.iterdir())
