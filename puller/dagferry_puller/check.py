"""The check before the swap: somebody's command, in its own process group, with a deadline and without our secrets."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from dagferry_shared.errors import Reason, Refused
from dagferry_shared.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TAIL = 2000  # bytes of output that are kept
_SECRETS = ("AWS_", "DAGFERRY_NOTIFY_TOKEN", "DAGFERRY_WEBHOOK")
_running: set[int] = set()  # process groups
_starting = threading.Lock()  # held while one is started, or all are ended
_ending = threading.Event()


def kill_running() -> None:
    """Kill what runs now, and start no more: the main thread does so before it ends the process."""
    _ending.set()
    with _starting:
        for group in tuple(_running):
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Check:
    """A command that gets the new version's directory as its last argument; exit 0 lets the version pass."""

    command: Sequence[str]
    seconds: float

    def run(self, directory: str, details: Mapping[str, str]) -> None:
        """Run the command to its end.

        Args:
            directory: absolute path of the unpacked version, not live yet.
            details: more environment variables: ``DAGFERRY_COMMIT``, ``DAGFERRY_RELEASE``.

        Raises:
            Refused: CHECK_FAILED; the text ends with the last lines that the command wrote.
        """
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_SECRETS)}
        # A check that imports Python files must not leave bytecode in the tree, which would be tampering.
        environment |= {**details, "PYTHONDONTWRITEBYTECODE": "1"}
        process = self._start(directory, environment)
        with process:
            try:
                tail, timed_out = _watch(process, time.monotonic() + self.seconds)
            finally:
                with suppress(ProcessLookupError):  # the group: also what the command left behind
                    os.killpg(process.pid, signal.SIGKILL)
                _running.discard(process.pid)
        if timed_out:
            raise Refused(Reason.CHECK_FAILED, f"check did not end within {self.seconds:.0f} s{_shown(tail)}")
        if process.returncode:
            raise Refused(Reason.CHECK_FAILED, f"check ended with {process.returncode}{_shown(tail)}")

    def _start(self, directory: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        with _starting:
            if _ending.is_set():
                raise Refused(Reason.CHECK_FAILED, "check is not started: the puller ends")
            try:
                process = subprocess.Popen(
                    [*self.command, directory],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    start_new_session=True,
                )
            except OSError as error:
                raise Refused(Reason.CHECK_FAILED, f"check {self.command[0]!r}: {error.strerror}") from error
            _running.add(process.pid)
            return process


def _watch(process: subprocess.Popen[bytes], deadline: float) -> tuple[bytes, bool]:
    """Read the command's output until it ends; returns the last of it, and whether its time ran out."""
    assert process.stdout is not None  # noqa: S101 - for the type checker: it was asked for
    output, tail = process.stdout.fileno(), b""
    ended = os.pidfd_open(process.pid)
    poll = select.poll()
    poll.register(output, select.POLLIN)
    poll.register(ended, select.POLLIN)
    try:
        while True:
            ready = dict(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
            if output in ready:
                piece = os.read(output, 65536)
                tail = (tail + piece)[-_TAIL:]
                if not piece:
                    poll.unregister(output)
            elif ended in ready:  # only now, so that what it wrote last is read
                return tail, False
            elif not ready:
                return tail, True
            if time.monotonic() > deadline:
                return tail, True
    finally:
        os.close(ended)


def _shown(tail: bytes) -> str:
    text = " | ".join(tail.decode("utf-8", "replace").split("\n")[-6:]).strip(" |")
    kept = "".join(char if char.isprintable() else " " for char in text)
    return f": {kept[-500:]}" if kept else ""
