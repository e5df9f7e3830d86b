"""A reader for tests: walks and hashes the live tree without pause until told to stop.

    python -m support.treereader ROOT once|lease STOP

``once`` resolves the link once for each walk, as design.md asks of readers; ``lease`` holds a lease meanwhile and walks
twice. It ends when the file STOP is there, and prints what it saw as JSON: ``walks``, and ``seen``: each different
[version, digest of the walk or "missing", version that the link named after it].
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dagferry_puller.leases import lease


def digest_of(tree: Mapping[str, Any]) -> str:
    """Return what a whole walk over a tree of ``support.bundles`` comes to."""
    whole = {}
    for path, value in tree.items():
        target = getattr(value, "target", None)
        data = getattr(value, "data", value)
        whole[path] = target.encode() if target is not None else data.encode() if isinstance(data, str) else data
    return _digest(whole)


def _digest(whole: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for path in sorted(whole):
        digest.update(f"{path}\0{len(whole[path])}\0".encode() + whole[path])
    return digest.hexdigest()


def walk(directory: int, prefix: str = "") -> dict[str, bytes]:
    """Read a whole tree by descriptor."""
    found: dict[str, bytes] = {}
    for name in os.listdir(directory):
        mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
        if stat.S_ISLNK(mode):
            found[prefix + name] = os.fsencode(os.readlink(name, dir_fd=directory))
            continue
        fd = os.open(name, os.O_RDONLY, dir_fd=directory)
        try:
            if stat.S_ISDIR(mode):
                found |= walk(fd, f"{prefix}{name}/")
            else:
                found[prefix + name] = os.read(fd, os.fstat(fd).st_size + 1)
        finally:
            os.close(fd)
    return found


def _walked(path: str) -> str:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return _digest(walk(directory))
    finally:
        os.close(directory)


def _live(root: str) -> str:
    return os.path.basename(os.readlink(os.path.join(root, "current")))


@contextmanager
def _resolved(root: str) -> Iterator[tuple[str, str]]:
    version = _live(root)
    yield version, os.path.join(root, "versions", version)


@contextmanager
def _leased(root: str) -> Iterator[tuple[str, str]]:
    with lease(root) as held:
        yield held


def main() -> None:
    """Read until the stop file is there."""
    root, how, stop = sys.argv[1:]
    take, times = (_resolved, 1) if how == "once" else (_leased, 2)
    seen: set[tuple[str, str, str]] = set()
    walks = 0
    while not os.path.exists(stop):
        with take(root) as (version, path):
            for _ in range(times):
                try:
                    digest = _walked(path)
                except FileNotFoundError:
                    digest = "missing"
                seen.add((version, digest, _live(root)))
                walks += 1
    print(json.dumps({"walks": walks, "seen": sorted(seen)}))


if __name__ == "__main__":
    main()
