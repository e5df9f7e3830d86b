"""The same commit gives the same tar on any machine, and its tree ids are git's own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dagferry_shared.gittree import Leaf, Mode, blob_id, tree_id
from support.dagctl import Dagctl, clean_environ
from support.gitrepos import ORIGIN, GitRepo, Link, Script, git

if TYPE_CHECKING:
    from typing import Any

FILES: dict[str, Any] = {
    "dags/etl.py": "a = 1\r\nb = 2\nv = '$Format:%H$'  # $Id$\n",
    "dags/.gitattributes": "*.py text eol=crlf ident export-subst\nsecret.txt export-ignore\n*.bin filter=lfs -text\n",
    "dags/secret.txt": "kept all the same\n",
    "dags/run.sh": Script("#!/bin/sh\necho $Format:%h$\n"),
    "dags/empty.py": b"",
    "dags/data.bin": bytes(range(256)) * 300,
    "dags/with space/ümläut 日本.sql": "select 1\r\n",
    "dags/sub/current": Link("../etl.py"),
    "dags/sub/here": Link("deep"),
    "dags/sub/deep/x.py": "x = 1\n",
    "dags/sub-2/x.py": "y = 1\n",
    "dags/sub.py": "z = 1\n",
    "dags/" + "/".join(["component-of-thirty-characters"] * 5) + "/module.py": "deep = True\n",
    "dags/long-link": Link("/".join(["component-of-thirty-characters"] * 5) + "/module.py"),
    "plugins/p.py": "p = 1\n",
    "README.md": "read me\n",
}


@pytest.fixture(scope="module", params=["sha1", "sha256"])
def repo(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> GitRepo:
    repo = GitRepo(tmp_path_factory.mktemp("source") / "repo", request.param)
    repo.commit({"dags/old.py": "gone\n", "README.md": "older\n"})
    repo.git("config", "filter.lfs.clean", "cat")
    repo.commit(FILES | {"dags/old.py": None}, "everything that is awkward")
    return repo


@pytest.fixture
def dagctl(tmp_path: Path) -> Dagctl:
    return Dagctl(tmp_path, clean_environ(tmp_path))


def facts(document: dict[str, Any]) -> tuple[str, str]:
    return document["tree"], document["tar_sha256"]


@pytest.fixture
def plain(dagctl: Dagctl, repo: GitRepo) -> tuple[str, str]:
    """Tree and tar of the commit where nothing is special."""
    made = dagctl("archive", "create", "plain", "--repo", repo.path, "--path", "dags", "--json")
    return facts(made.json)


def test_configuration_attributes_locale_umask_and_time_zone_change_nothing(
    dagctl: Dagctl, repo: GitRepo, plain: tuple[str, str], tmp_path: Path
) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(repo.path), str(clone))
    for setting in (
        "core.autocrlf=true",
        "core.eol=crlf",
        "tar.umask=077",
        "core.quotePath=true",
        "log.showSignature=1",
    ):
        git(clone, "config", *setting.split("="))
    (clone / ".git/info/attributes").write_text("* export-ignore text=auto working-tree-encoding=UTF-16\n")
    old = os.umask(0o077)
    try:
        made = dagctl.process(
            *("archive", "create", "other", "--path", "dags", "--json"),
            cwd=clone,
            LC_ALL="POSIX",
            TZ="Pacific/Kiritimati",
            LANGUAGE="de",
        )
    finally:
        os.umask(old)
    assert facts(made.json) == plain


def test_replacement_refs_and_grafts_change_nothing(dagctl: Dagctl, repo: GitRepo, plain: tuple[str, str]) -> None:
    clone = dagctl.cwd / "clone"
    git(dagctl.cwd, "clone", "--quiet", str(repo.path), str(clone))
    head = git(clone, "rev-parse", "HEAD")
    git(clone, "replace", head, "HEAD~1")
    git(clone, "replace", f"{head}:dags/etl.py", f"{head}:README.md")
    (clone / ".git/info/grafts").write_text(f"{head}\n")
    made = dagctl("archive", "create", "other", "--repo", clone, "--path", "dags", "--commit", head, "--json")
    assert facts(made.json) == plain


def test_a_shallow_clone_packs_the_same(dagctl: Dagctl, repo: GitRepo, plain: tuple[str, str]) -> None:
    git(dagctl.cwd, "clone", "--quiet", "--depth=1", f"file://{repo.path}", "shallow")
    assert git(dagctl.cwd / "shallow", "rev-parse", "--is-shallow-repository") == "true"
    made = dagctl("archive", "create", "other", "--repo", "shallow", "--path", "dags", "--json")
    assert facts(made.json) == plain


def test_a_bare_clone_and_a_linked_worktree_pack_the_same(
    dagctl: Dagctl, repo: GitRepo, plain: tuple[str, str]
) -> None:
    git(dagctl.cwd, "clone", "--quiet", "--bare", str(repo.path), "bare.git")
    git(dagctl.cwd / "bare.git", "worktree", "add", "--quiet", "--detach", str(dagctl.cwd / "tree"), "HEAD")
    (dagctl.cwd / "tree/dags/etl.py").write_text("edited, not committed\n")
    (dagctl.cwd / "tree/dags/extra.py").write_text("not tracked\n")
    for number, where in enumerate(("bare.git", "tree")):
        made = dagctl("archive", "create", f"other{number}", "--repo", where, "--path", "dags", "--json")
        assert facts(made.json) == plain


def test_what_a_git_hook_leaves_in_the_environment_changes_nothing(
    dagctl: Dagctl, repo: GitRepo, plain: tuple[str, str], tmp_path: Path
) -> None:
    other = GitRepo(tmp_path / "elsewhere")
    other.commit({"dags/x.py": ""})
    hook = {"GIT_DIR": str(other.path / ".git"), "GIT_WORK_TREE": str(other.path), "GIT_INDEX_FILE": "/nowhere"}
    made = dagctl.process("archive", "create", "other", "--repo", repo.path, "--path", "dags", "--json", **hook)
    assert facts(made.json) == plain


def test_a_compression_level_changes_the_file_and_not_the_tar(
    dagctl: Dagctl, repo: GitRepo, plain: tuple[str, str]
) -> None:
    made = [
        dagctl("archive", "create", level, "--repo", repo.path, "--path", "dags", "--level", level, "--json").json
        for level in ("1", "19")
    ]
    assert facts(made[0]) == facts(made[1]) == plain
    assert made[0]["sha256"] != made[1]["sha256"]


def extracted(dagctl: Dagctl, repo: GitRepo) -> Path:
    dagctl("archive", "create", "a.tar.zst", "--repo", repo.path, "--path", "dags")
    dagctl("archive", "extract", "a.tar.zst", "out")
    return dagctl.cwd / "out"


def test_tree_id_is_the_one_that_git_computes_of_the_extracted_files(
    dagctl: Dagctl, repo: GitRepo, plain: tuple[str, str], tmp_path: Path
) -> None:
    out = extracted(dagctl, repo)
    (out / ".gitattributes").rename(tmp_path / "attributes")  # they would make git add convert
    (out / ".gitattributes").write_bytes((tmp_path / "attributes").read_bytes())
    git(tmp_path, "init", "--quiet", "--object-format=sha256", "check")
    (tmp_path / "check/.git/info/attributes").write_text("* -text -ident -filter -working-tree-encoding\n")
    git(tmp_path / "check", "--work-tree", str(out), "add", "--all", "--force")
    assert git(tmp_path / "check", "write-tree") == plain[0]


def test_tree_id_over_gits_own_blob_ids_is_the_tree_of_the_commit(repo: GitRepo) -> None:
    rows = [row.split(maxsplit=3) for row in repo.git("ls-tree", "-r", "-z", "HEAD:dags").split("\0")[:-1]]
    leaves = {path: Leaf(Mode(mode), oid) for mode, _, oid, path in rows}
    algorithm = repo.git("rev-parse", "--show-object-format")
    assert tree_id(leaves, algorithm) == repo.git("rev-parse", "HEAD:dags")
    data = FILES["dags/data.bin"]
    assert blob_id(data, algorithm) == leaves["data.bin"].blob


def test_what_is_extracted_is_what_was_committed(dagctl: Dagctl, repo: GitRepo) -> None:
    out = extracted(dagctl, repo)
    expected = {name.removeprefix("dags/"): content for name, content in FILES.items() if name.startswith("dags/")}
    found = {str(path.relative_to(out)): path for path in out.rglob("*") if path.is_symlink() or not path.is_dir()}
    assert set(found) == set(expected)
    for name, content in expected.items():
        path = found[name]
        if isinstance(content, Link):
            assert os.readlink(path) == content.target
            continue
        script = isinstance(content, Script)
        committed = subprocess.run(
            ["git", "-C", repo.path, "show", f"HEAD:dags/{name}"], capture_output=True, check=True
        )
        assert path.read_bytes() == committed.stdout
        assert path.stat().st_mode & 0o777 == (0o755 if script else 0o644)
        assert path.stat().st_size == len(committed.stdout)
    assert found["with space/ümläut 日本.sql"].read_bytes() == b"select 1\r\n"


def test_inspect_lists_what_create_packed(dagctl: Dagctl, repo: GitRepo, plain: tuple[str, str]) -> None:
    document = dagctl.process("archive", "inspect", "plain", "--json").json
    assert facts(document) == plain
    paths = [entry["path"] for entry in document["entries"]]
    assert paths == sorted(paths, key=str.encode)
    kinds = {entry["path"]: entry["kind"] for entry in document["entries"]}
    assert (kinds["run.sh"], kinds["sub/here"], kinds["etl.py"]) == ("executable", "symlink", "file")
    assert document["mtime"] == int(repo.git("show", "-s", "--format=%ct", "HEAD"))
    shown = dagctl.process("archive", "inspect", "plain").out
    assert "symlink     sub/here" in shown
    assert f"tree        {plain[0]}" in shown


def test_origin_is_never_asked(dagctl: Dagctl, repo: GitRepo, plain: tuple[str, str]) -> None:
    assert repo.git("remote", "get-url", "origin") == ORIGIN
    made = dagctl("archive", "create", "other", "--repo", repo.path, "--path", "dags", "--json", GIT_SSH="/bin/false")
    assert facts(made.json) == plain
