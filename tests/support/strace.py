"""System calls of a real process, as strace records them, and faults put in their place.

Only what changes a file system is looked at. A call is named by its syscall and by how often that one was made before
it in its process, which is what strace's ``when=`` counts; so what a recording run shows can be hit in the next run,
as long as both do the same. A process killed at a call has not made it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

CHANGING = (
    "openat", "write", "pwrite64", "ftruncate", "mkdir", "mkdirat", "symlinkat", "linkat", "rename", "renameat",
    "renameat2", "unlink", "unlinkat", "rmdir", "fchmod", "fchmodat", "utimensat", "fsync", "fdatasync", "flock",
)  # fmt: skip
_LINE = re.compile(r"(?:(?P<thread>\d+) +)?(?P<name>\w+)\((?P<arguments>.*?)\)? += (?P<result>.*)")
_WORD = re.compile(r'(?:\d+|AT_FDCWD)<(?P<fd>[^>]*)>|"(?P<text>(?:[^"\\]|\\.)*)"')
_RANDOM = re.compile(r"\.(tmp|retired)-[0-9a-f]{24}|#\d+")
_FLAGS = re.compile(r"\bO_\w+|\bRENAME_\w+|\bAT_\w+")


@dataclass(frozen=True)
class Call:
    """One call.

    Attributes:
        name: the syscall.
        nth: 1 for the first of its name in its thread.
        paths: absolute, as strace prints them: what it is about; a rename has two, a symlink has the new one.
        flags: the named ones.
        failed: whether it failed; a call that a kill came before has failed.
        thread: of the call; 0 where only one is traced.
    """

    name: str
    nth: int
    paths: tuple[str, ...]
    flags: frozenset[str]
    failed: bool
    thread: int = 0

    @property
    def creates(self) -> bool:
        """Whether it opens a file that is new."""
        return self.name == "openat" and not self.flags.isdisjoint({"O_CREAT", "O_TMPFILE"})

    @property
    def changes(self) -> bool:
        """Whether it changed anything on a disk, or made a change durable."""
        return not self.failed and (self.creates or self.name != "openat")

    def is_below(self, directory: str) -> bool:
        """Tell whether it is about something in a directory, or about that directory."""
        return any(f"{path}/".startswith(f"{directory}/") for path in self.paths)

    def shape(self, root: str) -> str:
        """Return it as text that is the same in each run: no thread, no random names, paths relative to a root."""
        shown = " ".join(path.removeprefix(root) or "/" for path in self.paths)
        return self.name + " " + _RANDOM.sub(r".\1-", shown)


def _paths(name: str, arguments: str) -> tuple[str, ...]:
    """Join each descriptor with the name that follows it."""
    found: list[str] = []
    before = None
    words = list(_WORD.finditer(arguments))
    if name == "symlinkat":
        words = words[1:]  # the target is only text
    if name in {"write", "pwrite64"}:
        words = words[:1]
    for word in words:
        if word["fd"] is not None:
            found.append(word["fd"])
            before = word["fd"]
        elif before is None:
            found.append(word["text"])
        else:
            found[-1] = os.path.normpath(os.path.join(before, word["text"]))
            before = None
    return tuple(found)


def parse(text: str) -> list[Call]:
    """Read what strace wrote (with ``-y``); calls of several threads may interleave, but not be cut in two."""
    calls, counts = [], dict[tuple[int, str], int]()
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match:
            name, thread = match["name"], int(match["thread"] or 0)
            nth = counts[thread, name] = counts.get((thread, name), 0) + 1
            failed = match["result"].startswith(("-1", "?"))
            flags = frozenset(_FLAGS.findall(match["arguments"]))
            calls.append(Call(name, nth, _paths(name, match["arguments"]), flags, failed, thread))
    return calls


@contextmanager
def attached(pid: int, log: Path, fault: str) -> Iterator[None]:
    """Put a fault into the calls that a running process makes meanwhile, in all its threads."""
    name = fault.partition(":")[0]
    command = [*options(log, [name], [fault]), "-f", "-p", str(pid)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        said = tracer.stderr.readline()
        try:
            assert "attached" in said, said
            yield
        finally:
            tracer.terminate()
            tracer.stderr.read()


def options(log: Path, names: Iterable[str] = CHANGING, inject: Sequence[str] = ()) -> list[str]:
    """Return the command that records these syscalls and puts faults into them, such as ``fsync:error=EIO:when=3``.

    What is traced comes after it: ``-p PID`` or a command.
    """
    if os.geteuid() != 0:
        pytest.skip("SKIPPED LOUDLY: needs root to trace a process that runs")
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("SKIPPED LOUDLY: strace is not installed: apt-get install strace")
    faults = [word for fault in inject for word in ("-e", f"inject={fault}")]
    return [strace, "-y", "-s", "0", "-e", "signal=none", "-e", f"trace={','.join(names)}", *faults, "-o", str(log)]
