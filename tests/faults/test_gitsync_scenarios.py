"""git-sync's end-to-end scenarios, by name, on real pullers; GIT-SYNC.md says for all of them where they are."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from support.bundles import Simulator, commit_id, small_tree
from support.looks import assert_live, run_quietly, tree_on_disk
from support.pods import Pod
from support.sitefixtures import keys, own_site, repo
from support.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from support.bundles import Published
    from support.gitrepos import GitRepo
    from support.sites import Site

__all__ = ["keys", "own_site", "repo"]


@pytest.fixture
def first(simulator: Simulator) -> Published:
    return simulator.publish(small_tree("one"), "a")


@pytest.fixture
def two(simulator: Simulator, first: Published, pod: Pod) -> tuple[Published, Published]:
    """Two versions, both on the volume, the second one live."""
    assert pod.once().code == 0
    second = simulator.publish(small_tree("two"), "b")
    assert pod.once().code == 0
    return first, second


# init


def test_init_root_doesnt_exist(pod: Pod, first: Published) -> None:
    pod.root = pod.directory / "not" / "there" / "yet"
    assert pod.once(root=str(pod.root)).code == 0
    assert_live(pod, first)


def test_init_root_exists_empty(pod: Pod, first: Published) -> None:
    pod.root.mkdir()
    assert pod.once().code == 0
    assert_live(pod, first)


def test_init_root_flag_is_weird(pod: Pod, first: Published) -> None:
    pod.root.mkdir()
    assert pod.once(root=f"{pod.root}//.//../{pod.root.name}/").code == 0
    assert_live(pod, first)


def test_init_root_is_under_another_repo(pod: Pod, first: Published) -> None:
    subprocess.run(["git", "init", "-q", str(pod.directory)], check=True)
    assert pod.once().code == 0
    assert_live(pod, first)


def test_init_root_fails_sanity(pod: Pod, first: Published) -> None:
    """Where git-sync wipes a root that it does not like, ours works beside what is there and touches none of it."""
    for name in ("objects/pack", "versions/mine", "refs"):
        (pod.root / name).mkdir(parents=True)
    (pod.root / "HEAD").write_text("ref: refs/heads/broken\n")
    assert pod.once().code == 0
    assert pod.live() == first.version
    assert (pod.root / "HEAD").read_text() == "ref: refs/heads/broken\n"
    assert pod.versions() == {first.version, "mine"}


def test_bad_ref_non_zero_exit(pod: Pod, first: Published) -> None:
    result = pod.once(commit=commit_id("never deployed"))
    assert (result.code, pod.live()) == (8, None)
    assert commit_id("never deployed")[:12] in result.stderr


# sync


def test_sync_head_absolute_link(pod: Pod, first: Published) -> None:
    """A link out of the root cannot be swapped with it: refused, and told."""
    result = pod.once(link=str(pod.directory / "elsewhere"))
    assert (result.code, "--link" in result.stderr) == (2, True)


def test_sync_branch(pod: Pod, simulator: Simulator) -> None:
    canary = Simulator(simulator.directory, channel="canary")
    canary.keys = simulator.keys
    other = canary.publish(small_tree("canary"), "c")
    simulator.publish(small_tree("main"), "m")
    trust = canary.write_trust(pod.directory / "canary.json")
    assert pod.once(channel="canary", trust=str(trust)).code == 0
    assert_live(pod, other)


def test_sync_branch_switch(pod: Pod, simulator: Simulator) -> None:
    """Another channel of the bundle and back: an older pointer of the first one is refused all the same."""
    old = simulator.publish(small_tree("old"), "a")
    newest = simulator.publish(small_tree("newest"), "b")
    assert pod.once().code == 0
    canary = Simulator(simulator.directory, channel="canary")
    canary.keys = simulator.keys
    other = canary.publish(small_tree("canary"), "c")
    trust = canary.write_trust(pod.directory / "canary.json")
    assert pod.once(channel="canary", trust=str(trust)).code == 0
    assert_live(pod, other)
    simulator.show(old)
    assert (pod.once().code, pod.live()) == (3, other.version)
    simulator.show(newest)
    assert pod.once().code == 0
    assert_live(pod, newest)


def test_sync_tag(own_site: Site, repo: GitRepo, tmp_path: Path) -> None:
    follow_a_tag(own_site, repo, tmp_path)


def test_sync_annotated_tag(own_site: Site, repo: GitRepo, tmp_path: Path) -> None:
    follow_a_tag(own_site, repo, tmp_path, "-a", "-m", "a tag with words")


def follow_a_tag(site: Site, repo: GitRepo, tmp_path: Path, *options: str) -> None:
    """The commit that a tag names is delivered; a tag that is moved forward is followed, one moved back is not."""
    commits = [repo.git("rev-parse", "HEAD").strip(), repo.commit({"dags/etl.py": "A = 2\n"}, "second")]
    pulled = Pod(tmp_path, Simulator(tmp_path / "unused", bundle="analytics", channel="canary"))
    for target, code, live in ((commits[0], 0, 0), (commits[1], 0, 1), (commits[0], 4, 1)):
        repo.git("tag", "-f", *options, "v1", target)
        site.dagctl("publish", "--channel", "canary", "--commit", "v1", "--ref", "v1", code=code)
        assert pulled.once(store=f"file://{site.store}", trust=str(site.trust)).code == 0
        assert (pulled.live() or "").startswith(f"{commits[live]}-")


def test_sync_sha_once(pod: Pod, simulator: Simulator, first: Published) -> None:
    simulator.publish(small_tree("two"), "b")
    assert pod.once(commit=first.pointer.commit).code == 0
    assert_live(pod, first)


def test_sync_sha_once_sync_different_sha_known(pod: Pod, two: tuple[Published, Published]) -> None:
    for published in (*two, *two):
        assert pod.once(commit=published.pointer.commit).code == 0
        assert_live(pod, published)


def test_sync_sha_once_sync_different_sha_unknown(pod: Pod, two: tuple[Published, Published]) -> None:
    assert pod.once(commit=commit_id("unknown")).code == 8
    assert_live(pod, two[1])


def test_sync_sha_shafile_exists(pod: Pod, simulator: Simulator) -> None:
    """A file that is called as the commit is no other commit."""
    made = simulator.publish({commit_id("a"): "a file\n", "etl.py": "A = 1\n"}, "a")
    assert pod.once(commit=commit_id("a")).code == 0
    assert_live(pod, made)


def test_sync_repo_switch(pod: Pod, first: Published) -> None:
    """Another bundle of another repository, with other keys, on the same root, and back: nothing is forgotten."""
    assert pod.once().code == 0
    other = Simulator(pod.directory / "other-store", bundle="reports")
    second = other.publish(small_tree("other"), "z")
    trust = other.write_trust(pod.directory / "other.json")
    switched = {"store": other.url, "bundle": "reports", "trust": str(trust)}
    assert pod.once(**switched).code == 0
    assert_live(pod, second)
    assert pod.once().code == 0
    assert_live(pod, first)
    assert set(pod.state()["seen"]) == {"etl/main", "reports/main"}


def test_readlink(pod: Pod, first: Published) -> None:
    """What a reader may rely on: the link is relative, and the base name of its target begins with the commit."""
    assert pod.once().code == 0
    assert os.readlink(pod.root / "current") == f"versions/{commit_id('a')}-{first.pointer.release}"


# recovery


def test_worktree_unexpected_removal(pod: Pod, first: Published) -> None:
    running = pod.run()
    running.wait_live(first.version)
    pod.version(first.version).rename(pod.directory / "gone")
    running.wait("repaired", lambda status: status["repairs"]["tree"] == 1)
    assert_live(pod, first)


def test_sync_recover_wrong_worktree_hash(pod: Pod, two: tuple[Published, Published]) -> None:
    """The live version's directory holds another version's files: whole, signed, and not what its name says."""
    first, second = two
    shutil.rmtree(pod.version(second.version))
    shutil.copytree(pod.version(first.version), pod.version(second.version), symlinks=True)
    assert tree_on_disk(pod.root / "current") == first.release.tree
    assert pod.once().code == 0
    assert_live(pod, second)
    assert tree_on_disk(pod.version(first.version)) == first.release.tree


def test_sync_crash_no_link_cleanup_retry(pod: Pod, two: tuple[Published, Published]) -> None:
    (pod.root / "current").unlink()
    (pod.root / ".tmp-leftover").symlink_to("versions/nothing")
    assert pod.once().code == 0
    assert pod.live() == two[1].version


def test_sync_crash_no_worktree_cleanup_retry(pod: Pod, two: tuple[Published, Published]) -> None:
    for published in two:
        shutil.rmtree(pod.version(published.version))
    running = pod.run()
    running.wait_live(two[1].version)
    assert_live(pod, two[1])


def test_stale_worktree_timeout_restart(pod: Pod, simulator: Simulator, two: tuple[Published, Published]) -> None:
    """The grace of an old version counts over restarts; without grace it goes at the first swap after one."""
    running = run_quietly(pod, keep="1", keep_hours="1")
    assert pod.versions() == {made.version for made in two}
    assert running.stop() == 0
    third = simulator.publish(small_tree("three"), "c")
    run_quietly(pod, keep="1", keep_hours="0").wait_live(third.version)
    wait_for(lambda: pod.versions() == {two[1].version, third.version}, "the oldest version is retired")


def test_v3_v4_upgrade_in_place(pod: Pod, first: Published) -> None:
    """The root of another tool, git-sync's own: its link is taken over, its files stay for whoever reads them."""
    worktree = pod.root / ".worktrees" / commit_id("old")
    worktree.mkdir(parents=True)
    (worktree / "etl.py").write_text("OLD = 1\n")
    (pod.root / "current").symlink_to(f".worktrees/{commit_id('old')}")
    with (pod.root / "current/etl.py").open() as reader:
        assert pod.once().code == 0
        assert reader.read() == "OLD = 1\n"
    assert pod.live() == first.version
    assert worktree.is_dir()
