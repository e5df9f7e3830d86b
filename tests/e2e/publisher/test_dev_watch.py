"""``dagctl publish --watch``: a real work tree is edited, and a real puller has it; errors and ends."""

from __future__ import annotations

import secrets
import shutil
import signal
from typing import TYPE_CHECKING

import pytest

from support.devloops import CHANNEL, DevPod, Watch, make_dev_site, watching
from support.faults import reset_before
from support.gitrepos import GitRepo, Link, Script
from support.s3fixtures import moto, s3_site
from support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.s3site import S3Site
    from support.sites import Site

__all__ = ["moto", "s3_site"]


@pytest.fixture
def dev(tmp_path: Path, keys: Path, repo: GitRepo) -> Site:
    repo.commit({".gitignore": "*.log\n.venv/\n", "dags/lib/helper.py": "H = 1\n"})
    return make_dev_site(tmp_path / "site", keys, repo)


@pytest.fixture
def watch(dev: Site) -> Iterator[Watch]:
    """A watch whose first release is out: the work tree as it is committed."""
    with watching(dev) as running:
        running.changed()
        yield running


@pytest.fixture
def pod(tmp_path: Path, dev: Site) -> Iterator[DevPod]:
    made = DevPod(tmp_path / "pod", dev)
    yield made
    made.close()


def test_each_kind_of_change_is_live_in_a_pod_that_is_notified(dev: Site, repo: GitRepo, pod: DevPod) -> None:
    puller = pod.run(period="300")
    current = pod.root / "current"
    with watching(dev, "--notify", f"http://127.0.0.1:{puller.port}") as watch:
        wait_for(pod.live, "the first release is live")

        def is_live(line: dict[str, object]) -> None:
            told = line["notified"]
            assert isinstance(told, list)
            assert [one["ok"] for one in told] == [True]
            pointer = line["pointer"]
            assert isinstance(pointer, dict)
            puller.wait_live(f"{pointer['commit']}-{pointer['release']}")

        repo.write({"dags/etl.py": "A = (  # broken\n"})
        is_live(watch.changed("changed etl.py"))
        assert (current / "etl.py").read_text() == "A = (  # broken\n"
        repo.write({"dags/deep/er/new.py": "N = 1\n"})
        is_live(watch.changed("added deep/er/new.py"))
        repo.write({"dags/deep/er/more.py": "M = 1\n"})  # in a directory that was not there at the start
        is_live(watch.changed("added deep/er/more.py"))
        (repo.path / "dags/etl.py").rename(repo.path / "dags/elt.py")
        is_live(watch.changed("removed etl.py", "added elt.py"))
        repo.write({"dags/elt.py": Script("A = (  # broken\n")})
        is_live(watch.changed("mode elt.py"))
        assert (current / "elt.py").stat().st_mode & 0o111
        repo.write({"dags/link.py": Link("elt.py")})
        is_live(watch.changed("added link.py"))
        assert (current / "link.py").is_symlink()
        shutil.rmtree(repo.path / "dags/deep")
        is_live(watch.changed("removed deep/er/new.py", "removed deep/er/more.py"))
        assert sorted(path.name for path in current.iterdir()) == ["elt.py", "lib", "link.py"]
        assert puller.status()["live"]["dev"] is True
        mark = f"{repo.git('rev-parse', 'HEAD')[:12]}+dev"
        status = dev.dagctl("status", "--targets", f"http://127.0.0.1:{puller.port}")
        assert status.out.count(mark) == 2  # what the channel is at, and what the pod has
        document = dev.dagctl("status", "--targets", f"http://127.0.0.1:{puller.port}", "--json").json
        assert [document["channels"][0]["dev"], document["pods"][0]["dev"]] == [True, True]
        waiting = ("wait", "--targets", f"http://127.0.0.1:{puller.port}", "--timeout", "1s")
        assert "has uncommitted work on" in dev.dagctl(*waiting, "--commit", mark[:12], code=11).err
        assert "is live on 1 of 1 pods" in dev.dagctl(*waiting).out  # what the channel is at
        assert watch.end() == 0


def test_a_pod_gets_no_more_than_the_difference_from_the_work_before(dev: Site, repo: GitRepo, pod: DevPod) -> None:
    repo.write({f"dags/dag_{number}.py": secrets.token_hex(500) for number in range(40)})
    puller = pod.run()
    with watching(dev) as watch:
        first = watch.released(lambda line: line["changed"], "the first release")["pointer"]
        puller.wait_live(f"{first['commit']}-{first['release']}")
        repo.write({"dags/dag_7.py": "SEVEN = 7\n", "dags/dag_8.py": None})
        second = watch.changed("changed dag_7.py", "removed dag_8.py")["pointer"]
        status = puller.wait_live(f"{second['commit']}-{second['release']}")
    assert status["patches"]["made"] == 1
    assert dev.dagctl("verify", "--all", "--json").json["findings"] == []


def test_ignored_files_and_git_itself_make_no_release(watch: Watch, repo: GitRepo) -> None:
    repo.write({"dags/x.log": "x", "dags/.venv/lib.py": "", "outside.py": ""})
    repo.git("add", "outside.py")
    repo.git("branch", "other")
    repo.git("pack-refs", "--all")
    repo.write({"dags/seen.py": "S = 1\n"})
    watch.changed("added seen.py")
    assert [line["pointer"]["sequence"] for line in watch.lines()] == [1, 2]


def test_a_commit_is_the_base_of_what_follows(watch: Watch, repo: GitRepo) -> None:
    """Nothing below the directory changes by a commit: the look that comes now and then sees it."""
    repo.write({"dags/etl.py": "A = 2\n"})
    watch.changed("changed etl.py")
    commit = repo.commit({})
    line = watch.released(lambda line: line["pointer"]["commit"] == commit, "a release on the new commit")
    assert line["changes"] == []
    repo.git("checkout", "--quiet", "HEAD~1")  # no branch, as in a rebase
    watch.changed("changed etl.py")
    watch.released(lambda line: line["pointer"]["commit"] != commit and line["pointer"]["sequence"] == 4, "it is back")


def test_a_new_ignore_rule_elsewhere_is_seen(watch: Watch, repo: GitRepo) -> None:
    repo.write({"dags/scratch.py": ""})
    watch.changed("added scratch.py")
    repo.write({".gitignore": "*.log\nscratch.py\n"})
    watch.changed("removed scratch.py")


def test_a_directory_that_is_removed_and_made_again_is_still_watched(watch: Watch, repo: GitRepo) -> None:
    (repo.path / "dags").rename(repo.path / "away")
    assert "no directory 'dags'" in watch.error("not-found")["message"]
    (repo.path / "away").rename(repo.path / "dags")
    repo.write({"dags/one.py": ""})
    watch.changed("added one.py")
    shutil.copytree(repo.path / "dags", repo.path / "copy")
    shutil.rmtree(repo.path / "dags")
    (repo.path / "copy").rename(repo.path / "dags")
    repo.write({"dags/two.py": ""})
    watch.released(lambda line: any(change["path"] == "two.py" for change in line["changes"]), "two.py")


def test_what_changes_again_at_once_ends_up_right(watch: Watch, repo: GitRepo, dev: Site, pod: DevPod) -> None:
    """Two files that belong together, written again and again without a pause: the last state is what is live."""
    for number in range(300):
        repo.write({"dags/etl.py": f"A = {number}\n", "dags/lib/helper.py": f"H = {number}\n"})
    puller = pod.run()

    def is_there() -> bool:
        return pod.live() is not None and (pod.read("etl.py"), pod.read("lib/helper.py")) == ("A = 299\n", "H = 299\n")

    wait_for(is_there, "the last state is live")
    watch.check_runs()
    assert puller.stop() == 0


def test_refused_work_is_said_once_and_mended_work_is_published(watch: Watch, repo: GitRepo) -> None:
    repo.write({"dags/bad": Link("/etc/passwd")})
    assert watch.error("bad-archive")
    repo.write({"dags/more.py": ""})
    repo.write({"dags/bad": None})
    watch.changed("added more.py")
    assert len(watch.errors()) == 1


def test_store_that_is_away_is_said_and_the_newest_work_is_published_when_it_is_back(
    watch: Watch, dev: Site, repo: GitRepo
) -> None:
    dev.store.rename(dev.root / "away")
    dev.store.write_text("")
    repo.write({"dags/etl.py": "A = 2\n"})
    wait_for(watch.errors, "the store is missed")
    repo.write({"dags/etl.py": "A = 3\n"})
    watch.check_runs()
    dev.store.unlink()
    (dev.root / "away").rename(dev.store)
    watch.changed("changed etl.py")


def test_on_s3_an_outage_is_said_once_and_the_same_session_goes_on(dev: Site, repo: GitRepo, s3_site: S3Site) -> None:
    dev.dagctl.environ.update(s3_site.environ, DAGFERRY_STORE=s3_site.store)
    with watching(dev) as watch:
        watch.changed()
        scratch = [one for one in s3_site.proxy.requests if "/scratch/" in one.path]
        s3_site.proxy.script = lambda _: reset_before
        repo.write({"dags/etl.py": "A = 2\n"})
        watch.error("store-unreachable")
        repo.write({"dags/etl.py": "A = 3\n", "dags/more.py": ""})
        s3_site.proxy.script = lambda _: None
        watch.changed("changed etl.py", "added more.py")
        proofs = [one for one in s3_site.proxy.requests if "/scratch/" in one.path]
        assert scratch
        assert proofs == scratch, "conditional writes are proven once"
        assert len(watch.errors()) == 1


def test_hold_is_respected_and_resume_goes_on(watch: Watch, dev: Site, repo: GitRepo) -> None:
    dev.dagctl("hold", "--reason", "demo")
    repo.write({"dags/etl.py": "A = 2\n"})
    assert "demo" in watch.error("held")["message"]
    assert dev.pointer(CHANNEL)["action"] == "hold"
    dev.dagctl("resume")
    watch.changed("changed etl.py")


def test_trust_that_no_longer_allows_it_stops_it_without_ending_it(watch: Watch, dev: Site, repo: GitRepo) -> None:
    trusted = dev.trust.read_text()
    dev.trust.write_text(trusted.replace('"allow_dev": true', '"allow_dev": false'))
    repo.write({"dags/etl.py": "A = 2\n"})
    watch.error("dev-release")
    assert dev.chain(CHANNEL).head().signed.content.sequence == 1  # type: ignore[union-attr]
    dev.trust.write_text(trusted)
    watch.changed("changed etl.py")


def test_address_that_nobody_listens_on_is_a_warning(dev: Site, repo: GitRepo) -> None:
    with watching(dev, "--notify", "http://127.0.0.1:1") as watch:
        watch.changed()
        repo.write({"dags/etl.py": "A = 2\n"})
        watch.changed("changed etl.py")
        assert [line["warning"]["reason"] for line in watch.errors()] == ["not-notified"] * 2


def test_what_was_published_before_is_not_published_again_at_the_start(dev: Site) -> None:
    dev.dagctl("publish", "--dev")
    with watching(dev) as watch:
        line = watch.released(lambda line: not line["changed"], "nothing changed")
        assert line["pointer"]["sequence"] == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_with_0_and_leaves_nothing_behind(dev: Site, tmp_path: Path, number: int) -> None:
    (scratch := tmp_path / "scratch").mkdir()
    with watching(dev, TMPDIR=str(scratch)) as watch:
        watch.changed()
        assert list(scratch.iterdir())
        assert watch.end(number) == 0
    assert not list(scratch.iterdir())
    assert not watch.errors()


def test_people_get_a_line_for_each_release(dev: Site, repo: GitRepo) -> None:
    with watching(dev, as_json=False) as watch:
        wait_for(lambda: watch.text().count("\n") == 1, "the first line")
        repo.write({"dags/etl.py": "A = 2\n"})
        wait_for(lambda: watch.text().count("\n") == 2, "the second line")
        first, second = watch.text().splitlines()
        mark = f"{repo.git('rev-parse', 'HEAD')[:12]}+dev"
        assert first.startswith(f"1-1  {mark}  no difference  (")
        assert second.startswith(f"1-2  {mark}  changed etl.py  (")
        assert second.endswith(" s)")
        assert watch.end() == 0
