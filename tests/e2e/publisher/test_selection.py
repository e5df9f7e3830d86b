"""Which paths of a commit end up in the archive, and which commits cannot be packed at all."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from support.dagctl import Dagctl, clean_environ
from support.gitrepos import GitRepo, Link

if TYPE_CHECKING:
    from pathlib import Path

REFUSED = 3
NOT_FOUND = 8
FILES = {
    "dags/a/etl.py": "a",
    "dags/a/test_etl.py": "t",
    "dags/b/etl.py": "b",
    "dags/b/sql/x.sql": "s",
    "dags/tests/data.csv": "d",
    "dags-2/z.py": "z",
    "plugins/p.py": "p",
    "README.md": "r",
    "empty/.gitkeep": "",
}


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> GitRepo:
    repo = GitRepo(tmp_path_factory.mktemp("selection") / "repo")
    repo.commit(FILES)
    return repo


@pytest.fixture
def dagctl(tmp_path: Path) -> Dagctl:
    return Dagctl(tmp_path, clean_environ(tmp_path))


def create(dagctl: Dagctl, repo: GitRepo, *options: str, code: int = 0, commit: str = "HEAD") -> list[str]:
    made = dagctl("archive", "create", "out", "--repo", repo.path, "--commit", commit, *options, "--json", code=code)
    return [] if code else [entry["path"] for entry in made.json["entries"]]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--path dags/a", "etl.py test_etl.py"),
        ("--path dags/a/", "etl.py test_etl.py"),
        (
            "--path dags --path plugins --exclude tests",
            "dags/a/etl.py dags/a/test_etl.py dags/b/etl.py dags/b/sql/x.sql plugins/p.py",
        ),
        ("--path plugins --path dags/a", "dags/a/etl.py dags/a/test_etl.py plugins/p.py"),
        ("--path . --include *.md", "README.md"),
        ("--path . --include dags/b --exclude *.sql", "dags/b/etl.py"),
        ("--path dags --exclude tests --exclude test_*.py", "a/etl.py b/etl.py b/sql/x.sql"),
        ("--path dags --include a/**", "a/etl.py a/test_etl.py"),
        ("--path dags --include b --include a/etl.py", "a/etl.py b/etl.py b/sql/x.sql"),
        ("--path dags --include **/sql", "b/sql/x.sql"),
        ("--path dags --path plugins --exclude dags", "plugins/p.py"),
        ("--path dags/b --path dags-2", "dags-2/z.py dags/b/etl.py dags/b/sql/x.sql"),
    ],
)  # fmt: skip
def test_selection(dagctl: Dagctl, packed: GitRepo, options: str, expected: str) -> None:
    assert create(dagctl, packed, *options.split()) == expected.split()


def test_the_whole_repository_is_a_bundle_too(dagctl: Dagctl, packed: GitRepo) -> None:
    assert create(dagctl, packed, "--path", ".") == sorted(FILES)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ("--path dags --path dags/a", 2, "--path dags/a lies in --path dags"),
        ("--path dags --path dags", 2, "--path dags lies in --path dags"),
        ("--path . --path dags", 2, "lies in --path ."),
        ("--path ../dags", REFUSED, "'..' component"),
        ("--path /dags", REFUSED, "absolute"),
        ("--path dags/../plugins", REFUSED, "'..' component"),
        ("--path dags --include /a", REFUSED, "--include '/a' begins or ends with /"),
        ("--path dags --exclude a//b", REFUSED, "--exclude"),
        ("--path nothing", NOT_FOUND, "no directory 'nothing' in commit"),
        ("--path README.md", NOT_FOUND, "no directory 'README.md' in commit"),
        ("--path dags --exclude *", NOT_FOUND, "the selection leaves nothing of dags"),
        ("--path dags --commit no-such-branch", NOT_FOUND, "no commit 'no-such-branch'"),
        ("--path dags --commit --help", NOT_FOUND, "no commit '--help'"),
        ("--path dags --repo /nowhere", 2, "--repo /nowhere is not a directory"),
        ("--path dags --repo /", 2, "git rev-parse failed in /: fatal: not a git repository"),
    ],
)  # fmt: skip
def test_bad_choice_leaves_no_file(dagctl: Dagctl, packed: GitRepo, options: str, code: int, words: str) -> None:
    result = dagctl("archive", "create", "out", "--repo", packed.path, *options.split(), code=code)
    assert words in result.message
    assert not (dagctl.cwd / "out").exists()


def bad_tree(repo: GitRepo, name: str) -> str:
    """Commit what no archive may hold; returns the commit."""
    blob = repo.blob(b"x = 1\n")
    lfs = repo.blob(b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 5\n")
    inner = repo.git("mktree", stdin=f"100644 blob {blob}\tx.py\n".encode())
    rows = {
        "submodule": {"lib": ("160000", "1" * 40)},
        "lfs": {"model.bin": ("100644", lfs)},
        "dot dot": {"..": ("040000", inner)},
        "dot git": {".git": ("040000", inner)},
        "slash": {"a\\b.py": ("100644", blob)},
        "newline": {"a\nb.py": ("100644", blob)},
        "bidi": {"a\u202eb.py": ("100644", blob)},
        "not UTF-8": {"\udcff.py": ("100644", blob)},
        "long": {"x" * 256: ("100644", blob)},
        "dangling": {"link": ("120000", repo.blob(b"nothing"))},
        "absolute": {"link": ("120000", repo.blob(b"/etc/passwd"))},
        "outside": {"link": ("120000", repo.blob(b"../../secret"))},
        "empty link": {"link": ("120000", repo.blob(b""))},
        "round": {"sub": ("040000", repo.git("mktree", stdin=f"120000 blob {repo.blob(b'..')}\tup\n".encode()))},
        "missing blob": {"x.py": ("100644", "2" * 40)},
        "empty tree": {},
    }
    return repo.commit_tree(rows[name])


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("submodule", REFUSED, "'lib' is a submodule: --exclude it, or commit its files here"),
        ("lfs", REFUSED, "'model.bin' is a Git LFS pointer: --exclude it, or keep the file in git itself"),
        ("dot dot", REFUSED, "'..' component"),
        ("dot git", REFUSED, "has a .git component"),
        ("slash", REFUSED, "backslash"),
        ("newline", REFUSED, "holds a control"),
        ("bidi", REFUSED, "holds a control"),
        ("not UTF-8", REFUSED, "is not UTF-8"),
        ("long", REFUSED, "longer than 255 bytes"),
        ("dangling", REFUSED, "leads to nothing in the tree"),
        ("absolute", REFUSED, "absolute"),
        ("outside", REFUSED, "leaves the tree"),
        ("empty link", REFUSED, "has a target of 0 bytes"),
        ("round", REFUSED, "contain itself"),
        ("missing blob", NOT_FOUND, "is not in the clone"),
        ("empty tree", NOT_FOUND, "dags is empty in commit"),
    ],
)
def test_what_no_pod_may_get_is_refused_with_a_cure(
    dagctl: Dagctl, repo: GitRepo, name: str, code: int, words: str
) -> None:
    commit = bad_tree(repo, name)
    result = dagctl("archive", "create", "out", "--repo", repo.path, "--commit", commit, "--path", "dags", code=code)
    assert words in result.message
    assert not (dagctl.cwd / "out").exists()


@pytest.mark.parametrize("name", ["submodule", "lfs", "dangling"])
def test_what_is_excluded_is_not_looked_at(dagctl: Dagctl, repo: GitRepo, name: str) -> None:
    bad = bad_tree(repo, name)
    rows = {line.split("\t")[1]: line.split()[0::2] for line in repo.git("ls-tree", f"{bad}:dags").splitlines()}
    files = {path: (mode, oid.split("\t")[0]) for path, (mode, oid) in rows.items()}
    commit = repo.commit_tree(files | {"ok.py": ("100644", repo.blob(b"ok"))})
    assert create(dagctl, repo, "--path", "dags", "--exclude", next(iter(files)), commit=commit) == ["ok.py"]


def test_a_file_that_only_mentions_lfs_is_no_pointer(dagctl: Dagctl, repo: GitRepo) -> None:
    text = "# version https://git-lfs.github.com/spec/v1\n"
    big = "version https://git-lfs.github.com/spec/v1\n" + "x" * 1024
    repo.commit({"dags/doc.py": text, "dags/big.txt": big, "dags/link": Link("doc.py")})
    assert create(dagctl, repo, "--path", "dags") == ["big.txt", "doc.py", "etl.py", "link"]


def test_the_oldest_git_file_mode_is_a_plain_file(dagctl: Dagctl, repo: GitRepo) -> None:
    blob = repo.blob(b"old\n")
    tree = b"100664 old.py\0" + bytes.fromhex(blob)
    oid = repo.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=tree)
    commit = repo.commit_tree({"sub": ("040000", oid)})
    made = dagctl("archive", "create", "out", "--repo", repo.path, "--commit", commit, "--path", "dags", "--json").json
    assert made["entries"] == [{"path": "sub/old.py", "kind": "file", "blob": made["entries"][0]["blob"]}]


def test_a_damaged_repository_is_said_to_be_one(dagctl: Dagctl, repo: GitRepo) -> None:
    oid = repo.git("rev-parse", "HEAD:dags")
    path = repo.path / ".git/objects" / oid[:2] / oid[2:]
    path.chmod(0o644)
    path.write_bytes(b"damaged")
    result = dagctl("archive", "create", "out", "--repo", repo.path, "--path", "dags", code=2)
    assert "git " in result.message
    assert "failed in" in result.message


def test_git_that_is_not_installed_is_said_to_be_missing(dagctl: Dagctl, repo: GitRepo) -> None:
    result = dagctl.process("archive", "create", "out", "--repo", repo.path, "--path", "dags", code=2, PATH="/nowhere")
    assert "git is not installed" in result.message


def test_a_repository_of_another_user_names_the_cure(dagctl: Dagctl, repo: GitRepo) -> None:
    environ = {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"}
    version = subprocess.run(["git", "-C", repo.path, "status"], env={**dagctl.environ, **environ}, capture_output=True)
    assert version.returncode != 0, "this git does not know the switch"
    result = dagctl("archive", "create", "out", "--repo", repo.path, "--path", "dags", code=2, **environ)
    assert "safe.directory" in result.message
