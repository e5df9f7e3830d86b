"""A terminal for a command: what a person would see, and keys that a person would press."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
from typing import TYPE_CHECKING, Self

from support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

_ESCAPE = re.compile(r"\x1b(?:\[[0-9;?]*[a-zA-Z]|\][^\x07]*\x07)")


class Terminal:
    """``dagctl`` with all its streams on a terminal.

    Args:
        words: its arguments.
        cwd: where it runs.
        environ: its environment.
    """

    def __init__(self, *words: str, cwd: Path, environ: Mapping[str, str]) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dagferry_publisher", *words],
            cwd=cwd,
            env={**environ, "TERM": "xterm", "COLUMNS": "160", "LINES": "40"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.raw = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def text(self) -> str:
        """Return all that was shown so far, without what moves the cursor and colours."""
        while select.select([self._ours], [], [], 0.01)[0]:
            try:
                piece = os.read(self._ours, 65536)
            except OSError:  # the command has ended
                break
            if not piece:
                break
            self.raw += piece.decode("utf-8", "replace")
        return _ESCAPE.sub("", self.raw)

    def wait_text(self, words: str) -> str:
        """Wait until something was shown."""
        return wait_for(lambda: self.text() if words in self.text() else "", f"{words!r} is shown")

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._ours, keys.encode())

    def end(self) -> int:
        """Wait for the end; returns the exit code."""

        def over() -> bool:
            self.text()  # a full terminal would hold it up
            return self.process.poll() is not None

        wait_for(over, "the command ends")
        return self.process.returncode
