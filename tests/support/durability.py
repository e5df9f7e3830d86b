"""What a power loss would leave, told from recorded calls: a strict model of a file system.

A file's content, mode and times survive from its fsync on; a name survives from the fsync of its directory on, and may
survive earlier or later than any other. That is less than any real file system promises. A rename takes what is below
it along.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from support.strace import Call

_CONTENT = {"write", "pwrite64", "ftruncate", "fchmod", "utimensat"}


class Disk:
    """What is not durable yet, by path.

    Attributes:
        content: files and directories whose content, mode or times are not.
        names: entries that are not.
    """

    def __init__(self) -> None:
        self.content: set[str] = set()
        self.names: set[str] = set()

    def apply(self, call: Call) -> None:
        """Take one call that succeeded into account."""
        paths = call.paths
        if call.failed or not paths:
            return
        if call.name in {"fsync", "fdatasync"}:
            self.content.discard(paths[0])
            self.names = {name for name in self.names if os.path.dirname(name) != paths[0]}
        elif call.name in {"renameat", "rename", "renameat2"}:
            self._rename(paths[0], paths[1], exchange="RENAME_EXCHANGE" in call.flags)
        elif "O_TMPFILE" in call.flags:
            pass  # has no name, and needs none
        elif call.name in {"mkdirat", "mkdir"} or call.creates:
            self.content.add(paths[0])
            self.names.add(paths[0])
        elif call.name == "symlinkat":
            self.names.add(paths[0])
        elif call.name in {"unlinkat", "unlink", "rmdir"}:
            self._forget(paths[0])
        elif call.name in _CONTENT and "AT_SYMLINK_NOFOLLOW" not in call.flags:  # a link's time cannot be fsynced
            self.content.add(paths[0])

    def _forget(self, path: str) -> None:
        self.content -= set(_below(self.content, path))
        self.names -= set(_below(self.names, path))

    def _rename(self, source: str, target: str, *, exchange: bool) -> None:
        self.content = _renamed(self.content, source, target, exchange=exchange)
        self.names = _renamed(self.names, source, target, exchange=exchange)
        self.names |= {source, target} if exchange else {target}

    def unsafe(self, path: str) -> list[str]:
        """List what below a path, or of it and the names that lead to it, a power loss might take."""
        above = [path]
        while (parent := os.path.dirname(above[-1])) not in {"/", above[-1]}:
            above.append(parent)
        leading = self.names & set(above)
        return sorted({*leading, *_below(self.content, path), *_below(self.names, path)})


def _renamed(paths: set[str], source: str, target: str, *, exchange: bool) -> set[str]:
    moved = {target + path.removeprefix(source) for path in _below(paths, source)}
    back = {source + path.removeprefix(target) for path in _below(paths, target)} if exchange else set()
    return (paths - set(_below(paths, source)) - set(_below(paths, target))) | moved | back


def _below(paths: Iterable[str], top: str) -> list[str]:
    return [path for path in paths if path == top or path.startswith(top + "/")]
