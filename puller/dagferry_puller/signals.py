"""How the main thread waits: for signals, or for the worker's word, in one pipe.

The C-level handler writes the signal's number into the pipe. A queue or an event that a Python handler fills would
miss a signal that comes between the interpreter's last look and the wait.
"""

from __future__ import annotations

import os
import select
import signal
from typing import NoReturn

DONE = 0  # what the worker says; no signal has this number


def while_starting(*, success: bool) -> None:
    """Serve signals until there is an Inbox: a SIGHUP is no reason to end, the others end the process at once.

    Without it a "look now" that comes early kills the process; and SIGTERM is nothing to a process 1 without a handler.

    Args:
        success: whether to end with exit code 0, else with 128 and the signal's number.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: os._exit(0 if success else 128 + received))


def leave(code: int) -> NoReturn:
    """End the process at once, with a sync under way: it is safe to stop anywhere, a start repairs."""
    from dagferry_puller import check  # noqa: PLC0415 - subprocess is not needed before

    check.kill_running()
    os._exit(code)


class Inbox:
    """Receives these signals, and the worker's ``DONE``.

    Args:
        numbers: the signals.
    """

    def __init__(self, *numbers: signal.Signals) -> None:
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)  # first: from now on none is lost
        for number in numbers:
            signal.signal(number, lambda *_: None)

    def done(self) -> None:
        """Say from another thread that the work is done."""
        os.write(self._write, bytes([DONE]))

    def wait(self, seconds: float | None = None) -> int | None:
        """Return the next signal's number or ``DONE``; None if the time is over."""
        ready, _, _ = select.select([self._read], [], [], seconds)
        return os.read(self._read, 1)[0] if ready else None
