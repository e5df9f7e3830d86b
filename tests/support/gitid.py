"""Git tree ids of a directory: by the slow and plain way, and by git itself."""

from __future__ import annotations

import os
import subprocess

from dagferry_shared.gittree import Leaf, Mode, blob_id, tree_id


def tree_of(where: str | os.PathLike[str]) -> str:
    """Walk a directory without following links; the executable bit is the owner's."""
    leaves = {}
    for top, dirs, files in os.walk(where):
        for name in [*dirs, *files]:
            full = os.path.join(top, name)
            path = os.path.relpath(full, where)
            if os.path.islink(full):
                leaves[path] = Leaf(Mode.LINK, blob_id(os.readlink(full).encode()))
            elif os.path.isfile(full):
                with open(full, "rb") as file:
                    mode = Mode.EXECUTABLE if os.stat(full).st_mode & 0o100 else Mode.FILE
                    leaves[path] = Leaf(mode, blob_id(file.read()))
    return tree_id(leaves)


def git(where: str | os.PathLike[str], *arguments: str) -> str:
    """Run git as it is out of the box: no configuration, no variables of the caller."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    clean |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    return subprocess.run(["git", *arguments], cwd=where, env=clean, capture_output=True, check=True, text=True).stdout
