"""Compile every ``.py`` file of a tree in memory. Nothing of it runs, and no bytecode is written."""

from __future__ import annotations

import os
import stat
import sys
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_SOURCE = 16 << 20  # bytes; the compiler needs some 50 times that


def compile_tree(top: str, send: Callable[[dict[str, Any]], None]) -> None:
    """Compile what is below a directory, in sorted order.

    Args:
        top: the directory. Links to directories are not followed, and ``.git`` is left out.
        send: gets ``at`` (a path) before each file, ``file``, ``line`` (or None) and ``error`` for each that does
            not compile, and ``compiled`` (how many were tried) at the end.
    """
    warnings.simplefilter("ignore")  # a SyntaxWarning is no error, and nobody reads our stderr
    sys.setrecursionlimit(3000)  # as deep as Airflow's own process could: the default counts our frames, too
    count = 0
    for path in _sources(top, send):
        send({"at": path})
        count += 1
        problem = _compile(path)
        if problem:
            send({"file": path, "line": problem[0], "error": problem[1]})
    send({"compiled": count})


def _sources(top: str, send: Callable[[dict[str, Any]], None]) -> Iterator[str]:
    def unreadable(error: OSError) -> None:
        send({"file": error.filename, "line": None, "error": f"cannot be listed: {error.strerror}"})

    for directory, directories, names in os.walk(top, onerror=unreadable):
        directories[:] = sorted(name for name in directories if name != ".git")
        yield from (os.path.join(directory, name) for name in sorted(names) if name.endswith(".py"))


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO does not hold us up
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("not a regular file")
        source = file.read(MAX_SOURCE + 1)
    if len(source) > MAX_SOURCE:
        raise ValueError(f"larger than {MAX_SOURCE >> 20} MiB")
    return source


def _compile(path: str) -> tuple[int | None, str] | None:
    """Return line and message of what is wrong with a file; None: it compiles."""
    try:
        source = _read(path)
    except OSError as error:
        return None, f"cannot be read: {error.strerror}"
    except ValueError as error:
        return None, f"cannot be read: {error}"
    if b"\0" in source:  # Python versions disagree about error and line
        return source.count(b"\n", 0, source.index(b"\0")) + 1, "SyntaxError: source contains a null byte"
    try:
        compile(source, path, "exec", dont_inherit=True)
    except SyntaxError as error:
        return error.lineno or None, f"{type(error).__name__}: {error.msg}"
    except (ValueError, OverflowError, RecursionError, MemoryError) as error:
        return None, f"{type(error).__name__}: {error}"
    return None
