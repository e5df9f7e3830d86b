"""How the main thread waits: for signals, or for the worker's word, in one pipe.

The C-level handler writes the signal's number into the pipe. A queue or an event that a Python handler fills would
miss a signal that comes between the interpreter's last look and the wait.
"""

from __future__ import annotations

import os
import select
import signal

DONE = 0  # what the worker says; no signal has this number


class Inbox:
    """Receives these signals, and the worker's ``DONE``.

    Args:
        numbers: the signals.
    """

    def __init__(self, *numbers: signal.Signals) -> None:
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for number in numbers:
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)

    def done(self) -> None:
        """Say from another thread that the work is done."""
        os.write(self._write, bytes([DONE]))

    def wait(self, seconds: float | None = None) -> int | None:
        """Return the next signal's number or ``DONE``; None if the time is over."""
        ready, _, _ = select.select([self._read], [], [], seconds)
        return os.read(self._read, 1)[0] if ready else None
