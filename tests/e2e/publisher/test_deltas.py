"""Delta archives that ``dagctl publish`` makes: they lead from what was live to what it publishes, or are left out."""

from __future__ import annotations

import io
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_shared.archive.delta import read_delta
from dagferry_shared.archive.frame import decompress, walk_frame
from dagferry_shared.archive.reader import Limits, read_archive
from support.deltas import MemoryBase
from support.gitrepos import Content, GitRepo, Link, Script, git
from support.sites import make_site

if TYPE_CHECKING:
    from pathlib import Path

    from dagferry_shared.release import Release
    from support.sites import Site

FILES: dict[str, Content] = {
    f"dags/team_{n % 3}/dag_{n}.py": "".join(f"value_{i} = {i * i * n % 99991}\n" for i in range(60)) for n in range(12)
} | {"dags/run.sh": Script("#!/bin/sh\n"), "dags/latest.py": Link("team_0/dag_0.py"), "README.md": "read\n"}


@pytest.fixture
def source(tmp_path: Path) -> GitRepo:
    repo = GitRepo(tmp_path / "source")
    repo.commit(FILES)
    return repo


@pytest.fixture
def site(tmp_path: Path, keys: Path, source: GitRepo) -> Site:
    made = make_site(tmp_path / "site", keys, source)
    made.publish("HEAD", "--force")
    return made


def release_of(site: Site) -> Release:
    chain = site.chain()
    return chain.release_of(chain.live().content).content


class Collect:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.tree: dict[str, Any] = {}

    def file(self, path: str, chunks: Any, *, executable: bool) -> None:
        from support.bundles import File

        self.tree[path] = File(b"".join(chunks), executable)

    def link(self, path: str, target: str) -> None:
        from support.bundles import Symlink

        self.tree[path] = Symlink(target)


def archive(site: Site, digest: str) -> bytes:
    return (site.bundle / f"archives/{digest}.tar.zst").read_bytes()


def unpacked(site: Site, release: Release) -> dict[str, Any]:
    sink = Collect()
    read_archive(io.BytesIO(archive(site, release.archive.sha256)), Limits(), sink)
    return sink.tree


def check(site: Site, *bases: Release) -> Release:
    """Demand deltas from these trees, newest first, each of which leads to what is live."""
    live = release_of(site)
    assert [delta.base for delta in live.archive.deltas] == [base.tree for base in bases]
    for base, delta in zip(bases, live.archive.deltas, strict=True):
        data = archive(site, delta.sha256)
        assert len(data) == delta.size
        patched = read_delta(io.BytesIO(data), Limits(), MemoryBase(unpacked(site, base)))
        live.check_delta(patched, delta)
        assert patched.leaves == MemoryBase(unpacked(site, live)).leaves
    return live


CHANGES: dict[str, dict[str, Content]] = {
    "a file changes": {"dags/team_0/dag_0.py": "x = 1\n"},
    "a file comes": {"dags/new/n.py": "x = 1\n"},
    "a file goes": {"dags/team_1/dag_1.py": None},
    "a file moves": {"dags/team_1/dag_1.py": None, "dags/moved.py": FILES["dags/team_1/dag_1.py"]},
    "a mode changes": {"dags/run.sh": "#!/bin/sh\n"},
    "a link leads elsewhere": {"dags/latest.py": Link("team_1/dag_1.py")},
    "a file becomes a link": {"dags/team_1/dag_1.py": Link("dag_4.py")},
    "a link becomes a file": {"dags/latest.py": "x = 1\n"},
    "a file becomes a directory": {"dags/run.sh": None, "dags/run.sh/x.sh": Script("#!/bin/sh\n")},
    "much changes": {f"dags/team_{n % 3}/dag_{n}.py": "x = 1\n" for n in range(6)} | {"dags/team_0/dag_9.py": None},
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_delta_leads_from_what_was_live_to_what_is_published(site: Site, source: GitRepo, name: str) -> None:
    before = release_of(site)
    source.commit(CHANGES[name])
    site.publish("HEAD")
    check(site, before)
    assert site.dagctl("verify", "--all", "--json").json["findings"] == []


def test_deltas_come_from_the_last_three_trees_and_a_change_of_a_line_is_small(site: Site, source: GitRepo) -> None:
    releases = [release_of(site)]
    for number in range(4):
        text = str(FILES["dags/team_0/dag_0.py"])
        source.commit({"dags/team_0/dag_0.py": text.replace("value_9 ", f"changed_{number} ")})
        site.publish("HEAD")
        releases.insert(0, check(site, *releases[:3]))
    assert all(delta.size < 250 for delta in release_of(site).archive.deltas)


@pytest.mark.parametrize("count", [0, 1])
def test_number_of_deltas_can_be_chosen(site: Site, source: GitRepo, count: int) -> None:
    for number in range(2):
        before = release_of(site)
        source.commit({"dags/team_0/dag_0.py": f"x = {number}\n"})
        site.publish("HEAD", DAGFERRY_DELTAS=str(count))
    check(site, *[before][:count])


@pytest.mark.parametrize("count", ["17", "-1", "many"])
def test_number_of_deltas_out_of_range_is_a_usage_error(site: Site, count: str) -> None:
    assert "--deltas is a number from 0 to 16" in site.publish("HEAD", DAGFERRY_DELTAS=count, code=2).message


def test_nothing_is_made_from_a_tree_that_is_the_same(site: Site, source: GitRepo) -> None:
    source.commit({"README.md": "read more\n"})
    site.publish("HEAD")
    check(site)


def test_holds_refreshes_and_equal_trees_between_do_not_hide_a_base(site: Site, source: GitRepo) -> None:
    first = release_of(site)
    source.commit({"README.md": "read more\n"})
    site.publish("HEAD")
    site.dagctl("hold", "--reason", "wait")
    site.dagctl("resume")
    source.commit({"dags/team_0/dag_0.py": "x = 1\n"})
    site.publish("HEAD")
    assert [delta.base for delta in release_of(site).archive.deltas] == [first.tree]


def test_large_delta_is_left_out(site: Site, source: GitRepo) -> None:
    source.commit({path: str(text)[::-1] for path, text in FILES.items() if "dag_" in path and isinstance(text, str)})
    site.publish("HEAD")
    check(site)


def test_shallow_clone_without_the_base_publishes_without_deltas(site: Site, source: GitRepo, tmp_path: Path) -> None:
    source.commit({"dags/team_0/dag_0.py": "x = 1\n"})
    source.commit({"dags/team_0/dag_0.py": "x = 2\n"})
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{source.path}", str(tmp_path / "shallow"))
    site.publish(
        "HEAD", "--force", "--repository", "git@gitlab.example.org:data/dags.git", "--repo", tmp_path / "shallow"
    )
    check(site)


def test_deltas_are_the_same_on_any_machine_but_for_compression(
    site: Site, source: GitRepo, tmp_path: Path, keys: Path
) -> None:
    copied = make_site(tmp_path / "other", keys, source)
    shutil.copytree(site.store, copied.store, dirs_exist_ok=True)
    source.commit(CHANGES["much changes"])
    found = []
    for where, level in ((site, "9"), (copied, "1")):
        where.publish("HEAD", "--level", level)
        delta = release_of(where).archive.deltas[0]
        data = archive(where, delta.sha256)
        frame, end = walk_frame(io.BytesIO(data), 0)
        head = b"".join(decompress(io.BytesIO(data[:end]), frame))
        patched = read_delta(io.BytesIO(data), Limits(), MemoryBase(unpacked(where, where_was(where))))
        found.append((head, patched.tar_sha256, delta.unpacked_size))
    assert found[0] == found[1]


def where_was(site: Site) -> Release:
    """The release before the live one."""
    chain = site.chain()
    entries = list(chain.walk(chain.live()))
    return chain.release_of(entries[1].content).content


def test_damaged_delta_in_the_store_is_written_again(site: Site, source: GitRepo) -> None:
    source.commit({"dags/team_0/dag_0.py": "x = 1\n"})
    site.publish("HEAD")
    delta = release_of(site).archive.deltas[0]
    path = site.bundle / f"archives/{delta.sha256}.tar.zst"
    good = path.read_bytes()
    path.write_bytes(good[:-1] + b"?")
    findings = site.dagctl("verify", "--all", "--json", code=3).json["findings"]
    assert [row["key"] for row in findings] == [f"analytics/v1/archives/{delta.sha256}.tar.zst"]
    site.dagctl("rollback")
    site.dagctl("resume")
    site.publish("HEAD", "--force")
    assert path.read_bytes() == good
    assert site.dagctl("verify", "--all", "--json").json["findings"] == []


def test_release_without_its_base_in_the_store_is_published_without_deltas(site: Site, source: GitRepo) -> None:
    for path in (site.bundle / "releases").iterdir():
        path.unlink()
    source.commit({"dags/team_0/dag_0.py": "x = 1\n"})
    site.publish("HEAD")
    check(site)
