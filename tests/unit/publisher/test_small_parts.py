"""Parts that a command reaches only on an odd machine."""

from __future__ import annotations

import getpass
import io
import os
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from dagferry_publisher import gitrepo, keyring
from dagferry_publisher.cli.session import Cli
from dagferry_publisher.errors import NotFound, UsageError
from dagferry_publisher.gitrepo import Ancestry, Repo
from dagferry_publisher.settings import Setting, read_file
from dagferry_publisher.upload import Content, ensure, put_again_if_gone
from dagferry_shared.keys import FileSigner
from dagferry_shared.store.memory import MemoryStore

if TYPE_CHECKING:
    from pathlib import Path

    from support.gitrepos import GitRepo
    from support.sites import Site


def test_a_user_id_without_a_name_is_an_actor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Containers run as a uid that no passwd file knows."""
    for name in [name for name in os.environ if name.startswith(("DAGFERRY_", "GITLAB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert Cli({}, None).actor().startswith(f"uid-{os.getuid()}@")


def test_a_person_is_asked_for_a_passphrase_only_where_the_key_needs_one(tmp_path: Path) -> None:
    signer = FileSigner.generate()
    keyring.write_pair(tmp_path / "locked", signer, b"correct horse")
    keyring.write_pair(tmp_path / "open", FileSigner.generate(), None)
    asked: list[str] = []

    def ask(where: str) -> str:
        asked.append(where)
        return "correct horse"

    files = (str(tmp_path / "locked.key"), str(tmp_path / "open.key"))
    loaded = keyring.signers("pointer-key", Setting(files, "--pointer-key"), {}, ask)
    assert loaded[0].public == signer.public
    assert asked == [files[0]]


def test_a_configuration_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        read_file(tmp_path)


def test_a_fetch_that_hangs_is_given_up(repo: GitRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """origin accepts and never answers."""
    from support.gitrepos import git

    first = repo.git("rev-parse", "HEAD")
    newest = repo.commits(2)[-1]
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{repo.path}", "clone")
    git(tmp_path / "clone", "config", "remote.origin.uploadpack", "sleep 600; true")
    monkeypatch.setattr(gitrepo, "_FETCH_SECONDS", 0.2)
    assert Repo(tmp_path / "clone").ancestry_deepening(first, newest) is Ancestry.UNKNOWN


def test_git_that_dies_in_the_middle_of_a_blob_is_noticed(repo: GitRepo) -> None:
    commit = repo.commit({"dags/big.bin": os.urandom(2_000_000)})
    clone = Repo(repo.path)
    [big] = [entry for entry in clone.entries(clone.tree_of(commit, "dags")) if entry.path == b"big.bin"]
    cut = io.BytesIO(f"{big.oid} blob {big.size}\n".encode() + b"x" * 1000)
    with pytest.raises(UsageError, match="ended early"):
        list(next(gitrepo._one_blob(cut, big)))
    for head in (b"", f"{big.oid} missing\n".encode(), f"{big.oid} tree {big.size}\n".encode()):
        with pytest.raises(NotFound, match="is not in the clone"):
            next(gitrepo._one_blob(io.BytesIO(head), big))


@pytest.mark.parametrize(("seconds", "year"), [("-86400", 1970), ("0", 1970), ("99999999999999", 9999)])
def test_a_commit_of_an_impossible_time_is_packed(repo: GitRepo, seconds: str, year: int) -> None:
    tree = repo.git("rev-parse", "HEAD^{tree}")
    raw = f"tree {tree}\nauthor A <a@b> {seconds} +0000\ncommitter A <a@b> {seconds} +0000\n\nodd\n".encode()
    commit = repo.git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", stdin=raw)
    assert Repo(repo.path).commit_info(commit).committed.year == year


def test_author_and_subject_are_made_safe_to_show(repo: GitRepo) -> None:
    tree = repo.git("rev-parse", "HEAD^{tree}")
    raw = f"tree {tree}\nauthor A\u202e <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nfix \x1b[31mred\n".encode()
    info = Repo(repo.path).commit_info(repo.git("hash-object", "-t", "commit", "-w", "--stdin", stdin=raw))
    assert (info.author, info.subject) == ("A  <a@b>", "fix  [31mred")


NOW = datetime(2026, 11, 22, tzinfo=UTC)


def content(body: bytes) -> Content:
    import hashlib

    return Content("archives/x", io.BytesIO(body), hashlib.sha256(body).hexdigest(), len(body))


@pytest.mark.parametrize(
    ("there", "age", "written"),
    [
        (None, 0, True),
        (b"good", 0, False),
        (b"good", 23, False),
        (b"good", 25, True),
        (b"evil", 0, True),
        (b"longer", 0, True),
    ],
)
def test_an_object_is_reused_only_if_it_is_good_and_recent(there: bytes | None, age: int, written: bool) -> None:
    store = MemoryStore(lambda: NOW - timedelta(hours=age))
    wanted = content(b"good")
    if there is not None:
        store.put(wanted.key, there)
    assert ensure(store, wanted, NOW) is written
    blob = store.get(wanted.key, limit=100)
    assert blob is not None
    assert blob.data == b"good"


def test_an_object_that_grows_while_it_is_hashed_is_written_again() -> None:
    class Growing(MemoryStore):
        def head(self, key: str):  # type: ignore[no-untyped-def]
            info = super().head(key)
            self.put(key, b"good, and more")
            return info

    store = Growing(lambda: NOW)
    store.put("archives/x", b"good")
    assert ensure(store, content(b"good"), NOW)


def test_an_object_is_written_again_only_if_it_is_gone() -> None:
    store, wanted = MemoryStore(), content(b"good")
    put_again_if_gone(store, wanted)
    store.put(wanted.key, b"other")
    put_again_if_gone(store, wanted)
    blob = store.get(wanted.key, limit=100)
    assert blob is not None
    assert blob.data == b"other"


def test_git_answers_the_same_whatever_the_callers_git_settings(repo: GitRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("GIT_NAMESPACE", "other")
    assert Repo(repo.path).resolve("main") == repo.git("rev-parse", "main")
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run(["git", "-C", repo.path, "rev-parse", "main"], check=True, capture_output=True)


def test_forced_publish_reuses_an_equal_release_and_not_a_lost_or_damaged_one(site: Site, line: list[str]) -> None:
    site.publish(line[0])
    first = site.pointer()["release"]
    site.publish(line[1])
    site.publish(line[0], "--force")
    assert site.pointer()["release"] == first
    site.publish(line[1], "--force")
    (site.bundle / f"releases/{first}.json").unlink()
    site.publish(line[0], "--force")
    assert site.pointer()["release"] != first
    assert not (site.bundle / f"releases/{first}.json").exists()


def test_a_live_release_that_is_lost_is_published_again(site: Site, line: list[str]) -> None:
    site.publish(line[0])
    first = site.pointer()["release"]
    (site.bundle / f"releases/{first}.json").unlink()
    site.publish(line[0], code=4)
    site.publish(line[0], "--force")
    assert (site.bundle / f"releases/{site.pointer()['release']}.json").exists()


def test_an_equal_release_with_a_damaged_archive_of_another_level_is_not_reused(site: Site, line: list[str]) -> None:
    site.publish(line[0], "--level", "1")
    first = site.pointer()["release"]
    [archive] = (site.bundle / "archives").iterdir()
    site.publish(line[1])
    site.publish(line[0], "--force", "--level", "19")
    assert site.pointer()["release"] == first
    site.publish(line[1], "--force")
    archive.write_bytes(b"damaged")
    site.publish(line[0], "--force", "--level", "19")
    assert site.pointer()["release"] != first
