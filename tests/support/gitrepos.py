"""Real git repositories with a fixed identity and fixed dates, and the odd objects that porcelain refuses to make."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

START = 1_700_000_000  # seconds since 1970: the first commit's time; each next one is a minute later
ORIGIN = "git@gitlab.example.org:data/dags.git"
REPOSITORY = "https://gitlab.example.org/data/dags"  # what ORIGIN is, normalised


@dataclass(frozen=True)
class Link:
    """A symlink to commit."""

    target: str


@dataclass(frozen=True)
class Script:
    """An executable file to commit."""

    text: str


Content = str | bytes | Link | Script | None  # None: remove it


def git_environ(seconds: int = START) -> dict[str, str]:
    """What git runs with: nobody's configuration, a fixed identity, a fixed date."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    who = {"NAME": "Ann Example", "EMAIL": "ann@example.org", "DATE": f"{seconds} +0200"}
    people = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()}
    return kept | people | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


def git(directory: Path, *arguments: str, stdin: bytes = b"", seconds: int = START) -> str:
    """Run git and return what it prints; fails the test with git's own words."""
    done = subprocess.run(
        ["git", "-C", os.fspath(directory), *arguments],
        input=stdin,
        env=git_environ(seconds),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr.decode(errors='replace')}"
    return done.stdout.decode().rstrip("\n")


class GitRepo:
    """A repository with a work tree; every commit is a minute after the one before.

    Args:
        path: directory to make.
        object_format: ``sha1`` or ``sha256``.
    """

    def __init__(self, path: Path, object_format: str = "sha1") -> None:
        self.path = path
        self._commits = 0
        path.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main", f"--object-format={object_format}")
        self.git("remote", "add", "origin", ORIGIN)

    def git(self, *arguments: str, stdin: bytes = b"") -> str:
        """Run git in the work tree."""
        return git(self.path, *arguments, stdin=stdin, seconds=START + 60 * self._commits)

    def write(self, files: Mapping[str, Content]) -> None:
        """Write, replace or remove files of the work tree."""
        for name, content in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_symlink() or path.exists():
                path.unlink()
            if isinstance(content, Link):
                path.symlink_to(content.target)
            elif isinstance(content, Script):
                path.write_text(content.text)
                path.chmod(0o755)
            elif content is not None:
                path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def commit(self, files: Mapping[str, Content], subject: str = "") -> str:
        """Change files, commit, and return the id."""
        self.write(files)
        self._commits += 1
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", subject or f"change {self._commits}")
        return self.git("rev-parse", "HEAD")

    def commits(self, count: int) -> list[str]:
        """Make a line of commits that differ in one small file, fast; return their ids, oldest first."""
        stream = []
        for number in range(count):
            self._commits += 1
            message, text = f"commit {number}", f"number = {number}\n"
            stream.append(
                f"commit refs/heads/main\ncommitter Ann Example <ann@example.org> {START + 60 * self._commits} +0000\n"
                f"data {len(message)}\n{message}\n"
                + ("from refs/heads/main^0\n" if number == 0 and self._commits > 1 else "")
                + f"M 100644 inline dags/number.py\ndata {len(text)}\n{text}\n"
            )
        self.git("fast-import", "--quiet", stdin="".join(stream).encode())
        self.git("reset", "--quiet", "--hard", "main")
        return self.git("rev-list", "--reverse", f"--max-count={count}", "main").split()

    def blob(self, data: bytes) -> str:
        """Store a blob."""
        return self.git("hash-object", "-w", "--stdin", stdin=data)

    def commit_tree(self, rows: Mapping[str, tuple[str, str]], *parents: str) -> str:
        """Commit a tree ``dags`` made of rows that ``git add`` would refuse: name -> (mode, object id)."""

        def tree(entries: Mapping[str, tuple[str, str]]) -> str:
            kinds = {"160000": "commit", "040000": "tree"}
            lines = b"".join(
                f"{mode} {kinds.get(mode, 'blob')} {oid}\t".encode() + os.fsencode(name) + b"\0"
                for name, (mode, oid) in entries.items()
            )
            return self.git("mktree", "-z", "--missing", stdin=lines)

        self._commits += 1
        options = [word for parent in parents for word in ("-p", parent)]
        return self.git("commit-tree", "-m", "made by hand", *options, tree({"dags": ("040000", tree(rows))}))
