"""The trees that are delivered: made by ``git fast-import`` from a fixed seed, so every machine has the same bytes."""

from __future__ import annotations

import random
import subprocess
from dataclasses import dataclass
from pathlib import Path

from support.gitrepos import git, git_environ

HISTORY = 50  # commits before the first that is delivered
CHANGED = 4  # files that differ from one version to the next
_START = 1_700_000_000


@dataclass(frozen=True)
class Tree:
    """A tree by name."""

    name: str
    files: int
    mean: int  # bytes of a file
    lines: int = 0  # that differ in each of the changed files; 0: all of them


TREES = {
    "tiny": Tree("tiny", 30, 1_000),  # for bench-quick alone
    "small": Tree("small", 300, 3_133),  # 0.94 MB: one team's DAGs
    "medium": Tree("medium", 3_000, 5_667),  # 17 MB
    "large": Tree("large", 20_000, 10_000),  # 200 MB
    "small-lines": Tree("small-lines", 300, 3_133, lines=1),  # not by default: what an edit costs on the wire
    "large-lines": Tree("large-lines", 20_000, 10_000, lines=1),
}


def _source(chance: random.Random, size: int) -> bytes:
    """Return text that compresses about as Python does: names that recur, and values that do not."""
    names = ["task", "extract", "transform", "load", "airflow", "operator", "schedule", "dataset", "partition"]
    lines, length = [], 0
    while length < size:
        name, value = chance.choice(names), chance.getrandbits(64)
        line = f"{name}_{chance.randrange(100)} = {chance.choice(names)}.{chance.choice(names)}('{value:x}')\n"
        lines.append(line)
        length += len(line)
    return "".join(lines)[:size].encode()


def path_of(number: int) -> str:
    """Return where a file is: 23 files to a directory."""
    return f"dags/team_{number // 230}/part_{number // 23 % 10}/dag_{number}.py"


def changed_files(tree: Tree, version: int) -> dict[str, bytes]:
    """Return the four files of a version that no other version has."""
    chance = random.Random(f"{tree.name} {version}")
    step = tree.files // CHANGED
    places = [n * step + step // 2 for n in range(CHANGED)]
    if not tree.lines:
        return {path_of(place): _source(chance, tree.mean) for place in places}
    return {path_of(place): _edited(tree, place, chance) for place in places}


def _edited(tree: Tree, place: int, chance: random.Random) -> bytes:
    """Return a file in which some lines are this version's own."""
    lines = _source(random.Random(f"{tree.name} file {place}"), tree.mean).splitlines(keepends=True)
    for at in chance.sample(range(len(lines) - 1), tree.lines):
        lines[at] = _source(chance, len(lines[at]) - 1).replace(b"\n", b"#") + b"\n"
    return b"".join(lines)


def base_files(tree: Tree) -> dict[str, bytes]:
    """Return all files before any version."""
    chance = random.Random(tree.name)
    sizes = [int(tree.mean * chance.uniform(0.2, 1.8)) for _ in range(tree.files)]
    return {path_of(number): _source(chance, size) for number, size in enumerate(sizes)}


class _Import:
    """A stream for fast-import."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self._commits = 0

    def commit(self, files: dict[str, bytes]) -> None:
        self._commits += 1
        message = b"change %d" % self._commits
        head = b"commit refs/heads/main\nmark :%d\ncommitter Ann Example <ann@example.org> %d +0000\ndata %d\n%s\n"
        self.parts.append(head % (self._commits, _START + 60 * self._commits, len(message), message))
        if self._commits > 1:
            self.parts.append(b"from :%d\n" % (self._commits - 1))
        for path, data in files.items():
            self.parts.append(b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(data), data))


def make_repository(tree: Tree, versions: int, directory: Path) -> list[str]:
    """Make a bare repository with a line of ``versions`` commits to deliver; returns their ids, oldest first."""
    directory.mkdir(parents=True)
    git(directory, "init", "--quiet", "--bare", "--initial-branch=main")
    stream, chance = _Import(), random.Random(f"history of {tree.name}")
    stream.commit(base_files(tree))
    for number in range(1, HISTORY - 1):
        some = {path_of(chance.randrange(tree.files)) for _ in range(3)}
        stream.commit({path: _source(chance, tree.mean) for path in some} | {"README.md": b"%d\n" % number})
    for version in range(versions):
        stream.commit(changed_files(tree, version))
    command = ["git", "-C", str(directory), "fast-import", "--quiet"]
    subprocess.run(command, input=b"".join(stream.parts), env=git_environ(), check=True)
    git(directory, "gc", "--quiet")
    for setting in ("uploadpack.allowAnySHA1InWant", "uploadpack.allowFilter"):
        git(directory, "config", setting, "true")
    return git(directory, "rev-list", "--reverse", f"--max-count={versions}", "main").split()
