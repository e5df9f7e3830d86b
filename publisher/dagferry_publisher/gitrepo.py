"""Reading a git repository through git's own plumbing: objects only, never the work tree.

No configuration, attribute, replacement ref, graft or locale changes what is read.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import IO, TYPE_CHECKING

from dagferry_publisher.errors import NotFound, UsageError
from dagferry_shared import names, times

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

_CHUNK = 256 * 1024  # bytes
_FETCH_SECONDS = 120
_DEEPEN = (50, 500, 5000)  # commits, one fetch each
_FROM_HOOKS = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_CEILING_DIRECTORIES",
    "GIT_LITERAL_PATHSPECS",
    "GIT_GLOB_PATHSPECS",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_ICASE_PATHSPECS",
)
_WORST_FIRST = ("fatal: ", "error: ")


class Ancestry(Enum):
    """Whether a commit descends from another; a shallow clone may not know."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class CommitInfo:
    """A commit's own words."""

    id: str
    committed: datetime
    author: str
    subject: str


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One path below a tree, as ``git ls-tree`` gives it."""

    mode: str
    oid: str
    size: int  # bytes; 0 for a submodule
    path: bytes


def _nobodys_environment() -> dict[str, str]:
    environment = {key: value for key, value in os.environ.items() if key not in _FROM_HOOKS}
    return environment | {
        "LC_ALL": "C",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_GRAFT_FILE": os.devnull,
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
    }


class Repo:
    """A clone, bare repository or linked worktree on this machine.

    Args:
        path: a directory of it.
        environ: what git gets besides, e.g. where more objects are.
        options: of git itself, before each command.

    Raises (every method): UsageError if git itself fails, with what it says.
    """

    def __init__(self, path: Path, environ: Mapping[str, str] | None = None, options: Sequence[str] = ()) -> None:
        self.path = path
        self._extra = dict(environ or {})
        self._command = ["git", "-C", os.fspath(path), *options]
        if not path.is_dir():
            raise UsageError(f"--repo {path} is not a directory")
        self.git("rev-parse", "--git-dir")

    def _run(self, *arguments: str, timeout: float | None = None) -> subprocess.CompletedProcess[bytes]:
        command = [*self._command, *arguments]
        pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
        try:
            # A group of its own where it may hang: a transport that git started must not outlive it.
            process = subprocess.Popen(
                command,
                env=self._environment(),
                stdin=nothing,
                stdout=pipe,
                stderr=pipe,
                process_group=None if timeout is None else 0,
            )
        except FileNotFoundError as error:
            raise UsageError("git is not installed, or not on PATH") from error
        with process:
            try:
                out, errors = process.communicate(timeout=timeout)
            except BaseException:
                if timeout is not None:
                    os.killpg(process.pid, signal.SIGKILL)
                raise
        return subprocess.CompletedProcess(command, process.returncode, out, errors)

    def _environment(self) -> dict[str, str]:
        return _nobodys_environment() | self._extra

    def git(self, *arguments: str) -> bytes:
        """Run git and return what it prints.

        Raises:
            UsageError: it failed.
        """
        done = self._run(*arguments)
        if done.returncode:
            why = _why(done.stderr)
            hint = " (see git config safe.directory)" if "dubious ownership" in why else ""
            raise UsageError(f"git {arguments[0]} failed in {self.path}: {names.clean_text(why)}{hint}")
        return done.stdout

    def resolve(self, revision: str) -> str:
        """Return the full id of a commit given by id, prefix, branch or tag; NotFound if there is none."""
        done = self._run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        if done.returncode:
            cure = "; the clone is shallow: fetch it, or set GIT_DEPTH: 0" if self.is_shallow() else ""
            raise NotFound(f"no commit {names.clean_text(revision)!r} in {self.path}{cure}")
        return done.stdout.decode().strip()

    def commit_info(self, commit: str) -> CommitInfo:
        """Return who made a commit, when, and its first line."""
        raw = self.git(
            "show", "-s", "--no-show-signature", "--encoding=UTF-8", "--format=%ct%x00%an <%ae>%x00%s", commit
        )
        seconds, author, subject = raw.decode(errors="replace").rstrip("\n").split("\0", 2)
        known = int(seconds) if seconds.isdecimal() else 0  # git shows none for a malformed date
        moment = datetime.fromtimestamp(min(known, int(times.LAST.timestamp())), UTC)
        return CommitInfo(commit, moment, names.clean_text(author), names.clean_text(subject))

    def tree_of(self, commit: str, path: str) -> str:
        """Return the id of the tree of a directory (``.`` for the root); NotFound if it is not one."""
        name = f"{commit}^{{tree}}" if path == "." else f"{commit}:{path}"
        done = self._run("rev-parse", "--verify", "--quiet", "--end-of-options", name)
        oid = done.stdout.decode().strip()
        if done.returncode or self.git("cat-file", "-t", oid).strip() != b"tree":
            raise NotFound(f"no directory {path!r} in commit {commit[:12]}; see: git ls-tree -d {commit[:12]}")
        return oid

    def entries(self, tree: str) -> Iterator[TreeEntry]:
        """Yield everything below a tree, paths relative to it."""
        for row in self.git("ls-tree", "-r", "-z", "-l", "--full-tree", tree).split(b"\0")[:-1]:
            facts, _, path = row.partition(b"\t")
            mode, _, oid, size = facts.decode().split()
            if size == "BAD":  # git's word, without an error
                raise _lost(oid, path)
            yield TreeEntry(mode, oid, 0 if size == "-" else int(size), path)

    def blobs(self, wanted: Iterable[TreeEntry]) -> Generator[Iterator[bytes]]:
        """Yield the content of each entry in turn, in pieces; each must be read before the next is asked for."""
        with tempfile.TemporaryFile() as ids:
            entries = list(wanted)
            ids.write(b"".join(f"{entry.oid}\n".encode() for entry in entries))
            ids.seek(0)
            command = [*self._command, "cat-file", "--batch", "--buffer"]
            with subprocess.Popen(
                command, env=self._environment(), stdin=ids, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            ) as process:
                assert process.stdout is not None  # noqa: S101 - for the type checker
                try:
                    for entry in entries:
                        yield from _one_blob(process.stdout, entry)
                finally:
                    process.kill()

    def is_shallow(self) -> bool:
        """Tell whether the history is cut somewhere."""
        return self.git("rev-parse", "--is-shallow-repository").strip() == b"true"

    def _has(self, commit: str) -> bool:
        return self._run("cat-file", "-e", f"{commit}^{{commit}}").returncode == 0

    def _reaches(self, old: str, new: str) -> bool:
        return self._run("merge-base", "--is-ancestor", old, new).returncode == 0

    def ancestry(self, old: str, new: str) -> Ancestry:
        """Tell whether ``new`` descends from ``old``, or is it. A cut history answers no only where that is certain."""
        if self._has(old) and self._reaches(old, new):
            return Ancestry.YES
        if not self.is_shallow() or (self._has(old) and self._reaches(new, old)):
            return Ancestry.NO
        return Ancestry.UNKNOWN

    def ancestry_deepening(self, old: str, new: str) -> Ancestry:
        """Like ``ancestry``, but fetch more history from origin, in bounded steps, while it is unknown."""
        answer = self.ancestry(old, new)
        for depth in _DEEPEN:
            if answer is not Ancestry.UNKNOWN or not self._deepen(new, depth):
                break
            answer = self.ancestry(old, new)
        return answer

    def _deepen(self, commit: str, depth: int) -> bool:
        options = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules")
        for refspec in ([commit], []):
            try:
                done = self._run(*options, f"--deepen={depth}", "origin", *refspec, timeout=_FETCH_SECONDS)
            except subprocess.TimeoutExpired:
                return False
            if done.returncode == 0:
                return True
        return False

    def branch_at(self, commit: str) -> str | None:
        """Return the checked-out branch if the commit is on it."""
        done = self._run("symbolic-ref", "--quiet", "--short", "HEAD")
        branch = done.stdout.decode(errors="replace").strip()
        return branch if done.returncode == 0 and branch and self._reaches(commit, "HEAD") else None

    def origin(self) -> str | None:
        """Return the address of the remote "origin" (it may hold a token: normalise it before showing it)."""
        done = self._run("config", "--get", "remote.origin.url")
        return done.stdout.decode(errors="replace").strip() or None


def _why(stderr: bytes) -> str:
    """Return the line that says why git failed, or without one of git's own kind all but warnings and hints."""
    lines = stderr.decode(errors="replace").strip().splitlines()
    worst = [line for start in _WORST_FIRST for line in lines if line.startswith(start)]
    plain = [line for line in lines if not line.startswith(("warning: ", "hint: "))]
    return worst[0] if worst else " ".join(plain or lines) or "no message"


def _lost(oid: str, path: bytes) -> NotFound:
    return NotFound(f"object {oid[:12]} of {path.decode(errors='replace')!r} is not in the clone: fetch it (git fsck)")


def _one_blob(stream: IO[bytes], entry: TreeEntry) -> Iterator[Iterator[bytes]]:
    head = stream.readline().split()
    if len(head) != 3 or head[1] != b"blob" or int(head[2]) != entry.size:
        raise _lost(entry.oid, entry.path)

    def pieces() -> Iterator[bytes]:
        left = entry.size
        while left:
            piece = stream.read(min(left, _CHUNK))
            if not piece:
                raise UsageError("git cat-file ended early: is the repository damaged? (git fsck)")
            left -= len(piece)
            yield piece

    yield pieces()
    stream.read(1)
