"""A work tree as a git tree: what ``git add --all`` would take, without touching the user's index or objects.

Git itself reads the files, into an index and an object directory of our own. So what it ignores is left out, and
modes, links, filters and line ends are what a commit would have; from there on it is a tree like any other.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dagferry_publisher.errors import Conflict, NotFound, UsageError
from dagferry_publisher.gitrepo import Repo
from dagferry_shared import names

if TYPE_CHECKING:
    from collections.abc import Sequence

_TRIES = 5  # while files vanish under git's hands, or HEAD moves
_QUIETLY = (  # no hook or daemon of the user's runs, and nothing is made durable that is thrown away
    f"core.hooksPath={os.devnull}",
    "core.fsmonitor=false",
    "core.splitIndex=false",
    "core.untrackedCache=false",
    "core.fsync=none",
    "core.fsyncObjectFiles=false",
    "core.looseCompression=0",
    "advice.addEmbeddedRepo=false",
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The work tree at one moment.

    Attributes:
        base: the commit that was checked out.
        tree: git's id of the tree, in the clone's object format.
    """

    base: str
    tree: str


class WorkTree:
    """The work tree of a clone.

    Args:
        path: a directory of it.
        scratch: an empty directory for index and objects; whoever gives it removes it.

    Attributes:
        top: its root.
        repo: the clone, with the objects of all snapshots.
    """

    def __init__(self, path: Path, scratch: Path) -> None:
        plain = Repo(path)
        self.top = Path(_line(plain.git("rev-parse", "--show-toplevel")))
        self._theirs = _git_path(plain, "index")
        self._index, objects = scratch / "index", scratch / "objects"
        (objects / "info").mkdir(parents=True)
        (objects / "info/alternates").write_bytes(os.fsencode(_git_path(plain, "objects")) + b"\n")
        environ = {"GIT_INDEX_FILE": str(self._index), "GIT_OBJECT_DIRECTORY": str(objects)}
        self.repo = Repo(path, environ, [word for setting in _QUIETLY for word in ("-c", setting)])

    def snapshot(self, paths: Sequence[str]) -> Snapshot:
        """Read the directories that are delivered. What changes meanwhile is in it, or is not.

        Raises:
            NotFound: a directory is not there, or nothing is committed yet.
            UsageError: git cannot read them.
            Conflict: another commit was checked out each time.
        """
        for path in paths:
            if not (self.top / path).is_dir():
                raise NotFound(f"no directory {path!r} in the work tree {self.top}")
        for attempt in range(_TRIES):
            base = self.repo.resolve("HEAD")
            try:
                tree = self._tree(paths)
            except UsageError:  # an editor's temporary file that vanished in between
                if attempt == _TRIES - 1:
                    raise
                continue
            if self.repo.resolve("HEAD") == base:
                return Snapshot(base, tree)
        raise Conflict(f"the commit that is checked out in {self.top} keeps changing: try again")

    def author(self, otherwise: str) -> str:
        """Return who works here, as git would write it into a commit."""
        try:
            identity = _line(self.repo.git("var", "GIT_AUTHOR_IDENT"))
        except UsageError:  # no name is configured
            return otherwise
        return names.clean_text(identity.rsplit(" ", 2)[0]) or otherwise

    def _tree(self, paths: Sequence[str]) -> str:
        # From the user's index each time: what is tracked there counts, and git need not read what it knows. The
        # time stays, as git reads entries again that are as new as the index.
        try:
            shutil.copy2(self._theirs, self._index)
        except FileNotFoundError:  # nothing was ever added
            self._index.unlink(missing_ok=True)
        except OSError as error:
            raise UsageError(f"the index {self._theirs} cannot be copied: {error.strerror}") from error
        self._add([f":(top,literal){'' if path == '.' else path}" for path in paths])
        try:
            return _line(self.repo.git("write-tree", "--missing-ok"))
        except UsageError:  # a merge under way has left something open elsewhere
            self._add([":(top)"])
            return _line(self.repo.git("write-tree", "--missing-ok"))

    def _add(self, pathspecs: Sequence[str]) -> None:
        self.repo.git("add", "--all", "--", *pathspecs)


def _line(output: bytes) -> str:
    return os.fsdecode(output).removesuffix("\n")


def _git_path(repo: Repo, name: str) -> Path:
    return Path(os.path.abspath(repo.path / _line(repo.git("rev-parse", "--git-path", name))))
